/* config_test.c - settings: every row of the table at and beyond its limits, places in messages, environment, secrets, manual. */
#include "daemon/settings.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define KEY "0123456789abcdef"
#define CHAIN "chains: [{name: dev, endpoints: [{url: \"http://127.0.0.1:8545\"}]}]\n"

static struct error err;

static struct config *parse(const char *yaml)
{
	struct config *c;
	err = (struct error){ 0 };
	int r = config_parse(yaml, strlen(yaml), "weir.yaml", &c, &err);
	assert_int_equal(r, err.code);
	assert_int_equal(r == 0, c != NULL);
	return c;
}

static struct config *good(const char *yaml)
{
	struct config *c = parse(yaml);
	if (!c)
		print_error("refused: %s\n%s", err.text, yaml);
	assert_non_null(c);
	return c;
}

/* Refused, with each of the words (NULL-ended) in the message. */
static void bad(const char *yaml, ...)
{
	struct config *c = parse(yaml);
	if (c)
		print_error("accepted: %s", yaml);
	assert_null(c);
	assert_int_equal(err.code, WEIR_CONFIG);
	va_list args;
	va_start(args, yaml);
	for (const char *word; (word = va_arg(args, const char *));) {
		if (!strstr(err.text, word))
			print_error("no \"%s\" in \"%s\"\n", word, err.text);
		assert_non_null(strstr(err.text, word));
	}
	va_end(args);
}

/* -- the whole table --------------------------------------------------------------------------------------------------------- */

static bool is_number(const struct setting *s)
{
	return s->type == SETTING_INT || s->type == SETTING_UNSIGNED || s->type == SETTING_DURATION_MS || s->type == SETTING_BYTES;
}

/* A complete file that differs from a good one in one setting; value stands as it is, in YAML. */
static void file_with(const struct setting *s, const char *value, struct buf *out)
{
	buf_reset(out);
	struct buf chain = BUF_INIT(8192), endpoint = BUF_INIT(8192), key = BUF_INIT(8192), to = BUF_INIT(8192);
	static const char *const to_members[][2] = { { "name", "chat" }, { "url", "http://127.0.0.1:9" }, { "to", "a@b" } };
	if (s->owner == OWNER_CONFIG) { /* a: {b: value} */
		size_t depth = 0;
		for (const char *p = s->path; *p; p += strcspn(p, ".") + (p[strcspn(p, ".")] == '.')) {
			buf_printf(out, "%.*s: %s", (int)strcspn(p, "."), p, p[strcspn(p, ".")] == '.' ? "{" : "");
			depth += p[strcspn(p, ".")] == '.';
		}
		buf_printf(out, "%s%.*s\n", value, (int)depth, "}}}}}}");
	}
	if (s->owner == OWNER_CHAIN)
		buf_printf(&chain, "%s: %s, ", s->path, value);
	if (s->owner == OWNER_ENDPOINT)
		buf_printf(&endpoint, "%s: %s, ", s->path, value);
	if (s->owner == OWNER_KEY)
		buf_printf(&key, "%s: %s, ", s->path, value);
	if (s->owner == OWNER_DESTINATION)
		buf_printf(&to, "%s: %s, ", s->path, value);
	for (size_t i = 0; i < 3; i++)
		if (s->owner != OWNER_DESTINATION || strcmp(s->path, to_members[i][0]) != 0)
			buf_printf(&to, "%s: \"%s\", ", to_members[i][0], to_members[i][1]);
	if (s->owner != OWNER_CHAIN || strcmp(s->path, "name") != 0)
		buf_add_str(&chain, "name: dev, ");
	if (s->owner != OWNER_ENDPOINT || strcmp(s->path, "url") != 0)
		buf_add_str(&endpoint, "url: \"http://127.0.0.1:8545\", ");
	if (s->owner != OWNER_KEY || strcmp(s->path, "name") != 0)
		buf_add_str(&key, "name: me, ");
	if (s->owner != OWNER_KEY || strcmp(s->path, "key") != 0)
		buf_add_str(&key, "key: " KEY ", ");
	if (s->owner != OWNER_CONFIG) {
		buf_printf(out, "chains: [{%sendpoints: [{%s}]}]\n", buf_str(&chain), buf_str(&endpoint));
		buf_printf(out, "gateway: {keys: [{%s}]}\n", buf_str(&key));
		buf_printf(out, "alerts: {smtp_url: \"smtp://127.0.0.1\", smtp_from: \"a@b\", destinations: [{%s}]}\n", buf_str(&to));
	}
	buf_free(&chain);
	buf_free(&endpoint);
	buf_free(&key);
	buf_free(&to);
}

static void *owner_in(struct config *c, enum setting_owner owner)
{
	void *owners[] = { c, c->chains, c->chain_count ? c->chains[0].endpoints : NULL, c->gateway.keys, c->alerts.destinations };
	return owners[owner];
}

static int64_t number_in(struct config *c, const struct setting *s)
{
	int64_t v;
	memcpy(&v, (char *)owner_in(c, s->owner) + s->offset, sizeof v);
	return v;
}

/* bus.retry_base must not pass bus.retry_max: its own rule, tested below. */
static bool has_rule(const struct setting *s)
{
	return strncmp(s->path, "retry_", 6) == 0 || strncmp(s->path, "bus.retry_", 10) == 0;
}

