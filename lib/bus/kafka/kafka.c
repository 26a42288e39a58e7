/* kafka.c - one bus' clients of Kafka: settings, topics, errors, and messages on their way. */
#include "bus/kafka/kafka.h"

#include "bus/kafka/kafka_lane.h"
#include "bus/kafka/kafka_table.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ASK_MS 1000 /* how long librdkafka is left alone at most: then we look whether the program stops */
#define SEND_KBYTES "65536"
#define CLOSE_MS 2000
#define PRODUCER_MORE 2 /* settings that producers differ in */

/* -- errors --------------------------------------------------------------------------------------------------------------------- */

static int code_of(rd_kafka_resp_err_t e)
{
	switch (e) {
	case RD_KAFKA_RESP_ERR__TIMED_OUT:
	case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
	case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
	case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
		return WEIR_TIMEOUT;
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
	case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
		return WEIR_LIMIT;
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
		return WEIR_PERMISSION;
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
	case RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT:
		return WEIR_CONFIG;
	case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
	case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
	case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
	case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
	case RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST:
		return WEIR_FENCED;
	case RD_KAFKA_RESP_ERR__FATAL:
	case RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER:
	case RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID:
	case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
	case RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE:
	case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
	case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
		return WEIR_GAP;
	case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
	case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
		return WEIR_UNSUPPORTED;
	default:
		return WEIR_UNAVAILABLE;
	}
}

int kafka_error(const struct kafka *k, rd_kafka_resp_err_t e, const char *doing, struct error *err)
{
	return error_set(err, code_of(e), "Kafka %s: %s: %s%s%s", k->hosts, doing, rdk.err2str(e), *k->trouble ? "; last trouble: " : "", k->trouble);
}

int64_t kafka_deadline(const struct kafka *k)
{
	return clock_mono_ms() + k->bus->options.command_timeout_ms;
}

static int slice(int64_t deadline_ms)
{
	int64_t left = deadline_ms - clock_mono_ms();
	return (int)(left < 0 ? 0 : left < ASK_MS ? left : ASK_MS);
}

static bool transient(rd_kafka_resp_err_t e)
{
	int code = code_of(e);
	return e != 0 && (code == WEIR_UNAVAILABLE || code == WEIR_TIMEOUT);
}

static bool goes_on(const struct kafka *k, rd_kafka_resp_err_t e, int64_t deadline_ms)
{
	return transient(e) && clock_mono_ms() < deadline_ms && !bus_canceled(k->bus);
}

/* -- clients --------------------------------------------------------------------------------------------------------------------- */

static void on_error(rd_kafka_t *client, int code, const char *why, void *opaque)
{
	struct kafka *k = opaque;
	if (code == RD_KAFKA_RESP_ERR__FATAL && client == k->producer)
		k->fatal = true;
	snprintf(k->trouble, sizeof k->trouble, "%s", why);
}

static void on_report(rd_kafka_t *client, const rd_kafka_message_t *m, void *opaque)
{
	struct kafka_sends *s = m->_private;
	struct kafka *k = opaque;
	(void)client;
	if (m->err == 0)
		k->trouble[0] = 0;
	else if (s->failed == 0)
		s->failed = m->err;
	if (--s->under_way == 0 && s->left)
		free(s);
}

