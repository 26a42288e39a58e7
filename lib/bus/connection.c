/* connection.c - one Redis connection per struct bus: connect, authenticate, load the functions, run commands, reconnect. */
#include "bus/internal.h"

#include "base/clock.h"

#include <hiredis/hiredis_ssl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COMMAND_TIMEOUT_MS 5000
#define RETRY_BASE_MS 20
#define RETRY_MAX_MS 1000

const char *const bus_classes[CLASSES] = { CLASS_CRITICAL, CLASS_HIGH, CLASS_NORMAL, CLASS_LOW };

/* -- arguments ------------------------------------------------------------------------------------------------------------ */

void bus_args_add_bytes(struct bus_args *a, struct bytes bytes)
{
	if (a->count == a->capacity) {
		a->capacity = a->capacity ? a->capacity * 2 : 32;
		a->data = xrealloc(a->data, a->capacity, sizeof *a->data);
		a->sizes = xrealloc(a->sizes, a->capacity, sizeof *a->sizes);
	}
	a->data[a->count] = bytes.size ? (const char *)bytes.data : "";
	a->sizes[a->count++] = bytes.size;
}

void bus_args_add(struct bus_args *a, const char *text)
{
	bus_args_add_bytes(a, (struct bytes){ (const uint8_t *)text, strlen(text) });
}

void bus_args_add_u64(struct bus_args *a, uint64_t value)
{
	struct numbers *n = xmalloc(sizeof *n);
	snprintf(n->text, sizeof n->text, "%" PRIu64, value);
	n->next = a->numbers;
	a->numbers = n;
	bus_args_add(a, n->text);
}

void bus_args_free(struct bus_args *a)
{
	for (struct numbers *n = a->numbers, *next; n; n = next) {
		next = n->next;
		free(n);
	}
	free(a->data);
	free(a->sizes);
	memset(a, 0, sizeof *a);
}

void bus_call(struct bus_args *a, const char *function, const char *anchor)
{
	bus_args_add(a, "FCALL");
	bus_args_add(a, function);
	bus_args_add(a, "1");
	bus_args_add(a, anchor);
}

void bus_anchor(const char *chain, char ret[KEY_MAX])
{
	snprintf(ret, KEY_MAX, "weir:{%s}", chain);
}

void bus_stream(const char *chain, const char *topic, int klass, char ret[KEY_MAX])
{
	snprintf(ret, KEY_MAX, STREAM_KEY_FORMAT, chain, topic, bus_classes[klass]);
}

/* -- url ------------------------------------------------------------------------------------------------------------------ */

struct address {
	bool tls, local;
	char host[256], user[128], password[256];
	int port, database;
};

