/* head.c - the newest block: by WebSocket where offered, else by asking; and the tags safe and finalized.
 *
 * A node that lags or goes back is not a reorg: the seen head only moves up, or to another hash at a height that we know, which
 * is then proven or dismissed by fork.c; or down, but never below what was fetched, when nobody who is trusted claims it any more.
 */
#include "fetcher.h"

#include "base/clock.h"
#include "weir/streams.h"

#include <stdio.h>
#include <string.h>

#define TAGS_EVERY_MS 1000
#define STALL_POLL_MS 1000
#define RETELL_MS 10000 /* tags that did not change: the ledger may have been on a dead branch when it heard them */
#define UNCLAIMED_MS 1500 /* so long nobody may claim the seen head before it is given up */

/* Whoever was found lying or does not answer is not believed about the head either. */
static bool trusted(const struct follower *f, size_t endpoint)
{
	struct endpoint_status s;
	endpoints_status(f->endpoints, endpoint, &s);
	return s.breaker == BREAKER_CLOSED && !s.wrong_chain;
}

static bool any_live(const struct follower *f)
{
	for (size_t i = 0; i < f->config->endpoint_count; i++)
		if (f->sockets[i] && rpc_socket_live(f->sockets[i]) && trusted(f, i))
			return true;
	return false;
}

int head_open(struct follower *f, struct error *err)
{
	struct chain_call call;
	char message[256];
	int r = f->chain.family->question(&f->chain, CHAIN_ASK_SUBSCRIBE_HEADS, NULL, f->arena, &call, err);
	if (r != 0)
		return 0; /* a family without notices: polled */
	snprintf(message, sizeof message, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}", call.method, call.params);
	for (size_t i = 0; i < f->config->endpoint_count; i++) {
		const struct endpoint_config *e = &f->config->endpoints[i];
		if (*e->ws_url && e->head && rpc_socket_open(e->ws_url, e->auth_header, message, &f->log, &f->sockets[i], err) != 0)
			return WEIR_CONFIG;
	}
	return 0;
}

static void see(struct follower *f, const struct chain_block_ref *block)
{
	f->seen_head = *block;
	f->has_seen = true;
	f->head_news = true;
	f->announced_ms = clock_wall_ms();
	f->unclaimed_ms = clock_mono_ms();
	fetcher_gauge(f, "weir_fetcher_head_height", (double)block->height);
}

/* The highest head that a trusted endpoint claims. Lower than what was seen: that was a lie, or a node that went back. */
static void choose(struct follower *f)
{
	const struct chain_block_ref *best = NULL;
	bool claimed = false;
	for (size_t i = 0; i < f->config->endpoint_count; i++) {
		if (!f->has_told[i] || !trusted(f, i))
			continue;
		claimed = claimed || (f->has_seen && memcmp(f->told[i].hash, f->seen_head.hash, 32) == 0);
		if (!best || f->told[i].height > best->height)
			best = &f->told[i];
	}
	int64_t now = clock_mono_ms();
	if (claimed || !f->has_seen || !best)
		f->unclaimed_ms = now; /* an older answer may arrive after a newer notice, and a balancer's nodes are not level */
	if (!best || f->fork_suspected)
		return;
	if (!f->has_seen || best->height > f->seen_head.height) {
		see(f, best);
	} else if (now - f->unclaimed_ms >= UNCLAIMED_MS && (!f->window.any_known || best->height >= f->window.highest_known)) {
		log_info(&f->log, "head_lower", "nobody claims the head that was told any more", LOG_U("was", f->seen_head.height),
			 LOG_U("head", best->height));
		fork_drop_fetched(f);
		see(f, best);
	}
}

/* A node told a block as its head. */
static void note(struct follower *f, size_t endpoint, const struct chain_block_ref *block)
{
	endpoints_note_head(f->endpoints, endpoint, block->height);
	f->told[endpoint] = *block;
	f->has_told[endpoint] = true;
	bool same = f->has_seen && memcmp(block->hash, f->seen_head.hash, 32) == 0;
	if (!same && trusted(f, endpoint) && fork_contradicts(f, block)) {
		see(f, block);
		fork_suspect(f, endpoint, block, false);
	} else {
		choose(f);
	}
}

static void note_tag(struct follower *f, struct chain_block_ref *tag, const struct chain_block_ref *block)
{
	bool known = block->height == tag->height && memcmp(block->hash, tag->hash, 32) == 0;
	if (known && clock_mono_ms() - f->head_told_ms < RETELL_MS)
		return; /* each telling costs the ledger a commit */
	*tag = *block;
	f->head_dirty = true;
}

struct notice {
	struct follower *f;
	size_t endpoint;
};

static void on_notice(struct bytes message, void *arg)
{
	struct notice *n = arg;
	struct chain_block_ref block;
	struct error err = { 0 };
	int r = n->f->chain.family->notice(&n->f->chain, message, &block, &err);
	if (r == 0)
		note(n->f, n->endpoint, &block);
	else if (r != WEIR_NOT_FOUND)
		endpoints_note_failure(n->f->endpoints, n->endpoint, r, err.text);
}

struct asked {
	struct follower *f;
	enum chain_question question;
};

