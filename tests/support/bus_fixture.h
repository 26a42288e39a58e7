/* bus_fixture.h - what tests of the bus share: one private Redis per program, questions to it behind the bus' back, messages. */
#ifndef TESTS_SUPPORT_BUS_FIXTURE_H
#define TESTS_SUPPORT_BUS_FIXTURE_H

#include "bus/bus.h"
#include "support/redis_server.h"
#include "weir/streams.h"

extern struct redis_server fixture_server;

struct bus *fixture_bus(const char *worker);                                  /* command time-out 3 s */
struct bus *fixture_bus_with(const char *worker, int64_t timeout_ms, int64_t max_backlog);
long long fixture_ask(const char *format, ...); /* hiredis format; integer replies; errors are -1, others 0 */
char *fixture_text(const char *format, ...); /* string replies; caller frees, may be NULL */
int fixture_flush(void **state);                                              /* a cmocka setup */
/* key and body must live as long as the frame. Each gets its own event id. */
struct frame fixture_message(uint16_t type, const char *key, const char *body);
void fixture_publish(struct bus *, const char *topic, struct frame);          /* by producer "p"; aborts on failure */
bool fixture_body_is(const struct bus_message *, const char *text);
void fixture_settle(struct bus_worker *, const struct bus_message *, enum bus_outcome, int why);
void fixture_signal(int signal); /* to the server */
/* A row of a table of tests, named after the issue threads elsewhere for which it stands, too (docs/bus-threads.md). */
#define fixture_threads(f, setup, teardown, threads)          \
	{                                                     \
		#f " (" threads ")", f, setup, teardown, NULL \
	}
/* Runs the group with the server up. */
#define fixture_run(tests)                                                        \
	(redis_server_start(&fixture_server), fixture_end(cmocka_run_group_tests((tests), NULL, NULL)))
int fixture_end(int result);

#endif
