/* take.c - messages of topic "blocks": blocks into the window, heads and forks noted, what cannot be read parked. */
#include "follow.h"

#include "bus/dead_letter.h"
#include "bus/registry.h"
#include "weir/streams.h"

#include <stdio.h>
#include <string.h>

int follow_park(struct follow *f, struct bus_owner *lane, const struct bus_message *message, const struct error *why, struct error *err)
{
	log_error(&f->log, "message_parked", "a message cannot be understood; it lies in the dead letters", LOG_S("id", message->id), LOG_ERR(why));
	/* Without its key: the same height fetched again, or a later command, must not wait behind a letter that cannot get better. */
	struct bus_message keyless = *message;
	keyless.frame.key = (struct bytes){ NULL, 0 };
	return bus_owner_park(lane, &keyless, why, err);
}

/* Each take_: why->code is set when the message cannot be understood, and nothing was done. */

static int take_unproven(struct follow *f, const struct block_facts *facts, const struct bus_message *message, struct error *why, struct error *err)
{
	if (facts->height <= f->ledger->watermark || facts->height < f->ledger->start || window_find(&f->window, facts->height, NULL))
		return 0; /* somebody else told it well */
	Weir__V1__NormalizedBlock *block;
	arena_reset(f->arena);
	if (follow_unpack(f, message->frame.body, &block, why))
		return 0;
	return gap_unproven(f, facts, block, err);
}

/* *ret_poison: it has ended instances too often. It was parked, or lies there already; what it leaves open is a gap. */
static int take_block(struct follow *f, const struct bus_message *message, bool *ret_poison, struct error *why, struct error *err)
{
	struct block_facts facts;
	const struct ledger *ledger = f->ledger;
	char name[CAREFUL_NAME];
	if (block_facts(message->frame.body, &facts)) {
		error_set(why, WEIR_INVALID, "not a normalized block");
		return 0;
	}
	if (facts.height < ledger->start)
		return 0;
	careful_name(&facts, message->letter, name);
	int begun = bus_owner_begin(f->blocks, message, name, ret_poison, err);
	if (begun || *ret_poison)
		return begun ? begun : gap_dead_letter(f, facts.height, "instances of the reconciler ended over it: see the dead letters", err);
	if (!facts.proven)
		return take_unproven(f, &facts, message, why, err);
	if (facts.height <= ledger->watermark) {
		bool has = false, taken = false;
		int code = heal_compare(f, &facts, message, &taken, err);
		if (!code && !taken)
			code = ledger_has(f->ledger, facts.height, facts.hash, &has, err);
		if (code || taken)
			return code;
		if (has) {
			metric_inc(f->metrics.skipped);
			return 0;
		}
		if (ledger->watermark - facts.height > f->config->reconciler.reorder_window)
			return 0;
		f->suspect = true; /* another block where we have one: the node decides */
	} else if (facts.height == ledger->watermark + 1 && ledger->watermark >= ledger->start &&
		   memcmp(facts.parent_hash, ledger->watermark_hash, 32) != 0) {
		f->suspect = true;
	}
	window_add(&f->window, &facts, message->frame.body, message->klass, message->generation, message->sequence);
	struct held *held = window_find_hash(&f->window, facts.height, facts.hash);
	if (held) {
		held->trace = frame_trace(&message->frame);
		snprintf(held->letter, sizeof held->letter, "%s", message->letter);
	}
	return 0;
}

static void copy_ref(const Weir__V1__BlockRef *ref, int64_t *ret_height, uint8_t ret_hash[32])
{
	*ret_height = -1;
	if (!ref || ref->hash.len != 32 || ref->height > INT64_MAX / 2)
		return;
	*ret_height = (int64_t)ref->height;
	memcpy(ret_hash, ref->hash.data, 32);
}

static int take_head(struct follow *f, const struct bus_message *message, struct error *why)
{
	Weir__V1__ChainHead *m = weir__v1__chain_head__unpack(NULL, message->frame.body.size, message->frame.body.data);
	struct ledger_head head = { .height = -1 };
	if (m) {
		copy_ref(m->head, &head.height, head.hash);
		copy_ref(m->safe, &head.safe, head.safe_hash);
		copy_ref(m->finalized, &head.finalized, head.finalized_hash);
		weir__v1__chain_head__free_unpacked(m, NULL);
	}
	if (head.height < 0) {
		error_set(why, WEIR_INVALID, "not a chain head");
		return 0;
	}
	f->head = head;
	f->head_pending = true;
	return 0;
}

static int take_fork(struct follow *f, const struct bus_message *message, struct error *why)
{
	Weir__V1__ChainFork *m = weir__v1__chain_fork__unpack(NULL, message->frame.body.size, message->frame.body.data);
	int64_t ancestor = -1;
	uint8_t hash[32];
	if (m) {
		copy_ref(m->ancestor, &ancestor, hash);
		weir__v1__chain_fork__free_unpacked(m, NULL);
	}
	if (ancestor < 0) {
		error_set(why, WEIR_INVALID, "not a chain fork");
		return 0;
	}
	if (ancestor < f->ledger->watermark) {
		/* A hint, possibly an old one read again: the node is asked before anything is taken back. */
		f->suspect = true;
		f->fork_ancestor = ancestor;
		f->resolve_ms = 0;
	}
	return 0;
}

void follow_take_unknown_again(struct follow *f)
{
	static const uint16_t types[] = { MESSAGE_NORMALIZED_BLOCK, MESSAGE_CHAIN_HEAD, MESSAGE_CHAIN_FORK, MESSAGE_COMMAND };
	dead_letter_replay_unsupported(f->bus, f->chain->name, SUBSCRIPTION_RECONCILER, types, sizeof types / sizeof types[0]);
}

int follow_take(struct follow *f, const struct bus_message *message, struct error *err)
{
	struct error why = { 0 };
	struct bus_message newest = *message;
	const struct frame *frame = &message->frame;
	bool poison = false;
	int code = bus_owner_begin(f->blocks, message, NULL, &poison, err);
	if (code || poison)
		return code;
	if (bus_upcast(frame->type, frame->schema_version, frame->body, &f->upcast, &newest.frame.body, &why) != 0)
		return follow_park(f, f->blocks, message, &why, err);
	switch (frame->type) {
	case MESSAGE_NORMALIZED_BLOCK:
		code = take_block(f, &newest, &poison, &why, err);
		break;
	case MESSAGE_CHAIN_HEAD:
		code = take_head(f, &newest, &why);
		break;
	case MESSAGE_CHAIN_FORK:
		code = take_fork(f, &newest, &why);
		break;
	default:
		error_set(&why, WEIR_UNSUPPORTED, "message type %s is not one that the reconciler knows", message_type_name(frame->type));
	}
	if (code || poison)
		return code;
	if (why.code)
		return follow_park(f, f->blocks, message, &why, err); /* a replay goes back to its letter */
	return message->replay ? bus_owner_resolve(f->blocks, message, err) : 0;
}
