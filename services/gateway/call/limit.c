/* limit.c - the clients that are counted, and the thread that settles with Redis. */
#include "call/limit.h"

#include "gateway.h"
#include "call/gcra.h"

#include "base/clock.h"
#include "base/digits.h"
#include "base/cond.h"
#include "base/hash.h"
#include "bus/bus.h"
#include "bus/rate.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define BUCKETS 16384
#define WINDOW_US 60000000
#define LOGIN_WINDOW_US 900000000
#define LOGINS_OF_ADDRESS 10
#define LOGINS_OF_USER 30 /* more: a stranger should not be able to lock a user out easily */
#define CAP_US (2 * (int64_t)LOGIN_WINDOW_US) /* nobody waits longer */
#define SETTLE_MAX 512
#define FORGET_MS 1000
#define REDIS_TIMEOUT_MS 500

struct client {
	struct limited who;
	int64_t debt_until_us;
	int64_t unsettled_us; /* spent here and not yet told */
	bool listed;          /* is to be settled */
	struct client *next, *next_listed;
};

struct limits {
	struct gcra_policy policies[LIMIT_KINDS];
	struct log log;
	struct metric *shared, *clients;
	struct bus *bus; /* the thread's own */
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* guards everything below */
	pthread_cond_t changed;
	bool closing;
	struct client *buckets[BUCKETS];
	struct client crowd[LIMIT_KINDS]; /* those that there is no place for, by kind */
	size_t count;
	struct client *listed;
};

static int64_t now_us(void)
{
	return clock_mono_ns() / 1000;
}

/* ---- clients (under the lock) ---------------------------------------------------------------------------------------------------------- */

static size_t bucket_of(const struct limited *who)
{
	uint64_t hash = hash_bytes(HASH_BASIS + who->kind, who->name, strlen(who->name));
	return (hash ^ hash >> 32) % BUCKETS;
}

static struct client *find(struct limits *limits, const struct limited *who, bool make)
{
	struct client **place = &limits->buckets[bucket_of(who)];
	for (struct client *c = *place; c; c = c->next)
		if (c->who.kind == who->kind && strcmp(c->who.name, who->name) == 0)
			return c;
	if (!make)
		return NULL;
	if (limits->count == LIMIT_CLIENTS_MAX)
		return &limits->crowd[who->kind];
	struct client *c = xmalloc(sizeof *c);
	c->who = *who;
	c->next = *place;
	*place = c;
	limits->count++;
	return c;
}

static void spend(struct limits *limits, struct client *c, int64_t us)
{
	c->unsettled_us += us;
	if (c->listed)
		return;
	c->listed = true;
	c->next_listed = limits->listed;
	limits->listed = c;
	pthread_cond_signal(&limits->changed);
}

static void forget_paid(struct limits *limits)
{
	int64_t now = now_us();
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct client **place = &limits->buckets[i]; *place;) {
			struct client *c = *place;
			if (c->listed || c->debt_until_us > now) {
				place = &c->next;
				continue;
			}
			*place = c->next;
			free(c);
			limits->count--;
		}
	metric_set(limits->clients, (double)limits->count);
}

/* ---- settling -------------------------------------------------------------------------------------------------------------------------- */

struct settling {
	struct limited who[SETTLE_MAX];
	char names[SETTLE_MAX][128];
	struct bus_rate rates[SETTLE_MAX];
	size_t count;
};

static void collect(struct limits *limits, struct settling *s)
{
	static const char letters[LIMIT_KINDS] = { [LIMIT_ADDRESS] = 'a', [LIMIT_KEY] = 'k', [LIMIT_LOGIN_ADDRESS] = 'l', [LIMIT_LOGIN_USER] = 'u' };
	for (s->count = 0; limits->listed && s->count < SETTLE_MAX;) {
		struct client *c = limits->listed;
		limits->listed = c->next_listed;
		c->listed = false;
		if (c->unsettled_us == 0)
			continue;
		s->who[s->count] = c->who;
		snprintf(s->names[s->count], sizeof s->names[0], "%c:%s", letters[c->who.kind], c->who.name);
		s->rates[s->count] = (struct bus_rate){ .name = s->names[s->count], .spent_us = c->unsettled_us };
		c->unsettled_us = 0;
		s->count++;
	}
}