static void every_number_is_taken_up_to_its_limits(void **state)
{
	(void)state;
	struct buf yaml = BUF_INIT(32768);
	for (size_t i = 0; i < settings_count; i++) {
		const struct setting *s = &settings[i];
		if (!is_number(s))
			continue;
		char text[64], allowed[256];
		assert_true(s->min <= s->max);
		for (int end = 0; end < 2 && !has_rule(s); end++) {
			snprintf(text, sizeof text, "%" PRId64, end ? s->max : s->min);
			file_with(s, text, &yaml);
			struct config *c = good(buf_str(&yaml));
			assert_int_equal(number_in(c, s), end ? s->max : s->min);
			config_free(&c);
		}
		setting_allowed(s, allowed);
		if (s->max < INT64_MAX) {
			snprintf(text, sizeof text, "%" PRId64, s->max + 1);
			file_with(s, text, &yaml);
			bad(buf_str(&yaml), s->path, "out of range", allowed, text, NULL);
		}
		if (s->min > 0) {
			snprintf(text, sizeof text, "%" PRId64, s->min - 1);
			file_with(s, text, &yaml);
			bad(buf_str(&yaml), s->path, "out of range", allowed, NULL);
		}
		static const char *const no_numbers[] = { "-1", "+1", "many", "1.5", "0x10", "\"\"", "\"1 2\"", "99999999999999999999", "1e3", "5 parsecs", "true" };
		for (size_t j = 0; j < sizeof no_numbers / sizeof no_numbers[0]; j++) {
			file_with(s, no_numbers[j], &yaml);
			bad(buf_str(&yaml), "weir.yaml:1:", s->path, allowed, NULL);
		}
	}
	buf_free(&yaml);
}

static void every_setting_refuses_other_types(void **state)
{
	(void)state;
	struct buf yaml = BUF_INIT(32768);
	for (size_t i = 0; i < settings_count; i++) {
		static const char *const others[] = { "[1]", "{a: 1}", "[]", "{}" };
		for (size_t j = 0; j < 4; j++) {
			file_with(&settings[i], others[j], &yaml);
			bad(buf_str(&yaml), "weir.yaml:", settings[i].path + (strrchr(settings[i].path, '.') ? strrchr(settings[i].path, '.') - settings[i].path : 0),
			    "single value", NULL);
		}
		static const char *const nulls[] = { "~", "null", "Null", "NULL" };
		for (size_t j = 0; j < 4; j++) {
			file_with(&settings[i], nulls[j], &yaml);
			bad(buf_str(&yaml), "no value", "default", NULL);
		}
		file_with(&settings[i], "\"a\\0b\"", &yaml);
		bad(buf_str(&yaml), "NUL", NULL);
	}
	buf_free(&yaml);
}

static void every_choice_and_switch_is_taken(void **state)
{
	(void)state;
	struct buf yaml = BUF_INIT(32768);
	for (size_t i = 0; i < settings_count; i++) {
		const struct setting *s = &settings[i];
		char allowed[256];
		for (size_t j = 0; s->choices && s->choices[j]; j++) {
			file_with(s, s->choices[j], &yaml);
			struct config *c = good(buf_str(&yaml));
			char *at = (char *)owner_in(c, s->owner) + s->offset;
			if (s->type == SETTING_CHOICE)
				assert_int_equal(*(int *)(void *)at, j);
			else
				assert_string_equal(*(char **)(void *)at, s->choices[j]);
			config_free(&c);
		}
		if (s->choices) {
			file_with(s, "Nonsense", &yaml);
			bad(buf_str(&yaml), s->path, "\"Nonsense\" is not one of", setting_allowed(s, allowed), NULL);
		}
		for (int on = 0; s->type == SETTING_BOOL && on < 2; on++) {
			file_with(s, on ? "true" : "false", &yaml);
			struct config *c = good(buf_str(&yaml));
			assert_int_equal(*((bool *)owner_in(c, s->owner) + s->offset), on);
			config_free(&c);
		}
		if (s->type == SETTING_BOOL) {
			file_with(s, "yes", &yaml); /* YAML 1.1's other spellings would be a surprise */
			bad(buf_str(&yaml), s->path, "true or false", NULL);
		}
	}
	buf_free(&yaml);
}

static void text_has_no_control_characters(void **state)
{
	(void)state;
	struct buf yaml = BUF_INIT(32768);
	for (size_t i = 0; i < settings_count; i++) {
		const struct setting *s = &settings[i];
		if ((s->type != SETTING_STRING && s->type != SETTING_SECRET) || s->choices)
			continue;
		file_with(s, "\"http://a\\r\\nX-Header: b\"", &yaml);
		bad(buf_str(&yaml), s->path, "control character (0x0d)", NULL);
		char text[4200] = "\"";
		memset(text + 1, 'a', 4096);
		memcpy(text + 4097, "\"", 2);
		file_with(s, text, &yaml);
		bad(buf_str(&yaml), s->path, "longer than 4095", NULL);
	}
	buf_free(&yaml);
}

/* Every setting's value in both, defaults included, compared through the table. */
static void assert_same(enum setting_owner kind, void *a, void *b)
{
	for (size_t i = 0; i < settings_count; i++) {
		const struct setting *s = &settings[i];
		if (s->owner != kind)
			continue;
		char *x = (char *)a + s->offset, *y = (char *)b + s->offset;
		if (s->type == SETTING_STRING || s->type == SETTING_SECRET)
			assert_string_equal(*(char **)(void *)x, *(char **)(void *)y);
		else
			assert_memory_equal(x, y, s->type == SETTING_BOOL ? sizeof(bool) : s->type == SETTING_CHOICE ? sizeof(int) : sizeof(int64_t));
	}
}

