/* kafka_publish.c - publishing over Kafka, by one idempotent producer for each bus.
 *
 * What librdkafka once has is never given up: it repeats it until the brokers have it, in order and once. So a call that ran out of time is
 * repeated by waiting for the same messages again, and only what it had not come to is sent.
 */
#include "bus/kafka/kafka_publish.h"

#include <string.h>

int kafka_publish_one(struct kafka *k, const char *chain, const char *topic, int klass, struct bytes key, struct bytes frame, struct kafka_sends *sends,
		      struct error *err)
{
	char name[KEY_MAX];
	struct kafka_topic *t;
	kafka_topic_name(chain, topic, klass, name);
	int r = kafka_names(k, (const char *const[]){ chain, topic }, 2, err);
	if (r == 0)
		r = kafka_topic(k, name, KAFKA_MESSAGES, &t, err);
	return r ? r : kafka_send(k, t, KAFKA_ANY, key, frame, (struct bytes){ NULL, 0 }, sends, kafka_deadline(k), err);
}

void kafka_publisher_close(struct bus_publisher *p)
{
	struct kafka_sends *sends = p->own;
	kafka_sends_leave(&sends);
	p->own = NULL;
}

static int send_from(struct bus_publisher *p, const struct frame *frames, size_t n, size_t *done, struct error *err)
{
	int r = 0;
	for (; *done < n && r == 0; *done += r == 0) {
		const struct frame *f = &frames[*done];
		buf_reset(&p->wire);
		p->wire.max = 2ul * FRAME_BODY_MAX;
		frame_write(f, &p->wire);
		if (p->wire.overflow || f->body.size > FRAME_BODY_MAX)
			return error_set(err, WEIR_LIMIT, "topic %s of chain %s: a message is larger than %u bytes", p->topic, p->chain, FRAME_BODY_MAX);
		r = kafka_publish_one(kafka_of(p->bus), p->chain, p->topic, bus_publish_class(f), f->key, (struct bytes){ p->wire.data, p->wire.size }, p->own,
				      err);
	}
	return r;
}

/* What the call sent is under way still, and its repetition waits for it. Else nobody does. */
static bool may_be_repeated(int code)
{
	return code == WEIR_TIMEOUT || code == WEIR_UNAVAILABLE || code == WEIR_CANCELED;
}

int kafka_publish(struct bus_publisher *p, const struct frame *frames, size_t n, uint64_t identity, struct error *err)
{
	struct kafka *k = kafka_of(p->bus);
	bool again = p->unfinished_count == n && p->unfinished == identity;
	size_t done = again ? p->unfinished_done : 0;
	if (!again)
		kafka_publisher_close(p);
	if (!p->own)
		p->own = xmalloc(sizeof(struct kafka_sends));
	int r = send_from(p, frames, n, &done, err);
	if (r == 0)
		r = kafka_sent(k, p->own, kafka_deadline(k), err);
	p->unfinished_count = may_be_repeated(r) ? n : 0;
	p->unfinished = identity;
	p->unfinished_done = done;
	if (r == 0)
		bus_count(p->bus, "weir_bus_published_total", p->chain, p->topic, NULL, n);
	else if (!may_be_repeated(r))
		kafka_publisher_close(p);
	if (r == WEIR_GAP)
		bus_count(p->bus, "weir_bus_gaps_total", p->chain, p->topic, NULL, 1);
	return r;
}
