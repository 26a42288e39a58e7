/* kafka_mock.c - a Kafka for Python tests (tests/service/test_kafka.py): librdkafka's mock cluster in a process of its own, and a reader of what is in it.
 *
 *	kafka_mock serve                        its first line of output is host:port; then standard input says, a line each, and is answered with "ok":
 *	                                          topic NAME PARTITIONS · forbid NAME (asking makes no such topic) · allow NAME (it has 4 partitions) · up 0|1 · delay MS
 *	                                          hold 0|1 (it says nothing) · refuse CODE (the next that is produced)
 *	kafka_mock read HOSTS TOPIC PARTITIONS [N]  every record from the beginning on, as a line of JSON: partition, offset, key, and the value, which is JSON
 *	                                        itself; N of them, or until it is killed
 */
#include "bus/kafka/kafka_api.h"
#include "base/mem.h"
#include "support/kafka_broker.h"
#include "wire/json.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

static int serve(void)
{
	struct kafka_broker broker;
	char line[300], name[200];
	int number;
	kafka_broker_start(&broker);
	printf("%s\n", broker.hosts);
	while (fflush(stdout) == 0 && fgets(line, sizeof line, stdin)) {
		if (sscanf(line, "topic %199s %d", name, &number) == 2)
			kafka_broker_topic(&broker, name, number);
		else if (sscanf(line, "forbid %199s", name) == 1)
			kafka_broker_forbid(&broker, name);
		else if (sscanf(line, "allow %199s", name) == 1)
			kafka_broker_allow(&broker, name);
		else if (sscanf(line, "up %d", &number) == 1)
			kafka_broker_up(&broker, number);
		else if (sscanf(line, "delay %d", &number) == 1)
			kafka_broker_delay(&broker, number);
		else if (sscanf(line, "hold %d", &number) == 1)
			kafka_broker_hold(&broker, number);
		else if (sscanf(line, "refuse %d", &number) == 1)
			kafka_broker_refuse(&broker, KAFKA_PRODUCE, number);
		else
			return 64;
		printf("ok\n");
	}
	kafka_broker_stop(&broker);
	return 0;
}

static rd_kafka_t *reader(const char *hosts)
{
	char why[256] = "";
	rd_kafka_conf_t *conf = rdk.conf_new();
	const char *const settings[][2] = { { "bootstrap.servers", hosts }, { "group.id", "test" }, { "reconnect.backoff.max.ms", "200" },
					    { "fetch.wait.max.ms", "50" },  { "fetch.error.backoff.ms", "50" }, { "enable.auto.commit", "false" } };
	for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
		if (rdk.conf_set(conf, settings[i][0], settings[i][1], why, sizeof why) != RD_KAFKA_CONF_OK)
			break;
	rdk.conf_set_log_cb(conf, NULL);
	rd_kafka_t *client = *why ? NULL : rdk.new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
	if (!client)
		fprintf(stderr, "kafka_mock: %s\n", why);
	return client;
}

static void print(const rd_kafka_message_t *m)
{
	struct buf line = BUF_INIT((size_t)1 << 20);
	buf_printf(&line, "{\"partition\":%d,\"offset\":%lld,\"key\":", (int)m->partition, (long long)m->offset);
	json_add_string(&line, m->key, m->key_len);
	buf_add_str(&line, ",\"value\":");
	buf_add(&line, m->payload, m->len);
	buf_add_str(&line, "}\n");
	(void)fwrite(line.data, 1, line.size, stdout);
	(void)fflush(stdout);
	buf_free(&line);
}

static int read_some(const char *hosts, const char *topic, int partitions, long n)
{
	struct error err = { 0 };
	if (kafka_api_load(&err) != 0) {
		fprintf(stderr, "%s\n", err.text);
		return 69;
	}
	rd_kafka_t *client = reader(hosts);
	if (!client)
		return 69;
	rd_kafka_topic_partition_list_t *list = rdk.topic_partition_list_new(partitions);
	for (int p = 0; p < partitions; p++)
		rdk.topic_partition_list_add(list, topic, p)->offset = RD_KAFKA_OFFSET_BEGINNING;
	if (rdk.assign(client, list) != 0)
		return 69;
	rdk.topic_partition_list_destroy(list);
	while (n > 0) {
		rd_kafka_message_t *m = rdk.consumer_poll(client, 200);
		if (m && m->err == 0) {
			print(m);
			n--;
		}
		if (m)
			rdk.message_destroy(m);
	}
	(void)rdk.consumer_close(client);
	rdk.destroy(client);
	return 0;
}

int main(int argc, char **argv)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argc == 2 && strcmp(argv[1], "serve") == 0)
		return serve();
	if ((argc == 5 || argc == 6) && strcmp(argv[1], "read") == 0)
		return read_some(argv[2], argv[3], atoi(argv[4]), argc == 6 ? atol(argv[5]) : LONG_MAX);
	fprintf(stderr, "kafka_mock serve | read HOSTS TOPIC PARTITIONS [N]\n");
	return 64;
}