static void an_empty_file_is_all_defaults(void **state)
{
	(void)state;
	static const char *const empty[] = { "", "\n\n", "# nothing\n", "---\n", "---\n...\n", "{}", "bus:\n", "chains:\ngateway:\n  keys:\n", "chains: []", "\xef\xbb\xbf" };
	for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
		struct config *c = good(empty[i]);
		assert_int_equal(c->log.level, LOG_INFO);
		assert_int_equal(c->log.format, LOG_FORMAT_LOGFMT);
		assert_int_equal(c->shutdown_timeout_ms, 30000);
		assert_string_equal(c->ops_listen.fetcher, "127.0.0.1:9101");
		assert_int_equal(c->bus.max_backlog, 20000);
		assert_int_equal(c->postgres.pool_size, 8);
		assert_int_equal(c->normalizer.max_block_bytes, 256 << 20);
		assert_string_equal(c->alerts.webhook_url, "");
		assert_int_equal(c->chain_count, 0);
		config_free(&c);
		assert_null(c);
		config_free(&c);
	}
}

static void listeners_are_local_by_default(void **state)
{
	(void)state;
	size_t listeners = 0;
	for (size_t i = 0; i < settings_count; i++)
		if (strstr(settings[i].path, "listen")) {
			assert_int_equal(strncmp(settings[i].initial, "127.0.0.1:", 10), 0);
			listeners++;
		}
	assert_int_equal(listeners, 6);
}

static void elements_get_their_own_defaults(void **state)
{
	(void)state;
	struct config *c = good("chains:\n"
				"  - name: a\n    endpoints: [{url: http://x}, {url: http://y, name: second, head: false, weight: 5}]\n"
				"  - {name: b, chain_id: 31337, profile: dev, endpoints: [{url: https://z}]}\n");
	assert_int_equal(c->chain_count, 2);
	struct chain_config *a = &c->chains[0], *b = &c->chains[1];
	assert_string_equal(a->family, "evm");
	assert_int_equal(a->chain_id, 1);
	assert_int_equal(b->chain_id, 31337);
	assert_int_equal(a->endpoint_count, 2);
	assert_string_equal(a->endpoints[0].name, "e0");
	assert_string_equal(a->endpoints[1].name, "second");
	assert_string_equal(b->endpoints[0].name, "e0");
	assert_true(a->endpoints[0].head && !a->endpoints[1].head && a->endpoints[1].backfill);
	assert_int_equal(a->endpoints[0].weight, 100);
	assert_int_equal(a->endpoints[1].weight, 5);
	config_free(&c);
}

static void units(void **state)
{
	(void)state;
	static const struct {
		const char *yaml;
		int64_t ms, bytes;
	} rows[] = { { "postgres: {statement_timeout: 500ms}\ngateway: {max_body: 2048}", 500, 2048 },
		     { "postgres: {statement_timeout: 5s}\ngateway: {max_body: 64KiB}", 5000, 65536 },
		     { "postgres: {statement_timeout: 2m}\ngateway: {max_body: 3MiB}", 120000, 3 << 20 },
		     { "postgres: {statement_timeout: 700}\ngateway: {max_body: \"1MiB\"}", 700, 1 << 20 } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct config *c = good(rows[i].yaml);
		assert_int_equal(c->postgres.statement_timeout_ms, rows[i].ms);
		assert_int_equal(c->gateway.max_body_bytes, rows[i].bytes);
		config_free(&c);
	}
	bad("shutdown_timeout: 5MiB", "shutdown_timeout", NULL);
	bad("gateway: {max_body: 5s}", "gateway.max_body", NULL);
	bad("postgres: {pool_size: 5s}", "postgres.pool_size", "1 to 200", NULL);
	bad("gateway: {max_body: 9999999999999GiB}", "gateway.max_body", NULL); /* overflows */
}

static void mission_limits(void **state)
{
	(void)state;
	bad("postgres: {pool_size: 201}", "1 to 200", NULL);
	bad("normalizer: {workers: 101}", "1 to 100", NULL);
	bad("normalizer: {workers: 0}", "1 to 100", NULL);
	bad("normalizer: {batch: 10001}", "1 to 10000", NULL);
	bad("reconciler: {batch_blocks: 10001}", "1 to 10000", NULL);
	bad("shutdown_timeout: 30001ms", "100 to 30000", NULL);
	bad("gateway: {drain: 31s}", "0 to 30000", NULL);
}

/* -- places in messages ------------------------------------------------------------------------------------------------------ */

static void messages_name_line_and_column(void **state)
{
	(void)state;
	bad("bus:\n  redis_url: redis://x\n  max_backlog: 5\n", "weir.yaml:3:16: bus.max_backlog: 5 is out of range; allowed: 100 to 10000000", NULL);
	bad("bus:\n  redis: x\n", "weir.yaml:2:3: bus.redis: no such setting", NULL);
	bad("nonsense: 1", "weir.yaml:1:1: nonsense: no such setting", NULL);
	bad("log:\n  level: info\n  format: json\n  level: warn\n", "weir.yaml:4:3: log.level: given twice; first in line 2", NULL);
	bad("bus: {}\nlog: {}\nbus: {}\n", "weir.yaml:3:1: bus: given twice", NULL);
	bad("log: {level: info\n", "weir.yaml:2:1: not YAML", NULL);
	bad("log:\n\tlevel: info\n", "weir.yaml:2:1: not YAML", NULL);
	bad("- a\n", "weir.yaml:1:1: the file: must be a mapping", NULL);
	bad("just words", "must be a mapping", NULL);
	bad("bus: 5", "weir.yaml:1:6: bus: must be a mapping", NULL);
	bad("chains: {a: 1}", "weir.yaml:1:9: chains: must be a list", NULL);
	bad("chains: [5]", "weir.yaml:1:10: chains[0]: must be a mapping", NULL);
	bad("chains:\n  - name: a\n    endpoints:\n      - url: http://x\n        colour: red\n", "weir.yaml:5:9: chains[0].endpoints[0].colour: no such setting", NULL);
	bad("chains:\n  - name: a\n    endpoints:\n      - {url: http://x}\n      - {url: http://x, weight: 0}\n",
	    "weir.yaml:5:33: chains[0].endpoints[1].weight: 0 is out of range; allowed: 1 to 1000", NULL);
	bad("bus.redis_url: redis://x", "weir.yaml:1:1: bus.redis_url: a name with dots", NULL);
	bad("ops: {listen: 5}", "ops.listen: must be a mapping", NULL);
	bad("ops: {listen: {weir: \"a:1\"}}", "ops.listen.weir: no such setting", NULL);
	bad("gateway: {keys: {name: a}}", "gateway.keys: must be a list", NULL);
	bad("\"log\\0x\": {}", "plain text", NULL); /* not a second spelling of "log" */
	bad("[a]: 1", "plain text", NULL);
	bad("? {a: 1}\n: 2\n", "plain text", NULL);
	bad("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: 1", "at most 64", NULL);
	bad("<<: {log: {level: info}}", "no such setting", NULL);
}

