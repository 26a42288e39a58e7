/* admin_commands.c - POST /admin/v1/chains/{chain}/{refetch|pause|resume|reconcile|rewind}: commands onto the bus, each audited. */
#include "admin/admin.h"

#include "control.h"

#include "wire/hex.h"

#include <stdio.h>
#include <string.h>

bool admin_audit(struct call *call, const char *action, const char *detail)
{
	struct error err = { 0 };
	struct log log = log_for_chain(&call->gateway->log, call->chain->chain.name);
	struct bus *bus = control_take(call->gateway->control);
	int code = bus_audit(bus, call->chain->chain.name, call->who->name, action, detail, &err);
	control_give(call->gateway->control);
	log_info(&log, "operator_action", detail, LOG_S("action", action), LOG_S("who", call->who->name), LOG_S("request_id", call->request->id));
	return code == 0 || call_failed(call, &err);
}

/* protobuf-c's structs are not const-correct: packing never writes through these. */
static char *plain(const char *text)
{
	union {
		const char *in;
		char *out;
	} u = { .in = text ? text : "" };
	return u.out;
}

static void send(struct call *call, const char *action, const char *detail, Weir__V1__Command *command)
{
	struct error err = { 0 };
	char id[33];
	if (!admin_audit(call, action, detail)) /* first: nothing happens that is not written down */
		return;
	if (control_send(call->gateway->control, call->chain, call->who->name, command, id, &err)) {
		call_failed(call, &err);
		return;
	}
	call->response->status = 202;
	put_object(call->out, NULL);
	put_text(call->out, "command_id", id);
	put_text(call->out, "chain", call->chain->chain.name);
	put_text(call->out, "action", action);
	put_end(call->out, '}');
}

static const char *reason_of(const struct call *call)
{
	const char *reason = call_text(call, "reason");
	return reason ? reason : "";
}

void admin_refetch(struct call *call)
{
	Weir__V1__Command command;
	Weir__V1__Refetch refetch;
	uint8_t hash[32];
	char detail[400];
	const char *hash_given = call_text(call, "hash");
	if (!call_chain(call))
		return;
	weir__v1__command__init(&command);
	weir__v1__refetch__init(&refetch);
	refetch.from_height = (uint64_t)call_number(call, "from_height", 0);
	refetch.to_height = (uint64_t)call_number(call, "to_height", (int64_t)refetch.from_height);
	refetch.reason = plain(reason_of(call));
	if (refetch.to_height < refetch.from_height || refetch.to_height - refetch.from_height >= 100000) {
		call_problem(call, 400, "invalid_body", "to_height must be from_height or at most 99999 more");
		return;
	}
	if (hash_given) {
		if (hex_to_bytes(hash_given, strlen(hash_given), hash, 32) || refetch.to_height != refetch.from_height) {
			call_problem(call, 400, "invalid_body", "hash is 0x and 64 hex digits, and goes with one height only");
			return;
		}
		refetch.hash = (ProtobufCBinaryData){ 32, hash };
	}
	command.command_case = WEIR__V1__COMMAND__COMMAND_REFETCH;
	command.refetch = &refetch;
	snprintf(detail, sizeof detail, "heights %llu to %llu %s", (unsigned long long)refetch.from_height, (unsigned long long)refetch.to_height,
		 reason_of(call));
	send(call, "refetch", detail, &command);
}

void admin_pause(struct call *call)
{
	Weir__V1__Command command;
	Weir__V1__Pause pause;
	if (!call_chain(call))
		return;
	weir__v1__command__init(&command);
	weir__v1__pause__init(&pause);
	pause.reason = plain(reason_of(call));
	command.command_case = WEIR__V1__COMMAND__COMMAND_PAUSE;
	command.pause = &pause;
	send(call, "pause", reason_of(call), &command);
}

void admin_resume(struct call *call)
{
	Weir__V1__Command command;
	Weir__V1__Resume resume;
	if (!call_chain(call))
		return;
	weir__v1__command__init(&command);
	weir__v1__resume__init(&resume);
	command.command_case = WEIR__V1__COMMAND__COMMAND_RESUME;
	command.resume = &resume;
	send(call, "resume", "", &command);
}

void admin_reconcile(struct call *call)
{
	Weir__V1__Command command;
	Weir__V1__Reconcile reconcile;
	struct bytes account = { NULL, 0 };
	struct chain_asset asset;
	uint8_t buffer[32];
	char detail[400];
	const char *account_given = call_text(call, "account"), *asset_given = call_text(call, "asset");
	if (!call_chain(call) || (account_given && !read_account(call, account_given, &account, buffer)) ||
	    (asset_given && !read_asset(call, asset_given, &asset)))
		return;
	weir__v1__command__init(&command);
	weir__v1__reconcile__init(&reconcile);
	if (account_given)
		reconcile.account = (ProtobufCBinaryData){ account.size, buffer };
	reconcile.asset = plain(asset_given);
	command.command_case = WEIR__V1__COMMAND__COMMAND_RECONCILE;
	command.reconcile = &reconcile;
	snprintf(detail, sizeof detail, "%.100s %.200s", account_given ? account_given : "all accounts", asset_given ? asset_given : "all assets");
	send(call, "reconcile", detail, &command);
}

void admin_rewind(struct call *call)
{
	Weir__V1__Command command;
	Weir__V1__Rewind rewind;
	struct chain_heights heights;
	char detail[400];
	if (!call_chain(call) || !call_begin(call) || !read_heights(call, &heights))
		return;
	call_release(call);
	weir__v1__command__init(&command);
	weir__v1__rewind__init(&rewind);
	rewind.to_height = (uint64_t)call_number(call, "to_height", 0);
	rewind.reason = plain(reason_of(call));
	if ((int64_t)rewind.to_height >= heights.watermark) {
		call_problem(call, 409, "nothing_to_rewind", "the ledger ends at height %lld: there is nothing above %llu to take back",
			     (long long)heights.watermark, (unsigned long long)rewind.to_height);
		return;
	}
	command.command_case = WEIR__V1__COMMAND__COMMAND_REWIND;
	command.rewind = &rewind;
	snprintf(detail, sizeof detail, "to height %llu: %.300s", (unsigned long long)rewind.to_height, reason_of(call));
	send(call, "rewind", detail, &command);
}