int kafka_client(struct kafka *k, rd_kafka_type_t type, const struct kafka_setting *settings, size_t n,
		 void (*on_rebalance)(rd_kafka_t *, rd_kafka_resp_err_t, rd_kafka_topic_partition_list_t *, void *), void *opaque, rd_kafka_t **ret,
		 struct error *err)
{
	static const struct kafka_setting common[] = { { "reconnect.backoff.max.ms", "1000" }, { "socket.nagle.disable", "true" } };
	char why[256] = "";
	rd_kafka_conf_t *conf = rdk.conf_new();
	int bad = rdk.conf_set(conf, "bootstrap.servers", k->hosts, why, sizeof why) != RD_KAFKA_CONF_OK;
	bad = bad || rdk.conf_set(conf, "client.id", k->bus->worker, why, sizeof why) != RD_KAFKA_CONF_OK;
	for (size_t i = 0; i < sizeof common / sizeof common[0] && !bad; i++)
		bad = rdk.conf_set(conf, common[i].name, common[i].value, why, sizeof why) != RD_KAFKA_CONF_OK;
	struct kafka_setting security[KAFKA_SECURITY_MAX];
	size_t secure = kafka_security(k->bus, security);
	for (size_t i = 0; i < secure && !bad; i++)
		bad = rdk.conf_set(conf, security[i].name, security[i].value, why, sizeof why) != RD_KAFKA_CONF_OK;
	for (size_t i = 0; i < n && !bad; i++)
		bad = rdk.conf_set(conf, settings[i].name, settings[i].value, why, sizeof why) != RD_KAFKA_CONF_OK;
	rdk.conf_set_opaque(conf, opaque);
	rdk.conf_set_log_cb(conf, NULL); /* what matters comes as an error of a call */
	if (type == RD_KAFKA_PRODUCER)
		rdk.conf_set_dr_msg_cb(conf, on_report);
	if (opaque == k)
		rdk.conf_set_error_cb(conf, on_error);
	if (on_rebalance)
		rdk.conf_set_rebalance_cb(conf, on_rebalance);
	rd_kafka_t *client = bad ? NULL : rdk.new(type, conf, why, sizeof why); /* which owns conf now, if it could be made */
	if (!client) {
		rdk.conf_destroy(conf);
		return error_set(err, WEIR_CONFIG, "Kafka %s: %s", k->hosts, why);
	}
	*ret = client;
	return 0;
}

/* For metadata and tables: reads what it is told to, in no group. */
int kafka_reader(struct kafka *k, struct error *err)
{
	static const struct kafka_setting settings[] = { { "enable.partition.eof", "true" },
							 { "fetch.wait.max.ms", "100" },
							 { "fetch.error.backoff.ms", "100" },
							 { "queued.max.messages.kbytes", "16384" },
							 { "allow.auto.create.topics", "false" } };
	if (k->reader)
		return 0;
	return kafka_client(k, RD_KAFKA_CONSUMER, settings, sizeof settings / sizeof settings[0], NULL, k, &k->reader, err);
}

int kafka_producer(struct kafka *k, const struct kafka_setting *more, size_t n, rd_kafka_t **ret, struct error *err)
{
	static const struct kafka_setting all[] = {
		{ "enable.idempotence", "true" },
		{ "acks", "all" },
		{ "linger.ms", "0" },
		{ "partitioner", "murmur2_random" },
		{ "queue.buffering.max.kbytes", SEND_KBYTES },
		{ "message.max.bytes", "67633152" }, /* a frame; the brokers' own limit is told by them */
		{ "delivery.report.only.error", "false" },
	};
	struct kafka_setting settings[sizeof all / sizeof all[0] + PRODUCER_MORE];
	memcpy(settings, all, sizeof all);
	memcpy(settings + sizeof all / sizeof all[0], more, n * sizeof *more);
	return kafka_client(k, RD_KAFKA_PRODUCER, settings, sizeof all / sizeof all[0] + n, NULL, k, ret, err);
}

static int producer(struct kafka *k, struct error *err)
{
	const struct kafka_setting settings[PRODUCER_MORE] = {
		{ "enable.gapless.guarantee", k->gapless ? "true" : "false" },
		{ "message.timeout.ms", "0" }, /* never given up: a call that is repeated waits for the same message */
	};
	if (k->producer)
		return 0;
	k->fatal = false;
	return kafka_producer(k, settings, PRODUCER_MORE, &k->producer, err);
}

