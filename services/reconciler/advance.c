/* advance.c - taking the blocks that fit on the tip out of the window and into the ledger. */
#include "follow.h"

#include "apply.h"
#include "trace.h"

#include "base/clock.h"

#include <string.h>

static void *arena_allocate(void *arena, size_t size)
{
	return arena_alloc(arena, size);
}

static void arena_forget(void *arena, void *pointer)
{
	(void)arena;
	(void)pointer;
}

int follow_unpack(struct follow *f, struct bytes body, Weir__V1__NormalizedBlock **ret, struct error *err)
{
	ProtobufCAllocator allocator = { arena_allocate, arena_forget, f->arena };
	*ret = weir__v1__normalized_block__unpack(&allocator, body.size, body.data);
	return *ret ? 0 : error_set(err, WEIR_INVALID, "a normalized block of %zu bytes cannot be decoded", body.size);
}

struct ready {
	Weir__V1__NormalizedBlock **blocks;
	struct held **held;
	size_t count, entries;
	struct held *broken; /* the block that ended the batch because it cannot be applied */
	struct error why;
};

/* The longest chain of held blocks on the tip that fits one transaction; while we are careful, its first block. */
static int collect(struct follow *f, struct ready *ready, struct error *err)
{
	const struct ledger *ledger = f->ledger;
	size_t max_blocks = f->careful ? 1 : (size_t)f->config->reconciler.batch_blocks, max_entries = (size_t)f->config->reconciler.batch_entries;
	bool any = ledger->watermark >= ledger->start;
	int64_t height = any ? ledger->watermark + 1 : ledger->start;
	const uint8_t *parent = any ? ledger->watermark_hash : NULL;
	arena_reset(f->arena);
	*ready = (struct ready){ .blocks = arena_zalloc(f->arena, max_blocks, sizeof *ready->blocks),
				 .held = arena_zalloc(f->arena, max_blocks, sizeof *ready->held) };
	int code = careful_apply(f, window_find(&f->window, height, parent), err);
	while (!code && ready->count < max_blocks && ready->entries < max_entries) {
		struct held *held = window_find(&f->window, height, parent);
		if (!held)
			break;
		Weir__V1__NormalizedBlock *block;
		if (follow_unpack(f, (struct bytes){ held->body, held->size }, &block, &ready->why) || ledger_check_block(block, &ready->why)) {
			ready->broken = held;
			break;
		}
		ready->blocks[ready->count] = block;
		ready->held[ready->count++] = held;
		ready->entries += block->n_entries;
		parent = held->facts.hash;
		height++;
	}
	return code;
}

static void note_applied(struct follow *f, const struct ready *ready, const struct applied *applied, double seconds)
{
	metric_add(f->metrics.blocks, applied->blocks);
	metric_add(f->metrics.entries, applied->entries);
	metric_add(f->metrics.openings, applied->openings);
	metric_add(f->metrics.openings_unknown, applied->openings_unknown);
	metric_observe(f->metrics.batch_seconds, seconds);
	metric_observe(f->metrics.batch_entries, (double)applied->entries);
	if (applied->blocks > 0)
		f->tip_timestamp = (int64_t)ready->blocks[applied->skipped + applied->blocks - 1]->timestamp;
	f->progress_ms = clock_mono_ms();
	log_debug(&f->log, "applied", NULL, LOG_I("watermark", f->ledger->watermark), LOG_U("blocks", applied->blocks),
		  LOG_U("entries", applied->entries), LOG_F("seconds", seconds));
}

static void hand_over_touches(struct follow *f, const struct applied *applied)
{
	if (applied->touch_count == 0 && applied->balances > 0)
		metric_add(chain_metrics_skipped(&f->metrics, "in_backfill"), applied->balances);
	size_t put = mailbox_put_touches(f->mailbox, applied->touches, applied->touch_count);
	if (put < applied->touch_count)
		metric_add(chain_metrics_skipped(&f->metrics, "queue_full"), applied->touch_count - put);
}

static int apply_ready(struct follow *f, const struct ready *ready, struct error *err)
{
	struct applied applied;
	struct apply_trace trace;
	int64_t began = clock_mono_ns(), old = f->ledger->watermark;
	apply_trace_begin(&trace, daemon_spans(f->ctx), f->chain->name, f->arena, ready->blocks, ready->held, ready->count);
	int code = ledger_apply(f->ledger, ready->blocks, ready->count, &applied, err);
	apply_trace_end(&trace, code, err);
	if (code) {
		f->stale = true;
		return code;
	}
	note_applied(f, ready, &applied, (double)(clock_mono_ns() - began) / 1e9);
	for (size_t i = 0; i < applied.skipped + applied.blocks; i++) {
		careful_applied(f, ready->held[i]);
		window_remove(&f->window, ready->held[i]);
	}
	gaps_forget_to(f, f->ledger->watermark);
	hand_over_touches(f, &applied);
	follow_view(f);
	/* What is committed is committed: Redis hears of it now, or when it is back. */
	struct error later = { 0 };
	if (follow_publish_new(f, &later) || state_write_hashes(f, old + 1, f->ledger->watermark, &later) || state_write(f, &later))
		log_warn(&f->log, "publish_delayed", "committed blocks will be announced when Redis takes them", LOG_ERR(&later));
	return 0;
}

int follow_advance(struct follow *f, bool *ret_some, struct error *err)
{
	struct ready ready;
	*ret_some = false;
	if (f->ledger->paused)
		return 0;
	int code = collect(f, &ready, err);
	if (code)
		return code;
	if (ready.count > 0) {
		code = apply_ready(f, &ready, err);
		*ret_some = code == 0;
	} else if (ready.broken) {
		int64_t height = ready.broken->facts.height;
		log_error(&f->log, "block_malformed", "a proven block cannot be applied; it is fetched again", LOG_I("height", height),
			  LOG_ERR(&ready.why));
		window_remove(&f->window, ready.broken);
		code = gap_dead_letter(f, height, ready.why.text, err);
	}
	return code;
}
