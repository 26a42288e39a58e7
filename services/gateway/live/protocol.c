/* protocol.c - WebSocket requests and offsets. */
#include "live/protocol.h"

#include "base/digits.h"
#include "wire/hex.h"

#include <stdio.h>
#include <string.h>

#define CREDENTIALS_MAX 8192

/* ---- offsets ---------------------------------------------------------------------------------------------------------------------------- */

static size_t print_places(const struct offset *o, char ret[OFFSET_TEXT_MAX])
{
	char *p = ret;
	for (size_t i = 0; i < OFFSET_PLACES; i++) {
		*p++ = i == 0 ? 'L' : '_';
		p = digits_put(p, o->places[i]);
	}
	*p = '\0';
	return (size_t)(p - ret);
}

size_t offset_print(const struct offset *o, char ret[OFFSET_TEXT_MAX])
{
	if (o->of_letters)
		return print_places(o, ret);
	char *p = digits_put(ret, o->sequence);
	if (o->print) {
		*p++ = '-';
		for (int shift = 28; shift >= 0; shift -= 4)
			*p++ = "0123456789abcdef"[o->print >> shift & 15];
	}
	if (o->index >= 0) {
		*p++ = '.';
		p = digits_put(p, (uint64_t)o->index);
	}
	if (o->given_after > 0 || o->min_height > 0) {
		*p++ = '~';
		p = digits_put(p, o->given_after);
	}
	if (o->min_height > 0) {
		*p++ = '~';
		p = digits_put(p, (uint64_t)o->min_height);
	}
	*p = '\0';
	return (size_t)(p - ret);
}

/* Up to 19 digits, which are an id of 63 bits. */
static bool take_place(const char **p, uint64_t *ret)
{
	size_t n = strspn(*p, "0123456789");
	*ret = 0;
	for (size_t i = 0; i < n && n <= 19; i++)
		*ret = *ret * 10 + (uint64_t)((*p)[i] - '0');
	*p += n;
	return n >= 1 && n <= 19 && *ret <= INT64_MAX;
}

/* 1 to 18 digits: always fits. */
static bool take_number(const char **p, uint64_t *ret)
{
	size_t n = strspn(*p, "0123456789");
	*ret = 0;
	for (size_t i = 0; i < n && n <= 18; i++)
		*ret = *ret * 10 + (uint64_t)((*p)[i] - '0');
	*p += n;
	return n >= 1 && n <= 18;
}

static int parse_places(const char *p, struct offset *ret, struct error *err)
{
	*ret = (struct offset){ .of_letters = true };
	bool ok = true;
	for (size_t i = 0; ok && i < OFFSET_PLACES; i++) {
		ok = *p == (i == 0 ? 'L' : '_');
		p += ok;
		ok = ok && take_place(&p, &ret->places[i]);
	}
	return ok && !*p ? 0 : error_set(err, WEIR_INVALID, "the offset is not one that this server gave");
}

