/* connection.c - one Redis connection per struct bus: its address, connecting, who we are, what the server is. */
#include "bus/internal.h"

#include "base/clock.h"

#include <fcntl.h>
#include <hiredis/hiredis_ssl.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

#define COMMAND_TIMEOUT_MS 5000
#define CONNECT_TIMEOUT_MS 2000
#define MEMORY_EVERY_MS 1000
#define RETRY_BASE_MS 20
#define RETRY_MAX_MS 1000

const char *const bus_classes[CLASSES] = { CLASS_CRITICAL, CLASS_HIGH, CLASS_NORMAL, CLASS_LOW };

void bus_anchor(const char *chain, char ret[KEY_MAX])
{
	snprintf(ret, KEY_MAX, "weir:{%s}", chain);
}

void bus_stream(const char *chain, const char *topic, int klass, char ret[KEY_MAX])
{
	snprintf(ret, KEY_MAX, STREAM_KEY_FORMAT, chain, topic, bus_classes[klass]);
}

int bus_class_of(const char *name)
{
	for (int c = 0; c < CLASSES; c++)
		if (strcmp(bus_classes[c], name) == 0)
			return c;
	return -1;
}

int bus_class_of_stream(const char *chain, const char *topic, const char *stream)
{
	char key[KEY_MAX];
	for (int c = 0; c < CLASSES; c++) {
		bus_stream(chain, topic, c, key);
		if (strcmp(key, stream) == 0)
			return c;
	}
	return -1;
}

/* -- url ------------------------------------------------------------------------------------------------------------------ */

struct address {
	bool tls, local;
	char host[256], user[128], password[256];
	int port, database;
};

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

/* redis://[user:password@]host[:port][/db], rediss://…, unix:///path */
static int parse_url(const char *url, struct address *ret, struct error *err)
{
	memset(ret, 0, sizeof *ret);
	ret->port = 6379;
	const char *rest = url ? strstr(url, "://") : NULL;
	size_t scheme = rest ? (size_t)(rest - url) : 0;
	if (scheme == 4 && strncmp(url, "unix", 4) == 0) {
		ret->local = true;
		snprintf(ret->host, sizeof ret->host, "%s", rest + 3);
		return *ret->host ? 0 : error_set(err, WEIR_CONFIG, "bus.redis_url names no socket");
	}
	ret->tls = scheme == 6 && strncmp(url, "rediss", 6) == 0;
	if (!ret->tls && !(scheme == 5 && strncmp(url, "redis", 5) == 0))
		return error_set(err, WEIR_CONFIG, "bus.redis_url must begin with redis://, rediss:// or unix://");
	rest += 3;
	size_t length = strcspn(rest, "/");
	const char *at = memrchr(rest, '@', length), *path = rest + length;
	if (at) {
		size_t user = strcspn(rest, ":@");
		snprintf(ret->user, sizeof ret->user, "%.*s", (int)user, rest);
		if (rest[user] == ':')
			snprintf(ret->password, sizeof ret->password, "%.*s", (int)(at - rest - (ptrdiff_t)user - 1), rest + user + 1);
		length -= (size_t)(at + 1 - rest);
		rest = at + 1;
	}
	bool v6 = *rest == '[';
	const char *end = v6 ? memchr(rest, ']', length) : NULL;
	const char *colon = memrchr(end ? end : rest, ':', end ? length - (size_t)(end - rest) : length);
	size_t host = colon ? (size_t)(colon - rest) : length;
	snprintf(ret->host, sizeof ret->host, "%.*s", (int)host - (end ? 2 : 0), rest + (end ? 1 : 0));
	if (colon)
		ret->port = small_number(colon + 1, path);
	if (*path == '/' && path[1])
		ret->database = small_number(path + 1, path + strlen(path));
	if (!*ret->host || ret->port < 1 || ret->port > 65535 || ret->database < 0)
		return error_set(err, WEIR_CONFIG, "bus.redis_url has no host, no valid port or no valid database number");
	return 0;
}

int bus_open(const struct bus_options *options, struct bus **ret, struct error *err)
{
	struct address address;
	*ret = NULL;
	if (parse_url(options->url, &address, err) != 0)
		return WEIR_CONFIG;
	struct bus *bus = xmalloc(sizeof *bus);
	bus->options = *options;
	bus->url = xstrdup(options->url);
	bus->username = xstrdup(options->username);
	bus->password = xstrdup(options->password);
	bus->worker = xstrdup(options->worker && *options->worker ? options->worker : "worker");
	for (char *p = bus->worker; *p; p++)
		if (*p <= ' ' || *p == '/' || *p > '~')
			*p = '_'; /* is the connection's name, too, which Redis wants without spaces */
	if (options->log)
		bus->log = *options->log;
	if (bus->options.command_timeout_ms <= 0)
		bus->options.command_timeout_ms = COMMAND_TIMEOUT_MS;
	if (bus->options.max_backlog <= 0)
		bus->options.max_backlog = 20000;
	if (bus->options.max_memory_percent <= 0)
		bus->options.max_memory_percent = 80;
	*ret = bus;
	return 0;
}

