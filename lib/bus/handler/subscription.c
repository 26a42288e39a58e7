/* subscription.c - a subscription's life: checking what it is given, opening, rounds, words from outside, status. */
#include "bus/subscription.h"

#include "bus/handler/deliver.h"
#include "bus/lane/owner.h"
#include "bus/lane/worker.h"
#include "bus/redis/command.h"
#include "bus/core/transport.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TELL_EVERY_MS 1000
#define DEFAULT_BATCH 512
#define DEFAULT_LEASE_MS 5000
#define DEFAULT_HOLD 1024
#define DEFAULT_HOLD_BYTES (64u << 20)
#define BATCH_MAX 65536
#define PROBATION 1024

static const struct breaker_policy storm_policy = {
	.least = 50, .accept = 2, .window_ms = 60000, .pause_ms = 5000, .pause_max_ms = 300000, .probes = 1
};

/* -- checking -------------------------------------------------------------------------------------------------------------------- */

static int check_names(const struct bus_subscription_options *o, struct error *err)
{
	const char *const names[] = { o->chain, o->topic, o->subscription };
	static const char *const what[] = { "chain", "topic", "subscription" };
	for (size_t i = 0; i < 3; i++)
		if (!names[i] || !*names[i] || strlen(names[i]) > 48 || strpbrk(names[i], "{}:/ "))
			return error_set(err, WEIR_CONFIG, "%s \"%s\": a name of 1 to 48 characters without spaces and {}:/ is needed", what[i],
					 names[i] ? names[i] : "");
	return 0;
}

static int check_handlers(const struct bus_subscription_options *o, struct error *err)
{
	if (o->handler_count == 0 || o->handler_count > BUS_HANDLERS_MAX)
		return error_set(err, WEIR_CONFIG, "subscription %s has %zu handlers; 1 to %d can be", o->subscription, o->handler_count,
				 BUS_HANDLERS_MAX);
	for (size_t i = 0; i < o->handler_count; i++) {
		const struct bus_handler *h = &o->handlers[i];
		if (!h->name || !h->handle || h->type_count == 0)
			return error_set(err, WEIR_CONFIG, "subscription %s: handler %s needs a name, a function and at least one type",
					 o->subscription, h->name ? h->name : "(unnamed)");
		for (size_t k = 0; k < h->type_count; k++)
			if (!bus_type_of(h->types[k]))
				return error_set(err, WEIR_CONFIG,
						 "subscription %s: handler %s wants message type %u, which is not registered (bus_types_add)",
						 o->subscription, h->name, h->types[k]);
	}
	return 0;
}

/* A rule for a handler or a type that is not here is a slip of the pen. */
static int check_rules(const struct bus_subscription_options *o, struct error *err)
{
	for (size_t i = 0; i < o->retry_count; i++) {
		const struct retry_rule *rule = &o->retries[i];
		bool known = !rule->handler;
		for (size_t k = 0; k < o->handler_count; k++)
			known = known || strcmp(o->handlers[k].name, rule->handler) == 0;
		if (!known)
			return error_set(err, WEIR_CONFIG, "subscription %s: retry rule %zu names handler %s, which it has not", o->subscription, i,
					 rule->handler);
		if (rule->type && !bus_type_of(rule->type))
			return error_set(err, WEIR_CONFIG, "subscription %s: retry rule %zu names message type %u, which is not registered",
					 o->subscription, i, rule->type);
	}
	return retry_check(o->retries, o->retry_count, err);
}

static int check_sizes(const struct bus_subscription_options *o, struct error *err)
{
	if (o->batch > BATCH_MAX)
		return error_set(err, WEIR_CONFIG, "subscription %s: a batch of %zu; %d is the most", o->subscription, o->batch, BATCH_MAX);
	if (o->lease_ms != 0 && (o->lease_ms < 100 || o->lease_ms > 600000))
		return error_set(err, WEIR_CONFIG, "subscription %s: a lease of %" PRId64 " ms; 100 to 600000 can be", o->subscription, o->lease_ms);
	return 0;
}

/* -- opening ---------------------------------------------------------------------------------------------------------------------- */

static struct breaker *breaker_for(struct bus_subscription *s, const struct bus_handler *def)
{
	for (size_t i = 0; i < s->options.handler_count && def->dependency; i++)
		if (s->handlers[i].breaker && s->handlers[i].def->dependency && strcmp(s->handlers[i].def->dependency, def->dependency) == 0)
			return s->handlers[i].breaker;
	struct breaker *b = &s->breakers[s->breaker_count++];
	b->policy = s->options.breaker ? s->options.breaker : &BREAKER_HANDLER;
	return b;
}

