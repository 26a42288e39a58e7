/* cluster_tls_test.c - rediss+cluster://: a real Redis Cluster of three masters that speaks TLS, also between its nodes, and names them in its
 * redirections. Each node has a certificate of its own name alone; the names are spellings of 127.0.0.1, so that they resolve everywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/bus.h"
#include "bus/redis/cluster.h"
#include "support/bus_fixture.h"
#include "support/certificate.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NODES 3
#define LAST 16383
#define DEADLINE_MS 60000

static const char *const names[NODES] = { "localhost", "127.1", "127.0.1" };
static struct redis_server nodes[NODES];
static int ports[NODES];
static struct certificate authority;
static char folder[64], settings[NODES][96], chains[NODES][16]; /* a chain of each node */

static const char *in_folder(int node, const char *what)
{
	static char path[4][128];
	static unsigned next;
	char *to = path[next++ % 4];
	snprintf(to, sizeof path[0], "%s/%d.%s", folder, node, what);
	return to;
}

static void make_certificate(int node, const char *name)
{
	struct certificate own = certificate_make(name, &authority, 1);
	certificate_write(&own, in_folder(node, "pem"));
	certificate_write_key(&own, in_folder(node, "key"), NULL);
	certificate_free(&own);
}

static void make_settings(int node)
{
	snprintf(settings[node], sizeof settings[node], "%s", in_folder(node, "conf"));
	FILE *f = fopen(settings[node], "w");
	assert_non_null(f);
	fprintf(f,
		"tls-port %d\ntls-cluster yes\ntls-replication yes\ntls-auth-clients no\ntls-cert-file %s\ntls-key-file %s\ntls-ca-cert-file %s/ca.pem\n"
		"cluster-announce-hostname %s\ncluster-preferred-endpoint-type hostname\n",
		ports[node], in_folder(node, "pem"), in_folder(node, "key"), folder, names[node]);
	assert_int_equal(fclose(f), 0);
	nodes[node].settings = settings[node];
}

/* What the node answers, in one text. An error is "". */
static void ask(int node, char ret[4096], const char *command)
{
	redisContext *c = redisConnectUnix(nodes[node].url + strlen("unix://"));
	redisReply *r = c && !c->err ? redisCommand(c, command) : NULL;
	snprintf(ret, 4096, "%s", r && r->str ? r->str : "");
	freeReplyObject(r);
	redisFree(c);
}

static void wait_until_says(int node, const char *words, const char *command)
{
	char answer[4096];
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	do {
		ask(node, answer, command);
		if (strstr(answer, words))
			return;
		clock_sleep_ms(20);
	} while (clock_mono_ms() < deadline);
	fail_msg("node %d does not say %s to %s: %s", node, words, command, answer);
}

static void set(int node, const char *what, const char *value)
{
	(void)redis_server_ask(&nodes[node], NULL, "CONFIG SET %s %s", what, value);
}

/* The others have heard it, so they name it in what they answer. */
static void rename_node(int node, const char *name)
{
	char words[64];
	redisContext *c = redisConnectUnix(nodes[node].url + strlen("unix://"));
	redisReply *r = redisCommand(c, "CONFIG SET cluster-announce-hostname %s", name); /* may be empty */
	assert_true(r && r->type == REDIS_REPLY_STATUS);
	freeReplyObject(r);
	redisFree(c);
	/* "<ip>:<port>@<bus port>,<name> <flags>" */
	snprintf(words, sizeof words, *name ? "@%d,%s " : "@%d ", nodes[node].cluster_port, name);
	for (int i = 0; i < NODES; i++)
		wait_until_says(i, words, "CLUSTER NODES");
}

static void show_certificate(int node, const char *name)
{
	make_certificate(node, name);
	(void)redis_server_ask(&nodes[node], NULL, "CONFIG SET tls-cert-file %s tls-key-file %s", in_folder(node, "pem"), in_folder(node, "key"));
}

static unsigned first_slot(int node)
{
	return (unsigned)(node * (LAST + 1) / NODES);
}

static int start(void **state)
{
	(void)state;
	char path[96];
	authority = certificate_make("weir test authority", NULL, 1);
	snprintf(folder, sizeof folder, "/tmp/weir-cluster-tls-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/ca.pem", folder);
	certificate_write(&authority, path);
	for (int i = 0; i < NODES; i++) {
		ports[i] = redis_server_free_port();
		make_certificate(i, names[i]);
		make_settings(i);
		redis_server_start_node(&nodes[i], redis_server_free_port());
		(void)redis_server_ask(&nodes[i], NULL, "CLUSTER ADDSLOTSRANGE %u %u", first_slot(i), first_slot(i + 1) - 1);
	}
	for (int i = 1; i < NODES; i++)
		(void)redis_server_ask(&nodes[0], NULL, "CLUSTER MEET 127.0.0.1 %d %d", ports[i], nodes[i].cluster_port);
	for (int i = 0; i < NODES; i++) {
		wait_until_says(i, "cluster_state:ok", "CLUSTER INFO");
		rename_node(i, names[i]);
	}
	for (int i = 0, found = 0; found < NODES; i++) {
		char name[16];
		size_t size = (size_t)snprintf(name, sizeof name, "chain%d", i);
		unsigned slot = bus_cluster_slot((struct bytes){ (const uint8_t *)name, size });
		int node = NODES - 1;
		while (slot < first_slot(node))
			node--;
		if (!*chains[node]) {
			memcpy(chains[node], name, sizeof name);
			found++;
		}
	}
	return setenv("SSL_CERT_FILE", path, 1);
}

