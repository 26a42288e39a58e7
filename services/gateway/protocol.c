/* protocol.c - WebSocket requests and offsets. */
#include "protocol.h"

#include "wire/json.h"

#include <stdio.h>
#include <string.h>

/* ---- offsets ---------------------------------------------------------------------------------------------------------------------------- */

size_t offset_print(const struct offset *o, char ret[OFFSET_TEXT_MAX])
{
	int n = snprintf(ret, OFFSET_TEXT_MAX, "%llu", (unsigned long long)o->sequence);
	if (o->index >= 0)
		n += snprintf(ret + n, OFFSET_TEXT_MAX - (size_t)n, ".%lld", (long long)o->index);
	if (o->given_after > 0 || o->min_height > 0)
		n += snprintf(ret + n, OFFSET_TEXT_MAX - (size_t)n, "~%llu", (unsigned long long)o->given_after);
	if (o->min_height > 0)
		n += snprintf(ret + n, OFFSET_TEXT_MAX - (size_t)n, "~%lld", (long long)o->min_height);
	return (size_t)n;
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

int offset_parse(const char *text, struct offset *ret, struct error *err)
{
	const char *p = text;
	uint64_t index = 0, height = 0;
	*ret = (struct offset){ .index = -1 };
	bool ok = take_number(&p, &ret->sequence);
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

static const char *const topic_names[] = { "blocks", "entries", "accounts", "chain_status" };
static const char *const method_names[] = { "subscribe", "unsubscribe", "ping" };

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

static int read_from(yyjson_val *from, struct ws_request *ret, struct error *err)
{
	static const char *const names[] = { "offset", "height" };
	yyjson_val *v[2];
	const char *text;
	ret->from = WS_FROM_LIVE;
	if (!from)
		return 0;
	int code = read_object(from, names, 2, v, "from", err);
	if (code)
		return code;
	if (!v[0] == !v[1])
		return error_set(err, WEIR_INVALID, "from has either offset or height");
	if (v[1]) {
		if (!yyjson_is_uint(v[1]) || yyjson_get_uint(v[1]) > INT64_MAX / 2)
			return error_set(err, WEIR_INVALID, "from.height is not a height");
		ret->from = WS_FROM_HEIGHT;
		ret->height = (int64_t)yyjson_get_uint(v[1]);
		return 0;
	}
	ret->from = WS_FROM_OFFSET;
	code = read_text(v[0], OFFSET_TEXT_MAX - 1, "from.offset", &text, err);
	return code ? code : offset_parse(text, &ret->offset, err);
}

static int read_subscribe(yyjson_val *params, struct ws_request *ret, struct error *err)
{
	static const char *const names[] = { "topic", "chain", "account", "asset", "from" };
	yyjson_val *v[5];
	int code = read_object(params, names, 5, v, "params", err);
	if (code)
		return code;
	int topic = find(topic_names, 4, json_text(v[0]));
	if (topic < 0)
		return error_set(err, WEIR_INVALID, "topic is blocks, entries, accounts or chain_status");
	ret->topic = (enum topic)topic;
	code = read_text(v[1], 32, "chain", &ret->chain, err);
	if (!code)
		code = read_text(v[2], 80, "account", &ret->account, err);
	if (!code)
		code = read_text(v[3], 160, "asset", &ret->asset, err);
	if (code)
		return code;
	bool filters = ret->topic == TOPIC_OF_ENTRIES || ret->topic == TOPIC_OF_ACCOUNTS;
	if (!ret->chain)
		return error_set(err, WEIR_INVALID, "chain is missing");
	if (!filters && (ret->account || ret->asset))
		return error_set(err, WEIR_INVALID, "this topic takes neither account nor asset");
	if (ret->topic == TOPIC_OF_ACCOUNTS && !ret->account)
		return error_set(err, WEIR_INVALID, "topic accounts needs an account");
	return read_from(v[4], ret, err);
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
	int method = find(method_names, 3, json_text(v[1]));
	if (method < 0)
		return error_set(err, WEIR_INVALID, "method is subscribe, unsubscribe or ping");
	ret->method = (enum ws_method)method;
	switch (ret->method) {
	case WS_SUBSCRIBE:
		return read_subscribe(v[2], ret, err);
	case WS_UNSUBSCRIBE:
		return read_unsubscribe(v[2], ret, err);
	case WS_PING:
		return 0;
	}
	return WEIR_INVALID;
}
