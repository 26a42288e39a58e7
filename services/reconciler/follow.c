/* follow.c - the writer's loop: own, read, apply, publish, look after what is missing; and come back from every failure. */
#include "follow.h"

#include "base/clock.h"
#include "daemon/breakers.h"

#include "weir/streams.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define READ_MAX 64
#define IDLE_READ_MS 20
#define CAREFUL_STEP_MS 2 /* while another chain is at work */
#define LINGER_MS 80 /* in backfill: so long a transaction waits for being half full */
#define LINGER_STEP_MS 8
#define COMMIT_INTERVAL_MS 200
#define CONTROL_INTERVAL_MS 40
#define SECOND_MS 1000
#define KEEP_EVENTS 4096
#define WINDOW_BYTES ((size_t)24 << 20)
#define UNPACKED_BYTES ((size_t)512 << 20)

/* ---- opening --------------------------------------------------------------------------------------------------------------------------- */

static int open_bus(struct follow *f, struct error *err)
{
	/* Unique also among containers, whose process ids are all alike: it is who holds the lease. */
	char worker[128], host[64] = "?";
	gethostname(host, sizeof host - 1);
	snprintf(worker, sizeof worker, "reconciler:%s:%d:%08x", host, (int)getpid(), (unsigned)random_u64());
	struct bus_options o = { .url = f->config->bus.redis_url,
				 .username = f->config->bus.username,
				 .password = f->config->bus.password,
				 .command_timeout_ms = 5000,
				 .max_backlog = f->config->bus.max_backlog,
				 .max_memory_percent = f->config->bus.max_memory_percent,
				 .max_age_ms = f->config->bus.max_age_ms,
				 .wait_replicas = f->config->bus.wait_replicas,
				 .wait_ms = f->config->bus.wait_ms,
				 .worker = worker,
				 .log = &f->log,
				 .metrics = daemon_metrics(f->ctx),
				 .spans = daemon_spans(f->ctx) };
	int code = bus_open(&o, &f->bus, err);
	if (!code)
		code = bus_owner_open(f->bus, f->chain->name, TOPIC_BLOCKS, SUBSCRIPTION_RECONCILER, f->config->bus.lease_ms, &f->blocks, err);
	if (!code)
		code = bus_owner_open(f->bus, f->chain->name, TOPIC_CONTROL, SUBSCRIPTION_RECONCILER, f->config->bus.lease_ms, &f->control, err);
	if (!code)
		careful_open(f);
	return code;
}

static int open_ledger(struct follow *f, struct error *err)
{
	struct ledger_options o = {
		.pg = { .url = f->config->postgres.url,
			.application_name = "weir-reconciler",
			.connect_timeout_ms = f->config->postgres.connect_timeout_ms,
			.statement_timeout_ms = f->config->postgres.statement_timeout_ms,
			.log = &f->log },
		.chain = f->chain,
		.family = f->settings->family,
		.profile = f->settings->profile,
		.balance_cache = (size_t)f->config->reconciler.balance_cache,
		.opening = node_openings,
		.opening_arg = f->node,
		.log = &f->log,
	};
	return ledger_open(&o, &f->ledger, err);
}

static void tell_ready(struct follow *f, bool ok, const char *reason)
{
	char name[80];
	snprintf(name, sizeof name, "chain %s", f->chain->name);
	daemon_check_set(f->ctx, name, ok, reason);
}

int follow_open(struct follow *f, struct error *err)
{
	tell_ready(f, false, NOT_ASKED_YET);
	f->log = log_for_chain(daemon_log(f->ctx), f->chain->name);
	chain_metrics_init(&f->metrics, daemon_metrics(f->ctx), f->chain->name);
	f->arena = arena_new(UNPACKED_BYTES);
	window_init(&f->window, (size_t)f->config->reconciler.reorder_window, WINDOW_BYTES);
	f->fork_ancestor = -1;
	f->backoff = (struct backoff){ .base_ms = 100, .max_ms = 2000 };
	struct node_options node = { .identity = f->identity,
				     .endpoints = f->endpoints,
				     .log = &f->log,
				     .metrics = daemon_metrics(f->ctx),
				     .concurrency = (size_t)f->config->reconciler.reconcile_concurrency,
				     .request_timeout_ms = f->settings->request_timeout_ms,
				     .on_wait = follow_renew,
				     .on_wait_arg = f };
	int code = open_bus(f, err);
	if (!code)
		code = node_open(&node, &f->node, err);
	return code ? code : open_ledger(f, err);
}