static int add_handlers(struct bus_subscription *s, struct error *err)
{
	struct metrics *m = s->bus->options.metrics;
	for (size_t i = 0; i < s->options.handler_count; i++) {
		const struct bus_handler *def = &s->options.handlers[i];
		struct handler_state *h = &s->handlers[i];
		h->breaker = breaker_for(s, def);
		h->def = def;
		h->status.name = def->name;
		for (size_t k = 0; k < def->type_count; k++) {
			uint8_t *at = &s->handler_of[def->types[k]];
			if (*at)
				return error_set(err, WEIR_CONFIG, "subscription %s: message type %s has two handlers, %s and %s", s->name,
						 message_type_name(def->types[k]), s->handlers[*at - 1].def->name, def->name);
			*at = (uint8_t)(i + 1);
		}
		if (!m)
			continue;
		h->seconds = metrics_get(m, "weir_bus_handler_seconds", s->chain, s->name, def->name);
		h->breaker_opened = metrics_get(m, "weir_bus_breaker_opened_total", s->chain, s->name, def->name);
		h->breaker_state = metrics_get(m, "weir_bus_breaker_state", s->chain, s->name, def->name);
	}
	s->own.handler_count = s->options.handler_count;
	return 0;
}

int bus_subscription_open(struct bus *bus, const struct bus_subscription_options *o, struct bus_subscription **ret, struct error *err)
{
	int r = check_names(o, err);
	if (r == 0)
		r = check_handlers(o, err);
	if (r == 0)
		r = check_rules(o, err);
	if (r == 0)
		r = check_sizes(o, err);
	if (r != 0)
		return r;
	struct bus_subscription *s = xmalloc(sizeof *s);
	s->bus = bus;
	s->options = *o;
	s->options.chain = s->chain = xstrdup(o->chain);
	s->options.topic = s->topic = xstrdup(o->topic);
	s->options.subscription = s->name = xstrdup(o->subscription);
	s->options.batch = o->batch ? o->batch : DEFAULT_BATCH;
	s->options.lease_ms = o->lease_ms ? o->lease_ms : DEFAULT_LEASE_MS;
	s->options.hold_max = o->hold_max ? o->hold_max : DEFAULT_HOLD;
	s->options.hold_bytes = o->hold_bytes ? o->hold_bytes : DEFAULT_HOLD_BYTES;
	s->storm.policy = &storm_policy;
	s->own.state = BUS_WAITING;
	s->places = bus->transport ? bus->transport->places : 1;
	s->upcast = (struct buf)BUF_INIT(2ul * FRAME_BODY_MAX);
	pthread_mutex_init(&s->lock, NULL);
	r = add_handlers(s, err);
	if (r == 0 && o->order == BUS_ORDERED)
		r = bus_owner_open(bus, s->chain, s->topic, s->name, s->options.lease_ms, &s->owner, err);
	else if (r == 0)
		r = bus_worker_open(bus, s->chain, s->topic, s->name, NULL, &s->worker, err);
	if (r != 0) {
		bus_subscription_close(&s);
		return r;
	}
	if (s->owner)
		bus_owner_watch(s->owner, "", PROBATION);
	s->tally = s->owner ? bus_owner_tally(s->owner) : &s->worker->tally;
	if (s->worker)
		s->worker->has_handlers = true;
	s->shown = s->own;
	for (size_t i = 0; i < o->handler_count; i++) /* only letters of types that are handled here */
		dead_letter_replay_unsupported(bus, s->chain, s->name, o->handlers[i].types, o->handlers[i].type_count);
	*ret = s;
	return 0;
}

void bus_subscription_close(struct bus_subscription **subscription)
{
	if (!subscription || !*subscription)
		return;
	struct bus_subscription *s = *subscription;
	if (s->has_thread)
		(void)bus_subscription_join(s, NULL);
	ordered_forget(s);
	for (size_t i = 0; i < s->own.handler_count; i++) /* nobody is held up by a breaker that is gone */
		if (s->handlers[i].breaker_state)
			metric_set(s->handlers[i].breaker_state, 0);
	free(s->waiting);
	bus_step_abort(&s->step);
	bus_owner_close(&s->owner);
	bus_worker_close(&s->worker);
	buf_free(&s->upcast);
	free(s->shown_rows);
	pthread_mutex_destroy(&s->lock);
	free(s->chain);
	free(s->topic);
	free(s->name);
	xfree(subscription);
}

