/* address.c - the parts of a Redis URL. */
#include "bus/core/address.h"

#include <stdio.h>
#include <string.h>

#define REDIS_PORT 6379
#define SENTINEL_PORT 26379
#define KAFKA_PORT 9092
#define KAFKA_SESSION_MS 6000 /* brokers refuse shorter ones unless group.min.session.timeout.ms says otherwise */

static const struct scheme {
	const char *name;
	bool tls, local, sentinels, cluster, memory, kafka;
} schemes[] = {
	{ .name = "redis" },
	{ .name = "rediss", .tls = true },
	{ .name = "unix", .local = true },
	{ .name = "redis+sentinel", .sentinels = true },
	{ .name = "rediss+sentinel", .tls = true, .sentinels = true },
	{ .name = "redis+cluster", .cluster = true },
	{ .name = "rediss+cluster", .tls = true, .cluster = true },
	{ .name = "memory", .local = true, .memory = true },
	{ .name = "kafka", .kafka = true },
	{ .name = "kafkas", .kafka = true, .tls = true },
};
#define SCHEMES (sizeof schemes / sizeof schemes[0])

/* Digits up to end; -1: anything else, or too many of them. */
static int small_number(const char *text, const char *end)
{
	int value = 0;
	if (text == end || end - text > 6)
		return -1;
	for (; text < end; text++) {
		if (*text < '0' || *text > '9')
			return -1;
		value = value * 10 + (*text - '0');
	}
	return value;
}

/* host, host:port, [v6], [v6]:port. False: no host, or no valid port. */
static bool parse_host(const char *text, size_t length, int port, struct bus_host *ret)
{
	const char *stop = text + length, *end = *text == '[' ? memchr(text, ']', length) : NULL;
	const char *colon = memrchr(end ? end : text, ':', (size_t)(stop - (end ? end : text)));
	size_t size = (size_t)((colon ? colon : stop) - text);
	if (end) {
		text++;
		size -= 2;
	}
	if (size == 0 || size >= sizeof ret->name)
		return false;
	snprintf(ret->name, sizeof ret->name, "%.*s", (int)size, text);
	ret->port = colon ? small_number(colon + 1, stop) : port;
	return ret->port >= 1 && ret->port <= 65535;
}

/* user:password@, if there. Returns how much of the text that was. */
static size_t parse_account(const char *text, size_t length, struct bus_address *ret)
{
	const char *at = memrchr(text, '@', length);
	if (!at)
		return 0;
	size_t user = strcspn(text, ":@");
	snprintf(ret->user, sizeof ret->user, "%.*s", (int)user, text);
	if (text[user] == ':')
		snprintf(ret->password, sizeof ret->password, "%.*s", (int)(at - text - (ptrdiff_t)user - 1), text + user + 1);
	return (size_t)(at + 1 - text);
}

/* Hosts with commas between them. */
static bool parse_hosts(const char *text, size_t length, int port, size_t max, struct bus_host *ret, size_t *ret_count)
{
	while (*ret_count < max) {
		const char *comma = memchr(text, ',', length);
		size_t size = comma ? (size_t)(comma - text) : length;
		if (!parse_host(text, size, port, &ret[(*ret_count)++]))
			return false;
		if (!comma)
			return true;
		length -= size + 1;
		text = comma + 1;
	}
	return false;
}

/* The parts of a path /name or /name/… -> what is behind it. */
static const char *parse_master(const char *path, struct bus_address *ret)
{
	size_t size = *path == '/' ? strcspn(path + 1, "/") : 0;
	if (size == 0 || size >= sizeof ret->master)
		return NULL;
	snprintf(ret->master, sizeof ret->master, "%.*s", (int)size, path + 1);
	return path + 1 + size;
}

/* One name=value behind the brokers. */
static int kafka_parameter(const char *text, size_t length, struct bus_address *ret, struct error *err)
{
	const struct {
		const char *name;
		char *value;
		size_t size;
	} known[] = { { "sasl", ret->sasl, sizeof ret->sasl }, { "ca", ret->ca, sizeof ret->ca }, { "cert", ret->cert, sizeof ret->cert },
		      { "key", ret->key, sizeof ret->key } };
	const char *equals = memchr(text, '=', length);
	size_t size = equals ? (size_t)(equals - text) : 0, value = equals ? length - size - 1 : 0;
	if (size == 10 && strncmp(text, "session_ms", size) == 0) {
		ret->session_ms = small_number(equals + 1, text + length);
		return ret->session_ms >= 500 && ret->session_ms <= 600000 ? 0 : error_set(err, WEIR_CONFIG, "kafka://: session_ms is 500 to 600000");
	}
	if (size == 12 && strncmp(text, "transactions", size) == 0) {
		ret->transactions = value == 3 && strncmp(equals + 1, "yes", value) == 0;
		return ret->transactions || (value == 2 && strncmp(equals + 1, "no", value) == 0) ? 0 : error_set(err, WEIR_CONFIG, "kafka://: transactions is yes or no");
	}
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (size == strlen(known[i].name) && strncmp(text, known[i].name, size) == 0) {
			snprintf(known[i].value, known[i].size, "%.*s", (int)value, equals + 1);
			return value > 0 && value < known[i].size ? 0 : error_set(err, WEIR_CONFIG, "kafka://: %s is empty or too long", known[i].name);
		}
	return error_set(err, WEIR_CONFIG, "kafka://: behind the brokers only /?session_ms=, transactions=, sasl=, ca=, cert= and key= can stand, with & between them");
}

