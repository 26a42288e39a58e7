/* kafka_lane.c - a member of a consumer group: joining, partitions that come and go, reading by class, committing. */
#include "bus/kafka/kafka_lane.h"

#include "bus/kafka/kafka_change.h"
#include "bus/kafka/kafka_job.h"

#include "base/clock.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ALL_CLASSES ((1u << CLASSES) - 1)
#define TAKE_BATCH 256
#define ARENA_MAX ((size_t)256 << 20)

/* -- the group ------------------------------------------------------------------------------------------------------------------ */

static int class_of(const struct kafka_lane *l, const char *name)
{
	char known[KEY_MAX];
	for (int c = 0; c < CLASSES; c++) {
		kafka_topic_name(l->chain, l->topic, c, known);
		if (strcmp(known, name) == 0)
			return c;
	}
	return -1;
}

static void forget_parts(struct kafka_lane *l)
{
	for (int32_t p = 0; p < l->part_count; p++)
		l->parts[p] = (struct kafka_part){ .next = { -1, -1, -1, -1 }, .handed = { -1, -1, -1, -1 }, .committed = { -1, -1, -1, -1 } };
	l->changed = true;
	l->owning = l->read = l->rejoin = false;
}

/* The brokers no longer have what we would read next: removed by retention, or lost. */
static void tell_loss(struct kafka_lane *l, const rd_kafka_topic_partition_t *at, int64_t low, int64_t high)
{
	l->rolled_back = true;
	log_warn(&l->kafka->bus->log, "bus_kafka_out_of_range", "Kafka no longer has what is read next: going on with the oldest that there is",
		 LOG_S("chain", l->chain), LOG_S("topic", at->topic), LOG_S("subscription", l->subscription), LOG_I("partition", at->partition),
		 LOG_I("offset", at->offset), LOG_I("low", low), LOG_I("high", high));
	bus_count(l->kafka->bus, "weir_bus_loss_suspected_total", l->chain, l->topic, l->subscription, 1);
}

/* Reading begins at the committed place, or, where there is none or it is gone, at the oldest message. low and high below 0: unknown. */
static void choose_offset(struct kafka_lane *l, rd_kafka_topic_partition_t *at, int64_t low, int64_t high)
{
	int c = class_of(l, at->topic);
	if (at->offset >= 0 && (at->offset < low || (high >= 0 && at->offset > high))) {
		tell_loss(l, at, low, high);
		at->offset = low;
	}
	if (at->offset < 0)
		at->offset = RD_KAFKA_OFFSET_BEGINNING;
	else if (c >= 0 && at->partition < l->part_count)
		l->parts[at->partition].committed[c] = l->parts[at->partition].next[c] = at->offset;
}

/* What cannot be asked now librdkafka asks itself. */
static void choose_offsets(struct kafka_lane *l, rd_kafka_topic_partition_list_t *list)
{
	struct kafka_ends ends;
	rd_kafka_resp_err_t e = rdk.committed(l->consumer, list, (int)l->kafka->bus->options.command_timeout_ms); /* first: the end does not lie before it */
	(void)kafka_ends(l->kafka, l->consumer, list, &ends, NULL);
	for (int i = 0; i < list->cnt; i++)
		if (e == 0 && list->elems[i].err == 0)
			choose_offset(l, &list->elems[i], ends.lows->elems[i].offset, ends.highs->elems[i].offset);
		else
			list->elems[i].offset = RD_KAFKA_OFFSET_STORED;
	kafka_ends_free(&ends);
}

/* Its messages come by the queue of their class. Done before it is assigned: then nothing comes by another way. */
static void by_class(struct kafka_lane *l, const char *topic, int32_t p, int klass)
{
	rd_kafka_queue_t *q = rdk.queue_get_partition(l->consumer, topic, p);
	if (!q)
		return;
	rdk.queue_forward(q, l->classes[klass]);
	rdk.queue_destroy(q);
}

