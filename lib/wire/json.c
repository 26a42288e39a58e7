/* json.c - object fields in one pass, escaped text out, documents in arenas. */
#include "wire/json.h"

#include <string.h>

static unsigned hash(const char *s, size_t n)
{
	return (unsigned)(n * 31 + (uint8_t)s[0] * 7u + (uint8_t)s[n / 2] * 13u + (uint8_t)s[n - 1] * 3u) & 127;
}

void json_schema_init(struct json_schema *schema, const char *const *names)
{
	memset(schema, 0, sizeof *schema);
	schema->names = names;
	for (; names[schema->count] && schema->count < JSON_FIELDS_MAX; schema->count++) {
		size_t n = strlen(names[schema->count]);
		schema->lengths[schema->count] = (uint8_t)n;
		unsigned slot = hash(names[schema->count], n);
		while (schema->table[slot])
			slot = (slot + 1) & 127;
		schema->table[slot] = (uint8_t)(schema->count + 1);
	}
}

bool json_read(const struct json_schema *schema, yyjson_val *object, yyjson_val **ret)
{
	memset(ret, 0, schema->count * sizeof *ret);
	if (!yyjson_is_obj(object))
		return false;
	uint64_t seen = 0;
	yyjson_obj_iter iter = yyjson_obj_iter_with(object);
	for (yyjson_val *key; (key = yyjson_obj_iter_next(&iter));) {
		const char *name = yyjson_get_str(key);
		size_t n = yyjson_get_len(key);
		if (n == 0)
			continue;
		for (unsigned slot = hash(name, n); schema->table[slot]; slot = (slot + 1) & 127) {
			size_t i = schema->table[slot] - 1u;
			if (schema->lengths[i] != n || memcmp(schema->names[i], name, n) != 0)
				continue;
			if (seen >> i & 1)
				return false;
			seen |= (uint64_t)1 << i;
			yyjson_val *value = yyjson_obj_iter_get_val(key);
			ret[i] = yyjson_is_null(value) ? NULL : value;
			break;
		}
	}
	return true;
}

struct text json_text(yyjson_val *value)
{
	if (!yyjson_is_str(value))
		return (struct text){ NULL, 0 };
	return (struct text){ yyjson_get_str(value), yyjson_get_len(value) };
}

/* Length of the well-formed UTF-8 sequence at s with n bytes left (RFC 3629), 0 if there is none. */
static size_t utf8(const unsigned char *s, size_t n)
{
	if (s[0] < 0x80)
		return 1;
	size_t want = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 0;
	if (want == 0 || n < want)
		return 0;
	for (size_t i = 1; i < want; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return want;
}

void json_add_string(struct buf *out, const char *s, size_t n)
{
	buf_add_byte(out, '"');
	for (size_t i = 0; i < n;) {
		unsigned char c = (unsigned char)s[i];
		size_t length = utf8((const unsigned char *)s + i, n - i);
		if (length == 0) {
			buf_add_str(out, "\xef\xbf\xbd");
			i++;
			continue;
		}
		if (c == '"' || c == '\\')
			buf_printf(out, "\\%c", c);
		else if (c < 0x20)
			buf_printf(out, "\\u%04x", c);
		else
			buf_add(out, s + i, length);
		i += length;
	}
	buf_add_byte(out, '"');
}

static void *alc_malloc(void *ctx, size_t size)
{
	return arena_alloc(ctx, size);
}

static void *alc_realloc(void *ctx, void *p, size_t old_size, size_t size)
{
	void *q = arena_alloc(ctx, size);
	if (q)
		memcpy(q, p, old_size < size ? old_size : size);
	return q;
}

static void alc_free(void *ctx, void *p)
{
	(void)ctx;
	(void)p;
}

yyjson_alc json_arena_allocator(struct arena *arena)
{
	return (yyjson_alc){ alc_malloc, alc_realloc, alc_free, arena };
}
