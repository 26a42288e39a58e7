/* kafka_transaction.c - a transactional producer: its beginning, its end, and what is done when it fails. */
#include "bus/kafka/kafka_transaction.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>

#define DROP_MS 2000     /* how long aborting is waited for; the brokers do it by themselves later */
#define LEAST_MS 10000   /* before the brokers abort what a process left open */
#define BETWEEN_MS 20    /* two of one question */
#define FAILED_MS 100    /* two producers, where the first could not begin */

struct kafka_transaction {
	struct kafka_lane *lane;
	rd_kafka_t *producer; /* NULL: none yet, or closed after it failed for good */
	bool open, placed, ending;
};

struct kafka_transaction *kafka_transaction_new(struct kafka_lane *l)
{
	struct kafka_transaction *t = xmalloc(sizeof *t);
	t->lane = l;
	return t;
}

void kafka_transaction_free(struct kafka_transaction **t)
{
	if (!*t)
		return;
	kafka_transaction_drop(*t);
	if ((*t)->producer)
		rdk.destroy((*t)->producer);
	xfree(t);
}

bool kafka_transaction_open(const struct kafka_transaction *t)
{
	return t->open;
}

bool kafka_transaction_ending(const struct kafka_transaction *t)
{
	return t->ending;
}

void kafka_transaction_enter(struct kafka_transaction *t)
{
	t->lane->kafka->transaction = t->producer;
}

void kafka_transaction_leave(struct kafka_transaction *t)
{
	t->lane->kafka->transaction = NULL;
}

/* -- questions --------------------------------------------------------------------------------------------------------------------- */

struct question {
	const char *doing;
	rd_kafka_error_t *(*ask)(struct kafka_transaction *, const rd_kafka_topic_partition_list_t *, int timeout_ms);
};

/* Asked again while librdkafka says that this helps. *ret_again: it would help still. */
static int ask(struct kafka_transaction *t, const struct question *q, const rd_kafka_topic_partition_list_t *places, int64_t deadline_ms, bool *ret_again,
	       struct error *err)
{
	struct kafka *k = t->lane->kafka;
	for (;;) {
		const int64_t left = deadline_ms - clock_mono_ms();
		rd_kafka_error_t *e = q->ask(t, places, (int)(left < 1 ? 1 : left < BLOCK_SLICE_MS ? left : BLOCK_SLICE_MS));
		if (!e) {
			*ret_again = false;
			return 0;
		}
		const rd_kafka_resp_err_t code = rdk.error_code(e);
		*ret_again = rdk.error_is_retriable(e) && !rdk.error_txn_requires_abort(e) && !rdk.error_is_fatal(e);
		rdk.error_destroy(e);
		if (*ret_again && bus_canceled(k->bus))
			return error_set(err, WEIR_CANCELED, "stopping");
		if (!*ret_again || clock_mono_ms() >= deadline_ms)
			return kafka_error(k, code, q->doing, err);
		(void)rdk.poll(t->producer, BETWEEN_MS);
	}
}

static rd_kafka_error_t *ask_init(struct kafka_transaction *t, const rd_kafka_topic_partition_list_t *places, int timeout_ms)
{
	(void)places;
	return rdk.init_transactions(t->producer, timeout_ms);
}

static rd_kafka_error_t *ask_begin(struct kafka_transaction *t, const rd_kafka_topic_partition_list_t *places, int timeout_ms)
{
	(void)places, (void)timeout_ms;
	return rdk.begin_transaction(t->producer);
}

static rd_kafka_error_t *ask_places(struct kafka_transaction *t, const rd_kafka_topic_partition_list_t *places, int timeout_ms)
{
	rd_kafka_consumer_group_metadata_t *member = rdk.consumer_group_metadata(t->lane->consumer);
	rd_kafka_error_t *e = rdk.send_offsets_to_transaction(t->producer, places, member, timeout_ms);
	rdk.consumer_group_metadata_destroy(member);
	return e;
}

static rd_kafka_error_t *ask_commit(struct kafka_transaction *t, const rd_kafka_topic_partition_list_t *places, int timeout_ms)
{
	(void)places;
	return rdk.commit_transaction(t->producer, timeout_ms);
}

