/* opinion.c - a second opinion on the chain that is followed: per block one endpoint is asked for the hash a few blocks below the head. Where it is
 * another one all endpoints are asked, again and again, until they agree, or two of them have gone on building different chains
 * (docs/decisions/0047-a-second-opinion.md). */
#include "fetcher.h"

#include "base/clock.h"
#include "wire/hex.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH 4          /* blocks below the head: there honest endpoints differ for moments only */
#define EVERY_MS 1000    /* at most so often, however fast the chain is */
#define ALARMED_MS 5000  /* then everything is said, and it is only asked whether it is over */
#define ROUNDS 3         /* so often all say the same, which is not one thing */

struct opinion_call {
	struct follower *f;
	size_t endpoint;
	uint64_t height;
};

static void measure(struct follower *f, size_t endpoint, bool differs)
{
	struct endpoint_status status;
	endpoints_status(f->endpoints, endpoint, &status);
	metric_set(metrics_get(daemon_metrics(f->fetcher->ctx), "weir_fetcher_endpoint_differs", f->chain.name, status.name, NULL), differs);
}

/* The block at the height that the ledger has, or will have. */
static const struct height *ours(const struct follower *f, uint64_t height)
{
	const struct height *h = fetch_window_find(&f->window, height);
	return h && h->known ? h : NULL;
}

/* Only who keeps up with the head counts: who lags, or stands still on a branch that the others left, will follow. */
static bool counts(const struct opinion_told *told)
{
	return told->has && told->level;
}

static void list(struct follower *f, struct buf *out)
{
	const struct opinion *o = &f->opinion;
	const struct height *h = ours(f, o->height);
	struct endpoint_status status;
	char hash[67];
	for (size_t i = 0; i < f->config->endpoint_count; i++) {
		if (!counts(&o->told[i]))
			continue;
		endpoints_status(f->endpoints, i, &status);
		hex_from_bytes(o->told[i].hash, 32, hash);
		buf_printf(out, "%s%s %s%s", out->size ? ", " : "", status.name, hash,
			   h && memcmp(h->hash, o->told[i].hash, 32) == 0 ? " (the ledger's)" : "");
	}
}

static void raise(struct follower *f, enum alert_state state)
{
	char key[96];
	struct buf said = BUF_INIT(2048);
	snprintf(key, sizeof key, "endpoints differ %s", f->chain.name);
	list(f, &said);
	if (state == ALERT_FIRING)
		alert_raise(f->fetcher->ctx, key, state, "lying-node", "chain %s: endpoints build different chains; at block %" PRIu64 ": %s", f->chain.name,
			    f->opinion.height, buf_str(&said));
	else
		alert_raise(f->fetcher->ctx, key, state, "lying-node", "chain %s: endpoints tell the same block %" PRIu64 " again", f->chain.name,
			    f->opinion.height);
	buf_free(&said);
	f->opinion.alarmed = state == ALERT_FIRING;
}

static void end(struct follower *f)
{
	struct opinion *o = &f->opinion;
	for (size_t i = 0; i < f->config->endpoint_count; i++)
		measure(f, i, false);
	o->looking = o->alarmed = false;
	o->rounds = 0;
}

/* Rules watch the measure: it is there before anything is known. */
void opinion_open(struct follower *f)
{
	end(f);
}

/* All have answered, or will not. */
static void judge(struct follower *f)
{
	struct opinion *o = &f->opinion;
	const struct height *h = ours(f, o->height);
	const struct opinion_told *first = NULL;
	bool differ = false, as_before = true;
	size_t n = 0;
	for (size_t i = 0; i < f->config->endpoint_count; i++) {
		if (!counts(&o->told[i]))
			continue;
		n++;
		first = first ? first : &o->told[i];
		differ = differ || memcmp(first->hash, o->told[i].hash, 32) != 0;
		as_before = as_before && counts(&o->before[i]) && memcmp(o->before[i].hash, o->told[i].hash, 32) == 0;
	}
	if (differ) {
		o->rounds = as_before ? o->rounds + 1 : 1;
		memcpy(o->before, o->told, sizeof o->before);
		if (!o->alarmed && o->rounds >= ROUNDS && f->seen_head.height >= o->height + (uint64_t)2 * DEPTH)
			raise(f, ALERT_FIRING);
		for (size_t i = 0; o->alarmed && i < f->config->endpoint_count; i++)
			measure(f, i, counts(&o->told[i]) && (!h || memcmp(h->hash, o->told[i].hash, 32) != 0));
	} else if (n > 1 && o->alarmed) {
		raise(f, ALERT_RESOLVED);
		end(f);
	} else if (!o->alarmed) {
		end(f); /* they agree, or there are no two to compare: asked one by one again */
	}
}

