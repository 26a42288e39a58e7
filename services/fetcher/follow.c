/* follow.c - one chain's loop: own it, know what the ledger wants, see the head, fetch, publish. */
#include "fetcher.h"

#include "base/clock.h"
#include "base/version.h"
#include "wire/hex.h"
#include "weir/streams.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STATE_EVERY_MS 200
#define STATE_UNKNOWN_MS 20 /* the ledger has not said anything yet */
#define STATE_HUNGRY_MS 5 /* at the edge of the window: the ledger may have moved */
#define COMMANDS_EVERY_MS 100
#define COMMANDS_NOTED 256 /* by who follows an instance that ended (bus.h) */
#define ACQUIRE_EVERY_MS 500
#define REPORT_EVERY_MS 1000
#define ANSWERS_AWAITED_MS 50 /* no endpoint answers: somebody may wait for the first that does */
#define ARENA_MAX (512u << 20)

static bool stopping(void *ctx)
{
	return daemon_stopping(ctx);
}

/* -- identity of an endpoint ------------------------------------------------------------------------------------------------ */

static int identify(void *arg, size_t endpoint, const char *chain_id, const char *genesis, struct error *err)
{
	struct follower *f = arg;
	struct chain_answer a;
	struct endpoint_status status;
	endpoints_status(f->endpoints, endpoint, &status);
	struct arena *arena = arena_new(ARENA_MAX);
	struct bytes text = { (const uint8_t *)chain_id, strlen(chain_id) };
	int r = f->chain.family->answer(&f->chain, CHAIN_ASK_CHAIN_ID, &(struct chain_args){ 0 }, text, arena, &a, err);
	if (r == 0 && a.number != f->chain.chain_id)
		r = error_set(err, WEIR_WRONG_CHAIN, "endpoint %s serves chain id %llu, chain %s has %llu", status.name, (unsigned long long)a.number,
			      f->chain.name, (unsigned long long)f->chain.chain_id);
	if (r == 0) {
		text = (struct bytes){ (const uint8_t *)genesis, strlen(genesis) };
		r = f->chain.family->answer(&f->chain, CHAIN_ASK_BY_HEIGHT, &(struct chain_args){ .height = 0 }, text, arena, &a, err);
	}
	if (r == 0 && a.found && f->has_genesis && memcmp(a.block.hash, f->genesis, 32) != 0)
		r = *f->genesis_teller ? error_set(err, WEIR_WRONG_CHAIN,
						   "endpoint %s has another genesis block than endpoint %s told for chain %s: set genesis_hash to the right one",
						   status.name, f->genesis_teller, f->chain.name) :
					 error_set(err, WEIR_WRONG_CHAIN, "endpoint %s has another genesis block than chain %s", status.name, f->chain.name);
	if (r == 0 && a.found && !f->has_genesis) {
		memcpy(f->genesis, a.block.hash, 32);
		f->has_genesis = true;
		snprintf(f->genesis_teller, sizeof f->genesis_teller, "%s", status.name);
	}
	arena_free(&arena);
	return r;
}

static int classify(void *arg, int64_t code, const char *message)
{
	struct follower *f = arg;
	return f->chain.family->classify(&f->chain, code, message);
}

int follower_open_rpc(struct follower *f, struct error *err)
{
	struct chain_call id, genesis;
	f->identity = arena_new(1 << 16);
	int r = f->chain.family->question(&f->chain, CHAIN_ASK_CHAIN_ID, &(struct chain_args){ 0 }, f->identity, &id, err);
	if (r == 0)
		r = f->chain.family->question(&f->chain, CHAIN_ASK_BY_HEIGHT, &(struct chain_args){ .height = 0 }, f->identity, &genesis, err);
	if (r == 0) {
		struct rpc_options options = { .endpoints = f->endpoints, .log = &f->log, .metrics = daemon_metrics(f->fetcher->ctx), .classify = classify,
					       .identify = identify, .identify_methods = { id.method, genesis.method },
					       .identify_params = { id.params, genesis.params }, .arg = f,
					       .timeout_ms = f->config->request_timeout_ms };
		r = rpc_open(&options, &f->rpc, err);
	}
	return r;
}

