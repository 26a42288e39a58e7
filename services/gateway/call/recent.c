/* recent.c - a table of answers by path and query under one lock; the oldest make room. */
#include "call/recent.h"

#include "call/validator.h"

#include "base/clock.h"
#include "base/cond.h"
#include "base/hash.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 32768
#define JOIN_MS 2000 /* after that a read that waits for another is made itself */

/* A chain's ledger, counted: any change, and those that took something back. The last one counts for all chains. */
struct moves {
	uint64_t all, back;
};

enum kept_state { KEPT_MADE, KEPT_DONE, KEPT_FAILED };

struct recent_kept {
	struct recent_kept *next_of_bucket, *newer, *older;
	unsigned users; /* the table, its maker, who waits for it */
	enum kept_state state;
	bool listed;
	size_t chain;
	struct moves moves; /* when the reading began */
	bool stays;         /* through events that take nothing back */
	int64_t until_ms;
	const char *type, *caching;
	char etag[ETAG_MAX];
	uint8_t *body; /* owned */
	size_t body_size;
	size_t bucket, key_size;
	uint8_t key[];
};

struct recent_answers {
	size_t max_bytes, chains;
	struct metric *bytes_now, *hits, *joined, *misses;
	pthread_mutex_t lock; /* guards everything below */
	pthread_cond_t made;
	size_t bytes;
	struct moves *moves; /* by chain, and one for all */
	struct recent_kept *oldest, *newest;
	struct recent_kept *buckets[BUCKETS];
};

/* ---- which answers ------------------------------------------------------------------------------------------------------------------------ */

struct tier {
	const char *path;
	int64_t keep_ms;
	bool stays;
};

static const struct tier *tier_of(const struct route *route)
{
	static const struct tier tiers[] = {
		{ "/v1/chains", 3000, false },
		{ "/v1/chains/{chain}", 3000, false },
		{ "/v1/chains/{chain}/blocks", 3000, false },
		{ "/v1/chains/{chain}/blocks/{block}", 3000, false },
		{ "/v1/chains/{chain}/blocks/{block}/certificate", 3000, false },
		{ "/v1/chains/{chain}/blocks/{block}/entries", 3000, false },
		{ "/v1/chains/{chain}/entries", 3000, false },
		{ "/v1/chains/{chain}/transactions/{hash}", 3000, false },
		{ "/v1/chains/{chain}/accounts/{account}/balances", 3000, false },
		{ "/v1/chains/{chain}/accounts/{account}/entries", 3000, false },
		{ "/v1/chains/{chain}/statistics", 30000, true },
		{ "/v1/chains/{chain}/statistics/history", 30000, true },
		{ "/v1/chains/{chain}/accounts/{account}/statistics", 30000, true },
		{ "/v1/chains/{chain}/assets/{asset}/statistics", 30000, true },
		{ "/v1/chains/{chain}/assets/{asset}", 60000, true },
	};
	for (size_t i = 0; i < sizeof tiers / sizeof tiers[0]; i++)
		if (strcmp(route->path, tiers[i].path) == 0)
			return &tiers[i];
	return NULL;
}

/* False: too long. Names and values are behind one another with zero bytes between, which neither has. */
static bool key_of(const struct target *target, struct buf *ret)
{
	buf_add(ret, target->path, strlen(target->path) + 1);
	for (size_t i = 0; i < target->parameter_count; i++) {
		buf_add(ret, target->parameters[i].name, strlen(target->parameters[i].name) + 1);
		buf_add(ret, target->parameters[i].value, strlen(target->parameters[i].value) + 1);
	}
	return !ret->overflow;
}

/* ---- the table ------------------------------------------------------------------------------------------------------------------------------ */

static size_t bucket_of(struct bytes key)
{
	uint64_t hash = hash_bytes(HASH_BASIS, key.data, key.size);
	return (hash ^ hash >> 32) % BUCKETS;
}

static struct recent_kept *find(struct recent_answers *all, struct bytes key)
{
	struct recent_kept *kept = all->buckets[bucket_of(key)];
	while (kept && (kept->key_size != key.size || memcmp(kept->key, key.data, key.size) != 0))
		kept = kept->next_of_bucket;
	return kept;
}

