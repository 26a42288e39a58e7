/* tally.c - counting by message type and error class: metrics, and the sum of all instances in Redis. */
#include "bus/lane/tally.h"
#include "bus/core/transport.h"
#include "bus/redis/command.h"
#include "bus/registry.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TELL_EVERY_MS 1000
#define ROWS_SHARE 8 /* rooms asked for at once */
#define TEXTS_MAX (16u << 20)

static const struct {
	const char *name, *metric;
} figures[TALLY_FIGURES] = {
	[TALLY_ATTEMPTS] = { "attempts", "weir_bus_attempts_total" },
	[TALLY_RETRIED] = { "retried", "weir_bus_retried_total" },
	[TALLY_RECOVERED] = { "recovered", "weir_bus_recovered_total" },
	[TALLY_PARKED] = { "parked", "weir_bus_dead_letters_total" },
};

static const char *class_name(int klass)
{
	return klass == RETRY_ANY ? "none" : retry_class_name((enum retry_class)klass);
}

static const char *type_name(uint16_t type)
{
	return type ? message_type_name(type) : "unknown";
}

/* -- counting ---------------------------------------------------------------------------------------------------------------- */

void bus_tally_init(struct bus_tally *t, struct bus *bus, const char *chain, const char *topic, const char *subscription)
{
	*t = (struct bus_tally){ .bus = bus, .chain = chain, .topic = topic, .subscription = subscription };
}

/* Types come from outside: all that this build does not know are one. */
static struct tally_row *row_of(struct bus_tally *t, uint16_t type)
{
	type = bus_type_of(type) ? type : 0;
	if (t->last < t->count && t->rows[t->last].type == type)
		return &t->rows[t->last];
	for (t->last = 0; t->last < t->count; t->last++)
		if (t->rows[t->last].type == type)
			return &t->rows[t->last];
	if (t->count == t->capacity) {
		t->capacity += ROWS_SHARE;
		t->rows = xrealloc(t->rows, t->capacity, sizeof *t->rows);
	}
	struct tally_row *row = &t->rows[t->count++];
	memset(row, 0, sizeof *row);
	row->type = type;
	return row;
}

void bus_tally_add(struct bus_tally *t, uint16_t type, int code, enum tally_figure figure, uint64_t n)
{
	int klass = code ? (int)retry_class_of(code) : RETRY_ANY;
	struct tally_row *row = row_of(t, type);
	struct metric **metric = &row->metrics[klass][figure];
	row->counted[klass][figure] += n;
	t->news = true;
	if (!*metric && t->bus->options.metrics) {
		const char *labels[METRICS_LABELS_MAX] = { t->chain, t->topic, t->subscription, type_name(row->type),
							   figure == TALLY_RECOVERED ? NULL : class_name(klass) };
		*metric = metrics_series(t->bus->options.metrics, figures[figure].metric, labels);
	}
	if (*metric)
		metric_add(*metric, n);
}

void bus_tally_attempt(struct bus_tally *t, uint16_t type, int code, uint32_t failures_before)
{
	bus_tally_add(t, type, code, TALLY_ATTEMPTS, 1);
	if (code == 0 && failures_before > 0)
		bus_tally_add(t, type, 0, TALLY_RECOVERED, 1);
}

/* -- telling ------------------------------------------------------------------------------------------------------------------- */

/* What is new in one row: "type/class/figure" and by how much. */
static void add_news(struct bus_args *a, struct tally_row *row)
{
	for (int c = 0; c < TALLY_CLASSES; c++)
		for (int f = 0; f < TALLY_FIGURES; f++) {
			if (row->counted[c][f] == row->told[c][f])
				continue;
			bus_args_add_format(a, "%s/%s/%s", type_name(row->type), class_name(c), figures[f].name);
			bus_args_add_u64(a, row->counted[c][f] - row->told[c][f]);
		}
}