static void on_rebalance(rd_kafka_t *consumer, rd_kafka_resp_err_t e, rd_kafka_topic_partition_list_t *list, void *opaque)
{
	struct kafka_lane *l = opaque;
	forget_parts(l);
	if (e != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
		(void)rdk.assign(consumer, NULL);
		return;
	}
	choose_offsets(l, list);
	for (int i = 0; i < list->cnt; i++) {
		int c = class_of(l, list->elems[i].topic);
		if (c < 0 || list->elems[i].partition >= l->part_count)
			continue;
		by_class(l, list->elems[i].topic, list->elems[i].partition, c);
		l->parts[list->elems[i].partition].classes |= 1u << c;
	}
	(void)rdk.assign(consumer, list);
}

/* All topics must have the same number of partitions: a key is in one part only then. */
static int find_parts(struct kafka_lane *l, struct error *err)
{
	struct kafka_topic *t = NULL, *first = NULL;
	char name[KEY_MAX];
	int named = kafka_names(l->kafka, (const char *const[]){ l->chain, l->topic, l->subscription }, 3, err);
	if (named != 0)
		return named;
	for (int c = 0; c <= CLASSES; c++) {
		if (c < CLASSES)
			kafka_topic_name(l->chain, l->topic, c, name);
		else
			kafka_letters_name(l->chain, l->topic, l->subscription, name);
		int r = kafka_topic(l->kafka, name, c == CLASSES ? KAFKA_TABLE : KAFKA_MESSAGES, &t, err);
		if (r != 0)
			return r;
		first = first ? first : t;
		if (t->partitions != first->partitions)
			return error_set(err, WEIR_CONFIG, "Kafka %s: topic %s has %d partitions and %s has %d; all of a chain must have the same number",
					 l->kafka->hosts, first->name, (int)first->partitions, t->name, (int)t->partitions);
	}
	if (l->part_count != first->partitions) {
		l->part_count = first->partitions;
		l->parts = xrealloc(l->parts, (size_t)l->part_count, sizeof *l->parts);
		forget_parts(l);
	}
	return 0;
}

static int join(struct kafka_lane *l, struct error *err)
{
	static const uint64_t one = 1;
	char group[KEY_MAX], session[16], beat[16], longest[16], name[KEY_MAX];
	int r = find_parts(l, err);
	if (r != 0)
		return r;
	snprintf(group, sizeof group, "weir.%s.%s.%s", l->chain, l->topic, l->subscription);
	snprintf(session, sizeof session, "%" PRId64, l->session_ms);
	snprintf(beat, sizeof beat, "%" PRId64, l->session_ms / 4);
	snprintf(longest, sizeof longest, "%" PRId64, l->session_ms > 300000 ? l->session_ms : 300000);
	const struct kafka_setting settings[] = { { "group.id", group },
						  { "session.timeout.ms", session },
						  { "heartbeat.interval.ms", beat },
						  { "max.poll.interval.ms", longest },
						  { "partition.assignment.strategy", "range" },
						  { "enable.auto.commit", "false" },
						  { "enable.auto.offset.store", "false" },
						  { "auto.offset.reset", "error" },
						  { "enable.partition.eof", "true" }, /* tells of what stands behind the last message */
						  { "isolation.level", "read_committed" },
						  { "fetch.wait.max.ms", "100" },
						  { "fetch.error.backoff.ms", "100" },
						  { "queued.max.messages.kbytes", "8192" },
						  { "allow.auto.create.topics", "false" } };
	r = kafka_client(l->kafka, RD_KAFKA_CONSUMER, settings, sizeof settings / sizeof settings[0], on_rebalance, l, &l->consumer, err);
	if (r != 0)
		return r;
	(void)rdk.poll_set_consumer(l->consumer);
	l->main = rdk.queue_get_consumer(l->consumer);
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rdk.queue_io_event_enable(l->main, l->wake, &one, sizeof one);
	rd_kafka_topic_partition_list_t *topics = rdk.topic_partition_list_new(CLASSES);
	for (int c = 0; c < CLASSES; c++) {
		l->classes[c] = rdk.queue_new(l->consumer);
		rdk.queue_io_event_enable(l->classes[c], l->wake, &one, sizeof one);
		kafka_topic_name(l->chain, l->topic, c, name);
		(void)rdk.topic_partition_list_add(topics, name, RD_KAFKA_PARTITION_UA);
	}
	rd_kafka_resp_err_t e = rdk.subscribe(l->consumer, topics);
	rdk.topic_partition_list_destroy(topics);
	return e ? kafka_error(l->kafka, e, group, err) : 0;
}

