/* writer.c - JSON out. */
#include "write/writer.h"

#include "wire/hex.h"
#include "wire/json.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static void begin(struct buf *out, const char *key)
{
	if (out->size > 0 && !strchr("{[:,", out->data[out->size - 1]))
		buf_add_byte(out, ',');
	if (!key)
		return;
	json_add_string(out, key, strlen(key));
	buf_add_byte(out, ':');
}

void put_object(struct buf *out, const char *key)
{
	begin(out, key);
	buf_add_byte(out, '{');
}

void put_array(struct buf *out, const char *key)
{
	begin(out, key);
	buf_add_byte(out, '[');
}

void put_end(struct buf *out, char bracket)
{
	buf_add_byte(out, (uint8_t)bracket);
}

void put_text(struct buf *out, const char *key, const char *text)
{
	if (!text) {
		put_null(out, key);
		return;
	}
	begin(out, key);
	json_add_string(out, text, strlen(text));
}

void put_i64(struct buf *out, const char *key, int64_t value)
{
	begin(out, key);
	buf_printf(out, "%lld", (long long)value);
}

void put_u64(struct buf *out, const char *key, uint64_t value)
{
	begin(out, key);
	buf_printf(out, "%llu", (unsigned long long)value);
}

void put_f64(struct buf *out, const char *key, double value)
{
	begin(out, key);
	buf_printf(out, "%.3f", value);
}

void put_bool(struct buf *out, const char *key, bool value)
{
	begin(out, key);
	buf_add_str(out, value ? "true" : "false");
}

void put_null(struct buf *out, const char *key)
{
	begin(out, key);
	buf_add_str(out, "null");
}

void put_hex(struct buf *out, const char *key, struct bytes b)
{
	if (!b.data || b.size == 0) {
		put_null(out, key);
		return;
	}
	char text[2 * 32 + 3];
	begin(out, key);
	buf_add_byte(out, '"');
	buf_add(out, text, hex_from_bytes(b.data, b.size > 32 ? 32 : b.size, text));
	buf_add_byte(out, '"');
}

void put_raw(struct buf *out, const char *key, const char *json)
{
	begin(out, key);
	buf_add_str(out, json && *json ? json : "null");
}

void put_milliseconds(struct buf *out, const char *key, int64_t unix_ms)
{
	if (unix_ms <= 0) {
		put_null(out, key);
		return;
	}
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm tm;
	char day[40], text[64];
	gmtime_r(&seconds, &tm);
	strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof text, "%s.%03dZ", day, (int)(unix_ms % 1000));
	put_text(out, key, text);
}
