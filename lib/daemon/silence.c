/* silence.c - silences of alerts, in a hash in Redis: id to JSON. */
#include "daemon/silence.h"

#include "base/clock.h"
#include "wire/json.h"

#include "weir/streams.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reading {
	struct silence *silences;
	size_t count;
	char ended[SILENCES_MAX][SILENCE_ID];
	size_t ended_count;
	int64_t now_ms;
};

static bool copy(yyjson_val *value, char *ret, size_t size)
{
	struct text text = json_text(value);
	if (!text.s || text.n >= size || strlen(text.s) != text.n)
		return false;
	memcpy(ret, text.s, text.n + 1);
	return true;
}

static bool read(const char *id, const char *json, struct silence *ret)
{
	yyjson_doc *doc = yyjson_read(json, strlen(json), 0);
	yyjson_val *root = yyjson_doc_get_root(doc);
	snprintf(ret->id, sizeof ret->id, "%s", id);
	bool good = yyjson_is_obj(root) && strlen(id) < SILENCE_ID && copy(yyjson_obj_get(root, "pattern"), ret->pattern, sizeof ret->pattern) &&
		    copy(yyjson_obj_get(root, "reason"), ret->reason, sizeof ret->reason) && copy(yyjson_obj_get(root, "who"), ret->who, sizeof ret->who);
	ret->created_ms = yyjson_get_sint(yyjson_obj_get(root, "created_ms"));
	ret->expires_ms = yyjson_get_sint(yyjson_obj_get(root, "expires_ms"));
	yyjson_doc_free(doc);
	return good;
}

static void on_field(const char *id, const char *json, void *arg)
{
	struct reading *r = arg;
	struct silence one = { 0 };
	if (read(id, json, &one) && one.expires_ms > r->now_ms) {
		if (r->count < SILENCES_MAX)
			r->silences[r->count++] = one;
	} else if (r->ended_count < SILENCES_MAX && strlen(id) < SILENCE_ID) {
		snprintf(r->ended[r->ended_count++], SILENCE_ID, "%s", id);
	}
}

static int by_end(const void *a, const void *b)
{
	int64_t first = ((const struct silence *)a)->expires_ms, second = ((const struct silence *)b)->expires_ms;
	return first < second ? -1 : first > second;
}

static int read_all(struct bus *bus, struct reading *r, struct error *err)
{
	r->now_ms = clock_wall_ms();
	int code = bus_hash_read(bus, SILENCES_KEY, on_field, r, err);
	qsort(r->silences, r->count, sizeof *r->silences, by_end);
	return code == WEIR_NOT_FOUND ? 0 : code;
}

int silence_list(struct bus *bus, struct silence ret[SILENCES_MAX], size_t *ret_n, struct error *err)
{
	struct reading r = { .silences = ret };
	int code = read_all(bus, &r, err);
	*ret_n = r.count;
	return code;
}

static int sweep(struct bus *bus, const struct reading *r, struct error *err)
{
	const char *names[SILENCES_MAX];
	for (size_t i = 0; i < r->ended_count; i++)
		names[i] = r->ended[i];
	return bus_hash_delete(bus, SILENCES_KEY, names, r->ended_count, err);
}

static void put(struct buf *out, const char *name, const char *value)
{
	buf_printf(out, "\"%s\":", name);
	json_add_string(out, value, strlen(value));
	buf_add_byte(out, ',');
}

int silence_add(struct bus *bus, struct silence *s, struct error *err)
{
	struct silence *all = xcalloc(SILENCES_MAX, sizeof *all);
	struct reading r = { .silences = all };
	int code = read_all(bus, &r, err);
	free(all);
	if (!code)
		code = sweep(bus, &r, err);
	if (!code && r.count >= SILENCES_MAX)
		code = error_set(err, WEIR_FULL, "there are %d silences: end one first", SILENCES_MAX);
	if (code)
		return code;
	struct buf json = BUF_INIT(8192);
	snprintf(s->id, sizeof s->id, "%016" PRIx64, random_u64());
	s->created_ms = clock_wall_ms();
	buf_add_byte(&json, '{');
	put(&json, "pattern", s->pattern);
	put(&json, "reason", s->reason);
	put(&json, "who", s->who);
	buf_printf(&json, "\"created_ms\":%" PRId64 ",\"expires_ms\":%" PRId64 "}", s->created_ms, s->expires_ms);
	code = bus_hash_write(bus, SILENCES_KEY, &(struct bus_field){ s->id, buf_str(&json) }, 1, err);
	buf_free(&json);
	return code;
}

int silence_end(struct bus *bus, const char *id, struct error *err)
{
	struct silence *all = xcalloc(SILENCES_MAX, sizeof *all);
	struct reading r = { .silences = all };
	int code = read_all(bus, &r, err);
	bool found = false;
	for (size_t i = 0; i < r.count; i++)
		found = found || strcmp(all[i].id, id) == 0;
	free(all);
	if (!code && !found)
		return error_set(err, WEIR_NOT_FOUND, "there is no such silence, or it has ended");
	return code ? code : bus_hash_delete(bus, SILENCES_KEY, &id, 1, err);
}

bool silence_covers(const struct silence *s, const char *key, const char *runbook, int64_t now_ms)
{
	return now_ms < s->expires_ms && (fnmatch(s->pattern, key, FNM_NOESCAPE) == 0 || strcmp(s->pattern, runbook) == 0);
}