void follow_close(struct follow *f)
{
	bus_publisher_close(&f->events);
	bus_publisher_close(&f->commands);
	bus_owner_close(&f->blocks);
	bus_owner_close(&f->control);
	bus_close(&f->bus);
	ledger_close(&f->ledger);
	node_close(&f->node);
	window_clear(&f->window);
	arena_free(&f->arena);
	buf_free(&f->upcast);
}

void follow_release(struct follow *f)
{
	struct mail_view view = { .owner = false, .watermark = -1, .head = -1 };
	mailbox_set_view(f->mailbox, &view);
	bus_owner_close(&f->blocks);
	bus_owner_close(&f->control);
	f->owner = f->control_owner = false;
}

/* ---- owning -------------------------------------------------------------------------------------------------------------------------------- */

void follow_view(struct follow *f)
{
	const struct ledger *ledger = f->ledger;
	struct mail_view view = { .owner = f->owner,
				  .chain_id = ledger->id,
				  .watermark = ledger->watermark,
				  .head = ledger->head.height,
				  .start = ledger->start };
	snprintf(view.fence, sizeof view.fence, "%s", ledger->fence);
	memcpy(view.watermark_hash, ledger->watermark_hash, 32);
	mailbox_set_view(f->mailbox, &view);
	metric_set(f->metrics.watermark, (double)ledger->watermark);
	metric_set(f->metrics.head, (double)ledger->head.height);
	metric_set(f->metrics.safe, (double)ledger->head.safe);
	metric_set(f->metrics.finalized, (double)ledger->head.finalized);
}

void follow_renew(void *arg)
{
	struct follow *f = arg;
	int64_t now = clock_mono_ms();
	if (!f->owner || now - f->renew_ms < f->config->bus.lease_ms / 4)
		return;
	f->renew_ms = now;
	bus_owner_renew(f->blocks, NULL); /* lost ownership shows in the next read, and at the fence */
}

static void disown(struct follow *f)
{
	if (f->owner)
		log_warn(&f->log, "ownership_lost", "another reconciler may own the chain; this one waits its turn");
	f->owner = false;
	metric_set(f->metrics.owner, 0);
	follow_view(f);
}

static int open_publishers(struct follow *f, struct error *err)
{
	bus_publisher_close(&f->events);
	bus_publisher_close(&f->commands);
	f->published_known = false;
	int code = bus_publisher_open(f->bus, f->chain->name, TOPIC_LEDGER, "reconciler", &f->events, err);
	return code ? code : bus_publisher_open(f->bus, f->chain->name, TOPIC_CONTROL, "reconciler", &f->commands, err);
}

static int acquire(struct follow *f, struct error *err)
{
	int code = bus_owner_acquire(f->blocks, err);
	if (code == WEIR_CONFLICT) {
		clock_sleep_ms(200);
		return 0;
	}
	if (code)
		return code;
	const char *token = bus_owner_token(f->blocks);
	code = ledger_claim(f->ledger, token, err);
	if (!code) /* a sleep between lease and claim must not fence the owner of today */
		code = bus_owner_renew(f->blocks, err);
	if (!code)
		code = open_publishers(f, err);
	if (!code)
		code = gaps_load(f, err);
	if (!code && state_is_missing(f)) /* Redis is new or was emptied: nothing is on its way to us */
		code = ledger_new_epoch(f->ledger, err);
	if (code)
		return code;
	if (strcmp(f->token, token) != 0) { /* what was read under another token is read again */
		window_clear(&f->window);
		memset(f->lanes, 0, sizeof f->lanes);
		snprintf(f->token, sizeof f->token, "%s", token);
		follow_take_unknown_again(f);
	}
	f->owner = true;
	f->stale = f->state_known = false;
	f->progress_ms = clock_mono_ms();
	metric_set(f->metrics.owner, 1);
	log_info(&f->log, "ownership", "this reconciler writes the chain's ledger", LOG_S("token", token), LOG_I("watermark", f->ledger->watermark));
	follow_view(f);
	return state_rewrite(f, err); /* the fetcher waits for it */
}

