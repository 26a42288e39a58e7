/* recent_test.c - answers given again for a while: which, for how long, not once the ledger moved, to those who wait, and in how much memory. */
#include "services/gateway/call/recent.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BLOCKS "/v1/chains/one/blocks"
#define STATISTICS "/v1/chains/one/statistics"
#define ASSET "/v1/chains/one/assets/native"

static int64_t now_ms = 1000000;

static int64_t now(void)
{
	return now_ms * 1000000;
}

/* ---- a gateway of two chains, and requests to it ----------------------------------------------------------------------------------------------- */

static struct gateway_chain chains[2];
static struct gateway gateway;

static int open_gateway(void **state)
{
	(void)state;
	clock_mono_ns = now;
	for (size_t i = 0; i < 2; i++) {
		chains[i].chain.name = i == 0 ? "one" : "two";
		chains[i].index = i;
	}
	gateway = (struct gateway){ .chains = chains, .chain_count = 2, .metrics = metrics_new() };
	metrics_register(gateway.metrics, gateway_metrics, gateway_metric_count);
	gateway.recent = recent_new((size_t)1 << 20, 2, gateway.metrics);
	return 0;
}

static int close_gateway(void **state)
{
	(void)state;
	recent_free(&gateway.recent);
	recent_free(&gateway.recent); /* nothing to do */
	metrics_free(&gateway.metrics);
	return 0;
}

static uint64_t counted(const char *how)
{
	return metric_count(metrics_get(gateway.metrics, "weir_gateway_recent_total", how, NULL, NULL));
}

struct asked { /* one request and its answer */
	struct http_request request;
	struct http_response response;
	struct call call;
	struct recent_ticket ticket;
	bool given;
};

static struct asked *ask_with(const char *method, const char *target, const char *if_none_match)
{
	struct asked *a = xmalloc(sizeof *a);
	struct match match;
	struct error err;
	union { /* request's headers are owned by others */
		const char *in;
		char *out;
	} tag = { .in = if_none_match };
	a->request.method = method;
	a->request.if_none_match = tag.out;
	assert_int_equal(target_parse(target, &a->request.target, &err), 0);
	a->response.body = (struct buf)BUF_INIT((size_t)1 << 20);
	a->call = (struct call){ .gateway = &gateway, .request = &a->request, .response = &a->response, .out = &a->response.body };
	route_find(client_routes, client_route_count, method, &a->request.target, &match);
	assert_non_null(match.route);
	a->call.route = match.route;
	memcpy(a->call.places, match.places, sizeof match.places);
	a->given = recent_begin(&a->call, &a->ticket);
	return a;
}

static struct asked *ask(const char *target)
{
	return ask_with("GET", target, NULL);
}

static void answer(struct asked *a, const char *body)
{
	a->response.status = 200;
	a->response.type = "application/json";
	a->response.caching = "private, no-cache";
	snprintf(a->response.etag, sizeof a->response.etag, "\"of %s\"", body);
	buf_add_str(&a->response.body, body);
	recent_end(&a->call, &a->ticket);
}

static void drop(struct asked *a)
{
	buf_free(&a->response.body);
	free(a);
}

/* Asks, and makes the answer where it is not given. */
static void read_it(const char *target, const char *body)
{
	struct asked *a = ask(target);
	assert_false(a->given);
	answer(a, body);
	drop(a);
}

static void expect_given(const char *target, const char *body)
{
	struct asked *a = ask(target);
	assert_true(a->given);
	assert_int_equal(a->response.status, 200);
	assert_string_equal(a->response.type, "application/json");
	assert_string_equal(a->response.caching, "private, no-cache");
	assert_string_equal(buf_str(&a->response.body), body);
	assert_null(a->ticket.kept);
	drop(a);
}

/* It is to be read; nobody learns what came of it. */
static void expect_not_given(const char *target)
{
	struct asked *a = ask(target);
	assert_false(a->given);
	assert_int_equal(a->response.body.size, 0);
	recent_end(&a->call, &a->ticket); /* status 0: no answer */
	drop(a);
}