int bus_delivery_emit(const struct bus_delivery *d, const char *topic, const struct frame *frame, struct error *err)
{
	static const uint8_t none[16];
	const struct bus_subscription *s = d->subscription;
	if (!s->step)
		return error_set(err, WEIR_CONFIG,
				 "subscription %s of topic %s is ordered: its place and what it emits cannot be one step, nothing was emitted to topic %s. "
				 "Publish with a bus_publisher, or subscribe BUS_SHARED",
				 s->name, s->topic, topic);
	struct frame f = *frame;
	if (memcmp(f.trace_id, none, sizeof none) == 0)
		frame_set_trace(&f, &d->trace);
	bus_step_emit(s->step, d->message, topic, &f);
	return 0;
}

/* -- words from outside ------------------------------------------------------------------------------------------------------------- */

static void tell_key(const char *chain, const char *topic, const char *subscription, char ret[KEY_MAX])
{
	snprintf(ret, KEY_MAX, TELL_KEY_FORMAT, chain, topic, subscription);
}

struct told {
	char word[16], reason[160], by[64], at_ns[24];
};

static void on_told(const char *name, const char *value, void *arg)
{
	struct told *t = arg;
	const struct {
		const char *name;
		char *to;
		size_t size;
	} rows[] = { { "word", t->word, sizeof t->word },
		     { "reason", t->reason, sizeof t->reason },
		     { "by", t->by, sizeof t->by },
		     { "at_ns", t->at_ns, sizeof t->at_ns } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strcmp(rows[i].name, name) == 0)
			snprintf(rows[i].to, rows[i].size, "%s", value);
}

static void end_pauses(struct bus_subscription *s)
{
	if (!breaker_closed(&s->storm))
		log_info(&s->bus->log, "bus_storm_over", "an operator ended the pause", LOG_S("chain", s->chain), LOG_S("subscription", s->name));
	breaker_reset(&s->storm);
	for (size_t i = 0; i < s->breaker_count; i++)
		breaker_reset(&s->breakers[i]);
	for (size_t i = 0; i < s->waiting_count; i++)
		s->waiting[i]->due_ms = 0;
}

static void obey(struct bus_subscription *s, const struct told *t)
{
	bool first = !*s->told_ns;
	if (strcmp(t->at_ns, s->told_ns) == 0)
		return;
	snprintf(s->told_ns, sizeof s->told_ns, "%s", *t->at_ns ? t->at_ns : "0");
	if (strcmp(t->word, "pause") == 0)
		bus_subscription_pause(s, t->reason, t->by);
	else if (!first) /* an old "resume" must not undo what was said here since */
		bus_subscription_resume(s);
}

/* Words of other processes about once a second, of other threads at once. */
static void listen(struct bus_subscription *s)
{
	if (clock_mono_ms() >= s->tell_ms) {
		char key[KEY_MAX];
		struct told t = { 0 };
		tell_key(s->chain, s->topic, s->name, key);
		int r = bus_hash_read(s->bus, key, on_told, &t, NULL);
		if (r == 0 || r == WEIR_NOT_FOUND)
			obey(s, &t);
		s->tell_ms = clock_mono_ms() + TELL_EVERY_MS;
	}
	pthread_mutex_lock(&s->lock);
	bool resume = s->resume_asked;
	s->resume_asked = false;
	pthread_mutex_unlock(&s->lock);
	if (resume)
		end_pauses(s);
}

void bus_subscription_pause(struct bus_subscription *s, const char *reason, const char *by)
{
	pthread_mutex_lock(&s->lock);
	s->paused = true;
	snprintf(s->reason, sizeof s->reason, "%s", reason ? reason : "");
	snprintf(s->by, sizeof s->by, "%s", by ? by : "");
	pthread_mutex_unlock(&s->lock);
	log_info(&s->bus->log, "bus_subscription_paused", NULL, LOG_S("chain", s->chain), LOG_S("topic", s->topic), LOG_S("subscription", s->name),
		 LOG_S("reason", reason ? reason : ""), LOG_S("by", by ? by : ""));
}

void bus_subscription_resume(struct bus_subscription *s)
{
	pthread_mutex_lock(&s->lock);
	bool was = s->paused;
	s->paused = false;
	s->resume_asked = true;
	s->reason[0] = s->by[0] = 0;
	pthread_mutex_unlock(&s->lock);
	if (was)
		log_info(&s->bus->log, "bus_subscription_resumed", NULL, LOG_S("chain", s->chain), LOG_S("topic", s->topic),
			 LOG_S("subscription", s->name));
}

