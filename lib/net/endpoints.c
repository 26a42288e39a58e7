/* endpoints.c - the shared set: health, learnt limits, rate limits, identity, and who is asked next. */
#include "net/internal.h"

#include "base/clock.h"
#include "base/breaker.h"
#include "base/bucket.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define WRONG_CHAIN_RECHECK_MS 30000
#define SMOOTHING 0.2 /* weight of the newest latency */
#define LIE_PAUSE_MS 5000
#define LIE_PAUSE_MAX_MS 60000
#define LACKS_MS 600000 /* then it is tried again: nodes are upgraded, and some only had a bad moment */
#define LIE_MEMORY_MS 600000 /* after so long without a lie the pauses are short again */

struct endpoint {
	char *name, *url, *ws_url, *auth_header;
	unsigned roles;
	int64_t weight, max_concurrency;
	struct breaker breaker;
	struct bucket bucket;
	bool identified, probing, wrong_chain;
	int64_t probe_due_ms;
	int64_t opened_ms; /* wall clock: when the breaker opened last */
	struct backoff probe_backoff;
	struct endpoint_status learnt; /* its fields that are learnt; the rest is filled in on demand */
	int64_t lie_pause_ms, lied_ms;
	int64_t lacks_until_ms;
	int64_t requests;              /* HTTP requests under way */
	int64_t load;                  /* calls assigned */
	struct metric *http_requests, *bytes, *breaker_state;
	struct {
		const char *method; /* owned */
		struct metric *seconds;
	} methods[ENDPOINT_METHODS_MAX];
	size_t method_count;
};

struct endpoints {
	pthread_mutex_t lock;
	char *chain;
	struct log log;
	struct metrics *metrics; /* may be NULL */
	size_t count;
	struct endpoint list[RPC_ENDPOINTS_MAX];
};

const struct metric_def rpc_metric_defs[] = {
	{ .name = "weir_rpc_request_seconds", .kind = METRIC_HISTOGRAM, .help = "Time from sending a JSON-RPC call to its answer.",
	  .labels = { "chain", "endpoint", "method" } },
	{ .name = "weir_rpc_http_requests_total", .kind = METRIC_COUNTER, .help = "HTTP requests; one may carry a batch of calls.",
	  .labels = { "chain", "endpoint" } },
	{ .name = "weir_rpc_received_bytes_total", .kind = METRIC_COUNTER, .help = "Bytes of answers, decoded.", .labels = { "chain", "endpoint" } },
	{ .name = "weir_rpc_errors_total", .kind = METRIC_COUNTER, .help = "Failed requests, calls and answers, by error code.",
	  .labels = { "chain", "endpoint", "kind" } },
	{ .name = "weir_rpc_breaker_state", .kind = METRIC_GAUGE, .help = "0 closed, 1 half-open, 2 open.", .labels = { "chain", "endpoint" } },
};
const size_t rpc_metric_count = sizeof rpc_metric_defs / sizeof rpc_metric_defs[0];

void rpc_register_metrics(struct metrics *metrics)
{
	metrics_register(metrics, rpc_metric_defs, rpc_metric_count);
}

