/* resolve.c - is our tip still canonical? The nodes are asked; where they differ from the ledger, the ledger goes back. */
#include "follow.h"

#include "fork.h"
#include "incident.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define RESOLVE_INTERVAL_MS 100

enum agreement { AGREES, DIFFERS, UNKNOWN };

/* Does a head endpoint have our block at height? UNKNOWN: it has none there. */
static int compare_at(struct follow *f, int64_t height, uint64_t exclude, enum agreement *ret, size_t *ret_endpoint, struct error *err)
{
	uint8_t ours[32];
	struct chain_block_ref theirs;
	bool found = false;
	int code = ledger_hash_at(f->ledger, height, ours, err);
	if (!code)
		code = node_block_at(f->node, (uint64_t)height, exclude, &found, &theirs, ret_endpoint, err);
	if (!code)
		*ret = !found ? UNKNOWN : memcmp(ours, theirs.hash, 32) == 0 ? AGREES : DIFFERS;
	return code;
}

/* Below a block that differs there is one at each height: who has none is another node, which lags. It says nothing of the ledger. */
static int compare_below(struct follow *f, int64_t height, enum agreement *ret, size_t *ret_endpoint, struct error *err)
{
	int code = compare_at(f, height, 0, ret, ret_endpoint, err);
	return !code && *ret == UNKNOWN ? error_set(err, WEIR_UNAVAILABLE, "the node asked now lags: it has no block %lld", (long long)height) : code;
}

/* The highest height at or below top where node and ledger agree; start - 1 when nowhere. top differs. */
static int find_ancestor(struct follow *f, int64_t top, int64_t *ret, size_t *ret_endpoint, struct error *err)
{
	int64_t floor = f->ledger->start - 1, high = top, low = floor;
	enum agreement agreement = UNKNOWN;
	int code = 0;
	/* The fetcher's word first, then doubling steps. */
	for (int64_t step = 1; !code && high > floor + 1; step *= 2) {
		int64_t at = f->fork_ancestor >= f->ledger->start && f->fork_ancestor < high ? f->fork_ancestor : high - step;
		f->fork_ancestor = -1;
		if (at <= floor)
			break;
		code = compare_below(f, at, &agreement, ret_endpoint, err);
		if (!code && agreement == AGREES) {
			low = at;
			break;
		}
		high = at;
	}
	while (!code && high - low > 1) {
		int64_t middle = low + (high - low) / 2;
		code = compare_below(f, middle, &agreement, ret_endpoint, err);
		if (agreement == AGREES)
			low = middle;
		else
			high = middle;
	}
	*ret = low;
	return code;
}

static const char *finality_key(const struct follow *f, char ret[96])
{
	snprintf(ret, 96, "finality %s", f->chain->name);
	return ret;
}

/* The chain says again what the ledger has: by itself, or because the ledger followed it. Nothing is said where nothing was wrong. */
static void end_finality_alert(struct follow *f)
{
	char key[96];
	alert_raise(f->ctx, finality_key(f, key), ALERT_RESOLVED, "finality", "chain %s: ledger and chain have the same finalized blocks again", f->chain->name);
}

/* A reorg below what was final is followed, since the node is the truth, but only when nobody else contradicts, and never silently. */
static int check_finality(struct follow *f, int64_t ancestor, size_t endpoint, bool *ret_follow, struct error *err)
{
	char key[96];
	enum agreement agreement = DIFFERS;
	*ret_follow = true;
	if (ancestor >= f->ledger->head.finalized)
		return 0;
	if (node_endpoints(f->node) > 1) {
		size_t second;
		int code = compare_at(f, ancestor + 1, UINT64_C(1) << endpoint, &agreement, &second, err);
		if (code)
			return code;
		*ret_follow = agreement == DIFFERS || second == endpoint;
	}
	char words[300];
	snprintf(words, sizeof words, "chain %s: a reorg goes back to block %lld, below the finalized block %lld; %s", f->chain->name, (long long)ancestor,
		 (long long)f->ledger->head.finalized,
		 *ret_follow		? "weir follows the chain" :
		 agreement == AGREES ? "another endpoint has the ledger's block: weir stays and asks again" :
				       "no other endpoint has a block there: weir stays and asks again");
	alert_raise(f->ctx, finality_key(f, key), ALERT_FIRING, "finality", "%s", words);
	if (agreement == AGREES && !*ret_follow)
		endpoints_note_lie(f->endpoints, endpoint, "it tells another finalized block than the other endpoints");
	if (!*ret_follow)
		return 0;
	return incident_finality(f->ledger, ancestor, words, err);
}