static int say(struct bus *bus, const char *function, const char *chain, const char *const *words, size_t n, struct error *err)
{
	struct bus_args a = { 0 };
	char anchor[KEY_MAX];
	bus_anchor(chain, anchor);
	bus_call(&a, function, anchor);
	for (size_t i = 0; i < n; i++)
		bus_args_add(&a, words[i] ? words[i] : "");
	int r = bus_run(bus, &a, 0, NULL, err);
	bus_args_free(&a);
	return r;
}

/* A transport has no step for both, and its audit is the program's log. */
static int tell_transport(struct bus *bus, const char *chain, const char *topic, const char *subscription, const struct told *t, struct error *err)
{
	char key[KEY_MAX], action[48], detail[320];
	tell_key(chain, topic, subscription, key);
	const struct bus_field fields[] = { { "word", t->word }, { "reason", t->reason }, { "by", t->by }, { "at_ns", t->at_ns } };
	int r = bus_hash_write(bus, key, fields, 4, err);
	snprintf(action, sizeof action, "subscription_%s", t->word);
	snprintf(detail, sizeof detail, "topic %s, subscription %s: %s", topic, subscription, t->reason);
	return r ? r : bus_audit(bus, chain, t->by, action, detail, err);
}

int bus_subscription_tell(struct bus *bus, const char *chain, const char *topic, const char *subscription, enum bus_subscription_word word,
			  const char *reason, const char *by, struct error *err)
{
	struct told t;
	snprintf(t.word, sizeof t.word, "%s", word == BUS_TELL_PAUSE ? "pause" : "resume");
	snprintf(t.reason, sizeof t.reason, "%s", reason ? reason : "");
	snprintf(t.by, sizeof t.by, "%s", by ? by : "");
	snprintf(t.at_ns, sizeof t.at_ns, "%" PRId64, clock_wall_ns());
	const char *const words[] = { topic, subscription, t.word, t.reason, t.by, t.at_ns };
	return bus->transport ? tell_transport(bus, chain, topic, subscription, &t, err) : say(bus, "tell", chain, words, 6, err);
}

int bus_subscription_seek(struct bus *bus, const char *chain, const char *topic, const char *subscription, enum bus_class klass, uint64_t generation,
			  uint64_t sequence, const char *by, struct error *err)
{
	char id[48];
	if (klass > BUS_LOW)
		return error_set(err, WEIR_INVALID, "no such class: %d", (int)klass);
	snprintf(id, sizeof id, "%" PRIu64 "-%" PRIu64, generation, sequence);
	const char *const words[] = { topic, subscription, bus_classes[klass], id, by };
	return say(bus, "seek", chain, words, 5, err);
}

int bus_subscription_detach(struct bus *bus, const char *chain, const char *topic, const char *subscription, const char *by, struct error *err)
{
	const char *const words[] = { topic, subscription, by };
	return say(bus, "detach", chain, words, 3, err);
}

/* -- rounds -------------------------------------------------------------------------------------------------------------------------- */

static enum bus_subscription_state state_of(const struct bus_subscription *s)
{
	return s->paused                                       ? BUS_PAUSED
	       : !breaker_closed(&s->storm)                    ? BUS_STORM
	       : deliver_blocked_until(s, clock_mono_ms()) > 0 ? BUS_BROKEN
	       : s->owner && !s->owning                        ? BUS_WAITING
							       : BUS_RUNNING;
}

static void show_rows(struct bus_subscription *s)
{
	const struct bus_tally *t = s->tally;
	if (s->shown_capacity < t->count) {
		s->shown_capacity = t->capacity;
		s->shown_rows = xrealloc(s->shown_rows, s->shown_capacity, sizeof *s->shown_rows);
	}
	if (t->count > 0)
		memcpy(s->shown_rows, t->rows, t->count * sizeof *t->rows);
	s->shown_count = t->count;
}

static void show_breaker(struct handler_state *h)
{
	const struct breaker *b = h->breaker;
	if (h->breaker_opened && b->opened_total > h->status.breaker_opened)
		metric_add(h->breaker_opened, b->opened_total - h->status.breaker_opened);
	if (h->breaker_state)
		metric_set(h->breaker_state, breaker_closed(b) ? 0 : breaker_half_open(b, clock_mono_ms()) ? 1 : 2);
	h->status.breaker_open = !breaker_closed(b);
	h->status.breaker_opened = b->opened_total;
}