/* What all owe can only be more than what is known here: Redis may have lost some of it. */
static void apply(struct limits *limits, const struct settling *s)
{
	int64_t now = now_us();
	for (size_t i = 0; i < s->count; i++) {
		struct client *c = find(limits, &s->who[i], false);
		if (!c)
			continue;
		int64_t until = now + s->rates[i].debt_us + c->unsettled_us;
		if (until > c->debt_until_us)
			c->debt_until_us = until;
	}
}

static void note_shared(struct limits *limits, bool *shared, bool now, const struct error *err)
{
	metric_set(limits->shared, now ? 1 : 0);
	if (*shared == now)
		return;
	*shared = now;
	if (now)
		log_info(&limits->log, "limits_shared", "rate limits are shared with the other gateways again");
	else
		log_warn(&limits->log, "limits_local", "rate limits are not shared while Redis is away: this gateway's own hold", LOG_ERR(err));
}

static void wait_ms(struct limits *limits, int64_t ms)
{
	const struct timespec until = cond_deadline(ms);
	pthread_cond_timedwait(&limits->changed, &limits->lock, &until);
}

static void *settle(void *arg)
{
	struct limits *limits = arg;
	struct settling *s = xmalloc(sizeof *s);
	bool shared = true;
	int64_t forgot_ms = clock_mono_ms(), settled_ms = 0;
	pthread_mutex_lock(&limits->lock);
	while (!limits->closing) {
		int64_t now = clock_mono_ms();
		if (now - forgot_ms >= FORGET_MS) {
			forgot_ms = now;
			forget_paid(limits);
		}
		if (!limits->listed || now - settled_ms < LIMIT_TICK_MS) {
			wait_ms(limits, limits->listed ? LIMIT_TICK_MS : FORGET_MS);
			continue;
		}
		settled_ms = now;
		collect(limits, s);
		pthread_mutex_unlock(&limits->lock);
		struct error err = { 0 };
		int code = bus_rate(limits->bus, CAP_US, s->rates, s->count, &err);
		note_shared(limits, &shared, code == 0, &err);
		pthread_mutex_lock(&limits->lock);
		if (!code)
			apply(limits, s);
	}
	pthread_mutex_unlock(&limits->lock);
	free(s);
	return NULL;
}

/* ---- the calls ------------------------------------------------------------------------------------------------------------------------- */

static int64_t seconds(int64_t us)
{
	return (us + 999999) / 1000000;
}

struct limit_verdict limit_take(struct limits *limits, const struct limited *who, int64_t cost)
{
	const struct gcra_policy *p = &limits->policies[who->kind];
	struct limit_verdict v = { .limited = p->count > 0, .allowed = true, .count = p->count, .window_s = p->window_us / 1000000 };
	if (!v.limited)
		return v;
	pthread_mutex_lock(&limits->lock);
	struct client *c = find(limits, who, true);
	int64_t now = now_us();
	v.allowed = gcra_take(&c->debt_until_us, p, cost, now);
	v.remaining = gcra_remaining(c->debt_until_us, p, now);
	v.reset_s = c->debt_until_us > now ? seconds(c->debt_until_us - now) : 0;
	v.wait_s = v.allowed ? 0 : seconds(gcra_wait_us(c->debt_until_us, p, cost, now));
	if (v.allowed && c != &limits->crowd[who->kind])
		spend(limits, c, gcra_debt(p, cost));
	pthread_mutex_unlock(&limits->lock);
	return v;
}

void limit_give_back(struct limits *limits, const struct limited *who, int64_t cost)
{
	const struct gcra_policy *p = &limits->policies[who->kind];
	if (p->count == 0)
		return;
	pthread_mutex_lock(&limits->lock);
	struct client *c = find(limits, who, false);
	if (c) {
		c->debt_until_us -= gcra_debt(p, cost);
		spend(limits, c, -gcra_debt(p, cost));
	}
	pthread_mutex_unlock(&limits->lock);
}

static void put(int64_t number, char ret[DIGITS_MAX + 1])
{
	*digits_put(ret, number > 0 ? (uint64_t)number : 0) = '\0';
}