/* ---- what is given, and to whom ------------------------------------------------------------------------------------------------------------------ */

static void equal_reads_are_answered_once(void **state)
{
	(void)state;
	read_it(BLOCKS "?limit=5", "five");
	read_it(BLOCKS, "all");
	expect_given(BLOCKS "?limit=5", "five");
	expect_given(BLOCKS, "all");
	expect_not_given(BLOCKS "?limit=6");
	expect_not_given(BLOCKS "?limit=5&cursor=a");
	expect_not_given("/v1/chains/two/blocks?limit=5");
	expect_given(BLOCKS "?limit=5", "five");
	assert_true(counted("hit") == 3 && counted("joined") == 0 && counted("miss") == 5);
}

static void who_has_it_is_told_so(void **state)
{
	(void)state;
	read_it(BLOCKS, "all");
	struct asked *same = ask_with("GET", BLOCKS, "\"of all\""), *other = ask_with("GET", BLOCKS, "\"of none\"");
	assert_true(same->given && same->response.status == 304 && same->response.body.size == 0);
	assert_true(other->given && other->response.status == 200);
	assert_string_equal(buf_str(&other->response.body), "all");
	drop(same);
	drop(other);
}

static void only_certain_reads_are_kept(void **state)
{
	(void)state;
	static const struct {
		const char *method, *target;
	} never[] = {
		{ "GET", "/openapi.json" }, { "GET", "/v1/watchlists" }, { "GET", "/v1/stream?topic=blocks&chain=one" }, { "POST", "/v1/batch" },
		{ "GET", "/v1/chains/none/blocks" }, /* which is not served here */
	};
	for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
		for (int again = 0; again < 2; again++) {
			struct asked *a = ask_with(never[i].method, never[i].target, NULL);
			assert_false(a->given);
			assert_null(a->ticket.kept);
			answer(a, "x");
			drop(a);
		}
}

static void a_path_that_is_too_long_is_not_kept(void **state)
{
	(void)state;
	char target[RECENT_KEY_MAX + 100];
	size_t room = RECENT_KEY_MAX - strlen(BLOCKS) - 1 - strlen("cursor") - 1 - 1;
	snprintf(target, sizeof target, BLOCKS "?cursor=%0*d", (int)room, 0);
	read_it(target, "fits");
	expect_given(target, "fits");
	snprintf(target, sizeof target, BLOCKS "?cursor=%0*d", (int)room + 1, 0);
	struct asked *a = ask(target);
	assert_true(!a->given && !a->ticket.kept);
	drop(a);
}

enum fault { NOT_FOUND, EMPTY, TOO_LARGE, OVERFLOWN, LEFT_TO_OTHERS, MORE_HEADERS, FAULTS };

static void take_it(struct http_socket *socket, int fd, void *arg)
{
	(void)socket;
	(void)fd;
	(void)arg;
}

static void what_is_no_plain_answer_is_not_kept(void **state)
{
	(void)state;
	static uint8_t large[RECENT_ANSWER_MAX + 1];
	for (enum fault fault = 0; fault < FAULTS; fault++) {
		struct asked *a = ask(BLOCKS);
		assert_non_null(a->ticket.kept);
		a->response.status = fault == NOT_FOUND ? 404 : 200;
		buf_add(&a->response.body, large, fault == EMPTY ? 0 : fault == TOO_LARGE ? sizeof large : 10);
		a->response.body.overflow = fault == OVERFLOWN;
		a->response.take = fault == LEFT_TO_OTHERS ? take_it : NULL;
		if (fault == MORE_HEADERS)
			http_add_field(&a->response, "Link", "</>");
		recent_end(&a->call, &a->ticket);
		drop(a);
		expect_not_given(BLOCKS);
	}
	struct asked *a = ask(BLOCKS);
	a->response.status = 200;
	a->response.type = a->response.caching = "";
	buf_add(&a->response.body, large, sizeof large - 1);
	recent_end(&a->call, &a->ticket);
	drop(a);
	a = ask(BLOCKS);
	assert_true(a->given && a->response.body.size == sizeof large - 1);
	drop(a);
}