void kafka_purge(struct kafka *k)
{
	if (!k->producer)
		return;
	(void)rdk.purge(k->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	(void)rdk.flush(k->producer, CLOSE_MS);
	for (struct kafka_topic *t = k->topics; t; t = t->next) {
		if (t->write)
			rdk.topic_destroy(t->write);
		t->write = NULL;
	}
	rdk.destroy(k->producer);
	k->producer = NULL;
}

int kafka_open(struct bus *bus, struct error *err)
{
	int r = kafka_api_load(err);
	if (r != 0)
		return r;
	struct kafka *k = xmalloc(sizeof *k);
	k->bus = bus;
	k->hosts = xstrdup(bus->address.brokers);
	bus->transport_state = k;
	r = kafka_security_check(k, err);
	if (r != 0)
		kafka_close(bus);
	return r;
}

void kafka_drop(struct kafka *k)
{
	for (struct kafka_lane *l = k->lanes; l; l = kafka_lane_next(l))
		kafka_lane_drop(l);
	kafka_tables_close(k);
	for (struct kafka_topic *t = k->topics; t; t = t->next) {
		if (t->read)
			rdk.topic_destroy(t->read);
		t->read = NULL;
	}
	if (k->reader)
		rdk.destroy(k->reader);
	k->reader = NULL;
}

void kafka_close(struct bus *bus)
{
	struct kafka *k = kafka_of(bus);
	kafka_drop(k);
	if (k->producer)
		(void)rdk.flush(k->producer, CLOSE_MS); /* a publisher that did not wait */
	kafka_purge(k);
	while (k->topics) {
		struct kafka_topic *t = k->topics;
		k->topics = t->next;
		free(t->name);
		free(t);
	}
	free(k->hosts);
	free(k);
	bus->transport_state = NULL;
}

/* -- topics ----------------------------------------------------------------------------------------------------------------------- */

void kafka_topic_name(const char *chain, const char *topic, int klass, char ret[KEY_MAX])
{
	snprintf(ret, KEY_MAX, "weir.%s.%s.%s", chain, topic, bus_classes[klass]);
}

void kafka_letters_name(const char *chain, const char *topic, const char *subscription, char ret[KEY_MAX])
{
	snprintf(ret, KEY_MAX, "weir.%s.%s.letters.%s", chain, topic, subscription);
}

int kafka_names(const struct kafka *k, const char *const *names, size_t n, struct error *err)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	for (size_t i = 0; i < n; i++)
		if (!*names[i] || strlen(names[i]) > 48 || names[i][strspn(names[i], allowed)])
			return error_set(err, WEIR_CONFIG,
					 "Kafka %s: the name \"%s\" of a chain, topic or subscription: 1 to 48 letters, digits, _ and - are possible over Kafka", k->hosts,
					 names[i]);
	return 0;
}

/* What the reader complained of, such as a certificate: it says so only when it is asked. */
static void hear_trouble(struct kafka *k, rd_kafka_resp_err_t e)
{
	if (e == 0)
		k->trouble[0] = 0;
	else
		(void)rdk.poll(k->reader, 0);
}

/* How a question ended that was asked until it was answered, its time was up or weir stops. */
static int ended(struct kafka *k, rd_kafka_resp_err_t e, const char *doing, struct error *err)
{
	hear_trouble(k, e);
	if (transient(e) && bus_canceled(k->bus))
		return error_set(err, WEIR_CANCELED, "stopping");
	return e ? kafka_error(k, e, doing, err) : 0;
}

static int ask_partitions(struct kafka *k, struct kafka_topic *t, enum kafka_use use, struct error *err)
{
	static const char *const advice[] = {
		[KAFKA_MESSAGES] = " (n is the same for all topics of the chain)",
		[KAFKA_TABLE] = " --config cleanup.policy=compact (n is the same for all topics of the chain)",
		[KAFKA_STATE] = " (n is 1)",
		[KAFKA_RECORDS] = " --replication-factor <r> (n: how many readers may share the work; more later would move keys)",
	};
	const struct rd_kafka_metadata *md = NULL;
	int64_t deadline = kafka_deadline(k);
	rd_kafka_resp_err_t e;
	do {
		e = rdk.metadata(k->reader, 0, t->read, &md, slice(deadline));
		if (e == 0 && md->topic_cnt == 1)
			e = md->topics[0].err;
		if (e == 0)
			t->partitions = md->topic_cnt == 1 ? md->topics[0].partition_cnt : 0;
		if (md)
			rdk.metadata_destroy(md);
		md = NULL;
	} while (goes_on(k, e, deadline));
	if (e == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || e == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC)
		return error_set(err, WEIR_CONFIG,
				 "Kafka %s has no topic %s; make it: kafka-topics.sh --bootstrap-server %s --create --topic %s --partitions <n>%s", k->hosts,
				 t->name, k->hosts, t->name, advice[use]);
	int r = ended(k, e, t->name, err);
	if (r == 0 && (t->partitions < 1 || t->partitions > KAFKA_PARTITIONS_MAX))
		r = error_set(err, WEIR_CONFIG, "Kafka %s: topic %s has %d partitions; 1 to %d can be", k->hosts, t->name, (int)t->partitions,
			      KAFKA_PARTITIONS_MAX);
	return r;
}

