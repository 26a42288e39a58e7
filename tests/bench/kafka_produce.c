/* kafka_produce.c - records into a topic of Kafka as fast as librdkafka can, with the settings of the bus' producer: what the ledger's export is held against.
 *
 *	kafka_produce HOSTS TOPIC < RECORDS
 *
 * RECORDS are lines of "kafka_mock read" (tests/actors). They are in memory before the clock runs. One JSON line: seconds until the brokers have all, CPU, bytes.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "bus/kafka/kafka_api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define RECORDS_MAX 1000000

struct record {
	char *line;
	struct bytes key, value;
};

/* {"partition":P,"offset":O,"key":"K","value":V}: neither keys nor what stands before them has a quote or backslash in it. */
static bool split(struct record *r, size_t size)
{
	char *key = strstr(r->line, "\"key\":\""), *value = key ? strstr(key, "\",\"value\":") : NULL;
	if (!value || size < 3)
		return false;
	key += strlen("\"key\":\"");
	r->key = (struct bytes){ (const uint8_t *)key, (size_t)(value - key) };
	value += strlen("\",\"value\":");
	r->value = (struct bytes){ (const uint8_t *)value, (size_t)(r->line + size - 2 - value) }; /* without brace and newline */
	return true;
}

static size_t read_records(struct record *records)
{
	size_t n = 0, capacity = 0;
	ssize_t size;
	while (n < RECORDS_MAX && (size = getline(&records[n].line, &capacity, stdin)) > 0) {
		if (!split(&records[n], (size_t)size))
			exit(65);
		n++;
		capacity = 0;
	}
	return n;
}

static rd_kafka_t *producer(const char *hosts)
{
	char why[256] = "";
	const char *const settings[][2] = { { "bootstrap.servers", hosts },
					    { "enable.idempotence", "true" },
					    { "enable.gapless.guarantee", "true" },
					    { "linger.ms", "0" },
					    { "partitioner", "murmur2_random" },
					    { "queue.buffering.max.kbytes", "65536" },
					    { "socket.nagle.disable", "true" } };
	rd_kafka_conf_t *conf = rdk.conf_new();
	bool bad = false;
	for (size_t i = 0; i < sizeof settings / sizeof settings[0] && !bad; i++)
		bad = rdk.conf_set(conf, settings[i][0], settings[i][1], why, sizeof why) != RD_KAFKA_CONF_OK;
	rdk.conf_set_log_cb(conf, NULL);
	rd_kafka_t *client = bad ? NULL : rdk.new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
	if (!client)
		fprintf(stderr, "kafka_produce: %s\n", why);
	return client;
}

static void produce(rd_kafka_t *client, rd_kafka_topic_t *topic, const struct record *r)
{
	const rd_kafka_vu_t parts[] = {
		{ .vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic },
		{ .vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = RD_KAFKA_PARTITION_UA },
		{ .vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY },
		{ .vtype = RD_KAFKA_VTYPE_KEY, .u.mem = { (void *)(uintptr_t)r->key.data, r->key.size } },
		{ .vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = { (void *)(uintptr_t)r->value.data, r->value.size } },
	};
	rd_kafka_error_t *error;
	while ((error = rdk.produceva(client, parts, sizeof parts / sizeof parts[0])) != NULL) {
		if (rdk.error_code(error) != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			exit(69);
		rdk.error_destroy(error);
		(void)rdk.poll(client, 10);
	}
}

static double cpu_seconds(void)
{
	struct rusage u;
	(void)getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
	struct error err = { 0 };
	struct record *records = xcalloc(RECORDS_MAX, sizeof *records);
	size_t n = read_records(records), bytes = 0;
	if (argc != 3 || kafka_api_load(&err) != 0) {
		fprintf(stderr, "kafka_produce HOSTS TOPIC < RECORDS: %s\n", err.text);
		return 64;
	}
	rd_kafka_t *client = producer(argv[1]);
	if (!client)
		return 69;
	rd_kafka_topic_t *topic = rdk.topic_new(client, argv[2], NULL);
	const double cpu = cpu_seconds();
	const int64_t began = clock_mono_ms();
	for (size_t i = 0; i < n; i++) {
		produce(client, topic, &records[i]);
		bytes += records[i].key.size + records[i].value.size;
		if (i % 1000 == 999)
			(void)rdk.poll(client, 0);
	}
	while (rdk.outq_len(client) > 0)
		(void)rdk.poll(client, 100);
	printf("{\"records\":%zu,\"bytes\":%zu,\"seconds\":%.3f,\"cpu_us\":%.0f}\n", n, bytes, (double)(clock_mono_ms() - began) / 1e3, (cpu_seconds() - cpu) * 1e6);
	for (size_t i = 0; i < n; i++)
		free(records[i].line);
	free(records);
	rdk.topic_destroy(topic);
	rdk.destroy(client);
	return 0;
}