static void checks_name_line_and_column_too(void **state)
{
	(void)state;
	bad("bus:\n  redis_url: \"http://u:secret@x\"\n", "weir.yaml:2:14: bus.redis_url:", "redis://host:port/db", "http://x", NULL);
	assert_null(strstr(err.text, "secret"));
	bad("chains:\n  - name: Dev\n    endpoints: [{url: http://x}]\n", "weir.yaml:2:11: chains[0].name: \"Dev\"", "lower-case", NULL);
	bad("chains:\n  - endpoints: [{url: http://x}]\n", "weir.yaml:2:5: chains[0].name: \"\"", NULL);
	bad("chains:\n  - name: a23456789012345678901234567890123\n    endpoints: [{url: http://x}]\n", "1 to 32", NULL);
	bad("chains:\n  - {name: a, endpoints: [{url: http://x}]}\n  - {name: a, endpoints: [{url: http://x}]}\n",
	    "weir.yaml:3:12: chains[1].name: two chains are named a", NULL);
	bad("chains:\n  - name: a\n", "weir.yaml:2:5: chains[0].endpoints: chain a has none", NULL);
	bad("chains:\n  - name: a\n    endpoints: []\n", "weir.yaml:3:16: chains[0].endpoints: chain a has none", NULL);
	bad("chains:\n  - name: a\n    endpoints:\n      - weight: 5\n", "weir.yaml:4:9: chains[0].endpoints[0].url: missing", NULL);
	bad("chains:\n  - name: a\n    endpoints:\n      - url: ftp://k:secret@x/secret\n", "weir.yaml:4:14: chains[0].endpoints[0].url: \"ftp://x/…\"", "http://", NULL);
	assert_null(strstr(err.text, "secret"));
	bad("chains: [{name: a, endpoints: [{url: \"http://\"}]}]", "endpoints[0].url", NULL);
	bad("chains: [{name: a, endpoints: [{url: \"http:///path\"}]}]", "endpoints[0].url", NULL);
	bad("chains: [{name: a, endpoints: [{url: \"http://a b\"}]}]", "endpoints[0].url", NULL);
	bad("chains: [{name: a, endpoints: [{url: http://x, ws_url: http://x}]}]", "endpoints[0].ws_url", "ws://", NULL);
	bad("chains: [{name: a, endpoints: [{url: http://x, name: n}, {url: http://x, name: n}]}]", "two endpoints of chain a are named n", NULL);
	bad("chains: [{name: a, endpoints: [{url: http://x, name: e1}, {url: http://x}]}]", "two endpoints of chain a are named e1", NULL);
	bad("chains: [{name: a, endpoints: [{url: http://x, name: N}]}]", "endpoints[0].name: \"N\"", NULL);
	bad("chains: [{name: a, genesis_hash: \"0x12\", endpoints: [{url: http://x}]}]", "genesis_hash", "64 hex digits", NULL);
	bad("gateway: {keys: [{name: a, key: short}]}", "gateway.keys[0].key", "of a has 5 characters", "16", NULL);
	assert_null(strstr(err.text, "short"));
	bad("gateway:\n  keys:\n    - key: " KEY "\n", "weir.yaml:3:7: gateway.keys[0].name: missing", NULL);
	bad("gateway: {keys: [{name: a}]}", "gateway.keys[0].key", "has 0 characters", NULL);
	bad("gateway: {keys: [{name: a, key: " KEY "}, {name: b, key: " KEY "}]}", "gateway.keys[1].key", "a and b have the same key", NULL);
	bad("gateway: {keys: [{name: a, key: " KEY ", role: king}]}", "gateway.keys[0].role", "viewer, operator, admin", NULL);
	bad("bus: {retry_base: 2s, retry_max: 1s}", "bus.retry_base", NULL);
	bad("alerts: {webhook_url: \"slack://secret\"}", "alerts.webhook_url", NULL);
	assert_null(strstr(err.text, "secret"));
}

static void show_ratio(const struct config_shown *shown, void *arg)
{
	if (strcmp(shown->path, "otel.sampling_ratio") == 0)
		snprintf(arg, 64, "%s", shown->value);
}