static void tell(struct bus_tally *t)
{
	struct bus_args a = { 0 };
	char anchor[KEY_MAX];
	bus_anchor(t->chain, anchor);
	bus_call(&a, "count", anchor);
	bus_args_add(&a, t->topic);
	bus_args_add(&a, t->subscription);
	for (size_t i = 0; i < t->count; i++)
		add_news(&a, &t->rows[i]);
	if (bus_run_once(t->bus, &a, NULL) == 0) {
		for (size_t i = 0; i < t->count; i++)
			memcpy(t->rows[i].told, t->rows[i].counted, sizeof t->rows[i].told);
		t->news = false;
	}
	bus_args_free(&a);
}

void bus_tally_tell(struct bus_tally *t)
{
	if (!t->news || t->bus->transport || clock_mono_ms() < t->tell_ms)
		return;
	tell(t);
	t->tell_ms = clock_mono_ms() + TELL_EVERY_MS;
}

void bus_tally_free(struct bus_tally *t)
{
	if (t->news && !t->bus->transport)
		tell(t);
	free(t->rows);
	*t = (struct bus_tally){ 0 };
}

/* -- reading ------------------------------------------------------------------------------------------------------------------- */

void bus_tally_each(const struct tally_row *rows, size_t n, bus_statistics_fn *fn, void *arg)
{
	static const uint64_t nothing[TALLY_FIGURES];
	for (size_t i = 0; i < n; i++)
		for (int c = 0; c < TALLY_CLASSES; c++) {
			const uint64_t *of = rows[i].counted[c];
			if (memcmp(of, nothing, sizeof nothing) == 0)
				continue;
			fn(&(struct bus_statistics){ type_name(rows[i].type), class_name(c), of[TALLY_ATTEMPTS], of[TALLY_RETRIED],
						     of[TALLY_RECOVERED], of[TALLY_PARKED] },
			   arg);
		}
}

/* Fields as Redis has them, put together to rows. */
struct sum {
	struct bus_statistics *rows;
	size_t count, capacity;
	struct arena *texts;
};

/* NULL: more text than any bus writes. */
static struct bus_statistics *sum_row(struct sum *s, const char *type, const char *klass)
{
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->rows[i].type, type) == 0 && strcmp(s->rows[i].error_class, klass) == 0)
			return &s->rows[i];
	if (s->count == s->capacity) {
		s->capacity += ROWS_SHARE;
		s->rows = xrealloc(s->rows, s->capacity, sizeof *s->rows);
	}
	struct bus_statistics row = { .type = arena_text(s->texts, type), .error_class = arena_text(s->texts, klass) };
	if (!row.type || !row.error_class)
		return NULL;
	s->rows[s->count] = row;
	return &s->rows[s->count++];
}

static void on_field(const char *name, const char *value, void *arg)
{
	struct sum *s = arg;
	char text[KEY_MAX];
	if (strlen(name) >= sizeof text)
		return;
	memcpy(text, name, strlen(name) + 1);
	char *figure = strrchr(text, '/');
	if (!figure)
		return;
	*figure++ = 0;
	char *klass = strrchr(text, '/'); /* a type's name may have any characters */
	if (!klass)
		return;
	*klass++ = 0;
	struct bus_statistics *row = sum_row(s, text, klass);
	if (!row)
		return;
	uint64_t *const places[TALLY_FIGURES] = { &row->attempts, &row->retried, &row->recovered, &row->parked };
	for (int f = 0; f < TALLY_FIGURES; f++)
		if (strcmp(figures[f].name, figure) == 0)
			*places[f] = strtoull(value, NULL, 10);
}

int bus_statistics_read(struct bus *bus, const char *chain, const char *topic, const char *subscription, bus_statistics_fn *fn, void *arg,
			struct error *err)
{
	char key[KEY_MAX];
	struct sum s = { 0 };
	if (bus->transport)
		return bus_refuse(bus, "the sum of statistics", err);
	snprintf(key, sizeof key, STATISTICS_KEY_FORMAT, chain, topic, subscription);
	s.texts = arena_new(TEXTS_MAX);
	int r = bus_hash_read(bus, key, on_field, &s, err);
	for (size_t i = 0; i < s.count && r == 0; i++)
		fn(&s.rows[i], arg);
	free(s.rows);
	arena_free(&s.texts);
	return r == WEIR_NOT_FOUND ? 0 : r;
}
