/* metrics.c - the registry: series found under a lock, updated with atomics. */
#include "base/metrics.h"

#include "base/hash.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS_MAX 24
#define DEFS_MAX 512
#define PLACES 1024 /* more than DEFS_MAX: names are looked up with every request */

const double METRICS_SECONDS[] = { 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 0 };

struct metric {
	const struct metric_def *def;
	struct metric *next; /* of the same def */
	char *values[METRICS_LABELS_MAX];
	_Atomic uint64_t count;
	_Atomic uint64_t bits; /* gauge value or histogram sum, as the bits of a double */
	_Atomic uint64_t buckets[BUCKETS_MAX];
};

struct family {
	const struct metric_def *def;
	struct metric *first;
	size_t count;
};

struct metrics {
	pthread_mutex_t lock; /* guards families and their lists, not the values */
	struct family families[DEFS_MAX];
	size_t count;
	uint16_t places[PLACES]; /* index + 1 of a family, by its name's hash; 0: none */
	_Atomic uint64_t dropped;
	struct metric overflow; /* shared by everything that found no room */
};

static const struct metric_def overflow_def = { .name = "overflow", .kind = METRIC_HISTOGRAM, .help = "" };

struct metrics *metrics_new(void)
{
	struct metrics *m = xmalloc(sizeof *m);
	pthread_mutex_init(&m->lock, NULL);
	m->overflow.def = &overflow_def;
	return m;
}

void metrics_free(struct metrics **m)
{
	if (!*m)
		return;
	for (size_t i = 0; i < (*m)->count; i++)
		for (struct metric *s = (*m)->families[i].first, *next; s; s = next) {
			next = s->next;
			for (size_t j = 0; j < METRICS_LABELS_MAX; j++)
				free(s->values[j]);
			free(s);
		}
	pthread_mutex_destroy(&(*m)->lock);
	xfree(m);
}

/* Where the family is, or would be. */
static uint16_t *place_of(struct metrics *m, const char *name)
{
	size_t i = (size_t)hash_bytes(HASH_BASIS, name, strlen(name)) % PLACES;
	while (m->places[i] && strcmp(m->families[m->places[i] - 1].def->name, name) != 0)
		i = (i + 1) % PLACES;
	return &m->places[i];
}

static struct family *family_find(struct metrics *m, const char *name)
{
	uint16_t place = *place_of(m, name);
	return place ? &m->families[place - 1] : NULL;
}

void metrics_register(struct metrics *m, const struct metric_def *defs, size_t n)
{
	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < n; i++)
		if (!family_find(m, defs[i].name) && m->count < DEFS_MAX) {
			m->families[m->count++] = (struct family){ .def = &defs[i] };
			*place_of(m, defs[i].name) = (uint16_t)m->count;
		}
	pthread_mutex_unlock(&m->lock);
}

static bool same_labels(const struct metric *s, const char *const values[METRICS_LABELS_MAX])
{
	for (size_t i = 0; i < METRICS_LABELS_MAX; i++) {
		if (!s->values[i] != !values[i])
			return false;
		if (values[i] && strcmp(s->values[i], values[i]) != 0)
			return false;
	}
	return true;
}

struct metric *metrics_get(struct metrics *m, const char *name, const char *label1, const char *label2, const char *label3)
{
	return metrics_series(m, name, (const char *const[METRICS_LABELS_MAX]){ label1, label2, label3 });
}

struct metric *metrics_series(struct metrics *m, const char *name, const char *const labels[METRICS_LABELS_MAX])
{
	const char *values[METRICS_LABELS_MAX] = { NULL };
	for (size_t i = 0; i < METRICS_LABELS_MAX && labels[i]; i++)
		values[i] = labels[i];
	struct metric *found = NULL;
	pthread_mutex_lock(&m->lock);
	struct family *f = family_find(m, name);
	if (f) {
		for (found = f->first; found && !same_labels(found, values); found = found->next)
			;
		if (!found && f->count < METRICS_SERIES_MAX) {
			found = xmalloc(sizeof *found);
			found->def = f->def;
			for (size_t i = 0; i < METRICS_LABELS_MAX; i++)
				found->values[i] = xstrdup(values[i]);
			found->next = f->first;
			f->first = found;
			f->count++;
		}
	}
	pthread_mutex_unlock(&m->lock);
	if (found)
		return found;
	atomic_fetch_add(&m->dropped, 1);
	return &m->overflow;
}

static double to_double(uint64_t bits)
{
	double value;
	memcpy(&value, &bits, sizeof value);
	return value;
}

static uint64_t to_bits(double value)
{
	uint64_t bits;
	memcpy(&bits, &value, sizeof bits);
	return bits;
}

void metric_add(struct metric *s, uint64_t n)
{
	atomic_fetch_add_explicit(&s->count, n, memory_order_relaxed);
}