static void ratios(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t millionths;
		const char *shown;
	} rows[] = { { "0", 0, "0" }, { "1", 1000000, "1" }, { "0.01", 10000, "0.01" }, { "0.000001", 1, "0.000001" }, { "1.0", 1000000, "1" }, { "0.5", 500000, "0.5" } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf yaml = BUF_INIT(4096);
		buf_printf(&yaml, CHAIN "otel: {sampling_ratio: %s}\n", rows[i].text);
		struct config *c = good(buf_str(&yaml));
		assert_int_equal(c->otel.per_million, rows[i].millionths);
		char shown[64] = "";
		config_show(c, show_ratio, shown);
		assert_string_equal(shown, rows[i].shown);
		config_free(&c);
		buf_free(&yaml);
	}
	static const char *const wrong[] = { "1.1", "2", "1.000001", "0.0000001", "-0.5", ".5", "1e-3", "\"0,5\"", "half", "\"\"", "99999999999999999999" };
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct buf yaml = BUF_INIT(4096);
		buf_printf(&yaml, CHAIN "otel: {sampling_ratio: %s}\n", wrong[i]);
		bad(buf_str(&yaml), "otel.sampling_ratio", "0 to 1, with at most six decimals", NULL);
		buf_free(&yaml);
	}
	bad(CHAIN "otel: {endpoint: \"collector:4318\"}\n", "otel.endpoint", "not an http:// or https:// address", NULL);
}

static void listen_addresses(void **state)
{
	(void)state;
	static const char *const fine[] = { "127.0.0.1:0", "0.0.0.0:65535", "localhost:80", "[::1]:8080", "[::]:0", "host-1.example:1" };
	static const char *const wrong[] = { "", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1", "::1:80", "[]:80",
					     "[::1]", "[::1]80", "127.0.0.1:80 ", "a b:80", "127.0.0.1:999999999999999999999", "http://x:80" };
	char yaml[200];
	for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
		snprintf(yaml, sizeof yaml, "gateway: {listen: \"%s\"}", fine[i]);
		struct config *c = good(yaml);
		assert_string_equal(c->gateway.listen, fine[i]);
		config_free(&c);
	}
	static const char *const names[] = { "ops: {listen: {fetcher: ", "ops: {listen: {normalizer: ", "ops: {listen: {reconciler: ", "ops: {listen: {gateway: ",
					     "gateway: {{listen: ", "gateway: {{admin_listen: " };
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		for (size_t j = 0; j < 4; j++) {
			snprintf(yaml, sizeof yaml, "%s\"%s\"}}", names[j], wrong[i]);
			bad(yaml, "ops.listen.", "is not host:port", NULL);
		}
	bad("gateway: {listen: nowhere}", "weir.yaml:1:19: gateway.listen: \"nowhere\" is not host:port", NULL);
	bad("gateway: {admin_listen: nowhere}", "gateway.admin_listen: \"nowhere\" is not host:port", NULL);
}

static void tls_wants_both_files(void **state)
{
	(void)state;
	struct config *c = good(CHAIN "gateway: {tls: {certificate: a, key: b}, admin_tls: {certificate: a, key: b, client_ca: c, client_certificate: optional}}\n");
	assert_string_equal(c->gateway.tls.key, "b");
	assert_string_equal(c->gateway.admin_tls.client_certificate, "optional");
	config_free(&c);
	bad(CHAIN "gateway: {tls: {certificate: a}}\n", "gateway.tls.key", "given together", NULL);
	bad(CHAIN "gateway: {admin_tls: {key: a}}\n", "gateway.admin_tls.certificate", "given together", NULL);
	bad(CHAIN "gateway: {admin_tls: {client_ca: a}}\n", "gateway.admin_tls.client_ca", "need TLS", NULL);
	bad(CHAIN "gateway: {admin_tls: {client_certificate: maybe}}\n", "client_certificate", "optional", NULL);
}

static void redis_urls(void **state)
{
	(void)state;
	static const char *const fine[] = { "redis://127.0.0.1:6379/0", "rediss://h:1/2", "unix:///run/redis.sock" };
	static const char *const wrong[] = { "", "127.0.0.1:6379", "redis:/x", "redis://", "unix://run/redis.sock", "http://x" };
	char yaml[200];
	for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
		snprintf(yaml, sizeof yaml, "bus: {redis_url: \"%s\"}", fine[i]);
		struct config *c = good(yaml);
		config_free(&c);
	}
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		snprintf(yaml, sizeof yaml, "bus: {redis_url: \"%s\"}", wrong[i]);
		bad(yaml, "bus.redis_url", NULL);
	}
}