static void leave(struct kafka_lane *l, bool say_so)
{
	if (!l->consumer)
		return;
	if (say_so)
		(void)rdk.consumer_close(l->consumer); /* calls on_rebalance */
	for (int c = 0; c < CLASSES; c++)
		rdk.queue_destroy(l->classes[c]);
	rdk.queue_destroy(l->main);
	rdk.destroy_flags(l->consumer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	l->consumer = NULL;
	close(l->wake);
	forget_parts(l);
}

struct kafka_lane *kafka_lane_open(struct bus_tally *tally, int64_t lease_ms)
{
	struct kafka_lane *l = xmalloc(sizeof *l);
	l->tally = tally;
	l->kafka = kafka_of(tally->bus);
	l->chain = xstrdup(tally->chain);
	l->topic = xstrdup(tally->topic);
	l->subscription = xstrdup(tally->subscription);
	l->session_ms = lease_ms > tally->bus->address.session_ms ? lease_ms : tally->bus->address.session_ms;
	l->next = l->kafka->lanes;
	l->kafka->lanes = l;
	bus_count_from_zero(tally->bus, "weir_bus_loss_suspected_total", l->chain, l->topic, l->subscription);
	return l;
}

void kafka_lane_close(struct kafka_lane **lane)
{
	struct kafka_lane *l = *lane, **at;
	if (!l)
		return;
	leave(l, true);
	for (at = &l->kafka->lanes; *at != l; at = &(*at)->next)
		;
	*at = l->next;
	bus_batch_free(&l->batch);
	free(l->parts);
	free(l->chain);
	free(l->topic);
	free(l->subscription);
	xfree(lane);
}

void kafka_lane_drop(struct kafka_lane *l)
{
	leave(l, false);
}

/* -- owning ------------------------------------------------------------------------------------------------------------------------ */

/* What the group says. Messages come by the classes' queues; here are only errors, some of which mend themselves. */
static int serve_group(struct kafka_lane *l, struct error *err)
{
	rd_kafka_message_t *m = rdk.consumer_poll(l->consumer, 0);
	if (!m)
		return 0;
	int r = m->err ? kafka_error(l->kafka, m->err, "the consumer group", err) : WEIR_INTERNAL;
	if (m->err == 0)
		l->changed = l->read = true; /* a message past its class' queue: read again in order */
	rdk.message_destroy(m);
	return r == WEIR_CONFIG || r == WEIR_PERMISSION ? r : 0;
}

static int take_over(struct kafka_lane *l, int32_t p, struct error *err)
{
	char name[KEY_MAX];
	kafka_letters_name(l->chain, l->topic, l->subscription, name);
	int r = kafka_table(l->kafka, name, p, &l->parts[p].letters, err);
	if (r == 0)
		r = kafka_table_take_over(l->parts[p].letters, err);
	l->parts[p].owned = r == 0;
	return r;
}

/* Reading begins at the committed places again. False: that cannot be had of the partitions as they are. */
static bool rewind_parts(struct kafka_lane *l)
{
	char name[KEY_MAX];
	rd_kafka_topic_partition_list_t *list = rdk.topic_partition_list_new(l->part_count);
	for (int32_t p = 0; p < l->part_count; p++)
		for (int c = 0; c < CLASSES; c++) {
			struct kafka_part *part = &l->parts[p];
			if (!(part->classes & 1u << c) || part->next[c] == part->committed[c])
				continue;
			kafka_topic_name(l->chain, l->topic, c, name);
			part->next[c] = part->committed[c];
			part->handed[c] = -1;
			rdk.topic_partition_list_add(list, name, p)->offset = part->committed[c] >= 0 ? part->committed[c] : RD_KAFKA_OFFSET_BEGINNING;
		}
	rd_kafka_error_t *e = rdk.seek_partitions(l->consumer, list, (int)l->kafka->bus->options.command_timeout_ms);
	bool good = !e;
	if (e)
		rdk.error_destroy(e);
	for (int i = 0; i < list->cnt; i++)
		good = good && list->elems[i].err == 0;
	rdk.topic_partition_list_destroy(list);
	l->read = false;
	return good;
}

int kafka_lane_acquire(struct kafka_lane *l, struct error *err)
{
	int r = l->consumer ? 0 : join(l, err);
	if (r == 0)
		r = serve_group(l, err);
	size_t ours = 0, partly = 0;
	for (int32_t p = 0; p < l->part_count && r == 0; p++) {
		struct kafka_part *part = &l->parts[p];
		partly += part->classes != 0 && part->classes != ALL_CLASSES;
		if (part->classes == ALL_CLASSES && !part->owned)
			r = take_over(l, p, err);
		ours += part->owned;
	}
	if (r == WEIR_FENCED)
		return error_set(err, WEIR_CONFLICT, "another instance took over at the same time");
	if (r != 0)
		return r;
	if (l->read && !rewind_parts(l)) {
		leave(l, true);
		return error_set(err, WEIR_CONFLICT, "subscription %s of topic %s: joins its group again", l->subscription, l->topic);
	}
	if (partly > 0)
		log_warn(&l->kafka->bus->log, "bus_kafka_apart", "classes of one partition number went to different members: these are left alone",
			 LOG_S("chain", l->chain), LOG_S("topic", l->topic), LOG_S("subscription", l->subscription), LOG_U("partitions", partly));
	if (ours == 0)
		return error_set(err, WEIR_CONFLICT, "subscription %s of topic %s: no partition is ours (yet)", l->subscription, l->topic);
	l->changed = false;
	l->owning = true;
	snprintf(l->token, sizeof l->token, "%" PRIu64 ":%016" PRIx64, ++l->turn, random_u64());
	return 0;
}

int kafka_lane_serve(struct kafka_lane *l, struct error *err)
{
	int r = l->consumer ? serve_group(l, err) : 0;
	bool fenced = false;
	if (r == 0 && clock_mono_ms() >= l->look_ms) {
		l->look_ms = clock_mono_ms() + REPLAY_EVERY_MS;
		for (int32_t p = 0; p < l->part_count && r == 0 && !l->changed; p++) {
			struct kafka_part *part = &l->parts[p];
			if (!part->owned)
				continue;
			r = kafka_table_poll(part->letters, err);
			fenced = fenced || !part->letters->epoch_is_ours;
			if (r == 0 && !fenced)
				r = kafka_changes_serve(l, part->letters, err);
			if (r == 0 && !fenced && p == 0)
				r = kafka_jobs_serve(l, part->letters, err);
		}
	}
	if (fenced || l->rejoin)
		leave(l, true); /* somebody else owns a part, or what is next is gone: begun anew */
	else if (r != 0)
		return r;
	if (!l->consumer || l->changed || !l->owning) {
		l->owning = false;
		bus_count(l->kafka->bus, "weir_bus_fenced_total", l->chain, l->topic, l->subscription, 1);
		return error_set(err, WEIR_FENCED, "subscription %s of topic %s: the consumer group changed", l->subscription, l->topic);
	}
	return 0;
}

struct kafka_lane *kafka_lane_of(const struct kafka_table *t)
{
	struct kafka_lane *l = t->epoch_is_ours ? t->kafka->lanes : NULL;
	for (; l; l = kafka_lane_next(l))
		for (int32_t p = 0; p < l->part_count; p++)
			if (l->parts[p].owned && l->parts[p].letters == t)
				return l;
	return NULL;
}

struct kafka_part *kafka_lane_part(struct kafka_lane *l, const struct bus_message *m)
{
	if (m->generation == 0 || m->generation > (uint64_t)l->part_count)
		return NULL;
	struct kafka_part *part = &l->parts[m->generation - 1];
	return part->owned ? part : NULL;
}

void kafka_lane_token(const struct kafka_lane *l, const struct bus_message *m, char ret[96])
{
	const struct kafka_part *part = kafka_lane_part((struct kafka_lane *)(uintptr_t)l, m);
	uint64_t nonce = 0;
	if (part)
		memcpy(&nonce, part->letters->writer, sizeof nonce);
	snprintf(ret, 96, "%" PRIu64 ":%016" PRIx64, part ? part->letters->epoch : 0, nonce);
}

/* -- reading ------------------------------------------------------------------------------------------------------------------------ */

static bool copy(struct bus_batch *b, const rd_kafka_message_t *m, struct bytes *ret)
{
	if (!b->arena)
		b->arena = arena_new(ARENA_MAX);
	uint8_t *data = arena_alloc(b->arena, m->len + 1);
	if (!data)
		return false;
	memcpy(data, m->payload ? m->payload : "", m->len);
	*ret = (struct bytes){ data, m->len };
	return true;
}

/* False: no room for it now; it is read again. */
static bool add(struct kafka_lane *l, int klass, const rd_kafka_message_t *m)
{
	struct kafka_part *part = &l->parts[m->partition];
	struct bytes frame;
	if (!part->owned || m->offset < part->next[klass] || !copy(&l->batch, m, &frame)) {
		l->changed = l->read = true;
		return false;
	}
	l->read = true;
	part->next[klass] = m->offset + 1;
	struct bus_message *to = bus_batch_add(&l->batch);
	to->klass = (uint8_t)klass;
	to->generation = (uint64_t)m->partition + 1;
	to->sequence = (uint64_t)m->offset + 1;
	snprintf(to->id, sizeof to->id, "%" PRIu64 "-%" PRIu64, to->generation, to->sequence);
	to->frame_ok = frame_read(frame, &to->frame, NULL) == 0;
	if (!to->frame_ok) {
		(void)frame_peek(frame, &to->frame.type, &to->frame.key);
		to->frame.body = frame; /* as it is, for its letter */
	}
	return true;
}

/* The end of a partition. What stands between its last message and this is none, such as the mark that a transaction ended: not waited for. */
static void reach_end(struct kafka_lane *l, int klass, const rd_kafka_message_t *m)
{
	struct kafka_part *part = &l->parts[m->partition];
	if (!part->owned || m->offset <= part->next[klass])
		return;
	part->next[klass] = m->offset;
}

static void take_class(struct kafka_lane *l, int klass, size_t max)
{
	rd_kafka_message_t *messages[TAKE_BATCH];
	while (l->batch.count < max && !l->changed) {
		size_t want = max - l->batch.count < TAKE_BATCH ? max - l->batch.count : TAKE_BATCH;
		ssize_t n = rdk.consume_batch_queue(l->classes[klass], 0, messages, want);
		bool fits = true; /* if not: from the committed places on again */
		for (ssize_t i = 0; i < n; i++) {
			rd_kafka_message_t *m = messages[i];
			bool known = m->rkt && m->partition >= 0 && m->partition < l->part_count;
			if (m->err == 0)
				fits = fits && known && add(l, klass, m);
			else if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && fits && known)
				reach_end(l, klass, m);
			else if (known && (m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || m->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE ||
					   m->err == RD_KAFKA_RESP_ERR__NO_OFFSET))
				l->changed = l->rejoin = true; /* joining looks at what there is */
			rdk.message_destroy(m);
		}
		if (n < (ssize_t)want)
			return;
	}
}