/* ---- the stream ------------------------------------------------------------------------------------------------------------------------------ */

static void note_read(struct follow *f, const struct bus_message *message)
{
	if (message->replay || message->klass >= WINDOW_CLASSES)
		return;
	struct lane *lane = &f->lanes[message->klass];
	lane->seen = true;
	lane->generation = message->generation;
	lane->sequence = message->sequence;
}

/* Everything before the first block that still waits is done. */
static int commit_floors(struct follow *f, struct error *err)
{
	int code = 0;
	for (uint8_t k = 0; !code && k < WINDOW_CLASSES; k++) {
		struct lane *lane = &f->lanes[k];
		uint64_t generation = lane->generation, sequence = lane->sequence, pin_generation, pin_sequence;
		if (!lane->seen)
			continue;
		if (window_pin(&f->window, k, f->ledger->watermark, &pin_generation, &pin_sequence)) {
			if (pin_generation != generation || pin_sequence == 0)
				continue;
			sequence = pin_sequence - 1;
		}
		if (sequence == 0 || (generation == lane->committed_generation && sequence <= lane->committed_sequence))
			continue;
		code = bus_owner_commit(f->blocks, k, generation, sequence, err);
		if (!code) {
			lane->committed_generation = generation;
			lane->committed_sequence = sequence;
			f->renew_ms = clock_mono_ms();
		}
	}
	return code;
}

/* *ret_more: as much as was asked for came, so there is probably more. */
static int read_blocks(struct follow *f, size_t max, int64_t timeout_ms, bool *ret_more, struct error *err)
{
	struct bus_message *messages = NULL;
	size_t n = 0;
	int code = bus_owner_read(f->blocks, max, timeout_ms, &messages, &n, err);
	*ret_more = !code && n >= max;
	f->idle = n == 0;
	for (size_t i = 0; !code && i < n; i++) {
		if (messages[i].frame_ok)
			code = follow_take(f, &messages[i], err);
		if (!code)
			note_read(f, &messages[i]);
	}
	if (code && n > 0) {
		/* Half a read is taken again: the cursor is beyond it, so ownership is taken anew, which reads from the committed floor. */
		f->token[0] = '\0';
		f->owner = false;
	}
	return code;
}

/* ---- head ------------------------------------------------------------------------------------------------------------------------------------- */

/* Finality is promoted only for blocks that are ours: a tag on another block means that we are on a dead branch. */
static int check_tag(struct follow *f, int64_t *height, const uint8_t hash[32], struct error *err)
{
	if (*height < f->ledger->start || *height > f->ledger->watermark)
		return 0;
	bool has = false;
	int code = ledger_has(f->ledger, *height, hash, &has, err);
	if (!code && !has) {
		f->suspect = true;
		*height = -1;
	}
	return code;
}

static int write_head(struct follow *f, struct error *err)
{
	if (!f->head_pending)
		return 0;
	struct ledger_head head = f->head;
	int code = check_tag(f, &head.safe, head.safe_hash, err);
	if (!code)
		code = check_tag(f, &head.finalized, head.finalized_hash, err);
	if (!code)
		code = ledger_note_head(f->ledger, &head, err);
	if (code) {
		f->stale = true;
		return code;
	}
	f->head_pending = false;
	follow_view(f);
	return follow_publish_new(f, err);
}

/* ---- once a second ------------------------------------------------------------------------------------------------------------------------------- */

/* Redis was emptied or went back: what was in flight is gone, the fetcher must begin again at the watermark. */
static int notice_loss(struct follow *f, struct error *err)
{
	bool rolled_back = bus_owner_rolled_back(f->blocks), lost = f->state_known && state_is_missing(f);
	if (!rolled_back && !lost)
		return 0;
	log_warn(&f->log, "redis_lost", "Redis lost what it held; everything from the watermark on is fetched again",
		 LOG_I("watermark", f->ledger->watermark), LOG_B("rolled_back", rolled_back), LOG_B("state_lost", lost));
	int code = ledger_new_epoch(f->ledger, err);
	if (code) {
		f->stale = true;
		return code;
	}
	f->state_known = f->published_known = false;
	memset(f->lanes, 0, sizeof f->lanes);
	return state_rewrite(f, err);
}

