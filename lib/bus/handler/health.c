/* health.c - running checks, their history, and the JSON. */
#include "bus/health.h"

#include "base/clock.h"
#include "wire/json.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define BUS_EVERY_MS 1000
#define SUBSCRIPTION_EVERY_MS 1000

struct moment {
	int64_t at_ms; /* wall clock */
	bool ok;
	char error[160];
};

struct stall { /* of a subscription's check */
	struct bus_subscription *subscription;
	int64_t stall_ms, quiet_since_ms, progress_ms;
};

struct check {
	char *name;
	int64_t every_ms, due_ms;
	bool vital, ran, ok;
	bus_health_fn *fn;
	void *arg;
	struct stall *own; /* the argument of a ready-made one */
	int64_t took_us, since_ms;
	uint64_t runs, failures;
	struct moment history[BUS_HEALTH_HISTORY]; /* a ring: changes, oldest overwritten */
	size_t changes;
};

struct bus_health {
	struct log log;
	pthread_mutex_t lock; /* guards the checks' results */
	struct check checks[BUS_HEALTH_CHECKS];
	size_t count;
};

const char *bus_health_state_name(enum bus_health_state state)
{
	static const char *const names[] = { "well", "degraded", "ill" };
	return state <= BUS_ILL ? names[state] : "unknown";
}

struct bus_health *bus_health_new(const struct log *log)
{
	struct bus_health *h = xmalloc(sizeof *h);
	if (log)
		h->log = *log;
	pthread_mutex_init(&h->lock, NULL);
	return h;
}

void bus_health_free(struct bus_health **health)
{
	if (!health || !*health)
		return;
	for (size_t i = 0; i < (*health)->count; i++) {
		free((*health)->checks[i].name);
		free((*health)->checks[i].own);
	}
	pthread_mutex_destroy(&(*health)->lock);
	xfree(health);
}

int bus_health_add(struct bus_health *h, const char *name, int64_t every_ms, bool vital, bus_health_fn *fn, void *arg, struct error *err)
{
	for (size_t i = 0; i < h->count; i++)
		if (strcmp(h->checks[i].name, name) == 0)
			return error_set(err, WEIR_CONFIG, "there is a health check %s already", name);
	if (h->count == BUS_HEALTH_CHECKS)
		return error_set(err, WEIR_LIMIT, "more than %d health checks", BUS_HEALTH_CHECKS);
	pthread_mutex_lock(&h->lock);
	h->checks[h->count++] =
		(struct check){ .name = xstrdup(name), .every_ms = every_ms > 0 ? every_ms : 1000, .vital = vital, .fn = fn, .arg = arg };
	pthread_mutex_unlock(&h->lock);
	return 0;
}

/* -- ready-made ---------------------------------------------------------------------------------------------------------------- */

static int check_bus(void *arg, struct error *err)
{
	return bus_ping(arg, err);
}

int bus_health_add_bus(struct bus_health *h, const char *name, struct bus *bus, struct error *err)
{
	return bus_health_add(h, name, BUS_EVERY_MS, true, check_bus, bus, err);
}

static int check_subscription(void *arg, struct error *err)
{
	struct stall *s = arg;
	struct bus_subscription_status st;
	int64_t now = clock_mono_ms();
	bus_subscription_status(s->subscription, &st);
	if (st.state == BUS_BROKEN || st.state == BUS_STORM)
		return error_set(err, WEIR_UNAVAILABLE, "it is held by a %s: %s", st.state == BUS_STORM ? "storm" : "breaker", st.last_error);
	if (st.held == 0 || st.progress_ms != s->progress_ms || st.state != BUS_RUNNING)
		s->quiet_since_ms = now;
	s->progress_ms = st.progress_ms;
	if (now - s->quiet_since_ms < s->stall_ms)
		return 0;
	return error_set(err, WEIR_STUCK, "%zu messages wait and nothing was settled for %" PRId64 " ms: %s", st.held, now - s->quiet_since_ms,
			 st.last_error);
}

int bus_health_add_subscription(struct bus_health *h, const char *name, struct bus_subscription *subscription, int64_t stall_ms, struct error *err)
{
	struct stall *s = xmalloc(sizeof *s);
	*s = (struct stall){ .subscription = subscription, .stall_ms = stall_ms, .quiet_since_ms = clock_mono_ms() };
	int r = bus_health_add(h, name, SUBSCRIPTION_EVERY_MS, false, check_subscription, s, err);
	if (r == 0)
		h->checks[h->count - 1].own = s;
	else
		free(s);
	return r;
}