static void on_answer(const struct rpc_answer *answer, void *arg)
{
	struct asked *asked = arg;
	struct follower *f = asked->f;
	enum chain_question question = asked->question;
	struct chain_answer a = { 0 };
	struct error err = { 0 };
	free(asked);
	if (question == CHAIN_ASK_HEAD)
		f->head_asked = false;
	if (answer->code != 0)
		return; /* counted and logged by the endpoint set */
	struct arena *arena = arena_new(64u << 20);
	int r = f->chain.family->answer(&f->chain, question, &(struct chain_args){ 0 }, answer->result, arena, &a, &err);
	if (r != 0)
		endpoints_note_failure(f->endpoints, answer->endpoint, r, err.text);
	else if (question == CHAIN_ASK_HEAD && a.found)
		note(f, answer->endpoint, &a.block);
	else if (question == CHAIN_ASK_SAFE && a.found)
		note_tag(f, &f->safe, &a.block);
	else if (question == CHAIN_ASK_FINALIZED && a.found)
		note_tag(f, &f->finalized, &a.block);
	arena_free(&arena);
}

static void ask(struct follower *f, enum chain_question question, int only)
{
	struct chain_call call;
	arena_reset(f->arena);
	if (f->chain.family->question(&f->chain, question, &(struct chain_args){ 0 }, f->arena, &call, NULL) != 0)
		return;
	struct asked *asked = xmalloc(sizeof *asked);
	*asked = (struct asked){ f, question };
	struct rpc_request request = { .method = call.method, .params = call.params, .role = ENDPOINT_HEAD, .only = only, .attempts = 2,
				       .tip = true, .timeout_ms = 5000, .on_done = on_answer, .arg = asked };
	if (rpc_call(f->rpc, &request) != 0)
		free(asked);
	else if (question == CHAIN_ASK_HEAD)
		f->head_asked = true;
}

void head_poll(struct follower *f)
{
	struct error err = { 0 };
	for (size_t i = 0; i < f->config->endpoint_count; i++)
		if (f->sockets[i])
			(void)rpc_socket_poll(f->sockets[i], on_notice, &(struct notice){ f, i }, &err);
	choose(f); /* who was trusted a moment ago may not be any more */
	int64_t now = clock_mono_ms();
	if (now >= f->head_due_ms && !f->head_asked) {
		/* With a live socket asking is the net below; a node may also go back without a notice. */
		int64_t every = any_live(f) ? (f->config->poll_interval_ms > STALL_POLL_MS ? f->config->poll_interval_ms : STALL_POLL_MS) :
					      f->config->poll_interval_ms;
		f->head_due_ms = now + every;
		for (size_t i = 0; i < f->config->endpoint_count; i++) /* each head endpoint: the highest wins */
			if (f->config->endpoints[i].head)
				ask(f, CHAIN_ASK_HEAD, (int)i);
	}
	if (now >= f->tags_due_ms && f->has_seen) {
		f->tags_due_ms = now + (f->config->poll_interval_ms > TAGS_EVERY_MS ? f->config->poll_interval_ms : TAGS_EVERY_MS);
		ask(f, CHAIN_ASK_SAFE, -1);
		ask(f, CHAIN_ASK_FINALIZED, -1);
	}
}

/* The tag, but never shallower than finality_depth: a tag alone has been wrong on real chains. */
static struct chain_block_ref floored(const struct follower *f, struct chain_block_ref tag)
{
	uint64_t depth = (uint64_t)f->config->finality_depth;
	uint64_t highest = f->seen_head.height > depth ? f->seen_head.height - depth : 0;
	if (tag.height > highest) {
		tag.height = highest;
		memset(tag.hash, 0, 32); /* the height counts; the ledger knows the hash */
	}
	return tag;
}

static Weir__V1__BlockRef message_of(const struct chain_block_ref *block)
{
	Weir__V1__BlockRef ref = WEIR__V1__BLOCK_REF__INIT;
	ref.height = block->height;
	ref.hash = (ProtobufCBinaryData){ .len = 32, .data = (uint8_t *)(uintptr_t)block->hash };
	return ref;
}

int head_publish(struct follower *f, struct error *err)
{
	if (!f->owning || !f->has_seen || f->fork_suspected || (!f->head_news && !f->head_dirty))
		return 0;
	Weir__V1__ChainHead message;
	weir__v1__chain_head__init(&message);
	struct chain_block_ref safe = floored(f, f->safe), finalized = floored(f, f->finalized);
	Weir__V1__BlockRef head = message_of(&f->seen_head), safe_ref = message_of(&safe), finalized_ref = message_of(&finalized);
	message.chain = (char *)(uintptr_t)f->chain.name;
	message.head = &head;
	message.safe = &safe_ref;
	message.finalized = &finalized_ref;
	message.observed_at_unix_ms = (uint64_t)clock_wall_ms();
	uint8_t packed[512];
	size_t size = weir__v1__chain_head__get_packed_size(&message);
	if (size > sizeof packed)
		return error_set(err, WEIR_INTERNAL, "head message too large");
	weir__v1__chain_head__pack(&message, packed);
	int r = publish_message(f, f->blocks, MESSAGE_CHAIN_HEAD, f->seen_head.height, packed, size, err);
	if (r == 0)
		f->head_news = f->head_dirty = false;
	f->head_told_ms = clock_mono_ms();
	return r;
}