int kafka_topic(struct kafka *k, const char *name, enum kafka_use use, struct kafka_topic **ret, struct error *err)
{
	struct kafka_topic *t = k->topics;
	while (t && strcmp(t->name, name) != 0)
		t = t->next;
	int r = kafka_reader(k, err);
	if (r != 0)
		return r;
	if (!t) {
		t = xmalloc(sizeof *t);
		t->name = xstrdup(name);
		t->next = k->topics;
		k->topics = t;
	}
	if (!t->read)
		t->read = rdk.topic_new(k->reader, name, NULL);
	if (!t->read)
		return error_set(err, WEIR_CONFIG, "Kafka %s: \"%s\" is no name for a topic", k->hosts, name);
	*ret = t;
	return t->partitions > 0 ? 0 : ask_partitions(k, t, use, err);
}

/* Not by query_watermark_offsets: its time-out ends with the first request, and it keeps its caller for as long as the brokers say nothing. */
static rd_kafka_resp_err_t ask_offsets(rd_kafka_t *client, rd_kafka_topic_partition_list_t *list, int64_t which, int timeout_ms)
{
	for (int i = 0; i < list->cnt; i++) {
		list->elems[i].offset = which;
		list->elems[i].err = 0;
	}
	rd_kafka_resp_err_t e = rdk.offsets_for_times(client, list, timeout_ms);
	for (int i = 0; i < list->cnt && e == 0; i++)
		e = list->elems[i].err ? list->elems[i].err : list->elems[i].offset < 0 ? RD_KAFKA_RESP_ERR__TIMED_OUT : 0; /* that time ran out it does not say */
	return e;
}

int kafka_offsets(struct kafka *k, rd_kafka_t *client, rd_kafka_topic_partition_list_t *list, int64_t which, int64_t deadline_ms, struct error *err)
{
	rd_kafka_resp_err_t e = 0;
	if (list->cnt == 0)
		return 0;
	do
		e = ask_offsets(client, list, which, slice(deadline_ms));
	while (goes_on(k, e, deadline_ms));
	return ended(k, e, list->elems[0].topic, err);
}

int kafka_ends(struct kafka *k, rd_kafka_t *client, const rd_kafka_topic_partition_list_t *list, struct kafka_ends *ret, struct error *err)
{
	const int64_t deadline = kafka_deadline(k);
	*ret = (struct kafka_ends){ rdk.topic_partition_list_copy(list), rdk.topic_partition_list_copy(list) };
	int r = kafka_offsets(k, client, ret->lows, RD_KAFKA_OFFSET_BEGINNING, deadline, err);
	int r_highs = kafka_offsets(k, client, ret->highs, RD_KAFKA_OFFSET_END, deadline, r ? NULL : err);
	return r ? r : r_highs;
}

void kafka_ends_free(struct kafka_ends *ends)
{
	rdk.topic_partition_list_destroy(ends->lows);
	rdk.topic_partition_list_destroy(ends->highs);
}

static int ask_all(struct kafka *k, int topics, const struct rd_kafka_metadata **ret, struct error *err)
{
	int64_t deadline = kafka_deadline(k);
	rd_kafka_resp_err_t e;
	int r = kafka_reader(k, err);
	if (r != 0)
		return r;
	do
		e = rdk.metadata(k->reader, topics, NULL, ret, slice(deadline));
	while (goes_on(k, e, deadline));
	return ended(k, e, "asking for the brokers", err);
}

int kafka_all_topics(struct kafka *k, const struct rd_kafka_metadata **ret, struct error *err)
{
	return ask_all(k, 1, ret, err);
}

int kafka_ping(struct kafka *k, struct error *err)
{
	const struct rd_kafka_metadata *md = NULL;
	int r = ask_all(k, 0, &md, err);
	if (r == 0)
		rdk.metadata_destroy(md);
	return r;
}

/* -- sending ----------------------------------------------------------------------------------------------------------------------- */

/* The producer for t, made anew when the one before cannot go on. A transaction has its own, which knows topics by their names. */
static int write_handle(struct kafka *k, struct kafka_topic *t, struct error *err)
{
	if (k->transaction)
		return 0;
	if (k->fatal)
		kafka_purge(k);
	int r = producer(k, err);
	if (r == 0 && !t->write && !(t->write = rdk.topic_new(k->producer, t->name, NULL)))
		r = error_set(err, WEIR_CONFIG, "Kafka %s: \"%s\" is no name for a topic", k->hosts, t->name);
	return r;
}

