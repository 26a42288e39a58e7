/* registry.c - the table of message types, its rules, and upcasting. */
#include "bus/registry.h"

#include "weir/streams.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define UPCAST_MAX (128u << 20) /* of a body on its way through the versions */

static const struct bus_type *types[BUS_TYPES_MAX];
static size_t type_count;
static const struct bus_type *by_id[UINT16_MAX + 1]; /* asked for every message */

static void add(const struct bus_type *t)
{
	types[type_count++] = t;
	by_id[t->id] = t;
}

/* -- weir's own, for programs that add none ---------------------------------------------------------------------------------- */

static struct bus_type own[] = {
#define X(name, id, version, klass) { (id), #name, (version), 0, BUS_##klass, NULL, false, NULL, NULL },
	MESSAGE_TYPES(X)
#undef X
};
#define OWN (sizeof own / sizeof own[0])
static char own_names[OWN][32];

static void add_own(void)
{
	if (type_count > 0)
		return;
	for (size_t i = 0; i < OWN; i++) {
		for (size_t j = 0; own[i].name[j] && j + 1 < sizeof own_names[0]; j++)
			own_names[i][j] = (char)tolower((unsigned char)own[i].name[j]);
		own[i].name = own_names[i];
		add(&own[i]);
	}
}

static void prepare(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, add_own);
}

/* -- adding ------------------------------------------------------------------------------------------------------------------- */

static int check_alone(const struct bus_type *t, struct error *err)
{
	if (t->id == 0 || !t->name || !*t->name)
		return error_set(err, WEIR_CONFIG, "message type %u \"%s\": an id above 0 and a name are needed", t->id, t->name ? t->name : "");
	if (t->version == 0 || t->oldest > t->version)
		return error_set(err, WEIR_CONFIG, "message type %s: it writes version %u and reads from %u on", t->name, t->version, t->oldest);
	if (t->klass > BUS_LOW)
		return error_set(err, WEIR_CONFIG, "message type %s: no such class: %d", t->name, (int)t->klass);
	for (unsigned v = t->oldest ? t->oldest : t->version; v < t->version; v++)
		if (!t->upcasters || !t->upcasters[v - t->oldest])
			return error_set(err, WEIR_CONFIG, "message type %s: there is no upcaster from version %u to %u", t->name, v, v + 1);
	return 0;
}

static int check_pair(const struct bus_type *a, const struct bus_type *b, struct error *err)
{
	if (a->id == b->id || strcmp(a->name, b->name) == 0)
		return error_set(err, WEIR_CONFIG, "message types %u \"%s\" and %u \"%s\": ids and names are given once", a->id, a->name, b->id,
				 b->name);
	bool ordered = a->key_space && b->key_space && strcmp(a->key_space, b->key_space) == 0 && !a->independent && !b->independent;
	if (ordered && a->klass != b->klass)
		return error_set(err, WEIR_CONFIG,
				 "message types %s and %s have keys of one space (%s) and different classes: their order would be lost. Give them "
				 "one class, or "
				 "declare one independent",
				 a->name, b->name, a->key_space);
	return 0;
}

int bus_types_add(const struct bus_type *rows, size_t n, struct error *err)
{
	if (type_count + n > BUS_TYPES_MAX)
		return error_set(err, WEIR_CONFIG, "more than %d message types", BUS_TYPES_MAX);
	for (size_t i = 0; i < n; i++) {
		int r = check_alone(&rows[i], err);
		for (size_t k = 0; k < i && r == 0; k++)
			r = check_pair(&rows[k], &rows[i], err);
		for (size_t k = 0; k < type_count && r == 0; k++)
			r = check_pair(types[k], &rows[i], err);
		if (r != 0)
			return r;
	}
	for (size_t i = 0; i < n; i++)
		add(&rows[i]);
	return 0;
}

/* -- asking --------------------------------------------------------------------------------------------------------------------- */

const struct bus_type *bus_type_of(uint16_t id)
{
	prepare();
	return by_id[id];
}

void bus_types_each(bool (*fn)(const struct bus_type *, void *), void *arg)
{
	prepare();
	for (size_t i = 0; i < type_count && fn(types[i], arg); i++)
		;
}

const char *message_type_name(uint16_t type)
{
	static _Thread_local char unknown[16];
	const struct bus_type *t = bus_type_of(type);
	if (t)
		return t->name;
	snprintf(unknown, sizeof unknown, "#%u", type);
	return unknown;
}

int message_type_class(uint16_t type)
{
	const struct bus_type *t = bus_type_of(type);
	return t ? (int)t->klass : -1;
}

int bus_upcast(uint16_t id, uint16_t version, struct bytes body, struct buf *buf, struct bytes *ret, struct error *err)
{
	const struct bus_type *t = bus_type_of(id);
	*ret = body;
	if (!t)
		return error_set(err, WEIR_UNSUPPORTED, "this build does not know message type %u", id);
	if (version == t->version)
		return 0;
	if (version > t->version || version < (t->oldest ? t->oldest : t->version))
		return error_set(err, WEIR_UNSUPPORTED, "this build reads versions %u to %u of message type %s, not %u",
				 t->oldest ? t->oldest : t->version, t->version, t->name, version);
	struct buf from = BUF_INIT(UPCAST_MAX);
	int r = 0;
	for (unsigned v = version; v < t->version && r == 0; v++) {
		struct buf next = BUF_INIT(UPCAST_MAX);
		r = t->upcasters[v - t->oldest](*ret, &next, err);
		if (r == 0 && next.overflow)
			r = error_set(err, WEIR_LIMIT, "message type %s: its body of version %u is larger than %u MiB", t->name, v + 1,
				      UPCAST_MAX >> 20);
		else if (r != 0)
			r = error_prefix(err, "message type %s, from version %u to %u", t->name, v, v + 1);
		buf_free(&from);
		from = next;
		*ret = (struct bytes){ from.data, from.size };
	}
	buf_free(buf);
	*buf = from;
	return r;
}
