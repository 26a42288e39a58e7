/* log_test.c - log lines read back by a logfmt reader and by yyjson, with values of any bytes. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <yyjson.h>

#include <cmocka.h>

#define LINE_MAX_BYTES 8192

/* -- standard error into memory --------------------------------------------------------------------------------------------- */

struct capture {
	int saved, file;
	char *text; /* owned, filled by capture_end */
	size_t size;
};

static void capture_begin(struct capture *c)
{
	*c = (struct capture){ .saved = dup(STDERR_FILENO), .file = memfd_create("log", 0) };
	assert_true(c->saved >= 0 && c->file >= 0);
	fcntl(c->file, F_SETFL, O_APPEND);
	dup2(c->file, STDERR_FILENO);
}

static void capture_end(struct capture *c)
{
	dup2(c->saved, STDERR_FILENO);
	close(c->saved);
	c->size = (size_t)lseek(c->file, 0, SEEK_END);
	c->text = xmalloc(c->size + 1);
	assert_int_equal(pread(c->file, c->text, c->size, 0), (ssize_t)c->size);
	close(c->file);
}

static int64_t a_time(void)
{
	return 1795245600007999999; /* 2026-11-21T07:20:00.007Z and a bit */
}

static char *line_of(enum log_format format, enum log_level level, const struct log *log, const char *message, const struct log_field *fields, size_t n)
{
	struct capture c;
	capture_begin(&c);
	log_init(LOG_DEBUG, format);
	log_write(log, level, "an_event", message, fields, n);
	capture_end(&c);
	assert_true(c.size > 0 && c.text[c.size - 1] == '\n');
	assert_int_equal(strlen(c.text), c.size);
	assert_ptr_equal(strchr(c.text, '\n'), c.text + c.size - 1); /* one line whatever the values hold */
	assert_true(c.size <= LINE_MAX_BYTES);
	c.text[c.size - 1] = 0;
	return c.text;
}

/* -- a logfmt reader ---------------------------------------------------------------------------------------------------------- */

/* The value of key, unescaped into ret; false when absent. Fails the test when the line is not logfmt. */
static bool logfmt_value(const char *line, const char *key, char *ret)
{
	bool found = false;
	for (const char *p = line; *p;) {
		size_t n = strcspn(p, "= ");
		assert_true(n > 0 && p[n] == '=');
		bool wanted = n == strlen(key) && strncmp(p, key, n) == 0;
		char value[LINE_MAX_BYTES + 1];
		size_t size = 0;
		p += n + 1;
		if (*p != '"') {
			for (; *p && *p != ' '; p++) {
				assert_true(*p > ' ' && *p < 0x7f && *p != '"' && *p != '=' && *p != '\\');
				value[size++] = *p;
			}
		} else {
			for (p++; *p != '"'; p++) {
				assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
				if (*p == '\\') {
					p++;
					unsigned code;
					if (*p == 'u') {
						assert_int_equal(sscanf(p + 1, "%4x", &code), 1);
						p += 4;
						value[size++] = code < 0x80 ? (char)code : '?';
					} else {
						value[size++] = *p == 'n' ? '\n' : *p == 't' ? '\t' : *p == 'r' ? '\r' : *p;
					}
				} else {
					value[size++] = *p;
				}
			}
			p++;
		}
		value[size] = 0;
		if (wanted) {
			memcpy(ret, value, size + 1);
			found = true;
		}
		assert_true(*p == 0 || *p == ' ');
		p += *p == ' ';
	}
	return found;
}

static void assert_field(const char *line, const char *key, const char *want)
{
	char have[LINE_MAX_BYTES + 1];
	assert_true(logfmt_value(line, key, have));
	assert_string_equal(have, want);
}

static const struct log full = { .process = "fetcher", .chain = "dev", .stream = "raw.dev", .trace_id = "0af7651916cd43dd8448eb211c80319c" };

/* -- tests ---------------------------------------------------------------------------------------------------------------------- */

static void logfmt_line_has_context_and_fields(void **state)
{
	(void)state;
	const struct log_field fields[] = { LOG_S("s", "two words"), LOG_S("bare", "a/b:c-1"), LOG_S("empty", ""), LOG_S("null", NULL),
					    LOG_U("u", UINT64_MAX), LOG_I("i", INT64_MIN), LOG_F("f", 0.25), LOG_F("nan", 0.0 / 0.0),
					    LOG_B("b", true), LOG_H("h", "\x00\xff\x10", 3) };
	char *line = line_of(LOG_FORMAT_LOGFMT, LOG_WARN, &full, "it \"went\" = well", fields, sizeof fields / sizeof fields[0]);
	static const char begin[] = "time=2026-11-21T07:20:00.007Z level=warn process=fetcher chain=dev stream=raw.dev "
				    "trace_id=0af7651916cd43dd8448eb211c80319c event=an_event message=\"it \\\"went\\\" = well\" s=\"two words\" bare=a/b:c-1 ";
	assert_int_equal(strncmp(line, begin, strlen(begin)), 0);
	assert_field(line, "message", "it \"went\" = well");
	assert_field(line, "empty", "");
	assert_field(line, "null", "");
	assert_field(line, "u", "18446744073709551615");
	assert_field(line, "i", "-9223372036854775808");
	assert_field(line, "f", "0.25");
	assert_field(line, "nan", "null");
	assert_field(line, "b", "true");
	assert_field(line, "h", "0x00ff10");
	xfree(&line);
}