static int check_kafka(const struct bus_address *a, struct error *err)
{
	static const char *const mechanisms[] = { "", "SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN" };
	bool known = false;
	for (size_t i = 0; i < sizeof mechanisms / sizeof mechanisms[0]; i++)
		known = known || strcmp(mechanisms[i], a->sasl) == 0;
	if (!known)
		return error_set(err, WEIR_CONFIG, "kafka://: sasl is SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN");
	if (strcmp(a->sasl, "PLAIN") == 0 && !a->tls)
		return error_set(err, WEIR_CONFIG, "kafka://: sasl=PLAIN would send the password as it is: let the URL begin with kafkas://, or use SCRAM-SHA-512");
	if (!a->tls && (*a->ca || *a->cert || *a->key))
		return error_set(err, WEIR_CONFIG, "kafka://: ca, cert and key are for TLS: let the URL begin with kafkas://");
	if (!*a->cert != !*a->key)
		return error_set(err, WEIR_CONFIG, "kafkas://: cert and key go together");
	return 0;
}

/* What is behind kafka:// */
static int parse_kafka(const char *rest, struct bus_address *ret, struct error *err)
{
	size_t length = strcspn(rest, "/?"), account = parse_account(rest, length, ret), at = 0;
	const char *path = rest + length;
	if (!parse_hosts(rest + account, length - account, KAFKA_PORT, CLUSTER_HOSTS_MAX, ret->hosts, &ret->host_count))
		return error_set(err, WEIR_CONFIG, "kafka:// needs 1 to %d brokers as host or host:port, with commas between them", CLUSTER_HOSTS_MAX);
	for (size_t i = 0; i < ret->host_count; i++)
		at += (size_t)snprintf(ret->brokers + at, sizeof ret->brokers - at, strchr(ret->hosts[i].name, ':') ? "%s[%s]:%d" : "%s%s:%d", i ? "," : "",
				       ret->hosts[i].name, ret->hosts[i].port);
	path += *path == '/';
	ret->session_ms = KAFKA_SESSION_MS;
	if (*path == '?')
		do {
			size_t size = strcspn(++path, "&");
			int r = kafka_parameter(path, size, ret, err);
			if (r != 0)
				return r;
			path += size;
		} while (*path == '&');
	if (*path)
		return error_set(err, WEIR_CONFIG, "kafka://: behind the brokers only /?session_ms=, transactions=, sasl=, ca=, cert= and key= can stand");
	return check_kafka(ret, err);
}

int bus_address_parse(const char *url, struct bus_address *ret, struct error *err)
{
	const char *rest = url ? strstr(url, "://") : NULL;
	const struct scheme *scheme = NULL;
	memset(ret, 0, sizeof *ret);
	for (size_t i = 0; i < SCHEMES && rest; i++)
		if (strlen(schemes[i].name) == (size_t)(rest - url) && strncmp(url, schemes[i].name, (size_t)(rest - url)) == 0)
			scheme = &schemes[i];
	if (!scheme)
		return error_set(err, WEIR_CONFIG,
				 "bus.redis_url must begin with redis://, rediss://, unix://, redis+sentinel://, rediss+sentinel://, redis+cluster:// "
				 "or rediss+cluster://");
	rest += 3;
	ret->tls = scheme->tls;
	ret->local = scheme->local;
	ret->cluster = scheme->cluster;
	ret->memory = scheme->memory;
	if (scheme->kafka)
		return parse_kafka(rest, ret, err);
	if (scheme->local) {
		snprintf(ret->host.name, sizeof ret->host.name, "%s", rest);
		return *rest ? 0 : error_set(err, WEIR_CONFIG, "bus.redis_url names no %s", scheme->memory ? "store" : "socket");
	}
	size_t length = strcspn(rest, "/"), account = parse_account(rest, length, ret);
	const char *path = rest + length;
	const char *hosts = rest + account;
	size_t size = length - account;
	if (scheme->sentinels && !parse_hosts(hosts, size, SENTINEL_PORT, SENTINELS_MAX, ret->sentinels, &ret->sentinel_count))
		return error_set(err, WEIR_CONFIG, "bus.redis_url needs 1 to %d sentinels as host or host:port, with commas between them",
				 SENTINELS_MAX);
	if (scheme->sentinels && !(path = parse_master(path, ret)))
		return error_set(err, WEIR_CONFIG, "bus.redis_url needs the master's name behind the sentinels: redis+sentinel://host:26379/name");
	if (scheme->cluster && !parse_hosts(hosts, size, REDIS_PORT, CLUSTER_HOSTS_MAX, ret->hosts, &ret->host_count))
		return error_set(err, WEIR_CONFIG, "bus.redis_url needs 1 to %d nodes of the cluster as host or host:port, with commas between them",
				 CLUSTER_HOSTS_MAX);
	bool host = scheme->sentinels || scheme->cluster || parse_host(hosts, size, REDIS_PORT, &ret->host);
	ret->database = *path == '/' && path[1] ? small_number(path + 1, path + strlen(path)) : 0;
	if (scheme->cluster && ret->database != 0)
		return error_set(err, WEIR_CONFIG, "bus.redis_url names a database, but a cluster has only database 0");
	if (!host || ret->database < 0)
		return error_set(err, WEIR_CONFIG, "bus.redis_url has no host, no valid port or no valid database number");
	return 0;
}
