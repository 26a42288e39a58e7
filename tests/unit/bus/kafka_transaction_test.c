/* kafka_transaction_test.c - what a shared lane's steps emit over Kafka: refused for good, and in transactions (?transactions=yes).
 *
 * The mock takes transactions' requests and keeps nothing of them: what was sent can be read at once, also when the transaction is aborted, and places that were
 * committed within one are forgotten. So these tests show which requests are made, what follows from each answer, and that nothing is lost; not isolation.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/dead_letter.h"
#include "bus/kafka/kafka_table.h"
#include "support/bus_fixture.h"
#include "support/kafka_fixture.h"

#include <arpa/inet.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 60000
#define SHORT_MS 2000 /* a call's time, which runs out when the brokers are away or late */
#define EVENTS 20
#define KEYS 5

static struct bus *bus_with_transactions(int64_t timeout_ms)
{
	struct bus *bus;
	struct error err = { 0 };
	char url[400];
	struct bus_options o = { .url = url, .worker = "w", .command_timeout_ms = timeout_ms };
	snprintf(url, sizeof url, "%s&transactions=yes", kafka_fixture_url);
	if (bus_open(&o, &bus, &err) != 0)
		fail_msg("%s", err.text);
	return bus;
}

static struct bus_worker *worker(struct bus *bus)
{
	struct bus_worker *w;
	struct error err = { 0 };
	if (bus_worker_open(bus, "c", "in", "s", NULL, &w, &err) != 0)
		fail_msg("%s", err.text);
	return w;
}

static void publish(struct bus *bus, unsigned from, unsigned n)
{
	struct frame frames[EVENTS];
	struct kafka_fixture_text texts[EVENTS];
	struct bus_publisher *p = kafka_fixture_publisher(bus, "in");
	struct error err = { 0 };
	kafka_fixture_messages(frames, texts, from, n, KEYS);
	if (bus_publish(p, frames, n, &err) != 0)
		fail_msg("%s", err.text);
	bus_publisher_close(&p);
}

static void commit(struct bus_step **step, int64_t deadline)
{
	struct error err = { 0 };
	while (bus_step_commit(step, &err) != 0) {
		if (!error_retriable(err.code) || clock_mono_ms() > deadline)
			fail_msg("%s", err.text);
		kafka_broker_up(&kafka_fixture_broker, 1); /* if they were away, they were away for one call */
	}
}

#define NOBODY UINT32_MAX

struct refusal {
	enum kafka_request request; /* the next one of its kind */
	int code;                   /* 0: connections break */
	unsigned more;              /* and so many behind it */
};

/* How a step is handled. */
struct way {
	unsigned rejected; /* this number, or NOBODY; the others are done */
	bool emits;        /* and sent on */
	const struct refusal *refusal; /* before the next commit (of what is rejected); NULL: none, or it was */
};

/* One read and its step. seen: by number. Returns how many were handled. */
static unsigned turn(struct bus_worker *w, struct way *way, bool seen[2 * EVENTS], int64_t deadline)
{
	struct bus_message *m;
	struct error err = { 0 };
	size_t count = 0;
	int r = bus_worker_read(w, 8, 50, &m, &count, &err);
	if ((r != 0 && !error_retriable(r)) || clock_mono_ms() > deadline)
		fail_msg("the time is up: %s", err.text);
	if (r != 0)
		return 0;
	struct bus_step *step = bus_step_begin(w);
	bool now = way->refusal && way->rejected == NOBODY && count > 0;
	for (size_t i = 0; i < count; i++) {
		const unsigned number = kafka_fixture_number(m[i].frame.body);
		const struct error why = { .code = WEIR_INVALID, .text = "not this one" };
		const bool rejected = number == way->rejected;
		assert_true(number < 2 * EVENTS);
		seen[number] = true;
		now = now || (way->refusal && rejected);
		if (way->emits && !rejected)
			bus_step_emit(step, &m[i], "out", &m[i].frame);
		bus_step_settle(step, &m[i], rejected ? BUS_REJECT : BUS_DONE, rejected ? &why : NULL);
	}
	for (unsigned i = 0; now && way->refusal->code && i <= way->refusal->more; i++)
		kafka_broker_refuse(&kafka_fixture_broker, way->refusal->request, way->refusal->code);
	if (now && !way->refusal->code)
		kafka_broker_up(&kafka_fixture_broker, 0);
	if (now)
		way->refusal = NULL;
	commit(&step, deadline);
	return (unsigned)count;
}