/* The parts are two numbers and some twenty characters. */
static const char *join(const char *const *parts, char ret[4 * DIGITS_MAX])
{
	char *end = ret;
	for (; *parts; parts++)
		end = stpcpy(end, *parts);
	return ret;
}

/* Each answer has these five fields: printf took a twentieth of what one from memory costs. */
void limit_tell(const struct limit_verdict *v, enum limit_kind kind, struct http_response *response)
{
	const char *name = kind == LIMIT_KEY ? "key" : "address";
	if (!v->limited)
		return;
	char count[DIGITS_MAX + 1], remaining[DIGITS_MAX + 1], reset[DIGITS_MAX + 1], window[DIGITS_MAX + 1], text[4 * DIGITS_MAX];
	put(v->count, count);
	put(v->remaining, remaining);
	put(v->reset_s, reset);
	put(v->window_s, window);
	const char *const policy[] = { "\"", name, "\";q=", count, ";w=", window, NULL };
	http_add_text(response, "RateLimit-Policy", join(policy, text));
	const char *const now[] = { "\"", name, "\";r=", remaining, ";t=", reset, NULL };
	http_add_text(response, "RateLimit", join(now, text));
	http_add_text(response, "X-RateLimit-Limit", count);
	http_add_text(response, "X-RateLimit-Remaining", remaining);
	http_add_text(response, "X-RateLimit-Reset", reset);
	if (!v->allowed)
		response->retry_after = (int)v->wait_s;
}

static bool stopping(void *ctx)
{
	return daemon_stopping(ctx);
}

/* ---- opening and closing ----------------------------------------------------------------------------------------------------------------- */

int limit_open(const struct gateway *gateway, struct limits **ret, struct error *err)
{
	const struct config *config = gateway->config;
	struct limits *limits = xmalloc(sizeof *limits);
	const struct bus_options options = { .url = config->bus.redis_url,
					     .username = config->bus.username,
					     .password = config->bus.password,
					     .command_timeout_ms = REDIS_TIMEOUT_MS,
					     .worker = "gateway-limits",
					     .log = &gateway->log,
					     .metrics = gateway->metrics };
	*ret = limits;
	limits->log = gateway->log;
	limits->policies[LIMIT_ADDRESS] = (struct gcra_policy){ config->gateway.address_limit, WINDOW_US };
	limits->policies[LIMIT_KEY] = (struct gcra_policy){ config->gateway.key_limit, WINDOW_US };
	limits->policies[LIMIT_LOGIN_ADDRESS] = (struct gcra_policy){ LOGINS_OF_ADDRESS, LOGIN_WINDOW_US };
	limits->policies[LIMIT_LOGIN_USER] = (struct gcra_policy){ LOGINS_OF_USER, LOGIN_WINDOW_US };
	limits->shared = metrics_get(gateway->metrics, "weir_gateway_limits_shared", NULL, NULL, NULL);
	limits->clients = metrics_get(gateway->metrics, "weir_gateway_limited_clients", NULL, NULL, NULL);
	metric_set(limits->shared, 1);
	pthread_mutex_init(&limits->lock, NULL);
	cond_init(&limits->changed);
	int code = bus_open(&options, &limits->bus, err);
	if (code)
		return code;
	bus_set_stop(limits->bus, stopping, gateway->ctx);
	if (pthread_create(&limits->thread, NULL, settle, limits) != 0)
		return error_set(err, WEIR_FULL, "cannot start a thread: the system's limit is reached");
	limits->started = true;
	return 0;
}

void limit_close(struct limits **limitsp)
{
	struct limits *limits = *limitsp;
	if (!limits)
		return;
	pthread_mutex_lock(&limits->lock);
	limits->closing = true;
	pthread_cond_signal(&limits->changed);
	pthread_mutex_unlock(&limits->lock);
	if (limits->started)
		pthread_join(limits->thread, NULL);
	bus_close(&limits->bus);
	for (size_t i = 0; i < BUCKETS; i++)
		while (limits->buckets[i]) {
			struct client *c = limits->buckets[i];
			limits->buckets[i] = c->next;
			free(c);
		}
	pthread_cond_destroy(&limits->changed);
	pthread_mutex_destroy(&limits->lock);
	xfree(limitsp);
}
