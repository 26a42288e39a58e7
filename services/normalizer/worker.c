/* worker.c - one thread: read a batch, normalize each block, settle the batch in one step. */
#include "normalizer.h"

#include "base/clock.h"
#include "bus/dead_letter.h"
#include "bus/registry.h"
#include "bus/trace.h"
#include "weir/streams.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ARENA_EXTRA (64u << 20) /* beyond the decoded answers: parsed JSON and results need several times their size */
#define READ_MS 1000

static const uint16_t raw_types[] = { MESSAGE_RAW_BLOCK_TIP, MESSAGE_RAW_BLOCK_BACKFILL };

static void *arena_allocate(void *arena, size_t size)
{
	return arena_alloc(arena, size);
}

static void arena_release(void *arena, void *p)
{
	(void)arena;
	(void)p;
}

static void count_result(struct normalizer *n, const struct chain *chain, const Weir__V1__NormalizedBlock *block, double seconds)
{
	struct metrics *m = daemon_metrics(n->ctx);
	bool proven = block->certificate->proven;
	metric_inc(metrics_get(m, "weir_normalizer_blocks_total", chain->name, proven ? "proven" : "unproven", NULL));
	metric_add(metrics_get(m, "weir_normalizer_entries_total", chain->name, NULL, NULL), block->n_entries);
	metric_observe(metrics_get(m, "weir_normalizer_block_seconds", chain->name, NULL, NULL), seconds);
	metric_set(metrics_get(m, "weir_normalizer_height", chain->name, NULL, NULL), (double)block->height);
	if (proven)
		return;
	struct log log = log_for_chain(daemon_log(n->ctx), chain->name);
	for (size_t i = 0; i < block->certificate->n_checks; i++) {
		const Weir__V1__Check *check = block->certificate->checks[i];
		if (check->result != WEIR__V1__CHECK_RESULT__CHECK_RESULT_FAILED)
			continue;
		const char *name =
			protobuf_c_enum_descriptor_get_value(&weir__v1__check_name__descriptor, (int)check->name)->name + strlen("CHECK_NAME_");
		metric_inc(metrics_get(m, "weir_normalizer_checks_failed_total", chain->name, name, check->endpoint));
		log_warn(&log, "block_unproven", "the block does not match its commitments; it is asked of another endpoint",
			 LOG_U("height", block->height), LOG_S("check", name), LOG_S("endpoint", check->endpoint), LOG_S("detail", check->detail));
	}
}

static void emit(const struct bus_message *cause, const struct span_context *trace, const Weir__V1__NormalizedBlock *block, struct arena *arena,
		 struct bus_step *step, struct error *why)
{
	size_t size = weir__v1__normalized_block__get_packed_size(block);
	uint8_t *packed = arena_alloc(arena, size + 1);
	char key[24];
	if (!packed || size > FRAME_BODY_MAX) {
		error_set(why, WEIR_LIMIT, "block %" PRIu64 " normalizes to %zu bytes; at most %u fit a message", block->height, size,
			  FRAME_BODY_MAX);
		return;
	}
	weir__v1__normalized_block__pack(block, packed);
	struct frame frame = cause->frame;
	frame_set_trace(&frame, trace);
	frame.type = MESSAGE_NORMALIZED_BLOCK;
	frame.schema_version = 1;
	frame.event_id[0] ^= 0x5a; /* derived: the same block again gives the same id */
	frame.key = (struct bytes){ (const uint8_t *)key, (size_t)snprintf(key, sizeof key, "%" PRIu64, block->height) };
	frame.body = (struct bytes){ packed, size };
	bus_step_emit(step, cause, TOPIC_BLOCKS, &frame);
}