int follow_retract(struct follow *f, int64_t to_height, bool fetch_again, const char *why, struct error *err)
{
	size_t blocks = 0;
	int64_t old_top = f->ledger->watermark;
	int code = ledger_retract(f->ledger, to_height, fetch_again, &blocks, err);
	if (code) {
		f->stale = true;
		return code;
	}
	metric_add(f->metrics.retracted, blocks);
	log_info(&f->log, "retracted", why, LOG_I("to", to_height), LOG_U("blocks", blocks));
	f->progress_ms = clock_mono_ms();
	follow_view(f);
	struct error later = { 0 };
	if (follow_publish_new(f, &later) || state_forget_above(f, f->ledger->watermark, old_top, &later) || state_write(f, &later)) {
		f->state_known = false; /* rewritten whole by the next second */
		log_warn(&f->log, "publish_delayed", "the retraction will be announced when Redis takes it", LOG_ERR(&later));
	}
	return 0;
}

/* Blocks that contradict a tip which the node confirmed are leftovers of a dead branch. */
static void drop_strays(struct follow *f)
{
	const struct ledger *ledger = f->ledger;
	window_drop_to(&f->window, ledger->watermark);
	for (struct held *h; (h = window_find(&f->window, ledger->watermark + 1, NULL)) && memcmp(h->facts.parent_hash, ledger->watermark_hash, 32) != 0;)
		window_remove(&f->window, h);
}

static int resolve(struct follow *f, struct error *err)
{
	int64_t top = f->ledger->watermark, ancestor;
	if (top < f->ledger->start) {
		f->suspect = false;
		return 0;
	}
	enum agreement agreement = UNKNOWN;
	size_t endpoint = 0;
	int code = compare_at(f, top, 0, &agreement, &endpoint, err);
	if (!code && agreement == UNKNOWN) {
		/* Its head is lower than our tip. That alone is no reorg; another block at its head is one. */
		struct chain_block_ref head;
		code = node_head(f->node, &head, err);
		if (!code && (int64_t)head.height < top && (int64_t)head.height >= f->ledger->start) {
			top = (int64_t)head.height;
			code = compare_at(f, top, 0, &agreement, &endpoint, err);
			if (!code && agreement == AGREES)
				agreement = UNKNOWN; /* keep what is held: it may be right */
		}
	}
	if (code)
		return code;
	f->suspect = false;
	if (agreement == AGREES) {
		drop_strays(f);
		end_finality_alert(f);
	}
	if (agreement != DIFFERS) {
		f->fork_ancestor = -1;
		return 0;
	}
	bool follow_it = false;
	code = find_ancestor(f, top, &ancestor, &endpoint, err);
	if (!code)
		code = check_finality(f, ancestor, endpoint, &follow_it, err);
	if (code || !follow_it)
		return code;
	metric_inc(f->metrics.forks);
	code = follow_retract(f, ancestor, false, "the chain was reorganized", err);
	if (!code)
		end_finality_alert(f);
	return code;
}

int follow_resolve(struct follow *f, struct error *err)
{
	int64_t now = clock_mono_ms();
	struct error why = { 0 };
	if (!f->suspect || now - f->resolve_ms < RESOLVE_INTERVAL_MS)
		return 0;
	f->resolve_ms = now;
	int code = resolve(f, &why);
	if (!code)
		return 0;
	f->suspect = true;
	if (f->stale) /* PostgreSQL, in the middle of it */
		return error_set(err, code, "%s", why.text);
	/* No node answers now. Everything else goes on; the question stays. */
	log_debug(&f->log, "resolve_waits", NULL, LOG_ERR(&why));
	f->resolve_ms = now + 10 * RESOLVE_INTERVAL_MS;
	return 0;
}