static void lists_are_bounded(void **state)
{
	(void)state;
	static const struct {
		size_t max;
		const char *before, *element, *after, *words;
	} rows[] = { { CONFIG_CHAINS_MAX, "chains: [", "{name: n%zu, endpoints: [{url: http://x}]},", "]", "chains: more than 32 elements" },
		     { CONFIG_ENDPOINTS_MAX, "chains: [{name: a, endpoints: [", "{name: n%zu, url: http://x},", "]}]", "endpoints: more than 32 elements" },
		     { CONFIG_API_KEYS_MAX, "gateway: {keys: [", "{name: n%1$zu, key: " KEY "%1$zu},", "]}", "gateway.keys: more than 64 elements" },
		     { CONFIG_DESTINATIONS_MAX, "alerts: {destinations: [", "{name: n%zu, url: http://x},", "]}", "alerts.destinations: more than 16 elements" } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		for (size_t over = 0; over < 2; over++) {
			struct buf yaml = BUF_INIT(1 << 20);
			buf_add_str(&yaml, rows[i].before);
			for (size_t j = 0; j < rows[i].max + over; j++) {
				char number[24], element[200];
				snprintf(number, sizeof number, "%zu", j);
				size_t n = 0;
				for (const char *p = rows[i].element; *p && n < sizeof element - 30; p++) {
					if (*p != '%') {
						element[n++] = *p;
						continue;
					}
					n += (size_t)snprintf(element + n, 24, "%s", number);
					p = strchr(p, 'u');
				}
				buf_add(&yaml, element, n);
			}
			buf_add_str(&yaml, rows[i].after);
			if (over) {
				bad(buf_str(&yaml), rows[i].words, NULL);
			} else {
				struct config *c = good(buf_str(&yaml));
				config_free(&c);
			}
			buf_free(&yaml);
		}
}

static void one_document_of_bounded_size(void **state)
{
	(void)state;
	bad("log: {level: warn}\n---\nlog: {level: info}\n", "weir.yaml:3:1: a second document", NULL);
	bad("log: {level: warn}\n...\n]\n", "weir.yaml:3:1: not YAML", NULL);
	struct config *c = good("log: {level: warn}\n...\n# the end\n");
	assert_int_equal(c->log.level, LOG_WARN);
	config_free(&c);
	size_t size = (1 << 20) + 1;
	char *yaml = xmalloc(size);
	memset(yaml, '#', size);
	assert_int_equal(config_parse(yaml, size, "weir.yaml", &c, &err), WEIR_LIMIT);
	assert_null(c);
	assert_int_equal(config_parse(yaml, size - 1, "weir.yaml", &c, &err), 0);
	config_free(&c);
	memset(yaml, '[', size - 1); /* deep nesting is no deep recursion */
	assert_int_equal(config_parse(yaml, size - 1, "weir.yaml", &c, &err), WEIR_CONFIG);
	xfree(&yaml);
	bad("chains: &a [*a]", "chains[0]: must be a mapping", NULL);
	bad("bus: &a {bus: *a}", "bus.bus: no such setting", NULL);
}

static void errors_may_be_ignored(void **state)
{
	(void)state;
	struct config *c;
	assert_int_equal(config_parse("x: 1", 4, "weir.yaml", &c, NULL), WEIR_CONFIG);
	assert_null(c);
}

static void two_configurations_live_side_by_side(void **state)
{
	(void)state;
	struct config *a = good("log: {level: warn}\n" CHAIN), *b = good("log: {level: error}\n");
	assert_int_equal(a->log.level, LOG_WARN);
	assert_int_equal(b->log.level, LOG_ERROR);
	config_free(&b);
	assert_string_equal(a->chains[0].name, "dev");
	config_free(&a);
}

/* -- files, secrets, environment ------------------------------------------------------------------------------------------- */

struct folder {
	char path[64], file[96];
};

static int make_folder(void **state)
{
	struct folder *f = xmalloc(sizeof *f);
	snprintf(f->path, sizeof f->path, "/tmp/weir-config-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	snprintf(f->file, sizeof f->file, "%s/file", f->path);
	*state = f;
	return 0;
}

static int remove_folder(void **state)
{
	struct folder *f = *state;
	unlink(f->file);
	rmdir(f->path);
	xfree(&f);
	return 0;
}

static void write_file(const struct folder *f, const void *data, size_t size)
{
	FILE *file = fopen(f->file, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	fclose(file);
}

static void secrets_come_from_files(void **state)
{
	const struct folder *f = *state;
	char yaml[300];
	snprintf(yaml, sizeof yaml, "bus:\n  password: file:%s\n", f->file);
	write_file(f, "pass word\n \t\n", 13);
	struct config *c = good(yaml);
	assert_string_equal(c->bus.password, "pass word");
	config_free(&c);
	static const struct {
		const char *data;
		size_t size;
		const char *words;
	} rows[] = { { "", 0, "empty" }, { "\n\n", 2, "empty" }, { "a\0b", 3, "NUL" }, { "a\nb", 3, "control character" } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		write_file(f, rows[i].data, rows[i].size);
		bad(yaml, "weir.yaml:2:13: bus.password", rows[i].words, NULL);
	}
	char large[4096];
	memset(large, 's', sizeof large);
	write_file(f, large, 4096);
	bad(yaml, f->file, "longer than 4095", NULL);
	write_file(f, large, 4095);
	c = good(yaml);
	assert_int_equal(strlen(c->bus.password), 4095);
	config_free(&c);
	unlink(f->file);
	bad(yaml, "bus.password: secret file", f->file, "No such file", NULL);
	assert_int_equal(mkfifo(f->file, 0600), 0);
	bad(yaml, "not a regular file", NULL); /* and does not wait for a writer */
	snprintf(yaml, sizeof yaml, "bus: {password: \"file:%s\"}", f->path);
	bad(yaml, "not a regular file", NULL);
	bad("bus: {password: \"file:\"}", "secret file", NULL);
	c = good("log: {level: info}\npostgres: {url: \"file=x\"}"); /* only the prefix "file:" is special */
	assert_string_equal(c->postgres.url, "file=x");
	config_free(&c);
	c = good("gateway: {dashboard_dir: \"file:/x\"}"); /* and only in secrets */
	assert_string_equal(c->gateway.dashboard_dir, "file:/x");
	config_free(&c);
}

static int load(const char *path, struct config **ret)
{
	err = (struct error){ 0 };
	return config_load(path, ret, &err);
}

static void files_that_cannot_be_read(void **state)
{
	const struct folder *f = *state;
	struct config *c;
	assert_int_equal(load(f->file, &c), WEIR_CONFIG);
	assert_non_null(strstr(err.text, f->file));
	assert_non_null(strstr(err.text, "No such file"));
	assert_int_equal(load(f->path, &c), WEIR_CONFIG); /* a folder */
	assert_int_equal(load("/dev/zero", &c), WEIR_LIMIT); /* endless */
	assert_null(c);
	write_file(f, "bus: {max_backlog: 1}", 21);
	assert_int_equal(load(f->file, &c), WEIR_CONFIG);
	assert_int_equal(strncmp(err.text, f->file, strlen(f->file)), 0);
	assert_non_null(strstr(err.text, ":1:20: bus.max_backlog"));
}

static const char *const used_variables[] = { "WEIR_LOG_LEVEL", "WEIR_BUS_REDIS_URL", "WEIR_BUS_PASSWORD", "WEIR_POSTGRES_POOL_SIZE", "WEIR_OPS_LISTEN_FETCHER",
					      "WEIR_CHAINS_0_NAME", "WEIR_CHAINS_0_ENDPOINTS_0_URL", "WEIR_CHAINS_0_ENDPOINTS_1_WEIGHT", "WEIR_CHAINS_1_CHAIN_ID",
					      "WEIR_CHAINS_1_ENDPOINTS_0_URL", "WEIR_CHAINS_2_NAME", "WEIR_CHAINS_0_COLOUR", "WEIR_GATEWAY_KEYS_0_KEY",
					      "WEIR_GATEWAY_KEYS_7_KEY", "WEIR_GATEWAY_PORT_8080_TCP", "WEIR_SOMETHING_ELSE", "WEIR_CHAINS_00_NAME" };

static int clear_environment(void **state)
{
	for (size_t i = 0; i < sizeof used_variables / sizeof used_variables[0]; i++)
		unsetenv(used_variables[i]);
	return state && *state ? remove_folder(state) : 0;
}

static const char file_of_two[] = "log: {level: debug}\n"
				  "chains:\n"
				  "  - {name: a, endpoints: [{url: http://a0}, {url: http://a1}]}\n"
				  "  - {name: b, endpoints: [{url: http://b0}]}\n"
				  "gateway: {keys: [{name: me, key: " KEY "}]}\n";

static void environment_overrides_the_file(void **state)
{
	const struct folder *f = *state;
	write_file(f, file_of_two, strlen(file_of_two));
	char secret[120];
	snprintf(secret, sizeof secret, "file:%s", f->file); /* any file will do: it has control characters */
	setenv("WEIR_LOG_LEVEL", "error", 1);
	setenv("WEIR_BUS_REDIS_URL", "unix:///x", 1);
	setenv("WEIR_POSTGRES_POOL_SIZE", "200", 1);
	setenv("WEIR_OPS_LISTEN_FETCHER", "127.0.0.1:0", 1);
	setenv("WEIR_CHAINS_0_ENDPOINTS_0_URL", "https://other", 1);
	setenv("WEIR_CHAINS_0_ENDPOINTS_1_WEIGHT", "7", 1);
	setenv("WEIR_CHAINS_1_CHAIN_ID", "31337", 1);
	setenv("WEIR_GATEWAY_KEYS_0_KEY", "another key of some length", 1);
	setenv("WEIR_GATEWAY_PORT_8080_TCP", "tcp://10.0.0.1:8080", 1); /* an orchestrator's, not ours */
	setenv("WEIR_SOMETHING_ELSE", "x", 1);
	struct config *c;
	assert_int_equal(load(f->file, &c), 0);
	assert_int_equal(c->log.level, LOG_ERROR);
	assert_string_equal(c->bus.redis_url, "unix:///x");
	assert_int_equal(c->postgres.pool_size, 200);
	assert_string_equal(c->ops_listen.fetcher, "127.0.0.1:0");
	assert_string_equal(c->chains[0].endpoints[0].url, "https://other");
	assert_int_equal(c->chains[0].endpoints[0].weight, 100);
	assert_string_equal(c->chains[0].endpoints[1].url, "http://a1");
	assert_int_equal(c->chains[0].endpoints[1].weight, 7);
	assert_int_equal(c->chains[0].chain_id, 1);
	assert_int_equal(c->chains[1].chain_id, 31337);
	assert_string_equal(c->gateway.keys[0].key, "another key of some length");
	config_free(&c);
	setenv("WEIR_BUS_PASSWORD", secret, 1);
	assert_int_equal(load(f->file, &c), WEIR_CONFIG);
	assert_non_null(strstr(err.text, "WEIR_BUS_PASSWORD: holds a control character"));
}

/* Loads the two-chain file with one variable set; the message must hold the words. */
static void refuse_variable(const struct folder *f, const char *name, const char *value, const char *words, const char *more)
{
	struct config *c;
	setenv(name, value, 1);
	assert_int_equal(load(f->file, &c), WEIR_CONFIG);
	assert_null(c);
	if (!strstr(err.text, words) || !strstr(err.text, more))
		print_error("\"%s\" and \"%s\" not in \"%s\"\n", words, more, err.text);
	assert_true(strstr(err.text, words) && strstr(err.text, more));
	unsetenv(name);
}

static void environment_goes_through_the_same_checks(void **state)
{
	const struct folder *f = *state;
	write_file(f, file_of_two, strlen(file_of_two));
	refuse_variable(f, "WEIR_LOG_LEVEL", "loud", "WEIR_LOG_LEVEL: \"loud\" is not one of", "debug, info, warn, error");
	refuse_variable(f, "WEIR_POSTGRES_POOL_SIZE", "201", "WEIR_POSTGRES_POOL_SIZE: 201 is out of range", "1 to 200");
	refuse_variable(f, "WEIR_BUS_REDIS_URL", "x", "WEIR_BUS_REDIS_URL (bus.redis_url)", "redis://");
	refuse_variable(f, "WEIR_CHAINS_0_NAME", "b", "chains[1].name", "two chains are named b");
	refuse_variable(f, "WEIR_CHAINS_0_ENDPOINTS_1_WEIGHT", "0", "WEIR_CHAINS_0_ENDPOINTS_1_WEIGHT: 0 is out of range", "1 to 1000");
	refuse_variable(f, "WEIR_CHAINS_1_ENDPOINTS_0_URL", "ftp://x", "WEIR_CHAINS_1_ENDPOINTS_0_URL (chains[1].endpoints[0].url)", "http://");
	refuse_variable(f, "WEIR_CHAINS_2_NAME", "c", "WEIR_CHAINS_2_NAME", "no such element");
	refuse_variable(f, "WEIR_CHAINS_00_NAME", "c", "WEIR_CHAINS_00_NAME", "no such");
	refuse_variable(f, "WEIR_CHAINS_0_COLOUR", "c", "WEIR_CHAINS_0_COLOUR", "no such setting");
	refuse_variable(f, "WEIR_GATEWAY_KEYS_7_KEY", KEY, "WEIR_GATEWAY_KEYS_7_KEY", "no such element");
	struct config *c;
	assert_int_equal(load(f->file, &c), 0);
	config_free(&c);
}

static void environment_alone_is_enough(void **state)
{
	(void)state;
	setenv("WEIR_LOG_LEVEL", "warn", 1);
	struct config *c;
	assert_int_equal(load(NULL, &c), 0);
	assert_int_equal(c->log.level, LOG_WARN);
	config_free(&c);
	setenv("WEIR_BUS_REDIS_URL", "x", 1);
	assert_int_equal(load(NULL, &c), WEIR_CONFIG);
	assert_non_null(strstr(err.text, "WEIR_BUS_REDIS_URL"));
}

/* -- what is printed from the table ------------------------------------------------------------------------------------------ */

static void the_sample_is_the_defaults(void **state)
{
	(void)state;
	struct buf sample = BUF_INIT(1 << 20);
	config_print_sample(&sample);
	struct config *c = good(buf_str(&sample)), *defaults = good("");
	assert_same(OWNER_CONFIG, c, defaults);
	assert_int_equal(c->chain_count, 0);
	config_free(&c);
	config_free(&defaults);
	for (size_t i = 0; i < settings_count; i++) { /* each with its name and its paragraph */
		const char *leaf = strrchr(settings[i].path, '.');
		char line[120];
		snprintf(line, sizeof line, " %s: ", leaf ? leaf + 1 : settings[i].path);
		assert_true(strstr(buf_str(&sample), line) || strncmp(settings[i].path, "shutdown", 8) == 0);
		assert_non_null(strstr(buf_str(&sample), settings[i].text));
	}
	buf_free(&sample);
}

static void the_manual_has_a_row_for_each(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(1 << 20);
	config_print_markdown(&out);
	size_t lines = 0, bars = 0;
	for (const char *p = buf_str(&out); *p; p++) {
		bars += *p == '|';
		if (*p == '\n') {
			assert_int_equal(bars, 6);
			bars = 0;
			lines++;
		}
	}
	assert_int_equal(lines, settings_count + 2);
	assert_non_null(strstr(buf_str(&out), "| `postgres.pool_size` | number | `8` | 1 to 200 | "));
	assert_non_null(strstr(buf_str(&out), "| `chains[].endpoints[].auth_header` | secret |  |  | "));
	assert_non_null(strstr(buf_str(&out), "| `shutdown_timeout` | duration | `30s` | 100 to 30000 ms (units ms, s, m, h) | "));
	assert_non_null(strstr(buf_str(&out), "| `gateway.keys[].role` | text | `viewer` | viewer, operator, admin | "));
	buf_free(&out);
}

static void the_table_is_sound(void **state)
{
	(void)state;
	for (size_t i = 0; i < settings_count; i++) {
		const struct setting *s = &settings[i];
		if (s->text[strlen(s->text) - 1] != '.')
			print_error("%s: %s\n", s->path, s->text);
		assert_true(strlen(s->text) > 10 && s->text[strlen(s->text) - 1] == '.');
		assert_int_equal(strspn(s->path, "abcdefghijklmnopqrstuvwxyz_."), strlen(s->path));
		for (size_t j = 0; j < i; j++) {
			assert_false(settings[j].owner == s->owner && strcmp(settings[j].path, s->path) == 0);
			assert_false(settings[j].owner == s->owner && settings[j].offset == s->offset); /* two settings, one place */
		}
	}
}

int main(void)
{
#define with_folder(name) cmocka_unit_test_setup_teardown(name, make_folder, clear_environment)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_number_is_taken_up_to_its_limits),
		cmocka_unit_test(every_setting_refuses_other_types),
		cmocka_unit_test(every_choice_and_switch_is_taken),
		cmocka_unit_test(text_has_no_control_characters),
		cmocka_unit_test(an_empty_file_is_all_defaults),
		cmocka_unit_test(listeners_are_local_by_default),
		cmocka_unit_test(elements_get_their_own_defaults),
		cmocka_unit_test(units),
		cmocka_unit_test(mission_limits),
		cmocka_unit_test(messages_name_line_and_column),
		cmocka_unit_test(checks_name_line_and_column_too),
		cmocka_unit_test(ratios),
		cmocka_unit_test(listen_addresses),
		cmocka_unit_test(tls_wants_both_files),
		cmocka_unit_test(redis_urls),
		cmocka_unit_test(lists_are_bounded),
		cmocka_unit_test(one_document_of_bounded_size),
		cmocka_unit_test(errors_may_be_ignored),
		cmocka_unit_test(two_configurations_live_side_by_side),
		with_folder(secrets_come_from_files),
		with_folder(files_that_cannot_be_read),
		with_folder(environment_overrides_the_file),
		with_folder(environment_goes_through_the_same_checks),
		with_folder(environment_alone_is_enough),
		cmocka_unit_test(the_sample_is_the_defaults),
		cmocka_unit_test(the_manual_has_a_row_for_each),
		cmocka_unit_test(the_table_is_sound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
