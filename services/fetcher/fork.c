/* fork.c - a reorg is proven by hashes that contradict, its common ancestor found by walking back along parents on one node. */
#include "fetcher.h"

#include "base/clock.h"
#include "weir/streams.h"

#include <inttypes.h>
#include <string.h>

#define WALK_MAX 100000 /* parents asked one by one; a deeper fork goes on from where the walk ended */

#define FORK_SETTLES_MS 5000 /* until then the ledger has surely heard of it; what it still misses it asks for */

static int ask_block(struct follower *f, enum chain_question question, const struct chain_args *args, int only, struct chain_answer *ret,
		     size_t *ret_endpoint, struct error *err)
{
	struct chain_call call;
	struct bytes result;
	arena_reset(f->arena);
	int r = f->chain.family->question(&f->chain, question, args, f->arena, &call, err);
	if (r != 0)
		return r;
	struct rpc_request request = { .method = call.method, .params = call.params, .role = ENDPOINT_HEAD, .only = only, .attempts = 3, .tip = true,
				       .timeout_ms = 10000 };
	r = rpc_ask(f->rpc, &request, f->arena, &result, ret_endpoint, err);
	if (r == 0)
		r = f->chain.family->answer(&f->chain, question, args, result, f->arena, ret, err);
	if (r == 0 && ret->found && !ret->block.proven)
		r = error_set(err, WEIR_PROTOCOL, "the hash of block %" PRIu64 " does not follow from its header", ret->block.height);
	return r;
}

enum relation { OURS, OTHERS, UNKNOWN };

static enum relation relation_of(const struct fetch_window *w, const struct chain_block_ref *block)
{
	const struct height *same = fetch_window_find(w, block->height);
	if (same && same->known)
		return memcmp(same->hash, block->hash, 32) == 0 ? OURS : OTHERS;
	return fetch_window_other_parent_above(w, block->height, block->hash) ? OTHERS : UNKNOWN;
}

/* The block of ours that the node still has: from where it contradicted us (which may be below blocks of its branch that we have
 * already) down along parents, also through heights that we don't know. *ret_fork: it is another branch indeed. */
static int find_ancestor(struct follower *f, int endpoint, struct chain_block_ref *ret, bool *ret_fork, struct error *err)
{
	uint64_t lowest = fetch_window_lowest_known(&f->window);
	struct chain_answer a;
	size_t answered;
	int r = ask_block(f, CHAIN_ASK_BY_HEIGHT, &(struct chain_args){ .height = f->fork_from }, endpoint, &a, &answered, err);
	if (r != 0)
		return r;
	if (!a.found)
		return error_set(err, WEIR_NOT_FOUND, "the node does not have block %" PRIu64 " below its own head", f->fork_from);
	for (unsigned step = 0; step < WALK_MAX; step++) {
		enum relation relation = relation_of(&f->window, &a.block);
		*ret = a.block;
		*ret_fork = *ret_fork || relation == OTHERS;
		if (relation == OURS || a.block.height < lowest || a.block.height == 0)
			return 0; /* or below everything that we remember: the ledger goes further down from there if it must */
		uint8_t parent[32];
		memcpy(parent, a.block.parent_hash, 32);
		uint64_t below = a.block.height - 1;
		r = ask_block(f, CHAIN_ASK_BY_HASH, &(struct chain_args){ .hash = parent, .height = below }, (int)answered, &a, &answered, err);
		if (r != 0)
			return r;
		if (!a.found || a.block.height != below)
			return error_set(err, WEIR_PROTOCOL, "the node does not have the parent of its own block %" PRIu64, below + 1);
	}
	*ret = a.block;
	return 0;
}