void metric_inc(struct metric *s)
{
	metric_add(s, 1);
}

void metric_set(struct metric *s, double value)
{
	atomic_store_explicit(&s->bits, to_bits(value), memory_order_relaxed);
}

void metric_observe(struct metric *s, double value)
{
	const double *bounds = s->def->buckets ? s->def->buckets : METRICS_SECONDS;
	for (size_t i = 0; i < BUCKETS_MAX && bounds[i] > 0; i++)
		if (value <= bounds[i]) {
			atomic_fetch_add_explicit(&s->buckets[i], 1, memory_order_relaxed);
			break;
		}
	uint64_t old = atomic_load_explicit(&s->bits, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&s->bits, &old, to_bits(to_double(old) + value), memory_order_relaxed, memory_order_relaxed))
		;
	metric_inc(s);
}

uint64_t metric_count(const struct metric *s)
{
	return atomic_load_explicit(&s->count, memory_order_relaxed);
}

double metric_value(const struct metric *s)
{
	return to_double(atomic_load_explicit(&s->bits, memory_order_relaxed));
}

/* -- printing ------------------------------------------------------------------------------------------------------------- */

static void print_labels(const struct metric *s, const char *le, struct buf *out)
{
	bool any = false;
	for (size_t i = 0; i < METRICS_LABELS_MAX && s->values[i] && s->def->labels[i]; i++) {
		buf_printf(out, "%s%s=\"", any ? "," : "{", s->def->labels[i]);
		for (const char *p = s->values[i]; *p; p++) {
			if (*p == '"' || *p == '\\')
				buf_add_byte(out, '\\');
			if (*p == '\n')
				buf_add_str(out, "\\n");
			else
				buf_add_byte(out, (uint8_t)*p);
		}
		buf_add_byte(out, '"');
		any = true;
	}
	if (le) {
		buf_printf(out, "%sle=\"%s\"", any ? "," : "{", le);
		any = true;
	}
	if (any)
		buf_add_byte(out, '}');
}

static void print_histogram(const struct metric *s, struct buf *out)
{
	const double *bounds = s->def->buckets ? s->def->buckets : METRICS_SECONDS;
	uint64_t sum = 0;
	for (size_t i = 0; i < BUCKETS_MAX && bounds[i] > 0; i++) {
		char le[32];
		snprintf(le, sizeof le, "%g", bounds[i]);
		sum += atomic_load_explicit(&s->buckets[i], memory_order_relaxed);
		buf_printf(out, "%s_bucket", s->def->name);
		print_labels(s, le, out);
		buf_printf(out, " %" PRIu64 "\n", sum);
	}
	uint64_t count = metric_count(s);
	buf_printf(out, "%s_bucket", s->def->name);
	print_labels(s, "+Inf", out);
	buf_printf(out, " %" PRIu64 "\n%s_sum", count < sum ? sum : count, s->def->name);
	print_labels(s, NULL, out);
	buf_printf(out, " %.9g\n%s_count", metric_value(s), s->def->name);
	print_labels(s, NULL, out);
	buf_printf(out, " %" PRIu64 "\n", count < sum ? sum : count);
}

static const char *const kind_names[] = { "counter", "gauge", "histogram" };

void metrics_print(struct metrics *m, struct buf *out)
{
	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < m->count; i++) {
		const struct family *f = &m->families[i];
		if (!f->first)
			continue;
		buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", f->def->name, f->def->help, f->def->name, kind_names[f->def->kind]);
		for (const struct metric *s = f->first; s; s = s->next) {
			if (f->def->kind == METRIC_HISTOGRAM) {
				print_histogram(s, out);
				continue;
			}
			buf_add_str(out, f->def->name);
			print_labels(s, NULL, out);
			if (f->def->kind == METRIC_COUNTER)
				buf_printf(out, " %" PRIu64 "\n", metric_count(s));
			else
				buf_printf(out, " %.17g\n", metric_value(s));
		}
	}
	pthread_mutex_unlock(&m->lock);
	buf_printf(out, "# HELP weir_metrics_series_dropped_total Series that found no room.\n# TYPE weir_metrics_series_dropped_total counter\n"
			"weir_metrics_series_dropped_total %" PRIu64 "\n",
		   atomic_load(&m->dropped));
}

void metrics_print_markdown(const struct metric_def *defs, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n; i++) {
		buf_printf(out, "| `%s` | %s | ", defs[i].name, kind_names[defs[i].kind]);
		for (size_t j = 0; j < METRICS_LABELS_MAX && defs[i].labels[j]; j++)
			buf_printf(out, "%s%s", j ? ", " : "", defs[i].labels[j]);
		buf_printf(out, " | %s |\n", defs[i].help);
	}
}