struct endpoints *endpoints_new(const char *chain, const struct endpoint_options *options, size_t n, const struct log *log, struct metrics *metrics)
{
	struct endpoints *set = xmalloc(sizeof *set);
	pthread_mutex_init(&set->lock, NULL);
	set->chain = xstrdup(chain);
	if (log)
		set->log = *log;
	set->metrics = metrics;
	set->count = n < RPC_ENDPOINTS_MAX ? n : RPC_ENDPOINTS_MAX;
	for (size_t i = 0; i < set->count; i++) {
		struct endpoint *e = &set->list[i];
		e->name = options[i].name && *options[i].name ? xstrdup(options[i].name) : xasprintf("e%zu", i);
		e->url = xstrdup(options[i].url);
		e->ws_url = xstrdup(options[i].ws_url);
		e->auth_header = xstrdup(options[i].auth_header);
		e->roles = options[i].roles;
		e->weight = options[i].weight > 0 ? options[i].weight : 100;
		e->max_concurrency = options[i].max_concurrency > 0 ? options[i].max_concurrency : 8;
		bucket_init(&e->bucket, options[i].requests_per_second, clock_mono_ms());
		e->probe_backoff = (struct backoff){ .base_ms = 250, .max_ms = 15000 };
		e->learnt.batch_max = BATCH_MAX;
		if (metrics) {
			e->http_requests = metrics_get(metrics, "weir_rpc_http_requests_total", chain, e->name, NULL);
			e->bytes = metrics_get(metrics, "weir_rpc_received_bytes_total", chain, e->name, NULL);
			e->breaker_state = metrics_get(metrics, "weir_rpc_breaker_state", chain, e->name, NULL);
		}
	}
	return set;
}

void endpoints_free(struct endpoints **set)
{
	if (!*set)
		return;
	for (size_t i = 0; i < (*set)->count; i++) {
		struct endpoint *e = &(*set)->list[i];
		free(e->name);
		free(e->url);
		free(e->ws_url);
		free(e->auth_header);
		for (size_t m = 0; m < e->method_count; m++)
			free((char *)(uintptr_t)e->methods[m].method);
	}
	pthread_mutex_destroy(&(*set)->lock);
	free((*set)->chain);
	xfree(set);
}

size_t endpoints_count(const struct endpoints *set)
{
	return set->count;
}

const char *endpoints_url(const struct endpoints *set, size_t index)
{
	return set->list[index].url;
}

const char *endpoints_auth(const struct endpoints *set, size_t index)
{
	return set->list[index].auth_header;
}

const char *endpoints_chain(const struct endpoints *set)
{
	return set->chain;
}

int endpoints_find(const struct endpoints *set, const char *name)
{
	for (size_t i = 0; i < set->count; i++)
		if (strcmp(set->list[i].name, name) == 0)
			return (int)i;
	return -1;
}

/* -- state. Each function takes the lock itself; static ones below are called with it held. -------------------------------------- */

static enum breaker_state state_of(const struct endpoint *e, int64_t now)
{
	return breaker_closed(&e->breaker) ? BREAKER_CLOSED : breaker_half_open(&e->breaker, now) ? BREAKER_HALF_OPEN : BREAKER_OPEN;
}

static void show_state(struct endpoint *e, int64_t now)
{
	if (e->breaker_state)
		metric_set(e->breaker_state, (double)state_of(e, now));
}

static bool alive(const struct endpoint *e)
{
	return e->identified && !e->wrong_chain && breaker_closed(&e->breaker);
}

static void opened(struct endpoints *set, struct endpoint *e, const char *why)
{
	/* Before it is used again, it is asked who it is: something else may answer at that address by then. */
	e->identified = false;
	e->opened_ms = clock_wall_ms();
	log_warn(&set->log, "endpoint_down", "its calls go to the others; it is probed until it answers again", LOG_S("endpoint", e->name),
		 LOG_S("error", why), LOG_U("errors", e->breaker.consecutive));
}

static void note_words(struct endpoint *e, int code, const char *words)
{
	snprintf(e->learnt.last_error, sizeof e->learnt.last_error, "%s: %s", error_title(code), words ? words : "");
}

static void failed(struct endpoints *set, struct endpoint *e, int code, const char *words, bool content)
{
	bool was_open = e->breaker.open;
	int64_t now = clock_mono_ms();
	note_words(e, code, words);
	if (content)
		breaker_bad_content(&e->breaker, now);
	else
		breaker_failure(&e->breaker, now);
	if (!was_open && e->breaker.open)
		opened(set, e, e->learnt.last_error);
	show_state(e, now);
}

static void count_error(struct endpoints *set, const struct endpoint *e, int code)
{
	if (set->metrics && code != 0)
		metric_inc(metrics_get(set->metrics, "weir_rpc_errors_total", set->chain, e->name, error_name(code)));
}