static int stop(void **state)
{
	(void)state;
	char path[96];
	for (int i = 0; i < NODES; i++) {
		redis_server_stop(&nodes[i]);
		(void)unlink(in_folder(i, "pem"));
		(void)unlink(in_folder(i, "key"));
		(void)unlink(settings[i]);
	}
	snprintf(path, sizeof path, "%s/ca.pem", folder);
	(void)unlink(path);
	certificate_free(&authority);
	return rmdir(folder);
}

/* Knows node 0 only: what it knows of the others is what that tells. */
static struct bus *open_bus(void)
{
	char url[96];
	struct bus *bus;
	struct error err = { 0 };
	snprintf(url, sizeof url, "rediss+cluster://%s:%d", names[0], ports[0]);
	const struct bus_options options = { .url = url, .worker = "w", .command_timeout_ms = 5000 };
	if (bus_open(&options, &bus, &err) != 0)
		fail_msg("%s", err.text);
	return bus;
}

static int publish(struct bus *bus, int node, const char *producer, struct error *err)
{
	struct bus_publisher *p;
	struct frame f = fixture_message(MESSAGE_RAW_BLOCK_TIP, "1", "x");
	assert_int_equal(bus_publisher_open(bus, chains[node], TOPIC_RAW, producer, &p, NULL), 0);
	int r = bus_publish(p, &f, 1, err);
	bus_publisher_close(&p);
	return r;
}

static void publish_until_it_works(struct bus *bus, int node, const char *producer)
{
	struct error err = { 0 };
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	int r;
	while ((r = publish(bus, node, producer, &err)) != 0 && clock_mono_ms() < deadline)
		clock_sleep_ms(20);
	if (r != 0)
		fail_msg("%s", err.text);
}

static long long entries(int node)
{
	return redis_server_ask(&nodes[node], NULL, "XLEN weir:{%s}:raw:high", chains[node]);
}

static void each_node_is_reached_by_its_own_name(void **state)
{
	(void)state;
	struct bus *bus = open_bus();
	long long before[NODES];
	for (int i = 0; i < NODES; i++) {
		before[i] = entries(i);
		publish_until_it_works(bus, i, "p");
	}
	for (int i = 0; i < NODES; i++)
		assert_int_equal(entries(i), before[i] + 1);
	bus_close(&bus);
}

/* Node 0 is whom it says it is; whom it sends us to is not. On a machine with much to do a call may have no time left to find that out. */
static void refuses(int node, const char *words)
{
	struct error err = { 0 };
	struct bus *bus = open_bus();
	long long before = entries(node);
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	publish_until_it_works(bus, 0, "q");
	do
		assert_true(error_retriable(publish(bus, node, "q", &err)));
	while (!strstr(err.text, words) && clock_mono_ms() < deadline);
	if (!strstr(err.text, words))
		fail_msg("%s", err.text);
	assert_int_equal(entries(node), before);
	bus_close(&bus);
}

static void a_node_that_is_named_otherwise_than_its_certificate_is_refused(void **state)
{
	(void)state;
	rename_node(2, names[1]);
	refuses(2, "certificate verify failed");
	rename_node(2, names[2]);
	each_node_is_reached_by_its_own_name(NULL);
}

static void a_node_without_a_name_is_told(void **state)
{
	(void)state;
	rename_node(2, "");
	refuses(2, "cluster-announce-hostname");
	rename_node(2, names[2]);
	each_node_is_reached_by_its_own_name(NULL);
}

/* By address: the certificate must have it; a name that resolves to it does not do. */
static void nodes_named_by_their_addresses_are_checked_by_them(void **state)
{
	(void)state;
	set(0, "cluster-preferred-endpoint-type", "ip");
	refuses(1, "certificate verify failed");
	show_certificate(1, "127.0.0.1");
	struct bus *bus = open_bus();
	publish_until_it_works(bus, 1, "p");
	bus_close(&bus);
	show_certificate(1, names[1]);
	set(0, "cluster-preferred-endpoint-type", "hostname");
	each_node_is_reached_by_its_own_name(NULL);
}

int main(void)
{
	log_init(LOG_ERROR + 1, LOG_FORMAT_LOGFMT);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_node_is_reached_by_its_own_name),
		cmocka_unit_test(a_node_that_is_named_otherwise_than_its_certificate_is_refused),
		cmocka_unit_test(a_node_without_a_name_is_told),
		cmocka_unit_test(nodes_named_by_their_addresses_are_checked_by_them),
	};
	return cmocka_run_group_tests_name("cluster over TLS", tests, start, stop);
}