static size_t size_of(const struct recent_kept *kept)
{
	return sizeof *kept + kept->key_size + kept->body_size;
}

static void drop_user(struct recent_kept *kept)
{
	if (--kept->users > 0)
		return;
	free(kept->body);
	free(kept);
}

static void list(struct recent_answers *all, struct recent_kept *kept)
{
	kept->next_of_bucket = all->buckets[kept->bucket];
	all->buckets[kept->bucket] = kept;
	kept->older = all->newest;
	*(all->newest ? &all->newest->newer : &all->oldest) = kept;
	all->newest = kept;
	kept->listed = true;
	kept->users++;
	all->bytes += size_of(kept);
}

static void unlist(struct recent_answers *all, struct recent_kept *kept)
{
	if (!kept->listed)
		return;
	for (struct recent_kept **p = &all->buckets[kept->bucket]; *p; p = &(*p)->next_of_bucket)
		if (*p == kept) {
			*p = kept->next_of_bucket;
			break;
		}
	*(kept->newer ? &kept->newer->older : &all->newest) = kept->older;
	*(kept->older ? &kept->older->newer : &all->oldest) = kept->newer;
	kept->listed = false;
	all->bytes -= size_of(kept);
	drop_user(kept);
}

static bool stands(const struct recent_answers *all, const struct recent_kept *kept)
{
	const struct moves *now = &all->moves[kept->chain];
	return kept->moves.back == now->back && (kept->stays || kept->moves.all == now->all);
}

static struct recent_kept *make(struct recent_answers *all, struct bytes key, const struct tier *tier, size_t chain)
{
	struct recent_kept *kept = xmalloc(sizeof *kept + key.size);
	kept->users = 1;
	kept->state = KEPT_MADE;
	kept->chain = chain;
	kept->moves = all->moves[chain];
	kept->stays = tier->stays;
	kept->until_ms = clock_mono_ms() + tier->keep_ms;
	kept->key_size = key.size;
	kept->bucket = bucket_of(key);
	memcpy(kept->key, key.data, key.size);
	list(all, kept);
	return kept;
}

/* The read in flight is over, or took too long. */
static void wait_for(struct recent_answers *all, struct recent_kept *kept)
{
	const struct timespec until = cond_deadline(JOIN_MS);
	kept->users++;
	while (kept->state == KEPT_MADE && pthread_cond_timedwait(&all->made, &all->lock, &until) == 0)
		;
}

static void give(struct call *call, const struct recent_kept *kept)
{
	struct http_response *r = call->response;
	r->status = 200;
	r->type = kept->type;
	r->caching = kept->caching;
	memcpy(r->etag, kept->etag, sizeof kept->etag);
	buf_add(&r->body, kept->body, kept->body_size);
}

/* Gives what is there or being made; else *ret is the caller's to make, or NULL. */
static bool look(struct recent_answers *all, struct call *call, struct bytes key, const struct tier *tier, size_t chain, struct recent_kept **ret)
{
	struct recent_kept *kept = find(all, key);
	bool joins = kept && kept->state == KEPT_MADE && stands(all, kept), given = false;
	*ret = NULL;
	if (joins && call->hurried)
		return false; /* it is made beside the other one, and not kept */
	if (joins)
		wait_for(all, kept);
	if (kept && kept->state == KEPT_DONE && stands(all, kept) && clock_mono_ms() < kept->until_ms) {
		give(call, kept);
		given = true;
	}
	if (kept && !joins && !given)
		unlist(all, kept); /* one in flight, of before the ledger moved, goes on for those who wait for it */
	if (joins)
		drop_user(kept);
	else if (!given)
		*ret = make(all, key, tier, chain);
	struct metric *metric = given ? joins ? all->joined : all->hits : all->misses;
	if (metric)
		metric_inc(metric);
	return given;
}

