/* breakers.c - writing and reading the words about endpoints' breakers: one JSON text per process. */
#include "daemon/breakers.h"

#include "base/clock.h"
#include "wire/json.h"

#include "weir/streams.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define WORD_MAX ((size_t)64 << 10)

static const char *const state_names[] = { [BREAKER_CLOSED] = "closed", [BREAKER_HALF_OPEN] = "half_open", [BREAKER_OPEN] = "open" };

static void add_text(struct buf *out, const char *name, const char *value)
{
	buf_printf(out, "\"%s\":", name);
	json_add_string(out, value, strlen(value));
	buf_add_byte(out, ',');
}

static void add_endpoint(struct buf *out, const struct endpoint_status *s)
{
	buf_add_byte(out, '{');
	add_text(out, "endpoint", s->name);
	add_text(out, "state", state_names[s->breaker]);
	add_text(out, "reason", s->breaker == BREAKER_CLOSED ? "" : s->last_error);
	buf_printf(out, "\"opened_ms\":%" PRId64 ",\"probe_ms\":%" PRId64 ",\"errors\":%" PRIu64 "}", s->opened_ms, s->probe_ms, s->consecutive_errors);
}

int breakers_tell(struct bus *bus, const char *chain, const char *process, struct endpoints *endpoints, struct error *err)
{
	struct buf word = BUF_INIT(WORD_MAX);
	struct endpoint_status status;
	char key[128];
	snprintf(key, sizeof key, BREAKERS_KEY_FORMAT, chain);
	buf_printf(&word, "{\"heard_ms\":%" PRId64 ",\"items\":[", clock_wall_ms());
	for (size_t i = 0; i < endpoints_count(endpoints); i++) {
		endpoints_status(endpoints, i, &status);
		if (i > 0)
			buf_add_byte(&word, ',');
		add_endpoint(&word, &status);
	}
	buf_add_str(&word, "]}");
	int code = bus_hash_write(bus, key, &(struct bus_field){ process, buf_str(&word) }, 1, err);
	buf_free(&word);
	return code;
}

struct reading {
	breaker_word_fn *on_word;
	void *arg;
	int64_t now_ms;
};

static const char *text_of(yyjson_val *object, const char *name)
{
	const char *text = yyjson_get_str(yyjson_obj_get(object, name));
	return text ? text : "";
}

/* What is not as weir writes it is left out. */
static void on_process(const char *process, const char *value, void *arg)
{
	const struct reading *r = arg;
	size_t size = strlen(value), i, n;
	yyjson_doc *doc = size <= WORD_MAX ? yyjson_read(value, size, 0) : NULL;
	yyjson_val *root = yyjson_doc_get_root(doc), *item;
	const int64_t heard_ms = yyjson_get_sint(yyjson_obj_get(root, "heard_ms"));
	if (heard_ms > r->now_ms - BREAKERS_HEARD_MS) {
		yyjson_arr_foreach(yyjson_obj_get(root, "items"), i, n, item) {
			const struct breaker_word word = {
				.process = process,
				.endpoint = text_of(item, "endpoint"),
				.state = text_of(item, "state"),
				.reason = text_of(item, "reason"),
				.heard_ms = heard_ms,
				.opened_ms = yyjson_get_sint(yyjson_obj_get(item, "opened_ms")),
				.probe_ms = yyjson_get_sint(yyjson_obj_get(item, "probe_ms")),
				.errors = yyjson_get_uint(yyjson_obj_get(item, "errors")),
			};
			r->on_word(&word, r->arg);
		}
	}
	yyjson_doc_free(doc);
}

int breakers_read(struct bus *bus, const char *chain, breaker_word_fn *on_word, void *arg, struct error *err)
{
	struct reading r = { on_word, arg, clock_wall_ms() };
	char key[128];
	snprintf(key, sizeof key, BREAKERS_KEY_FORMAT, chain);
	int code = bus_hash_read(bus, key, on_process, &r, err);
	return code == WEIR_NOT_FOUND ? 0 : code;
}
