/* log.c - one structured line per event, one write(2) per line. */
#include "base/log.h"

#include "base/clock.h"
#include "base/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 8192

/* Set once by log_init before threads start; the only state of the process kept here. */
static enum log_level minimum = LOG_INFO;
static enum log_format output = LOG_FORMAT_LOGFMT;
static bool colour;

static const char *const level_names[] = { "debug", "info", "warn", "error" };
static const char *const level_colours[] = { "\033[2m", "", "\033[33m", "\033[31m" };

void log_init(enum log_level level, enum log_format format)
{
	minimum = level;
	output = format;
	colour = format == LOG_FORMAT_LOGFMT && isatty(STDERR_FILENO);
}

bool log_enabled(enum log_level level)
{
	return level >= minimum;
}

struct log log_for_chain(const struct log *parent, const char *chain)
{
	struct log log = *parent;
	log.chain = chain;
	return log;
}

struct log log_for_stream(const struct log *parent, const char *stream)
{
	struct log log = *parent;
	log.stream = stream;
	return log;
}

/* What put() never touches: room for a closing quote, the mark of a cut line, and the closing brace. */
#define ENDING_BYTES 32

struct line {
	char text[LINE_MAX_BYTES - 16]; /* 16: colour and newline */
	size_t size;
	bool cut; /* something did not fit; nothing more is put */
};

static bool fits(const struct line *line, size_t n)
{
	return !line->cut && n <= sizeof line->text && line->size + n <= sizeof line->text - ENDING_BYTES;
}

/* All of s or nothing, so that no escape, number or UTF-8 sequence is ever cut in two. */
static void put(struct line *line, const char *s, size_t n)
{
	if (!fits(line, n)) {
		line->cut = true;
		return;
	}
	memcpy(line->text + line->size, s, n);
	line->size += n;
}

static void put_str(struct line *line, const char *s)
{
	put(line, s, strlen(s));
}

/* For the ENDING_BYTES only. */
static void put_ending(struct line *line, const char *s)
{
	size_t n = strlen(s);
	memcpy(line->text + line->size, s, n);
	line->size += n;
}

/* Length of the well-formed UTF-8 sequence at s (RFC 3629), 0 if there is none. */
static size_t utf8_length(const unsigned char *s)
{
	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		return (s[1] & 0xc0) == 0x80 ? 2 : 0;
	if ((s[0] & 0xf0) == 0xe0) {
		if ((s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80)
			return 0;
		if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))
			return 0;
		return 3;
	}
	if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		if ((s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80 || (s[3] & 0xc0) != 0x80)
			return 0;
		if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
			return 0;
		return 4;
	}
	return 0;
}

/* C1 controls (U+0080..U+009F) drive some terminals as ESC sequences do. */
static bool is_c1(const unsigned char *p, size_t n)
{
	return n == 2 && p[0] == 0xc2 && p[1] <= 0x9f;
}

/* One character, escaped; returns its length in the input. */
static size_t put_escaped(struct line *line, const unsigned char *p)
{
	size_t n = utf8_length(p);
	char escape[8];
	if (*p == '"' || *p == '\\') {
		snprintf(escape, sizeof escape, "\\%c", *p);
		put_str(line, escape);
	} else if (*p == '\n' || *p == '\t' || *p == '\r') {
		put_str(line, *p == '\n' ? "\\n" : *p == '\t' ? "\\t" : "\\r");
	} else if (*p < 0x20 || *p == 0x7f || is_c1(p, n)) {
		snprintf(escape, sizeof escape, "\\u%04x", n == 2 ? p[1] : p[0]);
		put_str(line, escape);
	} else if (n == 0) {
		put_str(line, "\\ufffd");
		return 1;
	} else {
		put(line, (const char *)p, n);
	}
	return n;
}

/* A string that does not fit keeps its beginning and is closed all the same. */
static void put_quoted(struct line *line, const char *s)
{
	put(line, "\"", 1);
	if (line->cut)
		return;
	for (const unsigned char *p = (const unsigned char *)s; *p && !line->cut;)
		p += put_escaped(line, p);
	put_ending(line, "\"");
}

/* A logfmt value that needs no quotes: printable ASCII without space, quote, backslash and equals sign. */
static bool is_bare(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if (*s <= ' ' || *s > '~' || *s == '"' || *s == '\\' || *s == '=')
			return false;
	return true;
}

static void put_value_str(struct line *line, const char *s)
{
	if (output == LOG_FORMAT_LOGFMT && is_bare(s) && fits(line, strlen(s)))
		put_str(line, s);
	else
		put_quoted(line, s);
}

static void put_key(struct line *line, const char *key)
{
	if (output == LOG_FORMAT_JSON) {
		put_str(line, line->size > 1 ? "," : "");
		put_quoted(line, key);
		put(line, ":", 1);
	} else {
		put_str(line, line->size > 0 ? " " : "");
		put_str(line, key);
		put(line, "=", 1);
	}
}

static void put_hex(struct line *line, const uint8_t *p, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	const char *quote = output == LOG_FORMAT_JSON ? "\"" : "";
	put_str(line, quote);
	put_str(line, "0x");
	if (line->cut)
		return;
	for (size_t i = 0; i < n && !line->cut; i++)
		put(line, (char[]){ digits[p[i] >> 4], digits[p[i] & 15] }, 2);
	put_ending(line, quote);
}