void endpoints_count_error(struct endpoints *set, size_t index, int code)
{
	count_error(set, &set->list[index], code);
}

static int64_t probe_wall_ms(const struct endpoint *e)
{
	const int64_t due_ms = e->breaker.until_ms > e->probe_due_ms ? e->breaker.until_ms : e->probe_due_ms;
	return clock_wall_ms() + (due_ms - clock_mono_ms());
}

void endpoints_status(struct endpoints *set, size_t index, struct endpoint_status *ret)
{
	pthread_mutex_lock(&set->lock);
	struct endpoint *e = &set->list[index];
	if (e->lacks_until_ms && clock_mono_ms() >= e->lacks_until_ms) {
		e->learnt.lacks_block_receipts = e->learnt.lacks_call_tracer = e->learnt.lacks_flat_traces = e->learnt.lacks_state_diff = false;
		e->lacks_until_ms = 0;
	}
	*ret = e->learnt;
	ret->name = e->name;
	ret->url = e->url;
	ret->roles = e->roles;
	ret->breaker = state_of(e, clock_mono_ms());
	ret->identified = e->identified;
	ret->wrong_chain = e->wrong_chain;
	ret->consecutive_errors = e->breaker.consecutive;
	ret->opened_ms = e->breaker.open ? e->opened_ms : 0;
	ret->probe_ms = e->breaker.open && !e->probing ? probe_wall_ms(e) : 0;
	if (e->breaker.open && ret->consecutive_errors < BREAKER_ENDPOINT.row)
		ret->consecutive_errors = BREAKER_ENDPOINT.row; /* opened by wrong answers */
	pthread_mutex_unlock(&set->lock);
}

void endpoints_note_head(struct endpoints *set, size_t index, uint64_t height)
{
	pthread_mutex_lock(&set->lock);
	set->list[index].learnt.head_height = height;
	pthread_mutex_unlock(&set->lock);
}

void endpoints_note_lacks(struct endpoints *set, size_t index, const char *feature)
{
	static const struct {
		const char *name;
		size_t offset;
	} features[] = { { "block_receipts", offsetof(struct endpoint_status, lacks_block_receipts) },
			 { "call_tracer", offsetof(struct endpoint_status, lacks_call_tracer) },
			 { "flat_traces", offsetof(struct endpoint_status, lacks_flat_traces) },
			 { "state_diff", offsetof(struct endpoint_status, lacks_state_diff) } };
	pthread_mutex_lock(&set->lock);
	struct endpoint *e = &set->list[index];
	for (size_t i = 0; i < sizeof features / sizeof features[0]; i++) {
		bool *lacks = (bool *)((char *)&e->learnt + features[i].offset);
		if (strcmp(features[i].name, feature) != 0 || *lacks)
			continue;
		*lacks = true;
		e->lacks_until_ms = clock_mono_ms() + LACKS_MS;
		log_info(&set->log, "endpoint_lacks", "it is not asked for this for a while", LOG_S("endpoint", e->name), LOG_S("feature", feature));
	}
	pthread_mutex_unlock(&set->lock);
}

/* With nobody else to ask, an open breaker would only stop the chain: the answers are proven anyway. */
static bool another_alive(const struct endpoints *set, const struct endpoint *e)
{
	for (size_t i = 0; i < set->count; i++)
		if (&set->list[i] != e && alive(&set->list[i]) && (set->list[i].roles & e->roles))
			return true;
	return false;
}