static void json_line_has_the_same(void **state)
{
	(void)state;
	const struct log_field fields[] = { LOG_S("s", "two \"words\""), LOG_U("u", UINT64_MAX), LOG_I("i", -5), LOG_F("f", 0.25), LOG_F("inf", 1e308 * 10),
					    LOG_B("b", false), LOG_H("h", "\xab", 1) };
	char *line = line_of(LOG_FORMAT_JSON, LOG_ERROR, &full, "m", fields, sizeof fields / sizeof fields[0]);
	yyjson_doc *doc = yyjson_read(line, strlen(line), 0);
	assert_non_null(doc);
	yyjson_val *root = yyjson_doc_get_root(doc);
	assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "time")), "2026-11-21T07:20:00.007Z");
	assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "level")), "error");
	assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "chain")), "dev");
	assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "s")), "two \"words\"");
	assert_true(yyjson_get_uint(yyjson_obj_get(root, "u")) == UINT64_MAX);
	assert_int_equal(yyjson_get_sint(yyjson_obj_get(root, "i")), -5);
	assert_true(yyjson_is_null(yyjson_obj_get(root, "inf")));
	assert_true(yyjson_is_false(yyjson_obj_get(root, "b")));
	assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "h")), "0xab");
	yyjson_doc_free(doc);
	xfree(&line);
}

static void context_is_left_out_when_unknown(void **state)
{
	(void)state;
	const struct log log = { .process = "gateway" };
	char *line = line_of(LOG_FORMAT_LOGFMT, LOG_INFO, &log, NULL, NULL, 0);
	assert_string_equal(line, "time=2026-11-21T07:20:00.007Z level=info process=gateway event=an_event");
	xfree(&line);
	struct log chain = log_for_chain(&log, "dev"), stream = log_for_stream(&chain, "s");
	assert_null(log.chain);
	assert_string_equal(stream.chain, "dev");
	line = line_of(LOG_FORMAT_LOGFMT, LOG_INFO, &stream, NULL, NULL, 0);
	assert_field(line, "stream", "s");
	xfree(&line);
	line = line_of(LOG_FORMAT_LOGFMT, LOG_INFO, NULL, NULL, NULL, 0);
	assert_field(line, "event", "an_event");
	xfree(&line);
}

static void utf8_stays_what_it_is(void **state)
{
	(void)state;
	static const char *const good[] = { "h\xc3\xa9llo", "\xe2\x82\xac", "\xf0\x9f\x98\x80 end", "\xed\x9f\xbf", "\xee\x80\x80", "\xf4\x8f\xbf\xbf",
					    "tab\tnew\nreturn\rback\\slash\"quote", "\x01\x1f\x7f" };
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		char *line = line_of(LOG_FORMAT_JSON, LOG_INFO, NULL, NULL, &LOG_S("v", good[i]), 1);
		yyjson_doc *doc = yyjson_read(line, strlen(line), 0);
		assert_non_null(doc);
		assert_string_equal(yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "v")), good[i]);
		yyjson_doc_free(doc);
		xfree(&line);
		line = line_of(LOG_FORMAT_LOGFMT, LOG_INFO, NULL, NULL, &LOG_S("v", good[i]), 1);
		assert_field(line, "v", good[i]);
		xfree(&line);
	}
}

static void what_is_not_utf8_is_replaced(void **state)
{
	(void)state;
	static const char *const bad[] = { "\x80", "\xff", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80",
					   "\xc3", "\xe2\x82", "\xf0\x9f\x98", "\xf5\x80\x80\x80" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char *line = line_of(LOG_FORMAT_JSON, LOG_INFO, NULL, NULL, &LOG_S("v", bad[i]), 1);
		yyjson_doc *doc = yyjson_read(line, strlen(line), 0);
		assert_non_null(doc);
		const char *v = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "v"));
		assert_int_equal(strncmp(v, "\xef\xbf\xbd", 3), 0);
		yyjson_doc_free(doc);
		xfree(&line);
	}
	char *line = line_of(LOG_FORMAT_LOGFMT, LOG_INFO, NULL, NULL, &LOG_S("v", "\xc2\x9b" "31m"), 1); /* a terminal's CSI as one character */
	assert_null(strchr(line, (char)0x9b));
	xfree(&line);
}