static int publish_fork(struct follower *f, const struct chain_block_ref *ancestor, struct error *err)
{
	Weir__V1__ChainFork message;
	weir__v1__chain_fork__init(&message);
	Weir__V1__BlockRef refs[3];
	const struct height *old = fetch_window_find(&f->window, f->window.highest_known);
	uint8_t zero[32] = { 0 };
	const struct {
		uint64_t height;
		const uint8_t *hash;
	} rows[] = { { ancestor->height, ancestor->hash },
		     { f->window.highest_known, old ? old->hash : zero },
		     { f->seen_head.height, f->seen_head.hash } };
	for (size_t i = 0; i < 3; i++) {
		weir__v1__block_ref__init(&refs[i]);
		refs[i].height = rows[i].height;
		refs[i].hash = (ProtobufCBinaryData){ .len = 32, .data = (uint8_t *)(uintptr_t)rows[i].hash };
	}
	message.chain = (char *)(uintptr_t)f->chain.name;
	message.ancestor = &refs[0];
	message.old_head = &refs[1];
	message.new_head = &refs[2];
	uint8_t packed[512];
	size_t size = weir__v1__chain_fork__get_packed_size(&message);
	if (size > sizeof packed)
		return error_set(err, WEIR_INTERNAL, "fork message too large");
	weir__v1__chain_fork__pack(&message, packed);
	return publish_message(f, f->blocks, MESSAGE_CHAIN_FORK, ancestor->height, packed, size, err);
}

void fork_drop_fetched(struct follower *f)
{
	f->generation++;
	for (size_t i = 0; i <= f->window.mask; i++)
		if (f->window.slots[i].used && f->window.slots[i].state == HEIGHT_IN_FLIGHT)
			f->window.slots[i].state = HEIGHT_WANTED;
}

/* A block that fits no branch of its own node: a lie, or the node changed its mind. Often enough, and others are asked. */
static void blame(struct follower *f, int code, const char *why)
{
	if (f->fork_by_block)
		endpoints_note_failure(f->endpoints, f->fork_endpoint, code, why);
}

/* That node cannot show its branch: let the others say what the head is. */
static void not_shown(struct follower *f, int code, const struct error *err)
{
	log_warn(&f->log, "fork_not_shown", "the node that told another branch cannot show it; what it told is asked for again", LOG_ERR(err));
	if (code == WEIR_NOT_FOUND || code == WEIR_PROTOCOL)
		blame(f, code, err->text);
	fork_drop_fetched(f);
	f->has_seen = f->has_told[f->fork_endpoint] = false;
	f->head_due_ms = 0;
	f->fork_suspected = false;
}

int fork_resolve(struct follower *f, struct error *err)
{
	struct chain_block_ref ancestor = { 0 };
	bool fork = false;
	int r = find_ancestor(f, (int)f->fork_endpoint, &ancestor, &fork, err);
	if (r == WEIR_NOT_FOUND || r == WEIR_PROTOCOL || r == WEIR_UNAVAILABLE || r == WEIR_TIMEOUT) {
		not_shown(f, r, err);
		return 0;
	}
	if (r != 0)
		return r;
	if (fork) {
		r = publish_fork(f, &ancestor, err);
		if (r != 0)
			return r;
		uint64_t depth = f->window.highest_known - ancestor.height;
		fetcher_count(f, "weir_fetcher_forks_total", NULL, 1);
		fetcher_gauge(f, "weir_fetcher_fork_depth", (double)depth);
		log_info(&f->log, "fork", "the chain reorganised", LOG_U("ancestor", ancestor.height), LOG_U("depth", depth),
			 LOG_U("new_head", f->seen_head.height));
		fetch_window_forget_above(&f->window, ancestor.height);
		fetch_window_learn(&f->window, ancestor.height, ancestor.hash, ancestor.parent_hash);
	} else {
		log_info(&f->log, "fork_dismissed", "the branch that was told is ours after all");
		blame(f, WEIR_PROTOCOL, "it told a block that does not follow its own chain");
	}
	fork_drop_fetched(f);
	f->fork_height = ancestor.height + 1;
	f->fork_until_ms = clock_mono_ms() + FORK_SETTLES_MS;
	f->fork_suspected = false;
	f->head_news = true;
	return 0;
}