static rd_kafka_error_t *ask_abort(struct kafka_transaction *t, const rd_kafka_topic_partition_list_t *places, int timeout_ms)
{
	(void)places;
	return rdk.abort_transaction(t->producer, timeout_ms);
}

static const struct question questions[] = {
	{ "getting ready for transactions", ask_init }, { "beginning a transaction", ask_begin },       { "committing places in a transaction", ask_places },
	{ "committing a transaction", ask_commit },     { "aborting a transaction", ask_abort },
};
enum { INIT, BEGIN, PLACES, COMMIT, ABORT };

/* -- its life ------------------------------------------------------------------------------------------------------------------------ */

/* What is on its way is reported as failed. */
static void destroy(struct kafka_transaction *t)
{
	if (!t->producer)
		return;
	(void)rdk.purge(t->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	(void)rdk.flush(t->producer, DROP_MS);
	rdk.destroy(t->producer);
	t->producer = NULL;
}

static int make(struct kafka_transaction *t, struct error *err)
{
	struct kafka_lane *l = t->lane;
	char id[4 * KEY_MAX], time[16];
	const int64_t longest = l->session_ms > LEAST_MS ? l->session_ms : LEAST_MS;
	if (t->producer)
		return 0;
	snprintf(id, sizeof id, "weir.%s.%s.%s.%s.%016" PRIx64, l->chain, l->topic, l->subscription, l->kafka->bus->worker,
		 random_u64() ^ (uint64_t)clock_wall_ns());
	snprintf(time, sizeof time, "%" PRId64, longest);
	const struct kafka_setting settings[] = { { "transactional.id", id }, { "transaction.timeout.ms", time } };
	return kafka_producer(l->kafka, settings, sizeof settings / sizeof settings[0], &t->producer, err);
}

int kafka_transaction_begin(struct kafka_transaction *t, struct error *err)
{
	const int64_t deadline = kafka_deadline(t->lane->kafka);
	bool again = false;
	if (t->open)
		return 0;
	const bool new = !t->producer;
	int r = make(t, err);
	if (r == 0 && new)
		r = ask(t, &questions[INIT], NULL, deadline, &again, err);
	if (r == 0)
		r = ask(t, &questions[BEGIN], NULL, deadline, &again, err);
	if (r != 0 && t->producer) {
		(void)rdk.poll(t->producer, FAILED_MS);
		destroy(t);
	}
	t->open = r == 0;
	t->placed = t->ending = false;
	return r;
}

/* What is retriable for librdkafka may have a code that is not for us, and the other way round: who asks goes by the code. */
static int as_far_as(int r, bool again, struct error *err)
{
	const bool retriable = r == WEIR_TIMEOUT || r == WEIR_UNAVAILABLE || r == WEIR_CANCELED;
	if (r != 0 && retriable != again && err)
		err->code = again ? WEIR_UNAVAILABLE : WEIR_GAP;
	return r == 0 || retriable == again ? r : again ? WEIR_UNAVAILABLE : WEIR_GAP;
}

int kafka_transaction_commit(struct kafka_transaction *t, const rd_kafka_topic_partition_list_t *places, struct error *err)
{
	const int64_t deadline = kafka_deadline(t->lane->kafka);
	bool again = false;
	int r = 0;
	if (!t->placed && places->cnt > 0)
		r = ask(t, &questions[PLACES], places, deadline, &again, err);
	t->placed = r == 0;
	t->ending = r == 0;
	if (r == 0)
		r = ask(t, &questions[COMMIT], NULL, deadline, &again, err);
	if (r == 0)
		t->open = t->ending = false;
	return as_far_as(r, again, err);
}

void kafka_transaction_drop(struct kafka_transaction *t)
{
	bool again;
	if (!t->open)
		return;
	if (t->ending || ask(t, &questions[ABORT], NULL, clock_mono_ms() + DROP_MS, &again, NULL) != 0)
		destroy(t); /* its id is never used again: the brokers abort it in its time, unless they have committed it */
	t->open = t->ending = false;
}