int kafka_lane_take(struct kafka_lane *l, size_t max, struct error *err)
{
	size_t before = l->batch.count;
	for (int c = 0; c < CLASSES; c++)
		take_class(l, c, max);
	bus_count(l->kafka->bus, "weir_bus_read_total", l->chain, l->topic, l->subscription, l->batch.count - before);
	return l->changed ? kafka_lane_serve(l, err) : 0;
}

void kafka_lane_wait(struct kafka_lane *l, int64_t ms)
{
	struct pollfd p = { .fd = l->wake, .events = POLLIN };
	uint64_t n;
	if (ms <= 0)
		return;
	(void)poll(&p, 1, (int)(ms < BLOCK_SLICE_MS ? ms : BLOCK_SLICE_MS));
	(void)!read(l->wake, &n, sizeof n);
}

/* -- committing ----------------------------------------------------------------------------------------------------------------------- */

static int commit_offset(struct kafka_lane *l, int32_t p, int klass, int64_t offset, struct error *err)
{
	char name[KEY_MAX];
	kafka_topic_name(l->chain, l->topic, klass, name);
	rd_kafka_topic_partition_list_t *list = rdk.topic_partition_list_new(1);
	rd_kafka_queue_t *answer = rdk.queue_new(l->consumer);
	rdk.topic_partition_list_add(list, name, p)->offset = offset;
	rd_kafka_resp_err_t e = rdk.commit_queue(l->consumer, list, answer, NULL, NULL);
	rd_kafka_event_t *event = NULL;
	for (int64_t deadline = kafka_deadline(l->kafka); e == 0 && !event;) {
		event = rdk.queue_poll(answer, BLOCK_SLICE_MS);
		if (event)
			e = rdk.event_error(event);
		else if (clock_mono_ms() >= deadline)
			e = RD_KAFKA_RESP_ERR__TIMED_OUT;
	}
	if (event)
		rdk.event_destroy(event);
	rdk.queue_destroy(answer);
	rdk.topic_partition_list_destroy(list);
	return e ? kafka_error(l->kafka, e, "committing", err) : 0;
}