static int open_all(struct follower *f, struct error *err)
{
	const struct config *config = daemon_config(f->fetcher->ctx);
	char name[96], host[64] = "";
	gethostname(host, sizeof host - 1);
	snprintf(name, sizeof name, "%s:%d", host, (int)getpid());
	struct bus_options options = { .url = config->bus.redis_url,
				       .username = config->bus.username,
				       .password = config->bus.password,
				       .max_backlog = config->bus.max_backlog,
				       .max_memory_percent = config->bus.max_memory_percent,
				       .max_age_ms = config->bus.max_age_ms,
				       .wait_replicas = config->bus.wait_replicas,
				       .wait_ms = config->bus.wait_ms,
				       .command_timeout_ms = 1000,
				       .worker = name,
				       .log = &f->log,
				       .metrics = daemon_metrics(f->fetcher->ctx),
				       .spans = daemon_spans(f->fetcher->ctx) };
	fetch_window_init(&f->window, (size_t)f->config->window);
	f->zstd = compressor_new();
	f->arena = arena_new(ARENA_MAX);
	f->limit = (double)f->config->backfill_workers;
	int r = bus_open(&options, &f->bus, err);
	if (r != 0)
		return r;
	bus_set_stop(f->bus, stopping, f->fetcher->ctx);
	r = bus_owner_open(f->bus, f->chain.name, TOPIC_CONTROL, SUBSCRIPTION_FETCHER, config->bus.lease_ms, &f->lease, err);
	if (r == 0)
		bus_owner_watch(f->lease, weir_version, COMMANDS_NOTED);
	if (r == 0)
		r = bus_publisher_open(f->bus, f->chain.name, TOPIC_RAW, "fetcher", &f->raw, err);
	if (r == 0)
		r = bus_publisher_open(f->bus, f->chain.name, TOPIC_BLOCKS, "fetcher", &f->blocks, err);
	if (r == 0)
		r = follower_open_rpc(f, err);
	return r ? r : head_open(f, err);
}

static void close_all(struct follower *f)
{
	for (size_t i = 0; i < CONFIG_ENDPOINTS_MAX; i++)
		rpc_socket_close(&f->sockets[i]);
	f->generation++; /* callbacks of canceled calls must not start anything */
	rpc_close(&f->rpc);
	for (size_t i = 0; i < f->job_count; i++)
		job_free(&f->jobs[i]);
	for (size_t i = 0; i < f->ready_count; i++)
		job_free(&f->ready[i]);
	f->job_count = f->ready_count = 0;
	bus_publisher_close(&f->raw);
	bus_publisher_close(&f->blocks);
	bus_owner_close(&f->lease);
	bus_close(&f->bus);
	fetch_window_free(&f->window);
	compressor_free(&f->zstd);
	arena_free(&f->arena);
	arena_free(&f->identity);
}

/* -- the loop ---------------------------------------------------------------------------------------------------------------- */

static int own(struct follower *f, struct error *err)
{
	int64_t now = clock_mono_ms();
	if (f->owning || now < f->acquire_due_ms)
		return 0;
	int r = bus_owner_acquire(f->lease, err);
	if (r == WEIR_CONFLICT) { /* after other failures the caller waits, and says that it is not ready all the while */
		f->acquire_due_ms = now + ACQUIRE_EVERY_MS;
		fetcher_gauge(f, "weir_fetcher_active", 0);
		return 0; /* another instance is active: stand by */
	}
	if (r != 0)
		return r;
	f->owning = true;
	f->ledger.known = false; /* read anew, and begin from there */
	f->ledger.epoch = 0;
	fetcher_gauge(f, "weir_fetcher_active", 1);
	(void)bus_owner_rolled_back(f->lease);
	log_info(&f->log, "owning", "this instance follows the chain", LOG_S("token", bus_owner_token(f->lease)));
	return 0;
}