static enum bus_outcome normalize(struct normalizer *n, const struct chain *chain, const struct bus_message *message, const struct span_context *trace,
				  struct arena *arena, struct bus_step *step, struct error *why)
{
	size_t max = (size_t)daemon_config(n->ctx)->normalizer.max_block_bytes;
	ProtobufCAllocator allocator = { arena_allocate, arena_release, arena };
	int64_t begin = clock_mono_ns();
	if (message->frame.type != MESSAGE_RAW_BLOCK_TIP && message->frame.type != MESSAGE_RAW_BLOCK_BACKFILL) {
		error_set(why, WEIR_UNSUPPORTED, "message type %u is not one that the normalizer knows", message->frame.type);
		return BUS_REJECT;
	}
	struct buf newest = { 0 };
	struct bytes body;
	const int unreadable = bus_upcast(message->frame.type, message->frame.schema_version, message->frame.body, &newest, &body, why);
	const Weir__V1__RawBlock *raw = unreadable ? NULL : weir__v1__raw_block__unpack(&allocator, body.size, body.data);
	buf_free(&newest); /* also what an upcaster left that failed */
	if (unreadable)
		return BUS_REJECT;
	if (!raw) {
		error_set(why, WEIR_INVALID, "the message is not a RawBlock");
		return BUS_REJECT;
	}
	Weir__V1__NormalizedBlock *block;
	if (strcmp(raw->chain, chain->name) != 0) {
		error_set(why, WEIR_INVALID, "a block of chain %.32s came on the stream of chain %s", raw->chain, chain->name);
		return BUS_REJECT;
	}
	if (chain->family->normalize(chain, raw, max, arena, &block, why) != 0)
		return BUS_REJECT;
	emit(message, trace, block, arena, step, why);
	if (why->code != 0)
		return BUS_REJECT;
	count_result(n, chain, block, (double)(clock_mono_ns() - begin) / 1e9);
	return BUS_DONE;
}

/* One message: decode, normalize, emit. The verdict for the bus; *why is filled unless BUS_DONE. */
static enum bus_outcome normalize_message(struct normalizer *n, const struct chain *chain, const struct bus *bus, const struct bus_message *message,
				   struct arena *arena, struct bus_step *step, struct error *why)
{
	struct bus_handling span;
	bus_handling_begin(&span, bus, chain->name, TOPIC_RAW, SUBSCRIPTION_NORMALIZER, message);
	enum bus_outcome outcome = normalize(n, chain, message, &span.span.context, arena, step, why);
	bus_handling_end(&span, bus, outcome == BUS_DONE ? 0 : why->code, why);
	return outcome;
}

/* What the operator is told of the bus: a full stream is not Redis' failure, only its consumer's slowness. */
static void tell(struct normalizer *n, int r, const struct error *err)
{
	bool reached = r == 0 || r == WEIR_FULL;
	if (r != WEIR_CANCELED)
		daemon_check_set(n->ctx, "redis", reached, reached ? "" : err->text);
	daemon_tick(n->ctx);
}

/* Commits until it went through. Downstream full: nothing happened, the same step waits. Redis away: the same, it is safe to repeat. */
static int commit(struct normalizer *n, struct bus_step **step, struct error *err)
{
	struct backoff backoff = { 20, 500, 0 };
	int r = *step ? bus_step_commit(step, err) : 0;
	while (r != 0 && error_retriable(r) && !daemon_stopping(n->ctx)) {
		tell(n, r, err);
		clock_sleep_ms(backoff_next_ms(&backoff));
		r = bus_step_commit(step, err);
	}
	return r;
}