static void note(struct follower *f, size_t endpoint, const struct chain_block_ref *block)
{
	struct opinion *o = &f->opinion;
	const struct height *h = ours(f, block->height);
	if (!o->looking) {
		o->looking = !f->fork_suspected && h && memcmp(h->hash, block->hash, 32) != 0;
		o->height = block->height;
		o->due_ms = o->looking ? 0 : o->due_ms;
		memset(o->before, 0, sizeof o->before);
		return;
	}
	if (block->height == o->height) {
		o->told[endpoint].has = true;
		memcpy(o->told[endpoint].hash, block->hash, 32);
	}
	o->told[endpoint].level = o->told[endpoint].level || block->height == o->level;
}

static void on_answer(const struct rpc_answer *answer, void *arg)
{
	struct opinion_call call = *(struct opinion_call *)arg;
	struct follower *f = call.f;
	bool looking = f->opinion.looking;
	free(arg);
	f->opinion.waiting--;
	if (answer->code == 0) {
		struct arena *arena = arena_new(64u << 20);
		struct chain_answer a = { 0 };
		struct error err = { 0 };
		int r = f->chain.family->answer(&f->chain, CHAIN_ASK_BY_HEIGHT, &(struct chain_args){ .height = call.height }, answer->result, arena, &a, &err);
		if (r == 0 && a.found && !a.block.proven)
			r = error_set(&err, WEIR_PROTOCOL, "the hash of block %" PRIu64 " does not follow from its header", a.block.height);
		if (r != 0)
			endpoints_note_failure(f->endpoints, answer->endpoint, r, err.text);
		else if (a.found)
			note(f, call.endpoint, &a.block);
		arena_free(&arena);
	}
	if (looking && f->opinion.waiting == 0)
		judge(f);
}

static void ask(struct follower *f, size_t endpoint, uint64_t height)
{
	struct chain_call question;
	arena_reset(f->arena);
	if (f->chain.family->question(&f->chain, CHAIN_ASK_BY_HEIGHT, &(struct chain_args){ .height = height }, f->arena, &question, NULL) != 0)
		return;
	struct opinion_call *call = xmalloc(sizeof *call);
	*call = (struct opinion_call){ f, endpoint, height };
	struct rpc_request request = { .method = question.method, .params = question.params, .only = (int)endpoint, .attempts = 1, .tip = true,
				       .timeout_ms = 5000, .on_done = on_answer, .arg = call };
	f->opinion.waiting++;
	if (rpc_call(f->rpc, &request) != 0) {
		f->opinion.waiting--;
		free(call);
	}
}

/* Who differs is asked about one height until it is settled, and whether it keeps up. */
static void ask_all(struct follower *f)
{
	struct opinion *o = &f->opinion;
	memset(o->told, 0, sizeof o->told);
	o->level = f->seen_head.height > o->height + DEPTH ? f->seen_head.height - DEPTH : o->height;
	for (size_t i = 0; i < f->config->endpoint_count; i++) {
		ask(f, i, o->height);
		if (o->level != o->height)
			ask(f, i, o->level);
	}
}

static void ask_next(struct follower *f)
{
	struct opinion *o = &f->opinion;
	uint64_t height = f->seen_head.height - DEPTH;
	o->asked_head = f->seen_head.height;
	o->next = (o->next + 1) % f->config->endpoint_count;
	if (ours(f, height))
		ask(f, o->next, height);
}

void opinion_poll(struct follower *f)
{
	struct opinion *o = &f->opinion;
	int64_t now = clock_mono_ms(), every = f->config->poll_interval_ms > EVERY_MS ? f->config->poll_interval_ms : EVERY_MS;
	if (!f->owning) {
		if (o->looking)
			end(f); /* whoever owns the chain asks, and tells */
		return;
	}
	if (f->config->endpoint_count < 2 || !f->has_seen || f->seen_head.height < DEPTH || f->fork_suspected || o->waiting > 0 || now < o->due_ms)
		return;
	if (!o->looking && f->seen_head.height == o->asked_head)
		return;
	o->due_ms = now + (o->alarmed ? ALARMED_MS : every);
	if (o->looking)
		ask_all(f);
	else
		ask_next(f);
}