static void put_value(struct line *line, const struct log_field *field)
{
	char text[64] = "null"; /* what JSON has for a number that is none */
	switch (field->kind) {
	case LOG_KIND_STR:
		put_value_str(line, field->value.str ? field->value.str : "");
		return;
	case LOG_KIND_HEX:
		put_hex(line, field->value.hex.data, field->value.hex.size);
		return;
	case LOG_KIND_U64:
		snprintf(text, sizeof text, "%" PRIu64, field->value.u64);
		break;
	case LOG_KIND_I64:
		snprintf(text, sizeof text, "%" PRId64, field->value.i64);
		break;
	case LOG_KIND_F64:
		if (isfinite(field->value.f64))
			snprintf(text, sizeof text, "%.6g", field->value.f64);
		break;
	case LOG_KIND_BOOL:
		snprintf(text, sizeof text, "%s", field->value.boolean ? "true" : "false");
		break;
	}
	put_str(line, text);
}

/* A field that is not text stands whole or not at all; of text, at least the opening quote must fit. */
static void put_field(struct line *line, const struct log_field *field)
{
	size_t before = line->size;
	if (line->cut)
		return;
	put_key(line, field->key);
	size_t value = line->size;
	bool keyed = !line->cut;
	if (keyed)
		put_value(line, field);
	bool text = field->kind == LOG_KIND_STR || field->kind == LOG_KIND_HEX;
	if (!keyed || (line->cut && (!text || line->size == value)))
		line->size = before;
}

static void put_time(struct line *line)
{
	int64_t ns = clock_wall_ns();
	time_t seconds = (time_t)(ns / 1000000000);
	struct tm tm;
	gmtime_r(&seconds, &tm);
	char text[40], whole[32];
	strftime(whole, sizeof whole, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof text, "%s.%03dZ", whole, (int)(ns / 1000000 % 1000));
	put_field(line, &LOG_S("time", text));
}

void log_write(const struct log *log, enum log_level level, const char *event, const char *message, const struct log_field *fields, size_t n)
{
	struct line line = { .size = 0 };
	if (output == LOG_FORMAT_JSON)
		put(&line, "{", 1);
	put_time(&line);
	put_field(&line, &LOG_S("level", level_names[level]));
	if (log && log->process)
		put_field(&line, &LOG_S("process", log->process));
	if (log && log->chain)
		put_field(&line, &LOG_S("chain", log->chain));
	if (log && log->stream)
		put_field(&line, &LOG_S("stream", log->stream));
	if (log && log->trace_id[0])
		put_field(&line, &LOG_S("trace_id", log->trace_id));
	put_field(&line, &LOG_S("event", event));
	if (message)
		put_field(&line, &LOG_S("message", message));
	for (size_t i = 0; i < n; i++)
		put_field(&line, &fields[i]);

	if (line.cut)
		put_ending(&line, output == LOG_FORMAT_JSON ? ",\"truncated\":true" : " truncated=true");
	if (output == LOG_FORMAT_JSON)
		put_ending(&line, "}");
	char whole[LINE_MAX_BYTES];
	int length = colour ? snprintf(whole, sizeof whole, "%s%.*s\033[0m\n", level_colours[level], (int)line.size, line.text)
			    : snprintf(whole, sizeof whole, "%.*s\n", (int)line.size, line.text);
	if (length > 0 && write(STDERR_FILENO, whole, (size_t)length) < 0)
		return; /* a log that cannot be written has nobody to tell */
}

/* Is what follows the host's last ':' a port? Else it may be half of a password with a '/' in it. */
static bool has_plain_port(const char *authority, size_t size)
{
	size_t colon = size;
	while (colon > 0 && authority[colon - 1] != ':' && authority[colon - 1] != ']')
		colon--;
	if (colon == 0 || authority[colon - 1] == ']')
		return true;
	for (size_t i = colon; i < size; i++)
		if (authority[i] < '0' || authority[i] > '9')
			return false;
	return true;
}

const char *log_url(const char *url, char ret[256])
{
	const char *host = strstr(url, "://");
	if (!host) {
		snprintf(ret, 256, "%s", url[0] == '/' ? url : "(malformed)");
		return ret;
	}
	int scheme = (int)(host - url);
	host += 3;
	if (scheme == 4 && strncmp(url, "unix", 4) == 0) {
		snprintf(ret, 256, "%s", url);
		return ret;
	}
	size_t authority = strcspn(host, "/?#");
	for (size_t i = authority; i > 0; i--) /* what is before the last @ are credentials */
		if (host[i - 1] == '@') {
			host += i;
			authority -= i;
			break;
		}
	if (!has_plain_port(host, authority)) {
		snprintf(ret, 256, "%.*s://(malformed)", scheme, url);
		return ret;
	}
	const char *rest = host + authority;
	snprintf(ret, 256, "%.*s://%.*s%s", scheme, url, (int)authority, host, *rest && strcmp(rest, "/") != 0 ? "/…" : "");
	return ret;
}