static void any_bytes_of_any_length_stay_one_readable_line(void **state)
{
	(void)state;
	srand(7);
	for (int round = 0; round < 3000; round++) {
		char values[4][9001];
		struct log_field fields[4];
		for (size_t v = 0; v < 4; v++) {
			size_t size = (size_t)rand() % (rand() % 3 ? 40 : 9000);
			int kind = rand() % 4; /* any byte, quotes and escapes, letters, three-byte characters */
			for (size_t i = 0; i < size; i++)
				values[v][i] = kind == 0 ? (char)(1 + rand() % 255) : kind == 1 ? "\"\\\n\x01"[rand() % 4] : kind == 2 ? 'a' : "\xe2\x82\xac"[i % 3];
			values[v][size] = 0;
			fields[v] = rand() % 8 == 0 ? LOG_H("h", values[v], size) : LOG_S("v", values[v]);
			fields[v].key = (const char *[]){ "k0", "k1", "k2", "k3" }[v];
		}
		char *line = line_of(LOG_FORMAT_JSON, LOG_INFO, &full, NULL, fields, 4);
		yyjson_doc *doc = yyjson_read(line, strlen(line), 0);
		assert_non_null(doc);
		yyjson_val *root = yyjson_doc_get_root(doc);
		assert_true(yyjson_is_obj(root));
		bool whole = yyjson_obj_size(root) == 4 + 7;
		assert_true(whole || yyjson_is_true(yyjson_obj_get(root, "truncated")));
		assert_non_null(yyjson_obj_get(root, "event"));
		yyjson_doc_free(doc);
		xfree(&line);
		line = line_of(LOG_FORMAT_LOGFMT, LOG_INFO, &full, NULL, fields, 4);
		assert_field(line, "event", "an_event"); /* reads the whole line */
		xfree(&line);
	}
}

static void a_long_line_keeps_its_beginning(void **state)
{
	(void)state;
	for (size_t size = 7900; size < 8300; size++) {
		char *text = xmalloc(size + 1);
		memset(text, 'x', size);
		const struct log_field fields[] = { LOG_S("long", text), LOG_U("after", 1234567), LOG_S("last", "t") };
		for (int format = LOG_FORMAT_LOGFMT; format <= LOG_FORMAT_JSON; format++) {
			char *line = line_of((enum log_format)format, LOG_INFO, NULL, NULL, fields, 3);
			assert_non_null(strstr(line, "xxxxxxxx"));
			bool whole = strstr(line, format == LOG_FORMAT_JSON ? "\"last\":\"t\"" : "last=t") != NULL;
			assert_int_equal(whole, strstr(line, "truncated") == NULL);
			if (format == LOG_FORMAT_JSON) {
				yyjson_doc *doc = yyjson_read(line, strlen(line), 0);
				assert_non_null(doc);
				yyjson_doc_free(doc);
			} else {
				assert_field(line, "event", "an_event");
			}
			if (strstr(line, "after")) /* a number is never cut in two */
				assert_non_null(strstr(line, "1234567"));
			xfree(&line);
		}
		xfree(&text);
	}
}

static void levels_below_the_minimum_cost_nothing(void **state)
{
	(void)state;
	struct capture c;
	capture_begin(&c);
	int asked = 0;
	log_init(LOG_WARN, LOG_FORMAT_LOGFMT);
	assert_false(log_enabled(LOG_INFO));
	log_debug(&full, "no", NULL, LOG_I("n", ++asked));
	log_info(&full, "no", NULL, LOG_I("n", ++asked));
	log_warn(&full, "yes", NULL, LOG_I("n", ++asked));
	log_error(&full, "yes", NULL);
	capture_end(&c);
	assert_int_equal(asked, 1);
	assert_null(strstr(c.text, "event=no"));
	assert_non_null(strstr(c.text, "level=warn"));
	assert_non_null(strstr(c.text, "level=error"));
	xfree(&c.text);
}

static void an_error_tells_code_and_action(void **state)
{
	(void)state;
	struct error err;
	error_set(&err, WEIR_TIMEOUT, "no answer from e0");
	const struct log_field fields[] = { LOG_ERR(&err) };
	char *line = line_of(LOG_FORMAT_LOGFMT, LOG_WARN, &full, NULL, fields, 3);
	assert_field(line, "error", "no answer from e0");
	assert_field(line, "error_code", "timeout");
	assert_field(line, "action", error_suggestion(WEIR_TIMEOUT));
	xfree(&line);
}