static bool all_seen(const bool *seen, unsigned from, unsigned n)
{
	for (unsigned i = from; i < from + n; i++)
		if (!seen[i])
			return false;
	return true;
}

/* Reads until each of n was handled, from `from` on. Returns how many were, in all. */
static unsigned handle_from(struct bus_worker *w, unsigned from, unsigned n, bool emits, const struct refusal *refusal)
{
	const int64_t deadline = clock_mono_ms() + PATIENCE_MS;
	struct way way = { NOBODY, emits, refusal };
	bool seen[2 * EVENTS] = { false };
	unsigned handled = 0;
	while (!all_seen(seen, from, n))
		handled += turn(w, &way, seen, deadline);
	return handled;
}

static unsigned handle(struct bus_worker *w, unsigned n, bool emits, const struct refusal *refusal)
{
	return handle_from(w, 0, n, emits, refusal);
}

/* Reads until the numbers were handled and there are so many letters for others. */
static void wait_for_letters(struct bus_worker *w, struct way *way, unsigned from, unsigned n, uint64_t wanted)
{
	const int64_t deadline = clock_mono_ms() + PATIENCE_MS;
	bool seen[2 * EVENTS] = { false };
	struct error err = { 0 };
	struct bus *bus = kafka_fixture_bus("looker", 5000);
	for (uint64_t letters = wanted + 1; letters != wanted || !all_seen(seen, from, n);) {
		(void)turn(w, way, seen, deadline);
		if (dead_letter_count(bus, "c", "s", &letters, &err) != 0)
			fail_msg("%s", err.text);
	}
	bus_close(&bus);
}

/* Until that one was handled, and how many were meanwhile. */
static unsigned read_on(struct bus_worker *w, unsigned number)
{
	return handle_from(w, number, 1, true, NULL);
}

static uint64_t lag(struct bus *bus)
{
	struct bus_stream_info info[4] = { 0 };
	struct error err = { 0 };
	size_t n;
	if (bus_info(bus, "c", "in", "s", info, &n, &err) != 0)
		fail_msg("%s", err.text);
	return info[BUS_HIGH].lag;
}

/* How often each number stands in "out", once `all` different ones are there. */
static void arrived(unsigned all, unsigned *times)
{
	struct bus *bus = kafka_fixture_bus("reader", 5000);
	struct bus_owner *o;
	struct error err = { 0 };
	unsigned different = 0;
	assert_int_equal(bus_owner_open(bus, "c", "out", "r", 4000, &o, &err), 0);
	kafka_fixture_acquire(o);
	memset(times, 0, 2 * EVENTS * sizeof *times);
	bool quiet = false; /* a round brought nothing more */
	for (const int64_t deadline = clock_mono_ms() + PATIENCE_MS; different < all || !quiet;) {
		struct bus_message *m;
		size_t count = 0;
		int r = bus_owner_read(o, 100, 300, &m, &count, &err);
		if (r == WEIR_FENCED)
			kafka_fixture_acquire(o);
		else if (r != 0 || clock_mono_ms() > deadline)
			fail_msg("%s; %u of %u arrived", err.text, different, all);
		for (size_t i = 0; r == 0 && i < count; i++) {
			const unsigned number = kafka_fixture_number(m[i].frame.body);
			assert_true(number < 2 * EVENTS);
			different += times[number]++ == 0;
		}
		quiet = r == 0 && count == 0;
	}
	bus_owner_close(&o);
	bus_close(&bus);
}