static bool at_edge(const struct follower *f)
{
	return f->ledger.known && f->window.any_known && f->window.highest_known + 1 >= f->ledger.next_height + (uint64_t)f->config->window;
}

/* Everything that talks to Redis. An error ends the turn; the next one tries again. */
static int bus_turn(struct follower *f, struct error *err)
{
	int64_t now = clock_mono_ms();
	int r = own(f, err);
	if (r != 0 || !f->owning)
		return r;
	if (now >= f->state_due_ms) {
		f->state_due_ms = now + (at_edge(f) ? STATE_HUNGRY_MS : f->ledger.known ? STATE_EVERY_MS : STATE_UNKNOWN_MS);
		r = ledger_read(f, err);
	}
	if (r == 0 && now >= f->command_due_ms) {
		f->command_due_ms = now + COMMANDS_EVERY_MS;
		r = commands_read(f, err);
	}
	if (r == 0 && now >= f->breakers_due_ms) {
		f->breakers_due_ms = now + BREAKERS_EVERY_MS;
		r = breakers_tell(f->bus, f->chain.name, "fetcher", f->endpoints, err);
	}
	if (r == 0 && f->fork_suspected && f->ledger.known)
		r = fork_resolve(f, err);
	if (r == 0 && f->ledger.known)
		r = head_publish(f, err);
	if (r == 0 && f->ledger.known)
		r = publish_ready(f, err);
	return r;
}

static void after_failure(struct follower *f, int r, const struct error *err)
{
	if (r == WEIR_FENCED) {
		f->owning = false; /* Redis lost the lease, or another instance has it */
		fetcher_gauge(f, "weir_fetcher_active", 0);
	} else if (r == WEIR_GAP) {
		struct error ignored;
		log_warn(&f->log, "bus_rolled_back", "Redis lost what was published last; publishing again from the ledger's next height", LOG_ERR(err));
		f->ledger.known = false;
		f->ledger.epoch = 0;
		(void)ledger_read(f, &ignored);
	} else if (r != WEIR_FULL && r != WEIR_CANCELED) {
		log_warn(&f->log, "bus_unavailable", "waiting and trying again", LOG_ERR(err));
	}
}

static int all_wrong(struct follower *f, struct error *err)
{
	struct endpoint_status s = { 0 };
	size_t n = endpoints_count(f->endpoints), wrong = 0;
	for (size_t i = 0; i < n; i++) {
		endpoints_status(f->endpoints, i, &s);
		wrong += s.wrong_chain;
	}
	if (wrong < n)
		return 0;
	return error_set(err, WEIR_WRONG_CHAIN, "chain %s: no endpoint serves it: %s", f->chain.name, s.last_error);
}

static void tell_ready(struct follower *f, const char *what, bool ok, const char *reason)
{
	char name[128];
	snprintf(name, sizeof name, "%s %s", what, f->chain.name);
	daemon_check_set(f->fetcher->ctx, name, ok, reason);
}

void follower_not_asked_yet(struct follower *f)
{
	tell_ready(f, "redis", false, NOT_ASKED_YET);
	tell_ready(f, "endpoints", false, NOT_ASKED_YET);
}

/* Ready is who could follow the chain, now or when the one that does ends: an endpoint has said who it is, and answers. */
static bool tell_whether_endpoints_answer(struct follower *f)
{
	struct endpoint_status s;
	char reason[300] = "no endpoint has answered yet";
	bool answers = false;
	for (size_t i = 0; i < endpoints_count(f->endpoints); i++) {
		endpoints_status(f->endpoints, i, &s);
		answers = answers || (s.breaker == BREAKER_CLOSED && s.identified);
		if (s.breaker != BREAKER_CLOSED || s.wrong_chain)
			snprintf(reason, sizeof reason, "endpoint %s: %s", s.name, s.last_error);
	}
	tell_ready(f, "endpoints", answers, answers ? "" : reason);
	return answers;
}