/* redis://[user:password@]host[:port][/db], rediss://…, unix:///path */
static int parse_url(const char *url, struct address *ret, struct error *err)
{
	memset(ret, 0, sizeof *ret);
	ret->port = 6379;
	const char *rest = strstr(url, "://");
	size_t scheme = rest ? (size_t)(rest - url) : 0;
	if (scheme == 4 && strncmp(url, "unix", 4) == 0) {
		ret->local = true;
		snprintf(ret->host, sizeof ret->host, "%s", rest + 3);
		return 0;
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
	const char *colon = memrchr(rest, ':', length);
	size_t host = colon ? (size_t)(colon - rest) : length;
	snprintf(ret->host, sizeof ret->host, "%.*s", (int)host, rest);
	if (colon)
		ret->port = (int)strtol(colon + 1, NULL, 10);
	if (*path == '/')
		ret->database = (int)strtol(path + 1, NULL, 10);
	if (!*ret->host || ret->port < 1 || ret->port > 65535)
		return error_set(err, WEIR_CONFIG, "bus.redis_url has no host or no valid port");
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
	bus->worker = xstrdup(options->worker ? options->worker : "worker");
	if (options->log)
		bus->log = *options->log;
	if (bus->options.command_timeout_ms <= 0)
		bus->options.command_timeout_ms = COMMAND_TIMEOUT_MS;
	if (bus->options.max_backlog <= 0)
		bus->options.max_backlog = 20000;
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
	if (!*bus)
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

bool bus_canceled(const struct bus *bus)
{
	return bus->stopping && bus->stopping(bus->stopping_arg);
}

/* -- connecting ------------------------------------------------------------------------------------------------------------ */

static struct timeval timeval_of(int64_t ms)
{
	return (struct timeval){ .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000) * 1000 };
}

/* What Redis answered instead, as a code that decides. */
static int code_of(const char *text)
{
	static const struct {
		const char *prefix;
		int code;
	} rows[] = {
		{ "FENCED", WEIR_FENCED },        { "GAP", WEIR_GAP },          { "FULL", WEIR_FULL },         { "OOM", WEIR_FULL },
		{ "LOADING", WEIR_UNAVAILABLE },  { "MASTERDOWN", WEIR_UNAVAILABLE }, { "READONLY", WEIR_UNAVAILABLE }, { "NOAUTH", WEIR_PERMISSION },
		{ "WRONGPASS", WEIR_PERMISSION }, { "NOPERM", WEIR_PERMISSION }, { "NOGROUP", WEIR_NOT_FOUND }, { "UNBLOCKED", WEIR_UNAVAILABLE },
		{ "MISCONF", WEIR_IO },           { "BUSY", WEIR_UNAVAILABLE },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strncmp(text, rows[i].prefix, strlen(rows[i].prefix)) == 0)
			return rows[i].code;
	return WEIR_INTERNAL;
}

static int failed(struct bus *bus, redisReply *reply, const char *doing, struct error *err)
{
	char shown[256];
	int code = WEIR_UNAVAILABLE;
	if (!reply) {
		if (bus->redis && bus->redis->err == REDIS_ERR_IO && (bus->redis->errstr[0] == 'R' || strstr(bus->redis->errstr, "timed")))
			code = WEIR_TIMEOUT;
		error_set(err, code, "Redis %s: %s: %s", log_url(bus->url, shown), doing, bus->redis ? bus->redis->errstr : "not connected");
		bus_drop(bus);
		return code;
	}
	code = code_of(reply->str);
	error_set(err, code, "Redis %s: %s: %s", log_url(bus->url, shown), doing, reply->str);
	freeReplyObject(reply);
	return code;
}

static int simple(struct bus *bus, const char *doing, struct error *err, const char *format, ...) __attribute__((format(printf, 4, 5)));
static int simple(struct bus *bus, const char *doing, struct error *err, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	redisReply *reply = redisvCommand(bus->redis, format, arguments);
	va_end(arguments);
	if (!reply || reply->type == REDIS_REPLY_ERROR)
		return failed(bus, reply, doing, err);
	freeReplyObject(reply);
	return 0;
}

static int start_tls(struct bus *bus, struct error *err)
{
	redisSSLContextError why = REDIS_SSL_CTX_NONE;
	redisSSLContext *tls = redisCreateSSLContext(NULL, "/etc/ssl/certs", NULL, NULL, NULL, &why);
	if (!tls || redisInitiateSSLWithContext(bus->redis, tls) != REDIS_OK) {
		error_set(err, WEIR_UNAVAILABLE, "Redis TLS: %s", tls ? bus->redis->errstr : redisSSLContextGetError(why));
		if (tls)
			redisFreeSSLContext(tls);
		bus_drop(bus);
		return WEIR_UNAVAILABLE;
	}
	redisFreeSSLContext(tls);
	return 0;
}

/* A mutant is the same script without the lines of one mechanism: its tests must fail. Empty: nothing is removed. */
static const char removed_marker[] =
#if defined(WEIR_MUTANT_NO_FENCE)
	"--[[fence]]";
#elif defined(WEIR_MUTANT_NO_SEQUENCE_CHECK)
	"--[[sequence]]";
#elif defined(WEIR_MUTANT_NO_FOLLOWER_PARKING)
	"--[[follow]]";
#elif defined(WEIR_MUTANT_ACK_BEFORE_EFFECT)
	"--[[ack]]";
#else
	"";
#endif

static int load_functions(struct bus *bus, struct error *err)
{
	struct buf script = BUF_INIT(1 << 20);
	for (const char *line = bus_script_begin; line < bus_script_end;) {
		const char *end = memchr(line, '\n', (size_t)(bus_script_end - line));
		size_t size = end ? (size_t)(end + 1 - line) : (size_t)(bus_script_end - line);
		if (!*removed_marker || !memmem(line, size, removed_marker, strlen(removed_marker)))
			buf_add(&script, line, size);
		line += size;
	}
	redisReply *reply = redisCommand(bus->redis, "FUNCTION LOAD REPLACE %b", script.data, script.size);
	buf_free(&script);
	if (!reply || reply->type == REDIS_REPLY_ERROR)
		return failed(bus, reply, "loading functions (Redis 7.0 or newer is needed)", err);
	freeReplyObject(reply);
	return 0;
}

static int connect_now(struct bus *bus, struct error *err)
{
	struct address a;
	int r = parse_url(bus->url, &a, err);
	if (r != 0)
		return r;
	struct timeval timeout = timeval_of(bus->options.command_timeout_ms);
	bus->redis = a.local ? redisConnectUnixWithTimeout(a.host, timeout) : redisConnectWithTimeout(a.host, a.port, timeout);
	if (!bus->redis || bus->redis->err)
		return failed(bus, NULL, "connecting", err);
	redisSetTimeout(bus->redis, timeout);
	if (!a.local)
		redisEnableKeepAlive(bus->redis);
	const char *user = bus->username && *bus->username ? bus->username : a.user;
	const char *password = bus->password && *bus->password ? bus->password : a.password;
	if (a.tls)
		r = start_tls(bus, err);
	if (r == 0 && *password)
		r = *user ? simple(bus, "AUTH", err, "AUTH %s %s", user, password) : simple(bus, "AUTH", err, "AUTH %s", password);
	if (r == 0 && a.database)
		r = simple(bus, "SELECT", err, "SELECT %d", a.database);
	if (r == 0)
		r = load_functions(bus, err);
	if (r != 0) {
		bus_drop(bus);
		return r;
	}
	if (bus->ever_connected)
		bus_count(bus, "weir_bus_reconnects_total", NULL, NULL, NULL, 1);
	bus->ever_connected = true;
	bus->retry.attempts = 0;
	return 0;
}

/* Connects unless it was tried a moment ago. */
static int ensure(struct bus *bus, int64_t deadline, struct error *err)
{
	while (!bus->redis) {
		int64_t now = clock_mono_ms();
		int r = WEIR_UNAVAILABLE;
		if (now >= bus->retry.next_ms) {
			r = connect_now(bus, err);
			if (r == 0)
				return 0;
			struct backoff b = { RETRY_BASE_MS, RETRY_MAX_MS, bus->retry.attempts };
			bus->retry.next_ms = clock_mono_ms() + backoff_next_ms(&b);
			bus->retry.attempts = b.attempts;
		}
		if (r == WEIR_CONFIG || r == WEIR_PERMISSION)
			return r;
		if (bus_canceled(bus))
			return error_set(err, WEIR_CANCELED, "stopping");
		if (clock_mono_ms() >= deadline) {
			char shown[256];
			return err && err->code == r ? r : error_set(err, WEIR_UNAVAILABLE, "Redis %s cannot be reached", log_url(bus->url, shown));
		}
		clock_sleep_ms(20);
	}
	return 0;
}

int bus_run(struct bus *bus, const struct bus_args *args, int64_t timeout_ms, redisReply **ret, struct error *err)
{
	int64_t wait = timeout_ms > 0 ? timeout_ms : bus->options.command_timeout_ms;
	int64_t deadline = clock_mono_ms() + wait;
	if (ret)
		*ret = NULL;
	for (bool loaded = false;;) {
		int r = ensure(bus, deadline, err);
		if (r != 0)
			return r;
		redisSetTimeout(bus->redis, timeval_of(wait < 1000 ? 3000 : wait + 2000));
		redisReply *reply = redisCommandArgv(bus->redis, (int)args->count, args->data, args->sizes);
		if (reply && reply->type != REDIS_REPLY_ERROR) {
			if (ret)
				*ret = reply;
			else
				freeReplyObject(reply);
			return 0;
		}
		/* FLUSHALL keeps functions, a new server does not have them. */
		if (reply && !loaded && strstr(reply->str, "Function not found")) {
			freeReplyObject(reply);
			loaded = true;
			if ((r = load_functions(bus, err)) != 0)
				return r;
			continue;
		}
		r = failed(bus, reply, args->count > 1 && args->sizes[0] == 5 ? args->data[1] : args->data[0], err);
		if ((r != WEIR_UNAVAILABLE && r != WEIR_TIMEOUT) || clock_mono_ms() >= deadline)
			return r;
		if (bus_canceled(bus))
			return error_set(err, WEIR_CANCELED, "stopping");
		if (bus->redis)
			clock_sleep_ms(20); /* LOADING and the like: the connection is fine, the server is not yet */
	}
}

/* -- checks ---------------------------------------------------------------------------------------------------------------- */

int bus_ping(struct bus *bus, struct error *err)
{
	struct bus_args a = { 0 };
	bus_args_add(&a, "PING");
	int r = bus_run(bus, &a, 0, NULL, err);
	bus_args_free(&a);
	return r;
}

static int read_info(struct bus *bus, const char *section, char **ret, struct error *err)
{
	struct bus_args a = { 0 };
	bus_args_add(&a, "INFO");
	bus_args_add(&a, section);
	redisReply *reply = NULL;
	int r = bus_run(bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r == 0 && reply) {
		*ret = xstrdup(reply->str ? reply->str : "");
		freeReplyObject(reply);
	}
	return r;
}

static bool info_field(const char *info, const char *name, char ret[64])
{
	const char *at = strstr(info, name);
	if (!at)
		return false;
	at += strlen(name);
	snprintf(ret, 64, "%.*s", (int)strcspn(at, "\r\n"), at);
	return true;
}

int bus_check(struct bus *bus, struct error *err)
{
	char *info = NULL, value[64], shown[256];
	int r = read_info(bus, "everything", &info, err);
	if (r != 0)
		return r;
	log_url(bus->url, shown);
	if (info_field(info, "redis_version:", value) && strtol(value, NULL, 10) < 7)
		r = error_set(err, WEIR_VERSION, "Redis %s has version %s; 7.0 or newer is needed", shown, value);
	else if (info_field(info, "maxmemory_policy:", value) && strcmp(value, "noeviction") != 0)
		r = error_set(err, WEIR_CONFIG,
			      "Redis %s has maxmemory-policy %s: it would throw unread blocks away. Set it to noeviction (CONFIG SET maxmemory-policy "
			      "noeviction, and in redis.conf)",
			      shown, value);
	else if (info_field(info, "aof_enabled:", value) && strcmp(value, "1") != 0)
		log_warn(&bus->log, "redis_not_persistent", "Redis has no append-only file: a restart loses what is under way; weir fetches it again",
			 LOG_S("redis", shown));
	free(info);
	return r;
}