void bus_drop(struct bus *bus)
{
	if (bus->redis)
		redisFree(bus->redis);
	bus->redis = NULL;
}

void bus_close(struct bus **bus)
{
	if (!bus || !*bus)
		return;
	bus_drop(*bus);
	free((*bus)->url);
	free((*bus)->username);
	free((*bus)->password);
	free((*bus)->worker);
	xfree(bus);
}

void bus_set_stop(struct bus *bus, bool (*stopping)(void *), void *arg)
{
	bus->stopping = stopping;
	bus->stopping_arg = arg;
}

/* -- connecting ------------------------------------------------------------------------------------------------------------ */

static int failed(struct bus *bus, const char *doing, const char *why, struct error *err)
{
	char shown[256];
	int code = error_set(err, WEIR_UNAVAILABLE, "Redis %s: %s: %s", log_url(bus->url, shown), doing, why);
	bus_drop(bus);
	return code;
}

/* Verifies the certificate against the system's authorities (OpenSSL's SSL_CERT_FILE and SSL_CERT_DIR count) and the host's name. */
static int start_tls(struct bus *bus, char *name, struct error *err)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL *ssl = context ? SSL_new(context) : NULL;
	int r = 0;
	if (!ssl || SSL_CTX_set_default_verify_paths(context) != 1 || SSL_set1_host(ssl, name) != 1) {
		r = failed(bus, "TLS", "OpenSSL cannot be set up", err);
	} else {
		SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
		(void)SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name);
		if (redisInitiateSSL(bus->redis, ssl) == REDIS_OK)
			ssl = NULL; /* goes with the connection */
		else
			r = failed(bus, "TLS", bus->redis->errstr, err);
	}
	SSL_free(ssl);
	SSL_CTX_free(context);
	return r;
}