void endpoints_note_lie(struct endpoints *set, size_t index, const char *why)
{
	pthread_mutex_lock(&set->lock);
	struct endpoint *e = &set->list[index];
	note_words(e, WEIR_MISMATCH, why);
	count_error(set, e, WEIR_MISMATCH);
	log_warn(&set->log, "endpoint_lied", "its answer failed the proof", LOG_S("endpoint", e->name), LOG_S("error", why));
	if (!e->breaker.open && another_alive(set, e)) {
		int64_t now = clock_mono_ms();
		breaker_trip(&e->breaker, now);
		e->lie_pause_ms = e->lie_pause_ms == 0 || now - e->lied_ms > LIE_MEMORY_MS ? LIE_PAUSE_MS : 2 * e->lie_pause_ms;
		if (e->lie_pause_ms > LIE_PAUSE_MAX_MS)
			e->lie_pause_ms = LIE_PAUSE_MAX_MS;
		e->lied_ms = now;
		e->breaker.until_ms = now + e->lie_pause_ms;
		opened(set, e, why);
		show_state(e, now);
	}
	pthread_mutex_unlock(&set->lock);
}

void endpoints_note_failure(struct endpoints *set, size_t index, int code, const char *why)
{
	pthread_mutex_lock(&set->lock);
	count_error(set, &set->list[index], code);
	failed(set, &set->list[index], code, why, true);
	pthread_mutex_unlock(&set->lock);
}

/* -- choosing ------------------------------------------------------------------------------------------------------------- */

/* Lower is better; only the best class that is alive is used, even when it is busy: whoever lied is not asked to save a wait. */
static unsigned class_of(const struct endpoint *e, size_t index, const struct pick *p)
{
	uint64_t bit = UINT64_C(1) << index;
	unsigned class = 0;
	if (p->exclude & bit)
		class += 4;
	if (p->tried & bit)
		class += 2;
	if (p->needs_height > 0 && e->learnt.head_height < p->needs_height)
		class += 1;
	return class;
}

static bool asked(const struct endpoint *e, size_t index, const struct pick *p)
{
	if (p->only >= 0)
		return (size_t)p->only == index;
	return p->role == 0 || (e->roles & p->role);
}

int endpoints_pick(struct endpoints *set, const struct pick *p)
{
	int64_t now = clock_mono_ms();
	size_t candidates = 0, wrong = 0;
	unsigned best_class = UINT32_MAX;
	int best = PICK_WAIT;
	double best_load = 0;
	pthread_mutex_lock(&set->lock);
	for (size_t i = 0; i < set->count; i++) {
		struct endpoint *e = &set->list[i];
		if (!asked(e, i, p))
			continue;
		candidates++;
		wrong += e->wrong_chain;
		if (!alive(e))
			continue;
		unsigned class = class_of(e, i, p);
		if (class > best_class)
			continue;
		if (class < best_class) {
			best_class = class;
			best = PICK_WAIT;
		}
		double load = (double)(e->load + 1) / (double)e->weight;
		if (e->requests < e->max_concurrency && bucket_available(&e->bucket, 1, now) > 0 && (best == PICK_WAIT || load < best_load)) {
			best = (int)i;
			best_load = load;
		}
	}
	bool down = p->only >= 0 && (size_t)p->only < set->count && !breaker_closed(&set->list[p->only].breaker);
	pthread_mutex_unlock(&set->lock);
	if (candidates == 0)
		return WEIR_UNSUPPORTED;
	if (wrong == candidates)
		return WEIR_WRONG_CHAIN;
	return best == PICK_WAIT && down ? WEIR_UNAVAILABLE : best;
}

int rpc_choose(struct endpoints *set, unsigned role, uint64_t exclude, uint64_t needs_height)
{
	struct pick p = { .role = role, .exclude = exclude, .only = -1, .needs_height = needs_height };
	unsigned best_class = UINT32_MAX;
	double best_load = 0;
	int best = WEIR_UNAVAILABLE;
	pthread_mutex_lock(&set->lock);
	for (size_t i = 0; i < set->count; i++) {
		struct endpoint *e = &set->list[i];
		if (!asked(e, i, &p) || !alive(e))
			continue;
		unsigned class = class_of(e, i, &p);
		double load = (double)(e->load + 1) / (double)e->weight;
		if (class < best_class || (class == best_class && load < best_load)) {
			best_class = class;
			best_load = load;
			best = (int)i;
		}
	}
	pthread_mutex_unlock(&set->lock);
	return best;
}