static int trim(struct follow *f, struct error *err)
{
	static const struct {
		const char *topic;
		uint64_t keep;
	} topics[] = { { TOPIC_LEDGER, KEEP_EVENTS }, { TOPIC_BLOCKS, 0 }, { TOPIC_CONTROL, 0 }, { TOPIC_RAW, 0 } };
	int code = 0;
	for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++) {
		struct error why = { 0 };
		int one = bus_trim(f->bus, f->chain->name, topics[i].topic, topics[i].keep, &why);
		if (one && error_retriable(one))
			code = error_set(err, one, "%s", why.text);
	}
	return code;
}

static void measure(struct follow *f)
{
	bool level = f->ledger->head.height >= 0 && f->ledger->watermark >= f->ledger->head.height;
	metric_set(f->metrics.held, (double)f->window.count);
	metric_set(f->metrics.held_bytes, (double)f->window.bytes);
	metric_set(f->metrics.queue, (double)mailbox_touches(f->mailbox));
	int64_t age = time(NULL) - f->tip_timestamp; /* development chains live in the future at times */
	metric_set(f->metrics.lag_seconds, level || !f->tip_timestamp || age < 0 ? 0 : (double)age);
}

/* The first block of the chain tells who it is, once and for all. */
static int learn_genesis(struct follow *f, struct error *err)
{
	if (f->ledger->genesis_known)
		return 0;
	struct chain_block_ref genesis;
	bool found = false;
	size_t endpoint;
	if (!f->identity->genesis_known && (node_block_at(f->node, 0, 0, &found, &genesis, &endpoint, NULL) || !found))
		return 0; /* no node answers now: asked again in a second */
	if (!f->identity->genesis_known) {
		memcpy(f->identity->genesis_hash, genesis.hash, 32);
		f->identity->genesis_known = true;
	}
	return ledger_learn_genesis(f->ledger, f->identity->genesis_hash, err);
}

static int each_second(struct follow *f, struct error *err)
{
	int64_t now = clock_mono_ms();
	if (now - f->second_ms < SECOND_MS)
		return 0;
	f->second_ms = now;
	measure(f);
	int code = notice_loss(f, err);
	if (!code && !f->state_known)
		code = state_rewrite(f, err);
	if (!code)
		code = state_write(f, err);
	if (!code)
		code = breakers_tell(f->bus, f->chain->name, "reconciler", f->endpoints, err);
	if (!code)
		code = trim(f, err);
	if (!code)
		code = learn_genesis(f, err);
	return code;
}

/* ---- a turn ---------------------------------------------------------------------------------------------------------------------------------------- */

static bool next_is_here(const struct follow *f)
{
	const struct ledger *ledger = f->ledger;
	return ledger->watermark < ledger->start ? window_find(&f->window, ledger->start, NULL) != NULL :
						   window_find(&f->window, ledger->watermark + 1, ledger->watermark_hash) != NULL;
}

/* Far from the head a fuller transaction is worth a short wait: each costs a commit, and each balance is written once in it. */
static bool lingers(const struct follow *f, int64_t began_ms)
{
	int64_t full = f->config->reconciler.batch_blocks, left = f->ledger->head.height - f->ledger->watermark;
	return left > 2 * full && (int64_t)f->window.count < full / 2 && clock_mono_ms() - began_ms < LINGER_MS;
}

/* Reads while there is more, up to a full transaction. Beyond half of the window blocks wait in Redis, where they cost nothing. */
static int fill_window(struct follow *f, struct error *err)
{
	bool more = true;
	int code = 0;
	int64_t began_ms = clock_mono_ms();
	if (f->careful)
		return next_is_here(f) ? 0 : read_blocks(f, 1, 0, &more, err);
	while (!code && more) {
		bool busy = next_is_here(f), crowded = f->window.count > f->window.max_count / 2 || f->window.bytes > f->window.max_bytes / 2;
		if (busy && (crowded || f->window.count >= (size_t)f->config->reconciler.batch_blocks))
			return 0;
		code = read_blocks(f, READ_MAX, busy ? 0 : IDLE_READ_MS, &more, err);
		follow_renew(f);
		if (!code && !more && busy && !crowded && lingers(f, began_ms)) {
			clock_sleep_ms(LINGER_STEP_MS);
			more = true;
		}
	}
	return code;
}