/* One batch of one chain. */
static int turn(struct normalizer *n, const struct chain *chain, const struct bus *bus, struct bus_worker *lane, struct arena *arena, int64_t wait_ms,
		struct error *err)
{
	struct bus_message *messages;
	size_t count;
	int r = bus_worker_read(lane, (size_t)daemon_config(n->ctx)->normalizer.batch, wait_ms, &messages, &count, err);
	if (r != 0 || count == 0)
		return r;
	struct bus_step *step = bus_step_begin(lane);
	for (size_t i = 0; i < count; i++) {
		struct error why = { 0 };
		enum bus_outcome outcome = normalize_message(n, chain, bus, &messages[i], arena, step, &why);
		bus_step_settle(step, &messages[i], outcome, outcome == BUS_DONE ? NULL : &why);
		if (outcome != BUS_DONE) {
			struct log log = log_for_chain(daemon_log(n->ctx), chain->name);
			log_error(&log, "dead_letter", "a message could not be normalized and was parked", LOG_S("entry", messages[i].id),
				  LOG_ERR(&why));
		}
		arena_reset(arena);
	}
	r = commit(n, &step, err);
	bus_step_abort(&step);
	return r;
}

static bool stopping(void *ctx)
{
	return daemon_stopping(ctx);
}

void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct normalizer *n = w->normalizer;
	const struct config *config = daemon_config(n->ctx);
	struct bus *bus = NULL;
	struct bus_worker *lanes[CONFIG_CHAINS_MAX] = { NULL };
	struct arena *arena = arena_new((size_t)config->normalizer.max_block_bytes * 4 + ARENA_EXTRA);
	struct error err = { 0 };
	char name[96], host[64] = "";
	gethostname(host, sizeof host - 1);
	snprintf(name, sizeof name, "%s:%d:%u", host, (int)getpid(), w->index);
	struct bus_options options = { .url = config->bus.redis_url,
				       .username = config->bus.username,
				       .password = config->bus.password,
				       .max_backlog = config->bus.max_backlog,
				       .max_memory_percent = config->bus.max_memory_percent,
				       .max_age_ms = config->bus.max_age_ms,
				       .wait_replicas = config->bus.wait_replicas,
				       .wait_ms = config->bus.wait_ms,
				       .worker = name,
				       .log = daemon_log(n->ctx),
				       .metrics = daemon_metrics(n->ctx),
				       .spans = daemon_spans(n->ctx) };
	struct retry_policy policy = { .growth = RETRY_EXPONENTIAL,
				       .attempts = (uint32_t)config->bus.retry_attempts,
				       .base_ms = config->bus.retry_base_ms,
				       .max_ms = config->bus.retry_max_ms,
				       .jitter = 1 };
	int r = bus_open(&options, &bus, &err);
	if (r == 0)
		bus_set_stop(bus, stopping, n->ctx);
	for (size_t i = 0; i < n->chain_count && r == 0; i++)
		r = bus_worker_open(bus, n->chains[i].name, TOPIC_RAW, SUBSCRIPTION_NORMALIZER, &policy, &lanes[i], &err);
	for (size_t i = 0; i < n->chain_count && r == 0 && w->index == 0; i++)
		dead_letter_replay_unsupported(bus, n->chains[i].name, SUBSCRIPTION_NORMALIZER, raw_types, sizeof raw_types / sizeof raw_types[0]);
	struct backoff backoff = { 50, 2000, 0 };
	while (r == 0 && !daemon_stopping(n->ctx)) {
		for (size_t i = 0; i < n->chain_count; i++) {
			int turned = turn(n, &n->chains[i], bus, lanes[i], arena, n->chain_count > 1 ? 20 : READ_MS, &err);
			tell(n, turned, &err);
			if (turned == 0) {
				backoff_reset(&backoff);
			} else if (turned != WEIR_CANCELED) {
				log_warn(daemon_log(n->ctx), "bus_unavailable", "waiting and trying again", LOG_ERR(&err));
				clock_sleep_ms(backoff_next_ms(&backoff));
			}
		}
	}
	if (r != 0) {
		log_error(daemon_log(n->ctx), "worker_failed", NULL, LOG_ERR(&err));
		daemon_request_stop(n->ctx);
	}
	for (size_t i = 0; i < n->chain_count; i++)
		bus_worker_close(&lanes[i]);
	bus_close(&bus);
	arena_free(&arena);
	return NULL;
}