int kafka_lane_commit(struct kafka_lane *l, int32_t p, int klass, int64_t offset, struct error *err)
{
	struct kafka_part *part = p >= 0 && p < l->part_count ? &l->parts[p] : NULL;
	if (!l->consumer || l->changed || !part || !part->owned)
		return error_set(err, WEIR_FENCED, "subscription %s of topic %s: partition %d is not ours any more", l->subscription, l->topic, (int)p);
	if (offset <= part->committed[klass])
		return 0;
	int r = kafka_table_flush(part->letters, err);
	if (r == 0)
		r = commit_offset(l, p, klass, offset, err);
	if (r == 0)
		part->committed[klass] = offset;
	if (r == WEIR_FENCED)
		leave(l, true);
	return r;
}

rd_kafka_topic_partition_list_t *kafka_lane_places(const struct kafka_lane *l, int64_t (*place)(void *, int32_t, int), void *arg)
{
	rd_kafka_topic_partition_list_t *list = rdk.topic_partition_list_new(l->part_count);
	char name[KEY_MAX], known[KEY_MAX] = "";
	int32_t known_part = 0;
	int64_t known_place = 0;
	for (int32_t p = 0; p < l->part_count; p++)
		for (int c = 0; c < CLASSES; c++) {
			const struct kafka_part *part = &l->parts[p];
			const int64_t to = part->owned ? place(arg, p, c) : -1;
			kafka_topic_name(l->chain, l->topic, c, name);
			if (to > 0 && to > part->committed[c])
				rdk.topic_partition_list_add(list, name, p)->offset = to;
			else if (part->owned && part->committed[c] > 0) {
				snprintf(known, sizeof known, "%s", name);
				known_part = p;
				known_place = part->committed[c];
			}
		}
	if (list->cnt == 0 && *known)
		rdk.topic_partition_list_add(list, known, known_part)->offset = known_place;
	return list;
}

void kafka_lane_placed(struct kafka_lane *l, const rd_kafka_topic_partition_list_t *list)
{
	for (int i = 0; i < list->cnt; i++) {
		int c = class_of(l, list->elems[i].topic);
		if (c >= 0 && list->elems[i].partition < l->part_count && l->parts[list->elems[i].partition].owned)
			l->parts[list->elems[i].partition].committed[c] = list->elems[i].offset;
	}
}

void kafka_lane_leave(struct kafka_lane *l)
{
	leave(l, true);
}

int kafka_lane_flush(struct kafka_lane *l, const struct bus_message *m, struct error *err)
{
	const struct kafka_part *part = kafka_lane_part(l, m);
	return part ? kafka_table_flush(part->letters, err) : error_set(err, WEIR_FENCED, "message %s: its partition is not ours any more", m->id);
}