/* ---- for how long ----------------------------------------------------------------------------------------------------------------------------------- */

static void each_kind_has_its_time(void **state)
{
	(void)state;
	static const struct {
		const char *target;
		int64_t ms;
	} kinds[] = { { "/v1/chains", 3000 }, { "/v1/chains/one", 3000 }, { BLOCKS, 3000 }, { BLOCKS "/1", 3000 }, { BLOCKS "/1/certificate", 3000 },
		      { BLOCKS "/1/entries", 3000 }, { "/v1/chains/one/transactions/0x1", 3000 }, { "/v1/chains/one/accounts/0x1/balances", 3000 },
		      { "/v1/chains/one/accounts/0x1/entries", 3000 }, { STATISTICS, 30000 }, { ASSET, 60000 } };
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		read_it(kinds[i].target, "a");
		now_ms += kinds[i].ms - 1;
		expect_given(kinds[i].target, "a");
		now_ms += 1;
		expect_not_given(kinds[i].target);
	}
}

static void an_event_ends_what_does_not_stay(void **state)
{
	(void)state;
	static const struct {
		const char *target;
		bool stays, of_one, of_all;
	} kinds[] = { { BLOCKS, false, true, false }, { STATISTICS, true, true, false }, { ASSET, true, true, false }, { "/v1/chains/two/blocks", false, false, false },
		      { "/v1/chains", false, false, true } };
	for (int taken_back = 0; taken_back < 2; taken_back++)
		for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
			recent_moved(gateway.recent, 0, true);
			recent_moved(gateway.recent, 1, true);
			read_it(kinds[i].target, "a");
			recent_moved(gateway.recent, 0, taken_back);
			bool concerns = kinds[i].of_one || kinds[i].of_all;
			if (concerns && (taken_back || !kinds[i].stays))
				expect_not_given(kinds[i].target);
			else
				expect_given(kinds[i].target, "a");
		}
}

static void what_was_read_before_an_event_is_not_given_after_it(void **state)
{
	(void)state;
	struct asked *before = ask(BLOCKS);
	recent_moved(gateway.recent, 0, false);
	struct asked *after = ask(BLOCKS); /* does not wait for what is old already */
	assert_true(!before->given && !after->given && after->ticket.kept && after->ticket.kept != before->ticket.kept);
	answer(after, "new");
	answer(before, "old");
	expect_given(BLOCKS, "new");
	drop(before);
	drop(after);
	before = ask(BLOCKS "?limit=2");
	recent_moved(gateway.recent, 0, false);
	answer(before, "old");
	expect_not_given(BLOCKS "?limit=2");
	drop(before);
}

/* ---- several at a time -------------------------------------------------------------------------------------------------------------------------------- */

struct waiting {
	pthread_t thread;
	_Atomic long id;
	struct asked *asked;
};

static void *wait_for_it(void *arg)
{
	struct waiting *w = arg;
	atomic_store(&w->id, syscall(SYS_gettid));
	w->asked = ask(BLOCKS);
	return NULL;
}

/* Or has ended. That it sleeps means that it waits for the answer, nearly always: nothing that is asserted depends on it. */
static bool sleeps(long id)
{
	char path[64], state = 'X';
	snprintf(path, sizeof path, "/proc/self/task/%ld/stat", id);
	FILE *file = fopen(path, "r");
	if (file && fscanf(file, "%*d %*s %c", &state) != 1)
		state = 'X';
	if (file)
		fclose(file);
	return state == 'S' || state == 'X';
}

static void start(struct waiting *w)
{
	assert_int_equal(pthread_create(&w->thread, NULL, wait_for_it, w), 0);
	while (atomic_load(&w->id) == 0 || !sleeps(atomic_load(&w->id)))
		usleep(1000);
}