/* -- running --------------------------------------------------------------------------------------------------------------------- */

static void note(struct bus_health *h, struct check *c, bool ok, const struct error *why, int64_t took_us)
{
	bool changed = !c->ran || c->ok != ok;
	c->runs++;
	c->failures += !ok;
	c->took_us = took_us;
	c->ran = true;
	c->ok = ok;
	if (!changed)
		return;
	struct moment *m = &c->history[c->changes++ % BUS_HEALTH_HISTORY];
	c->since_ms = m->at_ms = clock_wall_ms();
	m->ok = ok;
	snprintf(m->error, sizeof m->error, "%s", ok ? "" : why->text);
	if (!ok)
		log_warn(&h->log, "bus_health_failed", why->text, LOG_S("check", c->name), LOG_B("vital", c->vital));
	else if (c->changes > 1)
		log_info(&h->log, "bus_health_restored", NULL, LOG_S("check", c->name));
}

void bus_health_turn(struct bus_health *h)
{
	for (size_t i = 0; i < h->count; i++) {
		struct check *c = &h->checks[i];
		if (clock_mono_ms() < c->due_ms)
			continue;
		struct error why = { 0 };
		int64_t began = clock_mono_ns();
		int r = c->fn(c->arg, &why);
		int64_t took_us = (clock_mono_ns() - began) / 1000;
		pthread_mutex_lock(&h->lock);
		note(h, c, r == 0, &why, took_us);
		pthread_mutex_unlock(&h->lock);
		c->due_ms = clock_mono_ms() + c->every_ms;
	}
}

/* -- telling ----------------------------------------------------------------------------------------------------------------------- */

static enum bus_health_state state_of(const struct bus_health *h)
{
	enum bus_health_state state = BUS_WELL;
	for (size_t i = 0; i < h->count; i++) {
		const struct check *c = &h->checks[i];
		if (c->ran && !c->ok && (c->vital || state == BUS_WELL))
			state = c->vital ? BUS_ILL : BUS_DEGRADED;
	}
	return state;
}

enum bus_health_state bus_health_state(struct bus_health *h)
{
	pthread_mutex_lock(&h->lock);
	enum bus_health_state state = state_of(h);
	pthread_mutex_unlock(&h->lock);
	return state;
}

static void print_check(const struct check *c, struct buf *out)
{
	const struct moment *newest = c->changes ? &c->history[(c->changes - 1) % BUS_HEALTH_HISTORY] : NULL;
	size_t n = c->changes < BUS_HEALTH_HISTORY ? c->changes : BUS_HEALTH_HISTORY;
	buf_add_str(out, "{\"name\":");
	json_add_string(out, c->name, strlen(c->name));
	buf_printf(out, ",\"ok\":%s,\"vital\":%s,\"error\":", !c->ran || c->ok ? "true" : "false", c->vital ? "true" : "false");
	json_add_string(out, newest ? newest->error : "", newest ? strlen(newest->error) : 0);
	buf_printf(out, ",\"since_ms\":%" PRId64 ",\"took_us\":%" PRId64 ",\"runs\":%" PRIu64 ",\"failures\":%" PRIu64 ",\"history\":[", c->since_ms,
		   c->took_us, c->runs, c->failures);
	for (size_t i = 0; i < n; i++) {
		const struct moment *m = &c->history[(c->changes - n + i) % BUS_HEALTH_HISTORY];
		buf_printf(out, "%s{\"at_ms\":%" PRId64 ",\"ok\":%s,\"error\":", i ? "," : "", m->at_ms, m->ok ? "true" : "false");
		json_add_string(out, m->error, strlen(m->error));
		buf_add_byte(out, '}');
	}
	buf_add_str(out, "]}");
}

void bus_health_print(struct bus_health *h, struct buf *out)
{
	pthread_mutex_lock(&h->lock);
	buf_printf(out, "{\"state\":\"%s\",\"checks\":[", bus_health_state_name(state_of(h)));
	for (size_t i = 0; i < h->count; i++) {
		if (i > 0)
			buf_add_byte(out, ',');
		print_check(&h->checks[i], out);
	}
	buf_add_str(out, "]}");
	pthread_mutex_unlock(&h->lock);
}