static rd_kafka_resp_err_t produce(struct kafka *k, const struct kafka_topic *t, int32_t partition, struct bytes key, struct bytes value, struct bytes mark,
				   struct kafka_sends *s)
{
	rd_kafka_t *by = k->transaction ? k->transaction : k->producer;
	const rd_kafka_vu_t parts[] = {
		k->transaction ? (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = t->name }
			       : (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = t->write },
		{ .vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = partition },
		{ .vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY },
		{ .vtype = RD_KAFKA_VTYPE_KEY, .u.mem = { key.size ? (void *)(uintptr_t)key.data : NULL, key.size } },
		{ .vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = { (void *)(uintptr_t)value.data, value.size } },
		{ .vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = s },
		{ .vtype = RD_KAFKA_VTYPE_HEADER, .u.header = { "weir", mark.data, (ssize_t)mark.size } },
	};
	rd_kafka_error_t *error = rdk.produceva(by, parts, sizeof parts / sizeof parts[0] - (mark.size == 0));
	rd_kafka_resp_err_t e = error ? rdk.error_code(error) : 0;
	if (error)
		rdk.error_destroy(error);
	return e;
}

int kafka_send(struct kafka *k, struct kafka_topic *t, int32_t partition, struct bytes key, struct bytes value, struct bytes mark,
	       struct kafka_sends *s, int64_t deadline_ms, struct error *err)
{
	int r = write_handle(k, t, err);
	while (r == 0) {
		rd_kafka_resp_err_t e = produce(k, t, partition, key, value, mark, s);
		if (e == 0) {
			s->under_way++;
			return 0;
		}
		if (e != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			return kafka_error(k, e, t->name, err);
		if (clock_mono_ms() >= deadline_ms)
			return kafka_error(k, RD_KAFKA_RESP_ERR__TIMED_OUT, t->name, err);
		if (bus_canceled(k->bus))
			return error_set(err, WEIR_CANCELED, "stopping");
		(void)rdk.poll(k->transaction ? k->transaction : k->producer, 10);
	}
	return r;
}

/* Who has what is under way; NULL: nobody any more. */
static rd_kafka_t *sender(const struct kafka *k)
{
	if (k->transaction)
		return rdk.fatal_error(k->transaction, NULL, 0) == 0 ? k->transaction : NULL;
	return k->fatal ? NULL : k->producer;
}

int kafka_sent(struct kafka *k, struct kafka_sends *s, int64_t deadline_ms, struct error *err)
{
	for (rd_kafka_t *by; s->under_way > 0 && (by = sender(k));) {
		int64_t left = deadline_ms - clock_mono_ms();
		(void)rdk.poll(by, (int)(left < 0 ? 0 : left < BLOCK_SLICE_MS ? left : BLOCK_SLICE_MS));
		if (s->under_way > 0 && clock_mono_ms() >= deadline_ms)
			return kafka_error(k, *k->trouble ? RD_KAFKA_RESP_ERR__TRANSPORT : RD_KAFKA_RESP_ERR__TIMED_OUT,
					   "waiting for the brokers to take what was sent", err);
		if (s->under_way > 0 && bus_canceled(k->bus))
			return error_set(err, WEIR_CANCELED, "stopping");
	}
	if (k->fatal)
		kafka_purge(k);
	rd_kafka_resp_err_t e = s->failed == 0 && s->under_way > 0 ? RD_KAFKA_RESP_ERR__PURGE_INFLIGHT : s->failed; /* gone with its producer, unreported */
	s->failed = 0;
	int r = e ? kafka_error(k, e, "sending", err) : 0;
	return r == WEIR_TIMEOUT || r == WEIR_UNAVAILABLE ? error_set(err, WEIR_GAP, "Kafka %s: sending: %s: it was given up", k->hosts, rdk.err2str(e)) : r;
}

void kafka_sends_leave(struct kafka_sends **sends)
{
	struct kafka_sends *s = *sends;
	if (!s)
		return;
	s->left = true;
	if (s->under_way == 0)
		free(s);
	*sends = NULL;
}