static void those_who_ask_meanwhile_wait_for_it(void **state)
{
	(void)state;
	enum { WAITING = 4 };
	struct waiting waiting[WAITING] = { 0 };
	struct asked *first = ask(BLOCKS);
	for (size_t i = 0; i < WAITING; i++)
		start(&waiting[i]);
	answer(first, "all");
	for (size_t i = 0; i < WAITING; i++) {
		pthread_join(waiting[i].thread, NULL);
		assert_true(waiting[i].asked->given);
		assert_string_equal(buf_str(&waiting[i].asked->response.body), "all");
		drop(waiting[i].asked);
	}
	assert_true(counted("miss") == 1 && counted("hit") + counted("joined") == WAITING);
	drop(first);
}

static void those_who_waited_in_vain_read_it_themselves(void **state)
{
	(void)state;
	struct waiting waiting = { 0 };
	struct asked *first = ask(BLOCKS);
	start(&waiting);
	first->response.status = 503;
	recent_end(&first->call, &first->ticket);
	pthread_join(waiting.thread, NULL);
	assert_false(waiting.asked->given);
	recent_end(&waiting.asked->call, &waiting.asked->ticket);
	drop(waiting.asked);
	drop(first);
	read_it(BLOCKS, "now");
	expect_given(BLOCKS, "now");
}

static void nobody_waits_for_ever(void **state)
{
	(void)state;
	struct asked *first = ask(BLOCKS), *second = ask(BLOCKS); /* on this very thread: nobody could end the first */
	assert_true(!second->given && !second->ticket.kept);
	answer(second, "second");
	answer(first, "first");
	expect_given(BLOCKS, "first");
	drop(first);
	drop(second);
}

/* ---- in how much memory --------------------------------------------------------------------------------------------------------------------------------- */

static void the_oldest_make_room(void **state)
{
	(void)state;
	char target[64];
	recent_free(&gateway.recent);
	gateway.recent = recent_new(40000, 2, gateway.metrics);
	const struct metric *bytes = metrics_get(gateway.metrics, "weir_gateway_recent_bytes", NULL, NULL, NULL);
	for (int i = 0; i < 5000; i++) {
		snprintf(target, sizeof target, BLOCKS "/%d", i);
		read_it(target, target);
		expect_given(target, target);
		assert_true(metric_value(bytes) <= 40000);
	}
	expect_not_given(BLOCKS "/0");
	expect_not_given(BLOCKS "/4800");
	expect_given(BLOCKS "/4950", BLOCKS "/4950");
}

static void one_that_alone_is_too_large_is_given_to_nobody(void **state)
{
	(void)state;
	recent_free(&gateway.recent);
	gateway.recent = recent_new(300, 2, NULL);
	static char large[1000];
	memset(large, 'a', sizeof large - 1);
	read_it(BLOCKS, large);
	expect_not_given(BLOCKS);
	recent_free(&gateway.recent);
	gateway.recent = recent_new(0, 2, NULL);
	struct asked *a = ask(BLOCKS);
	assert_true(!a->given && !a->ticket.kept);
	answer(a, "x");
	drop(a);
	expect_not_given(BLOCKS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_gateway, close_gateway)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(equal_reads_are_answered_once),
		TEST(who_has_it_is_told_so),
		TEST(only_certain_reads_are_kept),
		TEST(a_path_that_is_too_long_is_not_kept),
		TEST(what_is_no_plain_answer_is_not_kept),
		TEST(each_kind_has_its_time),
		TEST(an_event_ends_what_does_not_stay),
		TEST(what_was_read_before_an_event_is_not_given_after_it),
		TEST(those_who_ask_meanwhile_wait_for_it),
		TEST(those_who_waited_in_vain_read_it_themselves),
		TEST(nobody_waits_for_ever),
		TEST(the_oldest_make_room),
		TEST(one_that_alone_is_too_large_is_given_to_nobody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