void endpoints_assign(struct endpoints *set, size_t index, int calls)
{
	pthread_mutex_lock(&set->lock);
	set->list[index].load += calls;
	pthread_mutex_unlock(&set->lock);
}

int64_t endpoints_slots(struct endpoints *set, size_t index)
{
	pthread_mutex_lock(&set->lock);
	int64_t slots = set->list[index].max_concurrency - set->list[index].requests;
	pthread_mutex_unlock(&set->lock);
	return slots;
}

int64_t endpoints_begin(struct endpoints *set, size_t index, int64_t want, bool probe)
{
	pthread_mutex_lock(&set->lock);
	struct endpoint *e = &set->list[index];
	if (want > e->learnt.batch_max)
		want = e->learnt.batch_max;
	/* A probe may overdraw the bucket: two calls now and then, and without them nothing can be asked at all. */
	int64_t may = probe ? want : e->requests < e->max_concurrency ? bucket_available(&e->bucket, want, clock_mono_ms()) : 0;
	if (may > 0) {
		bucket_take(&e->bucket, may);
		e->requests++;
		if (e->http_requests)
			metric_inc(e->http_requests);
	}
	pthread_mutex_unlock(&set->lock);
	return may;
}

/* Failures that say something about the endpoint, not about the call. */
static bool blames_endpoint(int code)
{
	return code == WEIR_TIMEOUT || code == WEIR_UNAVAILABLE || code == WEIR_PROTOCOL || code == WEIR_PERMISSION || code == WEIR_IO;
}

void endpoints_end(struct endpoints *set, size_t index, int code, const char *words, double seconds, size_t calls, int64_t retry_after_ms, size_t bytes)
{
	pthread_mutex_lock(&set->lock);
	struct endpoint *e = &set->list[index];
	e->requests--;
	if (e->bytes)
		metric_add(e->bytes, bytes);
	count_error(set, e, code);
	if (code == WEIR_RATE_LIMITED) {
		note_words(e, code, words);
		bucket_refused(&e->bucket, retry_after_ms, clock_mono_ms());
		e->learnt.rate_limited++;
	} else if (blames_endpoint(code)) {
		e->learnt.timeouts += code == WEIR_TIMEOUT;
		failed(set, e, code, words, false);
	} else if (code != WEIR_CANCELED) {
		bucket_success(&e->bucket);
		if (!e->breaker.open)
			breaker_success(&e->breaker, clock_mono_ms());
		const double call_ms = seconds * 1000 / (double)calls;
		e->learnt.call_ms += (e->learnt.call_ms > 0 ? SMOOTHING : 1) * (call_ms - e->learnt.call_ms);
	}
	pthread_mutex_unlock(&set->lock);
}

void endpoints_learn_batch(struct endpoints *set, size_t index, int64_t calls)
{
	pthread_mutex_lock(&set->lock);
	struct endpoint *e = &set->list[index];
	if (calls < 1)
		calls = 1;
	if (calls < e->learnt.batch_max) {
		e->learnt.batch_max = calls;
		log_info(&set->log, "endpoint_batch_limit", "it refused a larger batch", LOG_S("endpoint", e->name), LOG_I("calls", calls));
	}
	pthread_mutex_unlock(&set->lock);
}

/* -- identity ------------------------------------------------------------------------------------------------------------- */

int endpoints_take_probe(struct endpoints *set)
{
	int64_t now = clock_mono_ms();
	int index = -1;
	pthread_mutex_lock(&set->lock);
	for (size_t i = 0; i < set->count && index < 0; i++) {
		struct endpoint *e = &set->list[i];
		if (e->probing || e->identified || now < e->probe_due_ms || bucket_available(&e->bucket, 1, now) < (e->bucket.per_second ? 1 : 0))
			continue;
		if (e->breaker.open && !breaker_take_probe(&e->breaker, now))
			continue;
		e->probing = true;
		index = (int)i;
		show_state(e, now);
	}
	pthread_mutex_unlock(&set->lock);
	return index;
}