static bool find_chain(const struct call *call, const struct recent_answers *all, size_t *ret)
{
	*ret = all->chains;
	if (!call->places[0])
		return true;
	const struct gateway_chain *chain = gateway_find_chain(call->gateway, call->places[0]);
	if (chain)
		*ret = chain->index;
	return chain && chain->index < all->chains;
}

bool recent_begin(struct call *call, struct recent_ticket *ret)
{
	struct recent_answers *all = call->gateway->recent;
	struct buf key = BUF_INIT(RECENT_KEY_MAX);
	size_t chain = 0;
	*ret = (struct recent_ticket){ .fields = call->response->field_count };
	const struct tier *tier = all->max_bytes > 0 && strcmp(call->request->method, "GET") == 0 ? tier_of(call->route) : NULL;
	bool given = false;
	if (tier && find_chain(call, all, &chain) && key_of(&call->request->target, &key)) {
		pthread_mutex_lock(&all->lock);
		given = look(all, call, (struct bytes){ key.data, key.size }, tier, chain, &ret->kept);
		pthread_mutex_unlock(&all->lock);
	}
	buf_free(&key);
	if (given)
		validator_not_modified(call);
	return given;
}

void recent_end(struct call *call, struct recent_ticket *ticket)
{
	struct recent_answers *all = call->gateway->recent;
	const struct http_response *r = call->response;
	struct recent_kept *kept = ticket->kept;
	if (!kept)
		return;
	bool good = r->status == 200 && !r->take && !r->body.overflow && r->body.size > 0 && r->body.size <= RECENT_ANSWER_MAX && r->field_count == ticket->fields &&
		    strlen(r->etag) < sizeof kept->etag;
	uint8_t *body = good ? xmemdup(r->body.data, r->body.size) : NULL;
	pthread_mutex_lock(&all->lock);
	kept->state = good ? KEPT_DONE : KEPT_FAILED;
	if (good) {
		all->bytes += kept->listed ? r->body.size : 0;
		kept->body = body;
		kept->body_size = r->body.size;
		kept->type = r->type;
		kept->caching = r->caching;
		memcpy(kept->etag, r->etag, strlen(r->etag) + 1);
	} else {
		unlist(all, kept);
	}
	while (all->oldest && all->bytes > all->max_bytes)
		unlist(all, all->oldest);
	if (all->bytes_now)
		metric_set(all->bytes_now, (double)all->bytes);
	drop_user(kept);
	pthread_cond_broadcast(&all->made);
	pthread_mutex_unlock(&all->lock);
	ticket->kept = NULL;
}

void recent_moved(struct recent_answers *all, size_t chain, bool taken_back)
{
	pthread_mutex_lock(&all->lock);
	for (size_t i = 0; i < 2; i++) {
		struct moves *moves = &all->moves[i == 0 ? chain : all->chains];
		moves->all++;
		moves->back += taken_back;
	}
	pthread_mutex_unlock(&all->lock);
}

/* ---- opening and closing ----------------------------------------------------------------------------------------------------------------------- */

struct recent_answers *recent_new(size_t max_bytes, size_t chains, struct metrics *metrics)
{
	struct recent_answers *all = xmalloc(sizeof *all);
	all->max_bytes = max_bytes;
	all->chains = chains;
	all->moves = xcalloc(chains + 1, sizeof *all->moves);
	if (metrics) {
		all->bytes_now = metrics_get(metrics, "weir_gateway_recent_bytes", NULL, NULL, NULL);
		all->hits = metrics_get(metrics, "weir_gateway_recent_total", "hit", NULL, NULL);
		all->joined = metrics_get(metrics, "weir_gateway_recent_total", "joined", NULL, NULL);
		all->misses = metrics_get(metrics, "weir_gateway_recent_total", "miss", NULL, NULL);
	}
	pthread_mutex_init(&all->lock, NULL);
	cond_init(&all->made);
	return all;
}

void recent_free(struct recent_answers **allp)
{
	struct recent_answers *all = *allp;
	if (!all)
		return;
	while (all->oldest)
		unlist(all, all->oldest);
	pthread_cond_destroy(&all->made);
	pthread_mutex_destroy(&all->lock);
	xfree(&all->moves);
	xfree(allp);
}