static void topics(void)
{
	kafka_fixture_topics("in", "s");
	kafka_fixture_topics("out", "r");
}

/* -- transactions ------------------------------------------------------------------------------------------------------------------ */

static void a_step_that_emits_commits_its_places_in_its_transaction(void **state)
{
	(void)state;
	unsigned times[2 * EVENTS];
	struct bus_message *m;
	size_t count;
	struct error err = { 0 };
	topics();
	struct bus *bus = bus_with_transactions(5000);
	struct bus_worker *w = worker(bus);
	publish(bus, 0, EVENTS);
	assert_int_equal(handle(w, EVENTS, true, NULL), EVENTS);
	assert_int_equal(bus_worker_read(w, 8, 50, &m, &count, &err), 0);
	assert_int_equal(count, 0);
	assert_int_equal(lag(bus), EVENTS); /* they went where the mock keeps nothing */
	arrived(EVENTS, times);
	for (unsigned i = 0; i < EVENTS; i++)
		assert_int_equal(times[i], 1);
	bus_worker_close(&w);
	bus_close(&bus);
}

static void a_step_that_emits_nothing_needs_no_transaction(void **state)
{
	(void)state;
	topics();
	struct bus *bus = bus_with_transactions(5000);
	struct bus_worker *w = worker(bus);
	publish(bus, 0, EVENTS);
	kafka_broker_refuse(&kafka_fixture_broker, KAFKA_INIT_PRODUCER_ID, 0); /* the publisher had its own */
	assert_int_equal(handle(w, EVENTS, false, NULL), EVENTS);
	assert_int_equal(lag(bus), 0);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* What the brokers say when they are to be asked again. */
static void a_transaction_outlasts_answers_that_pass(void **state)
{
	(void)state;
	static const struct refusal answers[] = {
		{ .request = KAFKA_INIT_PRODUCER_ID, .code = RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS },
		{ .request = KAFKA_ADD_PARTITIONS_TO_TXN, .code = RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS },
		{ .request = KAFKA_ADD_OFFSETS_TO_TXN, .code = RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS },
		{ .request = KAFKA_TXN_OFFSET_COMMIT, .code = RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS },
		{ .request = KAFKA_END_TXN, .code = RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE },
		{ .request = KAFKA_PRODUCE, .code = RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION },
	};
	unsigned times[2 * EVENTS];
	topics();
	struct bus *bus = bus_with_transactions(5000);
	struct bus_worker *w = worker(bus);
	for (unsigned i = 0; i < sizeof answers / sizeof answers[0]; i++) { /* one after the other: more of one kind than librdkafka tries again would be its end */
		publish(bus, i, 1);
		assert_int_equal(handle_from(w, i, 1, true, &answers[i]), 1);
	}
	arrived(sizeof answers / sizeof answers[0], times);
	for (unsigned i = 0; i < sizeof answers / sizeof answers[0]; i++)
		assert_int_equal(times[i], 1);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* The step is committed again until it went through, and is there once. */
static void a_transaction_outlasts_brokers_that_are_away(void **state)
{
	(void)state;
	unsigned times[2 * EVENTS];
	topics();
	struct bus *bus = bus_with_transactions(SHORT_MS);
	struct bus_worker *w = worker(bus);
	publish(bus, 0, 5);
	assert_int_equal(handle(w, 5, true, NULL), 5); /* a producer that is ready for the next transaction */
	publish(bus, 5, EVENTS - 5);
	assert_int_equal(handle_from(w, 5, EVENTS - 5, true, &(const struct refusal){ 0 }), EVENTS - 5);
	arrived(EVENTS, times);
	for (unsigned i = 0; i < EVENTS; i++)
		assert_int_equal(times[i], 1);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* A step that emits (number 1), whose end is under way when this returns: its call ran out of time. */
static struct bus_step *step_whose_end_is_late(struct bus *bus, struct bus_worker *w, int ms)
{
	struct bus_message *m;
	struct error err = { 0 };
	size_t count = 0;
	publish(bus, 0, 1);
	(void)handle(w, 1, true, NULL); /* a producer that is ready */
	publish(bus, 1, 1);
	for (const int64_t deadline = clock_mono_ms() + PATIENCE_MS; count == 0;)
		if (bus_worker_read(w, 8, 50, &m, &count, &err) != 0 || clock_mono_ms() > deadline)
			fail_msg("the time is up: %s", err.text);
	struct bus_step *step = bus_step_begin(w);
	bus_step_emit(step, &m[0], "out", &m[0].frame);
	bus_step_settle(step, &m[0], BUS_DONE, NULL);
	kafka_broker_late(&kafka_fixture_broker, KAFKA_END_TXN, ms);
	assert_int_equal(bus_step_commit(&step, &err), WEIR_TIMEOUT);
	if (!strstr(err.text, "committing a transaction"))
		fail_msg("%s", err.text);
	return step;
}

static void a_transaction_whose_end_is_late_is_waited_for(void **state)
{
	(void)state;
	unsigned times[2 * EVENTS];
	topics();
	struct bus *bus = bus_with_transactions(SHORT_MS);
	struct bus_worker *w = worker(bus);
	struct bus_step *step = step_whose_end_is_late(bus, w, 3 * SHORT_MS);
	commit(&step, clock_mono_ms() + PATIENCE_MS);
	publish(bus, 2, 1);
	assert_int_equal(read_on(w, 2), 1); /* the former does not come again */
	arrived(3, times);
	assert_int_equal(times[1], 1);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* Whether it went through only the group knows. On the mock, which keeps no places, it is handled again. */
static void a_transaction_whose_end_nobody_waits_for_is_left_to_the_brokers(void **state)
{
	(void)state;
	topics();
	struct bus *bus = bus_with_transactions(SHORT_MS);
	struct bus_worker *w = worker(bus);
	struct bus_step *step = step_whose_end_is_late(bus, w, 60000);
	bus_step_abort(&step);
	assert_true(read_on(w, 1) > 0);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* It is as if the step had not been: what it read comes again. On the mock, which hides nothing of it, what it emitted is there twice. */
static void what_a_failed_transaction_read_comes_again(enum kafka_request request, int code)
{
	unsigned times[2 * EVENTS];
	topics();
	struct bus *bus = bus_with_transactions(5000);
	struct bus_worker *w = worker(bus);
	publish(bus, 0, EVENTS);
	unsigned handled = handle(w, EVENTS, true, &(const struct refusal){ .request = request, .code = code });
	publish(bus, EVENTS, 1);
	handled += read_on(w, EVENTS);
	assert_true(handled > EVENTS + 1);
	arrived(EVENTS + 1, times);
	bus_worker_close(&w);
	bus_close(&bus);
}

static void a_transaction_of_a_member_that_was_followed_fails(void **state)
{
	(void)state;
	what_a_failed_transaction_read_comes_again(KAFKA_TXN_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION);
}

static void a_transaction_that_the_brokers_aborted_fails(void **state)
{
	(void)state;
	what_a_failed_transaction_read_comes_again(KAFKA_END_TXN, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH);
}

static void a_transaction_that_the_brokers_do_not_know_fails(void **state)
{
	(void)state;
	what_a_failed_transaction_read_comes_again(KAFKA_ADD_PARTITIONS_TO_TXN, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE);
}

static void a_transaction_whose_message_is_refused_fails(void **state)
{
	(void)state;
	what_a_failed_transaction_read_comes_again(KAFKA_PRODUCE, RD_KAFKA_RESP_ERR_POLICY_VIOLATION);
}

static void a_transaction_that_may_not_be_is_an_error_that_says_so(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct bus_message *m;
	size_t count = 0;
	topics();
	struct bus *bus = bus_with_transactions(5000);
	struct bus_worker *w = worker(bus);
	publish(bus, 0, EVENTS);
	kafka_broker_refuse(&kafka_fixture_broker, KAFKA_INIT_PRODUCER_ID, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
	for (const int64_t deadline = clock_mono_ms() + PATIENCE_MS; count == 0;)
		if (bus_worker_read(w, 8, 50, &m, &count, &err) != 0 || clock_mono_ms() > deadline)
			fail_msg("%s", err.text);
	struct bus_step *step = bus_step_begin(w);
	bus_step_emit(step, &m[0], "out", &m[0].frame);
	bus_step_settle(step, &m[0], BUS_DONE, NULL);
	assert_int_equal(bus_step_commit(&step, &err), WEIR_PERMISSION);
	assert_non_null(strstr(err.text, "getting ready for transactions"));
	bus_step_abort(&step);
	assert_int_equal(handle(w, EVENTS, true, NULL), EVENTS); /* none of it is lost */
	bus_worker_close(&w);
	bus_close(&bus);
}

static void letters_go_with_the_transaction_and_are_tried_again(void **state)
{
	(void)state;
	unsigned times[2 * EVENTS];
	uint64_t marked = 0;
	struct error err = { 0 };
	topics();
	struct bus *bus = bus_with_transactions(5000);
	struct bus_worker *w = worker(bus);
	publish(bus, 0, EVENTS);
	wait_for_letters(w, &(struct way){ 7, true, NULL }, 0, EVENTS, 1);
	if (dead_letter_replay(bus, "c", "s", NULL, NULL, 0, "tests", &marked, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(marked, 1);
	wait_for_letters(w, &(struct way){ NOBODY, true, NULL }, 7, 1, 0);
	arrived(EVENTS, times);
	for (unsigned i = 0; i < EVENTS; i++)
		assert_int_equal(times[i], 1);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* Nothing of what the step sent is there, so its letter is not either: the message must come again. */
static void a_letter_of_a_transaction_that_failed_is_not_believed(void **state)
{
	(void)state;
	topics();
	struct bus *bus = bus_with_transactions(5000);
	struct bus_worker *w = worker(bus);
	publish(bus, 7, KEYS + 1); /* the last one has the key of the first: their step emits, too */
	struct way way = { 7, true, &(const struct refusal){ .request = KAFKA_PRODUCE, .code = RD_KAFKA_RESP_ERR_POLICY_VIOLATION, .more = 7 } };
	wait_for_letters(w, &way, 7, KEYS + 1, 1);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* Brokers hide what is aborted, but a table believes its own records at once: it must be read anew. */
static void tables_are_read_anew_after_a_transaction_that_failed(void **state)
{
	(void)state;
	bool seen[2 * EVENTS] = { false };
	topics();
	struct bus *bus = bus_with_transactions(5000);
	struct bus_worker *w = worker(bus);
	publish(bus, 7, KEYS + 1);
	struct way way = { 7, true, &(const struct refusal){ .request = KAFKA_TXN_OFFSET_COMMIT, .code = RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION } };
	for (const int64_t deadline = clock_mono_ms() + PATIENCE_MS; way.refusal;)
		(void)turn(w, &way, seen, deadline);
	assert_non_null(kafka_of(bus)->tables);
	for (const struct kafka_table *t = kafka_of(bus)->tables; t; t = t->next_table) {
		assert_int_equal(t->count, 0);
		assert_false(t->epoch_is_ours);
	}
	bus_worker_close(&w);
	bus_close(&bus);
}

/* -- what is behind the last message --------------------------------------------------------------------------------------------------- */

static void put(uint8_t **at, uint64_t n, int bytes)
{
	for (int i = bytes - 1; i >= 0; i--)
		*(*at)++ = (uint8_t)(n >> (8 * i));
}

static void put_text(uint8_t **at, const char *text)
{
	put(at, strlen(text), 2);
	memcpy(*at, text, strlen(text));
	*at += strlen(text);
}

/* The record that brokers write at a transaction's end: a batch with the control bit, its key says what it is (version 0, type 1: committed). Nobody checks its sum. */
static size_t control_batch(uint8_t *ret)
{
	static const uint8_t record[] = { 0x1e, 0, 0, 0, 0x08, 0, 0, 0, 1, 0x0c, 0, 0, 0, 0, 0, 0, 0 }; /* length 15, attributes, deltas, key, value, no headers */
	uint8_t *at = ret;
	put(&at, 0, 8);                       /* base offset */
	put(&at, 49 + sizeof record, 4);      /* what follows */
	put(&at, 0, 4);                       /* leader epoch */
	put(&at, 2, 1);                       /* magic */
	put(&at, 0, 4);                       /* sum */
	put(&at, 0x30, 2);                    /* transactional, control */
	put(&at, 0, 4);                       /* last offset's delta */
	put(&at, 1700000000000, 8);           /* first and last time */
	put(&at, 1700000000000, 8);
	put(&at, 77, 8);                      /* producer */
	put(&at, 0, 2);                       /* its epoch */
	put(&at, UINT32_MAX, 4);              /* no sequence */
	put(&at, 1, 4);                       /* records */
	memcpy(at, record, sizeof record);
	return (size_t)(at - ret) + sizeof record;
}

/* Produce, version 3, with that alone, as no client of ours would send it. */
static void append_control_batch(const char *topic, int32_t partition)
{
	uint8_t batch[128], request[512], answer[256], *at = request + 4;
	const size_t size = control_batch(batch);
	struct sockaddr_in to = { .sin_family = AF_INET };
	char host[256];
	snprintf(host, sizeof host, "%s", kafka_fixture_broker.hosts);
	char *colon = strrchr(host, ':');
	to.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	*colon = 0;
	assert_int_equal(inet_pton(AF_INET, host, &to.sin_addr), 1);
	put(&at, KAFKA_PRODUCE, 2);
	put(&at, 3, 2);
	put(&at, 1, 4);           /* correlation */
	put_text(&at, "raw");
	put(&at, UINT16_MAX, 2);  /* no transactional id */
	put(&at, UINT16_MAX, 2);  /* acks: all */
	put(&at, 5000, 4);
	put(&at, 1, 4);
	put_text(&at, topic);
	put(&at, 1, 4);
	put(&at, (uint32_t)partition, 4);
	put(&at, size, 4);
	memcpy(at, batch, size);
	at += size;
	const size_t all = (size_t)(at - request);
	uint8_t *head = request;
	put(&head, all - 4, 4);
	int s = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(s, (const struct sockaddr *)&to, sizeof to), 0);
	assert_int_equal(write(s, request, all), all);
	ssize_t n = recv(s, answer, 14 + strlen(topic) + 10, MSG_WAITALL); /* up to the error's code */
	assert_int_equal(n, 14 + strlen(topic) + 10);
	assert_int_equal(answer[n - 2] << 8 | answer[n - 1], 0);
	close(s);
}

static void wait_for_no_lag(struct bus *bus, struct bus_worker *w)
{
	for (const int64_t deadline = clock_mono_ms() + PATIENCE_MS; lag(bus) > 0;) {
		struct bus_message *m;
		size_t count;
		struct error err = { 0 };
		if (bus_worker_read(w, 8, 50, &m, &count, &err) != 0 || clock_mono_ms() > deadline)
			fail_msg("%s; %llu wait", err.text, (unsigned long long)lag(bus));
		assert_int_equal(count, 0);
	}
}

static void marks_of_transactions_are_no_messages_that_wait(void **state)
{
	(void)state;
	topics();
	struct bus *bus = kafka_fixture_bus("w", 5000);
	struct bus_worker *w = worker(bus);
	publish(bus, 0, EVENTS);
	assert_int_equal(handle(w, EVENTS, false, NULL), EVENTS);
	wait_for_no_lag(bus, w);
	for (int32_t p = 0; p < KAFKA_FIXTURE_PARTITIONS; p++)
		append_control_batch("weir.c.in.high", p);
	assert_int_equal(lag(bus), KAFKA_FIXTURE_PARTITIONS);
	wait_for_no_lag(bus, w);
	publish(bus, EVENTS, 1);
	assert_int_equal(read_on(w, EVENTS), 1);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* -- without transactions ----------------------------------------------------------------------------------------------------------------- */

/* The brokers refuse a record for good, and the producer goes on: the step is told, and sends it again. */
static void what_a_step_emits_is_sent_again_when_it_was_refused_for_good(void **state)
{
	(void)state;
	unsigned times[2 * EVENTS];
	topics();
	struct bus *bus = kafka_fixture_bus("w", 5000);
	struct bus_worker *w = worker(bus);
	publish(bus, 0, EVENTS);
	assert_int_equal(handle(w, EVENTS, true, &(const struct refusal){ .request = KAFKA_PRODUCE, .code = RD_KAFKA_RESP_ERR_POLICY_VIOLATION }), EVENTS);
	assert_int_equal(lag(bus), 0);
	arrived(EVENTS, times);
	bus_worker_close(&w);
	bus_close(&bus);
}

static void what_was_published_and_refused_for_good_is_told_so(void **state)
{
	(void)state;
	struct frame f = fixture_message(MESSAGE_COMMAND, "k", "3");
	struct error err = { 0 };
	unsigned times[2 * EVENTS];
	topics();
	struct bus *bus = kafka_fixture_bus("w", 5000);
	struct bus_publisher *p = kafka_fixture_publisher(bus, "out");
	kafka_broker_refuse(&kafka_fixture_broker, KAFKA_PRODUCE, RD_KAFKA_RESP_ERR_POLICY_VIOLATION);
	assert_int_equal(bus_publish(p, &f, 1, &err), WEIR_GAP);
	assert_int_equal(bus_publish(p, &f, 1, &err), 0);
	arrived(1, times);
	assert_int_equal(times[3], 1);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static struct CMUnitTest tests[] = {
	cmocka_unit_test(a_step_that_emits_commits_its_places_in_its_transaction),
	cmocka_unit_test(a_step_that_emits_nothing_needs_no_transaction),
	cmocka_unit_test(a_transaction_outlasts_answers_that_pass),
	cmocka_unit_test(a_transaction_outlasts_brokers_that_are_away),
	cmocka_unit_test(a_transaction_whose_end_is_late_is_waited_for),
	cmocka_unit_test(a_transaction_whose_end_nobody_waits_for_is_left_to_the_brokers),
	cmocka_unit_test(a_transaction_of_a_member_that_was_followed_fails),
	cmocka_unit_test(a_transaction_that_the_brokers_aborted_fails),
	cmocka_unit_test(a_transaction_that_the_brokers_do_not_know_fails),
	cmocka_unit_test(a_transaction_whose_message_is_refused_fails),
	cmocka_unit_test(a_transaction_that_may_not_be_is_an_error_that_says_so),
	cmocka_unit_test(letters_go_with_the_transaction_and_are_tried_again),
	cmocka_unit_test(a_letter_of_a_transaction_that_failed_is_not_believed),
	cmocka_unit_test(tables_are_read_anew_after_a_transaction_that_failed),
	cmocka_unit_test(marks_of_transactions_are_no_messages_that_wait),
	cmocka_unit_test(what_a_step_emits_is_sent_again_when_it_was_refused_for_good),
	cmocka_unit_test(what_was_published_and_refused_for_good_is_told_so),
};

int main(int argc, char **argv)
{
	return kafka_fixture_main(argc, argv, "kafka_transaction_test", tests, sizeof tests / sizeof tests[0]);
}
