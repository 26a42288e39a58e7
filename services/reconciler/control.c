/* control.c - commands from operators and gateways: pause, resume, rewind here; questions go to the checker. */
#include "follow.h"

#include "weir/v1/control.pb-c.h"

#include "bus/registry.h"
#include "weir/streams.h"

#include <string.h>

#define COMMANDS_MAX 64 /* read at once */

static bool read_account(const struct follow *f, ProtobufCBinaryData account, const char *asset, struct mail_question *ret)
{
	if (account.len > sizeof ret->account)
		return false;
	ret->account_size = (uint8_t)account.len;
	if (account.len > 0)
		memcpy(ret->account, account.data, account.len);
	ret->has_asset = asset && asset[0];
	return !ret->has_asset || f->chain->family->asset_parse(f->chain, asset, &ret->asset, NULL) == 0;
}

static void ask_checker(struct follow *f, const struct mail_question *question, const char *what)
{
	if (!mailbox_put_question(f->mailbox, question))
		log_warn(&f->log, "command_dropped", "too many questions wait already", LOG_S("command", what));
}

static int obey(struct follow *f, const Weir__V1__Command *command, struct error *err)
{
	struct mail_question question = { 0 };
	switch (command->command_case) {
	case WEIR__V1__COMMAND__COMMAND_PAUSE:
		log_info(&f->log, "paused", command->pause->reason, LOG_S("issuer", command->issuer));
		return ledger_set_paused(f->ledger, true, err);
	case WEIR__V1__COMMAND__COMMAND_RESUME:
		log_info(&f->log, "resumed", NULL, LOG_S("issuer", command->issuer));
		return ledger_set_paused(f->ledger, false, err);
	case WEIR__V1__COMMAND__COMMAND_REWIND:
		if ((int64_t)command->rewind->to_height >= f->ledger->watermark || command->rewind->to_height > INT64_MAX / 2)
			return 0;
		log_warn(&f->log, "rewind", command->rewind->reason, LOG_U("to", command->rewind->to_height), LOG_S("issuer", command->issuer));
		window_clear(&f->window);
		return follow_retract(f, (int64_t)command->rewind->to_height, true, "an operator asked for it", err);
	case WEIR__V1__COMMAND__COMMAND_RECONCILE:
		question.kind = MAIL_RECONCILE;
		if (read_account(f, command->reconcile->account, command->reconcile->asset, &question))
			ask_checker(f, &question, "reconcile");
		return 0;
	case WEIR__V1__COMMAND__COMMAND_OBSERVE:
		question.kind = MAIL_OBSERVE;
		question.height = command->observe->height;
		if (command->observe->account.len > 0 && command->observe->asset[0] &&
		    read_account(f, command->observe->account, command->observe->asset, &question))
			ask_checker(f, &question, "observe");
		return 0;
	default: /* not for the reconciler */
		return 0;
	}
}

/* NULL: *why says what it is instead. */
static Weir__V1__Command *command_in(struct follow *f, const struct frame *frame, struct error *why)
{
	struct bytes body;
	if (bus_upcast(frame->type, frame->schema_version, frame->body, &f->upcast, &body, why) != 0)
		return NULL;
	if (frame->type != MESSAGE_COMMAND) {
		error_set(why, WEIR_UNSUPPORTED, "message type %s is not a command", message_type_name(frame->type));
		return NULL;
	}
	Weir__V1__Command *command = weir__v1__command__unpack(NULL, body.size, body.data);
	if (!command)
		error_set(why, WEIR_INVALID, "not a command");
	return command;
}

static int take(struct follow *f, const struct bus_message *message, struct error *err)
{
	struct error why = { 0 };
	bool poison = false;
	int code = bus_owner_begin(f->control, message, NULL, &poison, err);
	if (code || poison)
		return code;
	Weir__V1__Command *command = command_in(f, &message->frame, &why);
	if (!command)
		return follow_park(f, f->control, message, &why, err);
	code = obey(f, command, err);
	weir__v1__command__free_unpacked(command, NULL);
	return !code && message->replay ? bus_owner_resolve(f->control, message, err) : code;
}

static int read_commands(struct follow *f, size_t max, struct error *err)
{
	struct bus_message *messages = NULL;
	size_t n = 0;
	int code = bus_owner_read(f->control, max, 0, &messages, &n, err);
	for (size_t i = 0; !code && i < n; i++) {
		if (messages[i].frame_ok)
			code = take(f, &messages[i], err);
		if (!code && !messages[i].replay)
			code = bus_owner_commit(f->control, messages[i].klass, messages[i].generation, messages[i].sequence, err);
	}
	return code;
}

int control_read(struct follow *f, struct error *err)
{
	bool careful;
	if (!f->control_owner) {
		struct error why = { 0 };
		int code = bus_owner_acquire(f->control, &why);
		if (code == WEIR_CONFLICT)
			return 0; /* the former owner's lease still runs */
		if (code)
			return error_set(err, code, "%s", why.text);
		f->control_owner = true;
	}
	if (!careful_enter(f->control, &careful))
		return 0;
	int code = read_commands(f, careful ? 1 : COMMANDS_MAX, err);
	code = careful_leave(f->control, careful, code, err);
	int64_t now = clock_mono_ms();
	if (!code && now - f->control_renew_ms >= f->config->bus.lease_ms / 4) {
		f->control_renew_ms = now;
		code = bus_owner_renew(f->control, err);
	}
	if (code == WEIR_FENCED)
		f->control_owner = false;
	return code == WEIR_FENCED ? 0 : code;
}
