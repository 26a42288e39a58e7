/* address.h - private to lib/bus: where Redis is, or what is there instead, from a URL.
 *
 *	redis://[user:password@]host[:port][/database]          rediss:// for TLS
 *	unix:///path
 *	redis+cluster://[user:password@]host[:port],host[:port],…                       rediss+cluster:// for TLS
 *	kafka://[user:password@]host[:port],host[:port],…[/?name=value&…]      no Redis but Kafka (kafka/); kafkas:// for TLS. Names:
 *		session_ms=n          the shortest session of a consumer, default 6000
 *		transactions=yes      a shared lane's steps are Kafka's transactions (default: no)
 *		sasl=MECHANISM        how the account is shown: SCRAM-SHA-512 (default), SCRAM-SHA-256, or over TLS PLAIN
 *		ca=, cert=, key=      PEM files: who is trusted (default: the system's authorities), and what we show ourselves by
 *	memory://name                                           host.name is the store's (memory/)
 *	redis+sentinel://[user:password@]host[:port],host[:port],…/name[/database]      rediss+sentinel:// for TLS to the master
 *
 * With sentinels the master's own address is asked of them at each connection (default port 26379). User and password are the master's; sentinels
 * are asked without. Of a cluster any nodes are named, of which one must be there: it tells of the others (redis/cluster.h).
 */
#ifndef WEIR_BUS_ADDRESS_H
#define WEIR_BUS_ADDRESS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SENTINELS_MAX 8
#define CLUSTER_HOSTS_MAX 8

struct bus_host {
	char name[256]; /* a path for sockets */
	int port;
};

struct bus_address {
	bool tls, local, cluster;
	bool transactions; /* of Kafka */
	bool memory; /* no Redis at all: a store in this process */
	char brokers[2048]; /* of Kafka: as librdkafka wants them; empty: it is no Kafka */
	int64_t session_ms;
	char sasl[16], ca[256], cert[256], key[256]; /* empty: not said */
	char user[128], password[256];
	int database;
	struct bus_host host; /* of the master: with sentinels filled by bus_sentinel_find, in a cluster the node in use */
	struct bus_host sentinels[SENTINELS_MAX];
	size_t sentinel_count;
	char master[64]; /* the name that sentinels know it by */
	struct bus_host hosts[CLUSTER_HOSTS_MAX]; /* of a cluster, as the URL names them */
	size_t host_count;
};

int bus_address_parse(const char *url, struct bus_address *ret, struct error *);

#endif