/* As offset_print writes it: eight digits, not all of them zero. */
static bool take_print(const char **p, uint32_t *ret)
{
	*ret = 0;
	for (int i = 0; i < 8; i++, (*p)++) {
		const char c = **p;
		if ((c < '0' || c > '9') && (c < 'a' || c > 'f'))
			return false;
		*ret = *ret << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	return *ret != 0;
}

int offset_parse(const char *text, struct offset *ret, struct error *err)
{
	const char *p = text;
	uint64_t index = 0, height = 0;
	if (*p == 'L')
		return parse_places(p, ret, err);
	*ret = (struct offset){ .index = -1 };
	bool ok = take_number(&p, &ret->sequence);
	if (ok && *p == '-') {
		p++;
		ok = take_print(&p, &ret->print);
	}
	if (ok && *p == '.') {
		p++;
		ok = take_number(&p, &index) && index <= INT32_MAX;
		ret->index = (int64_t)index;
	}
	if (ok && *p == '~') {
		p++;
		ok = take_number(&p, &ret->given_after) && ret->given_after <= ret->sequence;
	}
	if (ok && *p == '~') {
		p++;
		ok = take_number(&p, &height);
		ret->min_height = (int64_t)height;
	}
	return ok && !*p ? 0 : error_set(err, WEIR_INVALID, "the offset is not one that this server gave");
}

/* ---- requests ---------------------------------------------------------------------------------------------------------------------------- */

static const char *const topic_names[] = { "blocks", "entries", "accounts", "chain_status", "watchlist", "dead_letters" };
static const char *const absent_topics[] = { "consensus" }; /* asked for by name often enough to say why */
static const char *const laggard_names[] = { "close", "resume", "drop", "conflate" };
static const char *const method_names[] = { "subscribe", "unsubscribe", "ping", "authenticate" };

static int find(const char *const *names, size_t n, struct text text)
{
	for (size_t i = 0; text.s && i < n; i++)
		if (strlen(names[i]) == text.n && memcmp(names[i], text.s, text.n) == 0)
			return (int)i;
	return -1;
}

static bool read_id(yyjson_val *id, char ret[200])
{
	struct buf out = BUF_INIT(199);
	bool ok = false;
	if (yyjson_is_int(id)) {
		ok = true;
		if (yyjson_is_uint(id))
			buf_printf(&out, "%llu", (unsigned long long)yyjson_get_uint(id));
		else
			buf_printf(&out, "%lld", (long long)yyjson_get_sint(id));
	} else if (yyjson_is_str(id) && yyjson_get_len(id) <= 64) {
		json_add_string(&out, yyjson_get_str(id), yyjson_get_len(id));
		ok = !out.overflow;
	}
	snprintf(ret, 200, "%s", ok ? buf_str(&out) : "null");
	buf_free(&out);
	return ok;
}

/* Every key must be known and stand once; ret[i] is the value of names[i], null counts as absent. */
static int read_object(yyjson_val *object, const char *const *names, size_t n, yyjson_val **ret, const char *what, struct error *err)
{
	size_t i, max;
	yyjson_val *key, *value;
	memset(ret, 0, n * sizeof *ret);
	if (!yyjson_is_obj(object))
		return error_set(err, WEIR_INVALID, "%s is not an object", what);
	uint32_t seen = 0;
	yyjson_obj_foreach(object, i, max, key, value)
	{
		int at = find(names, n, json_text(key));
		if (at < 0)
			return error_set(err, WEIR_INVALID, "%s has an unknown member", what);
		if (seen >> at & 1)
			return error_set(err, WEIR_INVALID, "%s has \"%s\" twice", what, names[at]);
		seen |= UINT32_C(1) << at;
		ret[at] = yyjson_is_null(value) ? NULL : value;
	}
	return 0;
}

static int read_text(yyjson_val *value, size_t max, const char *name, const char **ret, struct error *err)
{
	*ret = NULL;
	if (!value)
		return 0;
	struct text t = json_text(value);
	if (!t.s || t.n == 0 || t.n > max || strlen(t.s) != t.n)
		return error_set(err, WEIR_INVALID, "%s is not a text of 1 to %zu bytes", name, max);
	*ret = t.s;
	return 0;
}

int topic_parse(struct text name, enum topic *ret, struct error *err)
{
	int topic = find(topic_names, sizeof topic_names / sizeof topic_names[0], name);
	if (find(absent_topics, 1, name) == 0)
		return error_set(err, WEIR_INVALID, "topic consensus: nothing on the bus carries consensus events yet; finality comes with the topics blocks and chain_status");
	if (topic < 0)
		return error_set(err, WEIR_INVALID, "topic is blocks, entries, accounts, chain_status, watchlist or dead_letters");
	*ret = (enum topic)topic;
	return 0;
}

int watchlist_parse(struct text text, int64_t *ret, struct error *err)
{
	uint64_t number = 0;
	const char *p = text.s;
	*ret = 0;
	if (!p)
		return 0;
	if (strlen(p) != text.n || !take_number(&p, &number) || *p || number == 0)
		return error_set(err, WEIR_INVALID, "watchlist is not the id of one");
	*ret = (int64_t)number;
	return 0;
}

int block_hash_parse(struct text text, struct subscribe *ret, struct error *err)
{
	ret->has_hash = text.s && hex_to_bytes(text.s, text.n, ret->hash, sizeof ret->hash) == 0;
	return ret->has_hash ? 0 : error_set(err, WEIR_INVALID, "hash is not that of a block: 0x and 64 hexadecimal digits");
}

const char *topic_name(enum topic topic)
{
	return topic_names[topic];
}

int laggard_parse(struct text name, enum laggard *ret, struct error *err)
{
	int laggard = name.s ? find(laggard_names, 4, name) : LAGGARD_CLOSE;
	if (laggard < 0)
		return error_set(err, WEIR_INVALID, "laggard is close, resume, drop or conflate");
	*ret = (enum laggard)laggard;
	return 0;
}

const char *laggard_name(enum laggard laggard)
{
	return laggard_names[laggard];
}

int subscribe_check(const struct subscribe *s, struct error *err)
{
	bool filters = topic_has_entries(s->topic) || s->topic == TOPIC_OF_ACCOUNTS;
	if (!s->chain)
		return error_set(err, WEIR_INVALID, "chain is missing");
	if (!filters && (s->account || s->asset))
		return error_set(err, WEIR_INVALID, "this topic takes neither account nor asset");
	if (s->kind && !topic_has_entries(s->topic)) /* a balance after some of a block's entries never was one */
		return error_set(err, WEIR_INVALID, "only topics of entries take a kind: entries and watchlist");
	if (s->topic == TOPIC_OF_ACCOUNTS && !s->account)
		return error_set(err, WEIR_INVALID, "topic accounts needs an account");
	if ((s->topic == TOPIC_OF_WATCHLIST) != (s->watchlist > 0))
		return error_set(err, WEIR_INVALID, "topic watchlist needs the id of a watchlist, and no other topic takes one");
	if (s->topic == TOPIC_OF_WATCHLIST && s->account)
		return error_set(err, WEIR_INVALID, "topic watchlist takes no account: the list has them");
	if (!filters && s->finality)
		return error_set(err, WEIR_INVALID, s->topic == TOPIC_OF_LETTERS ? "dead letters have no finality" : "this topic has finality anyway");
	if (s->topic == TOPIC_OF_LETTERS && (s->laggard == LAGGARD_CONFLATE || s->laggard == LAGGARD_DROP))
		return error_set(err, WEIR_INVALID, "of dead letters nothing is left out: laggard is close or resume");
	if (s->topic == TOPIC_OF_LETTERS && s->from == FROM_HEIGHT)
		return error_set(err, WEIR_INVALID, "dead letters have no heights: begin with a snapshot or an offset");
	if (s->from == FROM_OFFSET && s->offset.of_letters != (s->topic == TOPIC_OF_LETTERS))
		return error_set(err, WEIR_INVALID, "the offset is not one of this topic");
	if (topic_has_entries(s->topic) && s->laggard == LAGGARD_CONFLATE)
		return error_set(err, WEIR_INVALID, "entries cannot be conflated: none replaces another");
	if (topic_has_entries(s->topic) && s->from == FROM_SNAPSHOT)
		return error_set(err, WEIR_INVALID, "entries have no snapshot: begin at a height");
	return 0;
}

static int read_from(yyjson_val *from, struct subscribe *ret, struct error *err)
{
	static const char *const names[] = { "offset", "height", "snapshot", "hash" };
	yyjson_val *v[4];
	const char *text;
	ret->from = FROM_LIVE;
	if (!from)
		return 0;
	int code = read_object(from, names, 4, v, "from", err);
	if (code)
		return code;
	if (!!v[0] + !!v[1] + !!v[2] != 1)
		return error_set(err, WEIR_INVALID, "from has either offset, height or snapshot");
	if (v[3] && !v[1])
		return error_set(err, WEIR_INVALID, "from.hash goes with from.height");
	if (v[2]) {
		ret->from = FROM_SNAPSHOT;
		return yyjson_is_true(v[2]) ? 0 : error_set(err, WEIR_INVALID, "from.snapshot is true, or from has another member");
	}
	if (v[1]) {
		if (!yyjson_is_uint(v[1]) || yyjson_get_uint(v[1]) > INT64_MAX / 2)
			return error_set(err, WEIR_INVALID, "from.height is not a height");
		ret->from = FROM_HEIGHT;
		ret->height = (int64_t)yyjson_get_uint(v[1]);
		return v[3] ? block_hash_parse(json_text(v[3]), ret, err) : 0;
	}
	ret->from = FROM_OFFSET;
	code = read_text(v[0], OFFSET_TEXT_MAX - 1, "from.offset", &text, err);
	return code ? code : offset_parse(text, &ret->offset, err);
}

static int read_subscribe(yyjson_val *params, struct subscribe *ret, struct error *err)
{
	static const char *const names[] = { "topic", "chain", "account", "asset", "from", "laggard", "finality", "watchlist", "kind" };
	yyjson_val *v[9];
	int code = read_object(params, names, 9, v, "params", err);
	if (!code)
		code = topic_parse(json_text(v[0]), &ret->topic, err);
	if (!code)
		code = read_text(v[1], 32, "chain", &ret->chain, err);
	if (!code)
		code = read_text(v[2], 80, "account", &ret->account, err);
	if (!code)
		code = read_text(v[3], 160, "asset", &ret->asset, err);
	if (!code)
		code = read_text(v[8], 32, "kind", &ret->kind, err);
	if (!code && v[5] && !yyjson_is_str(v[5]))
		code = error_set(err, WEIR_INVALID, "laggard is not a text");
	if (!code)
		code = laggard_parse(json_text(v[5]), &ret->laggard, err);
	if (!code && v[6] && !yyjson_is_bool(v[6]))
		code = error_set(err, WEIR_INVALID, "finality is neither true nor false");
	ret->finality = !code && yyjson_is_true(v[6]);
	if (!code && v[7] && !yyjson_is_str(v[7]))
		code = error_set(err, WEIR_INVALID, "watchlist is not a text");
	if (!code)
		code = watchlist_parse(json_text(v[7]), &ret->watchlist, err);
	if (!code)
		code = read_from(v[4], ret, err);
	return code ? code : subscribe_check(ret, err);
}

static int read_unsubscribe(yyjson_val *params, struct ws_request *ret, struct error *err)
{
	static const char *const names[] = { "subscription" };
	yyjson_val *v[1];
	const char *text;
	uint64_t number = 0;
	int code = read_object(params, names, 1, v, "params", err);
	if (!code)
		code = read_text(v[0], 10, "subscription", &text, err);
	if (code)
		return code;
	if (!text || !take_number(&text, &number) || *text || number > UINT32_MAX)
		return error_set(err, WEIR_INVALID, "subscription is not one that this server gave");
	ret->subscription = (uint32_t)number;
	return 0;
}

/* As they would stand in a header: visible characters. */
static int read_credentials(yyjson_val *params, struct ws_request *ret, struct error *err)
{
	static const char *const names[] = { "token", "key" };
	yyjson_val *v[2];
	int code = read_object(params, names, 2, v, "params", err);
	if (!code && !!v[0] + !!v[1] != 1)
		code = error_set(err, WEIR_INVALID, "params has either token or key");
	if (!code)
		code = read_text(v[0], CREDENTIALS_MAX, "token", &ret->token, err);
	if (!code)
		code = read_text(v[1], CREDENTIALS_MAX, "key", &ret->key, err);
	for (const char *p = code ? "" : ret->token ? ret->token : ret->key; *p; p++)
		if (*p <= ' ' || *p > '~')
			return error_set(err, WEIR_INVALID, "credentials are visible ASCII characters");
	return code;
}

int ws_request_read(struct bytes text, struct arena *arena, struct ws_request *ret, struct error *err)
{
	static const char *const names[] = { "id", "method", "params" };
	yyjson_val *v[3];
	yyjson_alc allocator = json_arena_allocator(arena);
	union { /* yyjson changes nothing without its in-situ flag */
		const uint8_t *in;
		char *out;
	} json = { .in = text.data };
	*ret = (struct ws_request){ .id = "null" };
	yyjson_doc *doc = text.size > 0 ? yyjson_read_opts(json.out, text.size, 0, &allocator, NULL) : NULL;
	if (!doc)
		return error_set(err, WEIR_INVALID, "the message is not JSON");
	yyjson_val *root = yyjson_doc_get_root(doc);
	if (yyjson_is_obj(root))
		(void)read_id(yyjson_obj_get(root, "id"), ret->id);
	int code = read_object(root, names, 3, v, "the message", err);
	if (code)
		return code;
	if (!read_id(v[0], ret->id))
		return error_set(err, WEIR_INVALID, "id is not a whole number or a text of at most 64 bytes");
	int method = find(method_names, sizeof method_names / sizeof method_names[0], json_text(v[1]));
	if (method < 0)
		return error_set(err, WEIR_INVALID, "method is subscribe, unsubscribe, authenticate or ping");
	ret->method = (enum ws_method)method;
	switch (ret->method) {
	case WS_SUBSCRIBE:
		return read_subscribe(v[2], &ret->subscribe, err);
	case WS_UNSUBSCRIBE:
		return read_unsubscribe(v[2], ret, err);
	case WS_AUTHENTICATE:
		return read_credentials(v[2], ret, err);
	case WS_PING:
		return 0;
	}
	return WEIR_INVALID;
}
