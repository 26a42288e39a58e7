/* kafka_records.c - plain records over Kafka, by the bus' idempotent producer.
 *
 * A record that fails for good ends the producer (enable.gapless.guarantee): those behind it, which are on their way already, are refused by the brokers, since
 * they continue a sequence that is broken. The next producer begins at the caller's last place. So a partition has no holes.
 */
#include "bus/kafka/kafka_records.h"

#include "bus/kafka/kafka.h"

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
