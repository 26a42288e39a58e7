/* bus_fixture.c - see bus_fixture.h. */
#include "support/bus_fixture.h"

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct redis_server fixture_server;

static void must(bool right, const char *what)
{
	if (!right) {
		fprintf(stderr, "fixture: %s\n", what);
		abort();
	}
}

struct bus *fixture_bus_with(const char *worker, int64_t timeout_ms, int64_t max_backlog)
{
	struct bus *bus;
	struct bus_options options = { .url = fixture_server.url, .worker = worker, .command_timeout_ms = timeout_ms, .max_backlog = max_backlog };
	must(bus_open(&options, &bus, NULL) == 0, "bus_open");
	return bus;
}

struct bus *fixture_bus(const char *worker)
{
	return fixture_bus_with(worker, 20000, 0);
}

static redisReply *ask(const char *format, va_list args)
{
	redisContext *c = redisConnectUnix(fixture_server.url + 7);
	for (int i = 0; i < 1000 && c && c->err; i++) { /* its backlog may be full for a moment */
		redisFree(c);
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
		c = redisConnectUnix(fixture_server.url + 7);
	}
	must(c && !c->err, c ? c->errstr : "connecting");
	redisReply *r = redisvCommand(c, format, args);
	redisFree(c);
	return r;
}

long long fixture_ask(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	redisReply *r = ask(format, args);
	va_end(args);
	long long n = !r || r->type == REDIS_REPLY_ERROR ? -1 : r->type == REDIS_REPLY_INTEGER ? r->integer : 0;
	freeReplyObject(r);
	return n;
}

char *fixture_text(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	redisReply *r = ask(format, args);
	va_end(args);
	char *text = r && r->str ? xstrdup(r->str) : NULL;
	freeReplyObject(r);
	return text;
}

int fixture_flush(void **state)
{
	(void)state;
	return fixture_ask("FLUSHALL") < 0;
}

struct frame fixture_message(uint16_t type, const char *key, const char *body)
{
	static _Atomic uint64_t number; /* tests publish from several threads */
	struct frame f = { .type = type, .schema_version = 1, .created_unix_ms = 1 };
	uint64_t id = ++number;
	memcpy(f.event_id, &id, sizeof id);
	f.key = (struct bytes){ (const uint8_t *)key, strlen(key) };
	f.body = (struct bytes){ (const uint8_t *)body, strlen(body) };
	return f;
}

void fixture_publish(struct bus *bus, const char *topic, struct frame f)
{
	struct bus_publisher *p;
	struct error err = { 0 };
	must(bus_publisher_open(bus, "test", topic, "p", &p, &err) == 0, "bus_publisher_open");
	must(bus_publish(p, &f, 1, &err) == 0, err.text);
	bus_publisher_close(&p);
}

bool fixture_body_is(const struct bus_message *m, const char *text)
{
	return m->frame.body.size == strlen(text) && memcmp(m->frame.body.data, text, m->frame.body.size) == 0;
}

void fixture_settle(struct bus_worker *w, const struct bus_message *m, enum bus_outcome outcome, int why)
{
	struct bus_step *step = bus_step_begin(w);
	struct error reason = { .code = why }, err = { 0 };
	snprintf(reason.text, sizeof reason.text, "because of %s", error_name(why));
	bus_step_settle(step, m, outcome, outcome == BUS_DONE ? NULL : &reason);
	must(bus_step_commit(&step, &err) == 0, err.text);
}

void fixture_signal(int signal)
{
	must(kill(fixture_server.pid, signal) == 0, "kill");
}

int fixture_end(int result)
{
	redis_server_stop(&fixture_server);
	return result;
}