static int take_and_apply(struct follow *f, struct error *err)
{
	bool some = false;
	int code = f->ledger->paused ? 0 : fill_window(f, err);
	if (!code)
		code = follow_advance(f, &some, err);
	if (!code)
		code = write_head(f, err);
	f->idle = f->idle && !some;
	return code;
}

/* Openings that the checker was told later. */
static int record_openings(struct follow *f, struct error *err)
{
	struct told_opening told[OPENINGS_TOLD_MAX];
	struct ledger_touch touches[OPENINGS_TOLD_MAX];
	size_t recorded = 0, n = f->ledger->paused ? 0 : mailbox_take_openings(f->mailbox, told);
	if (n == 0)
		return 0;
	int code = ledger_record_openings(f->ledger, told, n, touches, &recorded, err);
	if (code) {
		f->stale = true; /* the checker asks again */
		return code;
	}
	metric_add(f->metrics.openings, recorded);
	log_info(&f->log, "openings_recorded", "an endpoint tells openings that nobody could tell before", LOG_U("openings", recorded));
	mailbox_put_touches(f->mailbox, touches, recorded);
	return follow_publish_new(f, err);
}

static int work(struct follow *f, struct error *err)
{
	int code = 0;
	if (f->stale) {
		code = ledger_load(f->ledger, err);
		if (code)
			return code;
		f->stale = false;
		follow_view(f);
	}
	if (f->ledger->paused || (f->careful && f->idle))
		clock_sleep_ms(IDLE_READ_MS);
	f->idle = true;
	if (careful_enter(f->blocks, &f->careful)) {
		code = take_and_apply(f, err);
		code = careful_leave(f->blocks, f->careful, code, err);
	} else {
		clock_sleep_ms(CAREFUL_STEP_MS);
		f->idle = false;
	}
	if (!code)
		code = follow_resolve(f, err);
	if (!code)
		code = gaps_tick(f, err);
	if (!code)
		code = heal_tick(f, err);
	if (!code)
		code = record_openings(f, err);
	int64_t now = clock_mono_ms();
	if (!code && now - f->control_ms >= CONTROL_INTERVAL_MS) {
		f->control_ms = now;
		code = control_read(f, err);
	}
	if (!code && now - f->commit_ms >= COMMIT_INTERVAL_MS) {
		f->commit_ms = now;
		code = commit_floors(f, err);
	}
	if (!code)
		code = follow_publish_due(f, err);
	if (!code)
		code = each_second(f, err);
	follow_renew(f);
	return code;
}

static void note_failure(struct follow *f, int code, const struct error *err)
{
	tell_ready(f, false, err->text);
	if (code == WEIR_FENCED)
		disown(f);
	if (code == WEIR_CANCELED)
		return;
	f->stale = true; /* cheap, and right whatever it was */
	if (!f->failing)
		log_warn(&f->log, "writer_waits", "the ledger cannot go on; it is tried again until it can", LOG_ERR(err));
	f->failing = true;
	int64_t wait = backoff_next_ms(&f->backoff);
	for (int64_t until = clock_mono_ms() + wait; clock_mono_ms() < until && !daemon_stopping(f->ctx);)
		clock_sleep_ms(20);
}

void follow_turn(struct follow *f)
{
	struct error err = { 0 };
	int code = f->owner ? 0 : acquire(f, &err);
	if (!code && f->owner)
		code = work(f, &err);
	if (code) {
		note_failure(f, code, &err);
		return;
	}
	if (f->failing)
		log_info(&f->log, "writer_goes_on", NULL, LOG_I("watermark", f->ledger->watermark));
	f->failing = false;
	backoff_reset(&f->backoff);
	tell_ready(f, true, f->owner ? "writing" : "standing by");
}