/* The first bytes of a line written to a terminal. */
static void terminal_line(enum log_format format, char ret[64])
{
	int terminal = posix_openpt(O_RDWR | O_NOCTTY);
	assert_true(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
	int slave = open(ptsname(terminal), O_RDWR | O_NOCTTY), saved = dup(STDERR_FILENO);
	assert_true(slave >= 0);
	dup2(slave, STDERR_FILENO);
	log_init(LOG_DEBUG, format);
	log_write(NULL, LOG_ERROR, "e", NULL, NULL, 0);
	dup2(saved, STDERR_FILENO);
	close(saved);
	ssize_t n = read(terminal, ret, 63);
	assert_true(n > 0);
	ret[n] = 0;
	close(slave);
	close(terminal);
}

static void colour_is_for_terminals_only(void **state)
{
	(void)state;
	char text[64];
	terminal_line(LOG_FORMAT_LOGFMT, text);
	assert_int_equal(strncmp(text, "\033[31mtime=", 10), 0);
	terminal_line(LOG_FORMAT_JSON, text);
	assert_int_equal(text[0], '{');
	char *line = line_of(LOG_FORMAT_LOGFMT, LOG_ERROR, NULL, NULL, NULL, 0);
	assert_null(strchr(line, '\033'));
	xfree(&line);
}

static void urls_are_shown_without_secrets(void **state)
{
	(void)state;
	static const struct {
		const char *url, *shown;
	} rows[] = {
		{ "https://eth.example.com", "https://eth.example.com" },
		{ "https://eth.example.com/", "https://eth.example.com" },
		{ "https://user:secret@eth.example.com:8545/v3/0123secret", "https://eth.example.com:8545/…" },
		{ "wss://eth.example.com?key=secret", "wss://eth.example.com/…" },
		{ "https://eth.example.com#secret", "https://eth.example.com/…" },
		{ "redis://:se@cret@127.0.0.1:6379/0", "redis://127.0.0.1:6379/…" },
		{ "redis://:se/cret@127.0.0.1:6379/0", "redis://(malformed)" },
		{ "http://[::1]:8545", "http://[::1]:8545" },
		{ "http://[::1]/secret", "http://[::1]/…" },
		{ "unix:///run/redis.sock", "unix:///run/redis.sock" },
		{ "/run/redis.sock", "/run/redis.sock" },
		{ "secret", "(malformed)" },
		{ "", "(malformed)" },
		{ "://", "://" },
	};
	char shown[256];
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_string_equal(log_url(rows[i].url, shown), rows[i].shown);
		assert_null(strstr(shown, "cret"));
	}
	char long_url[2000] = "https://";
	memset(long_url + 8, 'h', sizeof long_url - 9);
	log_url(long_url, shown);
	assert_int_equal(strlen(shown), 255);
}

#define THREADS 4
#define LINES 500

static void *write_lines(void *arg)
{
	char payload[300];
	memset(payload, 'a' + *(int *)arg, sizeof payload - 1);
	payload[sizeof payload - 1] = 0;
	for (int i = 0; i < LINES; i++)
		log_info(&full, "threads", NULL, LOG_S("payload", payload), LOG_S("code", error_name(-(i % 23))));
	return NULL;
}

static void threads_do_not_mix_lines(void **state)
{
	(void)state;
	struct capture c;
	capture_begin(&c);
	log_init(LOG_INFO, LOG_FORMAT_LOGFMT);
	pthread_t threads[THREADS];
	int ids[THREADS];
	for (int i = 0; i < THREADS; i++) {
		ids[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &ids[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	capture_end(&c);
	size_t lines = 0;
	char *rest;
	for (char *line = strtok_r(c.text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), lines++) {
		char payload[LINE_MAX_BYTES + 1];
		assert_true(logfmt_value(line, "payload", payload));
		assert_int_equal(strlen(payload), 299);
		assert_int_equal(strspn(payload, (char[]){ payload[0], 0 }), 299);
	}
	assert_int_equal(lines, THREADS * LINES);
	xfree(&c.text);
}

static int set_time(void **state)
{
	(void)state;
	clock_wall_ns = a_time;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(logfmt_line_has_context_and_fields),
		cmocka_unit_test(json_line_has_the_same),
		cmocka_unit_test(context_is_left_out_when_unknown),
		cmocka_unit_test(utf8_stays_what_it_is),
		cmocka_unit_test(what_is_not_utf8_is_replaced),
		cmocka_unit_test(any_bytes_of_any_length_stay_one_readable_line),
		cmocka_unit_test(a_long_line_keeps_its_beginning),
		cmocka_unit_test(levels_below_the_minimum_cost_nothing),
		cmocka_unit_test(an_error_tells_code_and_action),
		cmocka_unit_test(colour_is_for_terminals_only),
		cmocka_unit_test(urls_are_shown_without_secrets),
		cmocka_unit_test(threads_do_not_mix_lines),
	};
	return cmocka_run_group_tests(tests, set_time, NULL);
}