/* Until the first endpoint has had its chance nothing is wrong, so there is no alert. */
static void report(struct follower *f)
{
	struct endpoint_status s;
	char name[128], reason[300] = "";
	bool good = false;
	for (size_t i = 0; i < endpoints_count(f->endpoints); i++) {
		endpoints_status(f->endpoints, i, &s);
		good = good || (s.breaker == BREAKER_CLOSED && !s.wrong_chain); /* half open: being probed, nothing has answered yet */
		if (s.breaker != BREAKER_CLOSED || s.wrong_chain)
			snprintf(reason, sizeof reason, "endpoint %s: %s", s.name, s.last_error);
		snprintf(name, sizeof name, "wrong chain %s %s", f->chain.name, s.name);
		alert_raise(f->fetcher->ctx, name, s.wrong_chain ? ALERT_FIRING : ALERT_RESOLVED, "chain-endpoints", "chain %s: %s%s", f->chain.name,
			    s.wrong_chain ? s.last_error : "the endpoint serves this chain again", s.wrong_chain ? "; it is not used" : "");
	}
	snprintf(name, sizeof name, "endpoints %s", f->chain.name);
	alert_raise(f->fetcher->ctx, name, good ? ALERT_RESOLVED : ALERT_FIRING, "chain-endpoints", "chain %s: %s%s", f->chain.name,
		    good ? "endpoints answer" : "no endpoint answers; ", good ? "" : reason);
}

static int wake_fd(const struct follower *f)
{
	for (size_t i = 0; i < f->config->endpoint_count; i++)
		if (f->sockets[i] && rpc_socket_fd(f->sockets[i]) >= 0)
			return rpc_socket_fd(f->sockets[i]);
	return -1;
}

static int follow(struct follower *f, struct error *err)
{
	struct daemon_ctx *ctx = f->fetcher->ctx;
	struct backoff backoff = { 20, 1000, 0 };
	int64_t report_ms = 0, answers_ms = 0;
	bool told_early = false;
	while (!daemon_stopping(ctx)) {
		daemon_tick(ctx);
		head_poll(f);
		opinion_poll(f);
		int r = bus_turn(f, err);
		bool usual = r == 0 || r == WEIR_FULL || r == WEIR_FENCED || r == WEIR_GAP || r == WEIR_CANCELED;
		tell_ready(f, "redis", usual, usual ? "" : err->text);
		if (r != 0)
			after_failure(f, r, err);
		jobs_schedule(f);
		bool busy = f->ready_count > 0 && r == 0;
		int64_t wait = r == 0 || r == WEIR_FULL ? (busy ? 0 : at_edge(f) ? STATE_HUNGRY_MS : 20) : backoff_next_ms(&backoff);
		if (r == 0)
			backoff_reset(&backoff);
		(void)rpc_poll(f->rpc, wait, wake_fd(f));
		if (clock_mono_ms() >= answers_ms)
			answers_ms = clock_mono_ms() + (tell_whether_endpoints_answer(f) ? REPORT_EVERY_MS : ANSWERS_AWAITED_MS);
		if (clock_mono_ms() >= report_ms) {
			report_ms = clock_mono_ms() + REPORT_EVERY_MS;
			report(f);
			if (f->has_seen && f->seen_head.height < f->config->start_height && !told_early) {
				told_early = true;
				log_warn(&f->log, "start_not_reached", "the chain has not reached start_height: waiting; correct the setting if that is not meant",
					 LOG_U("head", f->seen_head.height), LOG_U("start_height", f->config->start_height));
			}
			if ((r = all_wrong(f, err)) != 0)
				return r;
		}
	}
	return 0;
}

void *follower_main(void *arg)
{
	struct follower *f = arg;
	f->result = open_all(f, &f->error);
	if (f->result == 0)
		f->result = follow(f, &f->error);
	if (f->result != 0)
		daemon_request_stop(f->fetcher->ctx);
	close_all(f);
	return NULL;
}