/* One word of the handshake. */
static int say(struct bus *bus, int64_t deadline, const char *const *words, redisReply **ret, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply;
	for (size_t i = 0; words[i]; i++)
		bus_args_add(&a, words[i]);
	int r = bus_attempt(bus, &a, 1, deadline, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	r = bus_reply_error(bus, reply, words[0], err);
	if (r == 0 && ret)
		*ret = reply;
	else
		freeReplyObject(reply);
	return r;
}

static bool info_field(const char *info, const char *name, char ret[64])
{
	const char *at = info ? strstr(info, name) : NULL;
	if (!at)
		return false;
	at += strlen(name);
	snprintf(ret, 64, "%.*s", (int)strcspn(at, "\r\n"), at);
	return true;
}

static int permitted(int r, const struct error *err)
{
	return r == WEIR_PERMISSION && strstr(err->text, "NOPERM") ? 0 : r;
}

static int handshake(struct bus *bus, const struct address *a, int64_t deadline, struct error *err)
{
	const char *user = bus->username && *bus->username ? bus->username : a->user;
	const char *password = bus->password && *bus->password ? bus->password : a->password;
	char database[16];
	int r = 0;
	snprintf(database, sizeof database, "%d", a->database);
	if (*password && *user)
		r = say(bus, deadline, (const char *[]){ "AUTH", user, password, NULL }, NULL, err);
	else if (*password)
		r = say(bus, deadline, (const char *[]){ "AUTH", password, NULL }, NULL, err);
	if (r == 0 && a->database)
		r = say(bus, deadline, (const char *[]){ "SELECT", database, NULL }, NULL, err);
	if (r != 0)
		return r;
	/* Both may be forbidden to the account; then failures are found more slowly. */
	redisReply *info = NULL;
	r = permitted(say(bus, deadline, (const char *[]){ "CLIENT", "SETNAME", bus->worker, NULL }, NULL, err), err);
	if (r == 0)
		r = permitted(say(bus, deadline, (const char *[]){ "INFO", "server", NULL }, &info, err), err);
	if (!info || !info_field(info->str, "run_id:", bus->run))
		bus->run[0] = 0;
	freeReplyObject(info);
	return r;
}

static int connect_now(struct bus *bus, struct error *err)
{
	struct address a;
	int r = parse_url(bus->url, &a, err);
	if (r != 0)
		return r;
	int64_t wait = bus->options.command_timeout_ms < CONNECT_TIMEOUT_MS ? bus->options.command_timeout_ms : CONNECT_TIMEOUT_MS;
	struct timeval timeout = { .tv_sec = (time_t)(wait / 1000), .tv_usec = (suseconds_t)(wait % 1000) * 1000 };
	bus->redis = a.local ? redisConnectUnixWithTimeout(a.host, timeout) : redisConnectWithTimeout(a.host, a.port, timeout);
	if (!bus->redis || bus->redis->err)
		return failed(bus, "connecting", bus->redis ? bus->redis->errstr : "no memory", err);
	redisSetTimeout(bus->redis, timeout);
	redisContext *redis = bus->redis;
	if (!a.local)
		redisEnableKeepAlive(redis);
	if (a.tls && (r = start_tls(bus, a.host, err)) != 0)
		return r;
	(void)fcntl(redis->fd, F_SETFL, fcntl(redis->fd, F_GETFL) | O_NONBLOCK);
	redis->flags &= ~REDIS_BLOCK;
	r = handshake(bus, &a, clock_mono_ms() + wait, err);
	if (r != 0) {
		bus_drop(bus);
		return r;
	}
	if (bus->connects++ > 0)
		bus_count(bus, "weir_bus_reconnects_total", NULL, NULL, NULL, 1);
	bus->retry.attempts = 0;
	return 0;
}

int bus_ensure(struct bus *bus, int64_t deadline, struct error *err)
{
	struct error last = { .code = WEIR_UNAVAILABLE };
	char shown[256];
	if (!bus->redis)
		error_set(&last, WEIR_UNAVAILABLE, "Redis %s cannot be reached", log_url(bus->url, shown));
	while (!bus->redis) {
		if (clock_mono_ms() >= bus->retry.next_ms) {
			if (connect_now(bus, &last) == 0)
				return 0;
			struct backoff b = { RETRY_BASE_MS, RETRY_MAX_MS, bus->retry.attempts };
			bus->retry.next_ms = clock_mono_ms() + backoff_next_ms(&b);
			bus->retry.attempts = b.attempts;
		}
		if (!error_retriable(last.code))
			return error_set(err, last.code, "%s", last.text);
		if (bus_canceled(bus))
			return error_set(err, WEIR_CANCELED, "stopping");
		if (clock_mono_ms() >= deadline)
			return error_set(err, WEIR_UNAVAILABLE, "%s", last.text);
		clock_sleep_ms(10);
	}
	return 0;
}

/* -- what the server is ------------------------------------------------------------------------------------------------------ */

int bus_ping(struct bus *bus, struct error *err)
{
	struct bus_args a = { 0 };
	bus_args_add(&a, "PING");
	int r = bus_run(bus, &a, 0, NULL, err);
	bus_args_free(&a);
	return r;
}

static int read_info(struct bus *bus, const char *section, redisReply **ret, struct error *err)
{
	struct bus_args a = { 0 };
	bus_args_add(&a, "INFO");
	bus_args_add(&a, section);
	int r = bus_run(bus, &a, 0, ret, err);
	bus_args_free(&a);
	return r;
}

bool bus_memory_full(struct bus *bus)
{
	if (clock_mono_ms() < bus->memory_ms)
		return bus->memory_full;
	redisReply *info;
	char used[64], most[64];
	bus->memory_ms = clock_mono_ms() + MEMORY_EVERY_MS;
	bus->memory_full = false;
	if (read_info(bus, "memory", &info, NULL) != 0)
		return false; /* the command to come will say why */
	if (info_field(info->str, "used_memory:", used) && info_field(info->str, "maxmemory:", most)) {
		double limit = strtod(most, NULL) * (double)bus->options.max_memory_percent / 100;
		bus->memory_full = limit > 0 && strtod(used, NULL) > limit;
	}
	freeReplyObject(info);
	return bus->memory_full;
}

int bus_check(struct bus *bus, struct error *err)
{
	redisReply *info;
	char value[64], shown[256];
	int r = read_info(bus, "everything", &info, err);
	if (r != 0)
		return r;
	log_url(bus->url, shown);
	if (info_field(info->str, "redis_version:", value) && strtol(value, NULL, 10) < 7)
		r = error_set(err, WEIR_VERSION, "Redis %s has version %s; 7.0 or newer is needed", shown, value);
	else if (info_field(info->str, "maxmemory_policy:", value) && strcmp(value, "noeviction") != 0)
		r = error_set(err, WEIR_CONFIG,
			      "Redis %s has maxmemory-policy %s: it would throw unread blocks away. Set it to noeviction (CONFIG SET maxmemory-policy "
			      "noeviction, and in redis.conf)",
			      shown, value);
	else if (info_field(info->str, "aof_enabled:", value) && strcmp(value, "1") != 0)
		log_warn(&bus->log, "redis_not_persistent", "Redis has no append-only file: a restart loses what is under way; weir fetches it again",
			 LOG_S("redis", shown));
	freeReplyObject(info);
	if (r == 0) /* shows now whether the account may */
		r = bus_load_functions(bus, clock_mono_ms() + bus->options.command_timeout_ms, err);
	return r;
}