void endpoints_probe_done(struct endpoints *set, size_t index, int code, const char *words)
{
	pthread_mutex_lock(&set->lock);
	struct endpoint *e = &set->list[index];
	int64_t now = clock_mono_ms();
	bool was_wrong = e->wrong_chain, was_open = e->breaker.open;
	e->probing = false;
	e->wrong_chain = code == WEIR_WRONG_CHAIN;
	if (code == 0) {
		breaker_success(&e->breaker, clock_mono_ms());
		backoff_reset(&e->probe_backoff);
		e->identified = true;
		if (was_open || was_wrong)
			log_info(&set->log, "endpoint_back", "it answers again and serves the right chain", LOG_S("endpoint", e->name));
	} else if (code == WEIR_WRONG_CHAIN) {
		note_words(e, code, words);
		count_error(set, e, code);
		e->probe_due_ms = now + WRONG_CHAIN_RECHECK_MS;
		e->breaker.probing = false;
		if (!was_wrong)
			log_error(&set->log, "endpoint_wrong_chain", "it is not used; correct its url or the chain_id and genesis_hash settings",
				  LOG_S("endpoint", e->name), LOG_S("error", words));
	} else {
		/* The request itself was counted by endpoints_end, unless its content was what failed. */
		if (e->breaker.open && e->breaker.probing)
			breaker_failure(&e->breaker, now);
		note_words(e, code, words);
		e->probe_due_ms = now + backoff_next_ms(&e->probe_backoff);
	}
	show_state(e, now);
	pthread_mutex_unlock(&set->lock);
}

int64_t endpoints_wait_ms(struct endpoints *set, int64_t limit)
{
	int64_t now = clock_mono_ms(), wait = limit;
	pthread_mutex_lock(&set->lock);
	for (size_t i = 0; i < set->count; i++) {
		struct endpoint *e = &set->list[i];
		int64_t due = 0;
		if (!e->identified && !e->probing)
			due = e->breaker.open && e->breaker.until_ms > e->probe_due_ms ? e->breaker.until_ms - now : e->probe_due_ms - now;
		int64_t tokens = bucket_wait_ms(&e->bucket, now);
		if (due > 0 && due < wait)
			wait = due;
		if (tokens > 0 && tokens < wait)
			wait = tokens;
	}
	pthread_mutex_unlock(&set->lock);
	return wait > 0 ? wait : 0;
}

/* -- words and numbers ------------------------------------------------------------------------------------------------------ */

void endpoints_observe(struct endpoints *set, size_t index, const char *method, double seconds)
{
	if (!set->metrics)
		return;
	struct metric *series = NULL;
	pthread_mutex_lock(&set->lock);
	struct endpoint *e = &set->list[index];
	for (size_t i = 0; i < e->method_count && !series; i++)
		if (strcmp(e->methods[i].method, method) == 0)
			series = e->methods[i].seconds;
	if (!series && e->method_count < ENDPOINT_METHODS_MAX) {
		series = metrics_get(set->metrics, "weir_rpc_request_seconds", set->chain, e->name, method);
		e->methods[e->method_count].method = xstrdup(method);
		e->methods[e->method_count++].seconds = series;
	}
	pthread_mutex_unlock(&set->lock);
	metric_observe(series ? series : metrics_get(set->metrics, "weir_rpc_request_seconds", set->chain, e->name, "other"), seconds);
}

void endpoints_explain(struct endpoints *set, struct buf *out)
{
	pthread_mutex_lock(&set->lock);
	for (size_t i = 0; i < set->count; i++) {
		const struct endpoint *e = &set->list[i];
		buf_printf(out, "%s%s: %s", i ? "; " : "", e->name,
			   *e->learnt.last_error ? e->learnt.last_error : e->identified ? "no failure" : "not yet reached");
	}
	pthread_mutex_unlock(&set->lock);
}