static void show(struct bus_subscription *s)
{
	s->own.held = s->waiting_count;
	s->own.held_bytes = s->waiting_bytes;
	if (s->progressed)
		s->own.progress_ms = clock_wall_ms();
	s->progressed = false;
	for (size_t i = 0; i < s->own.handler_count; i++) {
		struct handler_state *h = &s->handlers[i];
		show_breaker(h);
		s->own.handlers[i] = h->status;
	}
	pthread_mutex_lock(&s->lock);
	s->own.state = state_of(s);
	memcpy(s->own.reason, s->reason, sizeof s->reason);
	memcpy(s->own.by, s->by, sizeof s->by);
	s->shown = s->own;
	show_rows(s);
	pthread_mutex_unlock(&s->lock);
}

int bus_subscription_turn(struct bus_subscription *s, int64_t timeout_ms, struct error *err)
{
	listen(s);
	int r = s->owner ? ordered_turn(s, timeout_ms, err) : shared_turn(s, timeout_ms, err);
	show(s);
	return r;
}

static bool mends_itself(int code)
{
	return code == 0 || code == WEIR_FENCED || error_retriable(code);
}

static int drain(struct bus_subscription *s, int64_t drain_ms, struct error *err)
{
	int64_t deadline = clock_mono_ms() + drain_ms;
	int r = 0;
	s->draining = true;
	while (r == 0 && s->owning && s->waiting_count > 0 && clock_mono_ms() < deadline)
		r = bus_subscription_turn(s, 50, err);
	s->draining = false;
	return mends_itself(r) ? 0 : r;
}

int bus_subscription_run(struct bus_subscription *s, int64_t drain_ms, struct error *err)
{
	struct backoff wait = { .base_ms = 50, .max_ms = 2000 };
	int r = 0;
	while (!s->stopping && mends_itself(r)) {
		r = bus_subscription_turn(s, 200, err);
		if (r == 0)
			backoff_reset(&wait);
		else if (!s->stopping && mends_itself(r))
			clock_sleep_ms(backoff_next_ms(&wait));
	}
	if (mends_itself(r))
		r = drain(s, drain_ms, err);
	pthread_mutex_lock(&s->lock);
	s->shown.state = BUS_STOPPED;
	pthread_mutex_unlock(&s->lock);
	return r;
}

void bus_subscription_stop(struct bus_subscription *s)
{
	s->stopping = true;
}

static void *run_thread(void *arg)
{
	struct bus_subscription *s = arg;
	s->result = bus_subscription_run(s, s->drain_ms, &s->result_error);
	return NULL;
}

int bus_subscription_start(struct bus_subscription *s, int64_t drain_ms, struct error *err)
{
	if (s->has_thread)
		return error_set(err, WEIR_USAGE, "subscription %s has a thread already", s->name);
	s->drain_ms = drain_ms;
	s->stopping = false;
	if (pthread_create(&s->thread, NULL, run_thread, s) != 0)
		return error_set(err, WEIR_LIMIT, "no thread could be made for subscription %s", s->name);
	s->has_thread = true;
	return 0;
}

int bus_subscription_join(struct bus_subscription *s, struct error *err)
{
	if (!s->has_thread)
		return 0;
	bus_subscription_stop(s);
	pthread_join(s->thread, NULL);
	s->has_thread = false;
	if (s->result != 0 && err)
		*err = s->result_error;
	return s->result;
}

/* -- status ------------------------------------------------------------------------------------------------------------------------- */

const char *bus_subscription_state_name(enum bus_subscription_state state)
{
	static const char *const names[] = { "waiting", "running", "paused", "broken", "storm", "stopped" };
	return state <= BUS_STOPPED ? names[state] : "unknown";
}

void bus_subscription_status(struct bus_subscription *s, struct bus_subscription_status *ret)
{
	pthread_mutex_lock(&s->lock);
	*ret = s->shown;
	pthread_mutex_unlock(&s->lock);
}

void bus_subscription_statistics(struct bus_subscription *s, bus_statistics_fn *fn, void *arg)
{
	pthread_mutex_lock(&s->lock);
	size_t n = s->shown_count;
	struct tally_row *rows = n > 0 ? xmemdup(s->shown_rows, n * sizeof *rows) : NULL;
	pthread_mutex_unlock(&s->lock);
	bus_tally_each(rows, n, fn, arg);
	free(rows);
}
