/* kafka_records.c - plain records over Kafka, by the bus' idempotent producer.
 *
 * A record that fails for good ends the producer (enable.gapless.guarantee): those behind it, which are on their way already, are refused by the brokers, since
 * they continue a sequence that is broken. The next producer begins at the caller's last place. So a partition has no holes.
 */
#include "bus/kafka/kafka_records.h"

#include "bus/kafka/kafka.h"

#include "base/clock.h"

#define POLL_MS 50

static bool may_be_repeated(int code)
{
	return code == WEIR_TIMEOUT || code == WEIR_UNAVAILABLE || code == WEIR_CANCELED;
}

/* Some of the call's records failed: another producer must not send those behind them. */
static bool broken(const struct bus_records *w, const struct kafka *k)
{
	const struct kafka_sends *sends = w->own;
	return w->done > 0 && (k->fatal || sends->failed != 0);
}

static int send_from(struct bus_records *w, const struct bus_record *records, size_t n, struct error *err)
{
	struct kafka *k = kafka_of(w->bus);
	struct kafka_topic *topic = NULL;
	int64_t deadline = kafka_deadline(k);
	k->gapless = true;
	int r = kafka_topic(k, w->topic, KAFKA_RECORDS, &topic, err);
	for (; r == 0 && w->done < n && !broken(w, k); w->done += r == 0)
		r = kafka_send(k, topic, KAFKA_ANY, records[w->done].key, records[w->done].value, (struct bytes){ NULL, 0 }, w->own, deadline, err);
	if (r == 0)
		r = kafka_sent(k, w->own, kafka_deadline(k), err);
	if (r == WEIR_CONFIG && topic)
		topic->partitions = 0; /* it was deleted, perhaps: asked anew next time, whose answer says how to make it */
	return r;
}

int kafka_records_write(struct bus_records *w, const struct bus_record *records, size_t n, struct error *err)
{
	if (!w->own) {
		w->own = xmalloc(sizeof(struct kafka_sends));
		w->done = 0;
	}
	int r = send_from(w, records, n, err);
	if (r == 0)
		xfree(&w->own); /* nothing is under way: nobody else knows it */
	else if (!may_be_repeated(r))
		kafka_records_drop(w);
	return r;
}

void kafka_records_drop(struct bus_records *w)
{
	struct kafka_sends *sends = w->own;
	if (!sends)
		return;
	kafka_purge(kafka_of(w->bus));
	kafka_sends_leave(&sends);
	w->own = NULL;
}

/* ---- the newest ------------------------------------------------------------------------------------------------------------------------------ */

struct newest {
	struct kafka *kafka;
	struct kafka_topic *topic;
	rd_kafka_queue_t *queue;
	bool started[KAFKA_PARTITIONS_MAX]; /* and not yet heard of */
	size_t left;
};

/* Begins to read the partition at its last record. librdkafka finds out where that is meanwhile: asked for it outright (query_watermark_offsets), it keeps the
 * caller for as long as the brokers say nothing, whatever it was told. */
static int start_last(struct newest *n, int32_t partition, struct error *err)
{
	if (rdk.consume_start_queue(n->topic->read, partition, RD_KAFKA_OFFSET_TAIL(1), n->queue) != 0)
		return error_set(err, WEIR_UNAVAILABLE, "Kafka %s: topic %s, partition %d cannot be read", n->kafka->hosts, n->topic->name, (int)partition);
	n->started[partition] = true;
	n->left++;
	return 0;
}

static void stop(struct newest *n, int32_t partition)
{
	if (!n->started[partition])
		return;
	(void)rdk.consume_stop(n->topic->read, partition);
	n->started[partition] = false;
	n->left--;
}

/* A partition is done with its last record, or at its end: it has none, or what was there last is gone or none of a reader's business. */
static int take(struct newest *n, const rd_kafka_message_t *m, bus_record_fn *fn, void *arg, struct error *err)
{
	const int32_t p = m->partition;
	if (p < 0 || p >= n->topic->partitions || !n->started[p])
		return 0;
	if (m->err != 0 && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
		return kafka_error(n->kafka, m->err, n->topic->name, err);
	if (m->err == 0)
		fn(&(struct bus_record){ { m->key, m->key_len }, { m->payload, m->len } }, arg);
	stop(n, p);
	return 0;
}

static int read_last(struct newest *n, bus_record_fn *fn, void *arg, struct error *err)
{
	const int64_t deadline = kafka_deadline(n->kafka);
	int r = 0;
	while (r == 0 && n->left > 0) {
		rd_kafka_message_t *m = NULL;
		if (rdk.consume_batch_queue(n->queue, POLL_MS, &m, 1) == 1) {
			r = take(n, m, fn, arg, err);
			rdk.message_destroy(m);
		}
		if (r == 0 && n->left > 0 && bus_canceled(n->kafka->bus))
			r = error_set(err, WEIR_CANCELED, "stopping");
		else if (r == 0 && n->left > 0 && clock_mono_ms() >= deadline)
			r = error_set(err, WEIR_TIMEOUT, "Kafka %s: topic %s: the last record of %zu partitions did not come", n->kafka->hosts, n->topic->name, n->left);
	}
	return r;
}

int kafka_records_newest(struct bus_records *w, bus_record_fn *fn, void *arg, struct error *err)
{
	struct newest n = { .kafka = kafka_of(w->bus) };
	int r = kafka_topic(n.kafka, w->topic, KAFKA_RECORDS, &n.topic, err);
	if (r != 0)
		return r;
	n.queue = rdk.queue_new(n.kafka->reader);
	for (int32_t p = 0; p < n.topic->partitions && r == 0; p++)
		r = start_last(&n, p, err);
	if (r == 0)
		r = read_last(&n, fn, arg, err);
	for (int32_t p = 0; p < n.topic->partitions; p++)
		stop(&n, p);
	rdk.queue_destroy(n.queue);
	if (r == WEIR_CONFIG)
		n.topic->partitions = 0; /* asked anew next time */
	return r;
}
