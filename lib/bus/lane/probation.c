/* probation.c - over what it was that instances of an ordered lane ended.
 *
 * A hash per subscription and topic. An instance writes that it holds, and, when it goes in order, that it left clean. One that finds
 * another's name and no clean leave is on probation: it notes each of the next things that it begins. What stood there when an instance ended
 * is a suspect, counted by the next one (field s:<what>; l:<what> is the letter that was made of it). In normal running nothing is written.
 * Instances are told apart by a random name: a restarted container may have the same host and pid.
 */
#include "bus/lane/probation.h"
#include "bus/core/transport.h"
#include "bus/lane/owner.h"
#include "bus/redis/command.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUSPECTS_MAX 256 /* more of them are no pattern: begun anew */

/* -- the hash ------------------------------------------------------------------------------------------------------------------- */

static void key_of(const struct bus_probation *p, char ret[KEY_MAX])
{
	snprintf(ret, KEY_MAX, PROBE_KEY_FORMAT, p->chain, p->topic, p->subscription);
}

static int delete_all(struct bus_probation *p, struct error *err)
{
	struct bus_args a = { 0 };
	char key[KEY_MAX];
	key_of(p, key);
	bus_args_add(&a, "DEL");
	bus_args_add(&a, key);
	int r = bus_run(p->bus, &a, 0, NULL, err);
	bus_args_free(&a);
	return r;
}

static int write_fields(struct bus_probation *p, const struct bus_field *fields, size_t n, struct error *err)
{
	char key[KEY_MAX];
	key_of(p, key);
	return bus_hash_write(p->bus, key, fields, n, err);
}

/* -- suspects -------------------------------------------------------------------------------------------------------------------- */

static struct bus_suspect *find(const struct bus_probation *p, const char *what)
{
	for (size_t i = 0; i < p->suspect_count; i++)
		if (strcmp(p->suspects[i].what, what) == 0)
			return &p->suspects[i];
	return NULL;
}

static struct bus_suspect *find_or_add(struct bus_probation *p, const char *what)
{
	struct bus_suspect *known = find(p, what);
	if (known || p->suspect_count == SUSPECTS_MAX)
		return known;
	p->suspects = xrealloc(p->suspects, p->suspect_count + 1, sizeof *p->suspects);
	p->suspects[p->suspect_count] = (struct bus_suspect){ .what = xstrdup(what) };
	return &p->suspects[p->suspect_count++];
}

static void forget_all(struct bus_probation *p)
{
	for (size_t i = 0; i < p->suspect_count; i++)
		free(p->suspects[i].what);
	xfree(&p->suspects);
	p->suspect_count = 0;
}

struct found {
	struct bus_probation *p;
	char holder[32], at[BUS_WHAT_MAX];
	bool clean;
};

static void on_field(const char *name, const char *value, void *arg)
{
	struct found *f = arg;
	struct bus_suspect *s = name[0] && name[1] == ':' ? find_or_add(f->p, name + 2) : NULL;
	if (s && name[0] == 's')
		s->times = (int)strtol(value, NULL, 10);
	else if (s && name[0] == 'l')
		snprintf(s->letter, sizeof s->letter, "%s", value);
	else if (strcmp(name, "holder") == 0)
		snprintf(f->holder, sizeof f->holder, "%s", value);
	else if (strcmp(name, "at") == 0)
		snprintf(f->at, sizeof f->at, "%s", value);
	else if (strcmp(name, "clean") == 0)
		f->clean = strcmp(value, "1") == 0;
}

static int look(struct bus_probation *p, struct found *ret, struct error *err)
{
	char key[KEY_MAX];
	key_of(p, key);
	forget_all(p);
	*ret = (struct found){ .p = p };
	int r = bus_hash_read(p->bus, key, on_field, ret, err);
	return r == WEIR_NOT_FOUND ? 0 : r;
}

/* We hold it now, and say so. over: what the instance before us ended over, or empty. It is counted in the same step, and as what it comes to: a call that is
 * repeated because its answer was lost counts it once. */
static int enter(struct bus_probation *p, const char *over, struct error *err)
{
	char field[BUS_WHAT_MAX + 2], times[24];
	struct bus_suspect *s = *over ? find_or_add(p, over) : NULL;
	snprintf(field, sizeof field, "s:%s", over);
	snprintf(times, sizeof times, "%d", s ? s->times + 1 : 0);
	const struct bus_field fields[] = { { "holder", p->instance }, { "clean", "0" }, { "at", "" }, { field, times } };
	int r = write_fields(p, fields, s ? 4 : 3, err);
	if (r == 0 && s)
		s->times++;
	return r;
}

/* -- a life ------------------------------------------------------------------------------------------------------------------------ */

void bus_owner_watch(struct bus_owner *o, const char *build, unsigned notes)
{
	struct bus_probation *p = bus_owner_probation(o);
	if (p->bus->transport)
		return; /* several instances own a subscription at the same time: one's name says nothing of another */
	p->budget = notes;
	if (*build)
		snprintf(p->build, sizeof p->build, "@%s", build);
	snprintf(p->instance, sizeof p->instance, "%016" PRIx64,
		 random_u64() ^ (uint64_t)clock_wall_ns()); /* also after a fork, which inherits the former */
}

int bus_probation_begin(struct bus_probation *p, struct error *err)
{
	struct found f;
	if (p->budget == 0)
		return 0;
	int r = look(p, &f, err);
	if (r != 0 || (strcmp(f.holder, p->instance) == 0 && !f.clean))
		return r;
	bool crashed = *f.holder && !f.clean;
	if (crashed && p->suspect_count == SUSPECTS_MAX) {
		forget_all(p);
		r = delete_all(p, err);
	}
	if (r == 0)
		r = enter(p, crashed ? f.at : "", err);
	p->at[0] = 0;
	if (r != 0 || !crashed)
		return r;
	p->left = p->budget;
	log_warn(&p->bus->log, "bus_probation", "the instance before ended without a good-bye: messages are noted before they are handed over",
		 LOG_S("chain", p->chain), LOG_S("topic", p->topic), LOG_S("subscription", p->subscription), LOG_S("noted_last", f.at));
	return 0;
}

/* Who followed us has counted what we had begun, or is about to: said once, for whether it was done nobody knows if the answer is lost. */
static void take_back(const struct bus_probation *p, const char *what)
{
	struct bus_args a = { 0 };
	char key[KEY_MAX];
	key_of(p, key);
	bus_args_add(&a, "HINCRBY");
	bus_args_add(&a, key);
	bus_args_add_format(&a, "s:%s", what);
	bus_args_add(&a, "-1");
	(void)bus_run_once(p->bus, &a, NULL);
	bus_args_free(&a);
}

void bus_probation_lives(struct bus_probation *p)
{
	if (*p->at)
		take_back(p, p->at);
	p->at[0] = 0;
}

void bus_probation_end(struct bus_probation *p)
{
	const struct bus_field fields[] = { { "clean", "1" }, { "at", "" } };
	if (p->budget > 0)
		(void)write_fields(p, fields, 2, NULL); /* else the next instance is careful for nothing */
}

void bus_probation_free(struct bus_probation *p)
{
	forget_all(p);
}

/* -- what is begun ----------------------------------------------------------------------------------------------------------------- */

bool bus_owner_careful(struct bus_owner *o)
{
	return bus_owner_probation(o)->left > 0;
}

void bus_message_name(const struct bus_message *m, char ret[BUS_WHAT_MAX])
{
	snprintf(ret, BUS_WHAT_MAX, "%s/%s", bus_classes[m->klass % CLASSES], *m->letter ? m->letter : m->id);
}

static void whole_name(const struct bus_probation *p, const char *what, char ret[BUS_WHAT_MAX])
{
	snprintf(ret, BUS_WHAT_MAX, "%s%s", what, p->build);
}

static struct bus_suspect *suspect_of(const struct bus_probation *p, const char *what)
{
	char name[BUS_WHAT_MAX];
	if (p->suspect_count == 0)
		return NULL;
	whole_name(p, what, name);
	return find(p, name);
}

int bus_owner_crashes(struct bus_owner *o, const char *what)
{
	const struct bus_suspect *s = suspect_of(bus_owner_probation(o), what);
	return s ? s->times : 0;
}

int bus_owner_note(struct bus_owner *o, const char *what, struct error *err)
{
	struct bus_probation *p = bus_owner_probation(o);
	char name[BUS_WHAT_MAX] = "";
	if (what && p->left > 0 && --p->left > 0)
		whole_name(p, what, name); /* the last one of the probation leaves no name behind: what ends us later was not noted */
	if (strcmp(name, p->at) == 0)
		return 0;
	const struct bus_field fields[] = { { "at", name } };
	int r = write_fields(p, fields, 1, err);
	if (r == 0)
		memcpy(p->at, name, sizeof p->at);
	return r;
}

int bus_owner_absolve(struct bus_owner *o, const char *what, struct error *err)
{
	struct bus_probation *p = bus_owner_probation(o);
	struct bus_suspect *s = suspect_of(p, what);
	char count[BUS_WHAT_MAX + 2], letter[BUS_WHAT_MAX + 2], key[KEY_MAX];
	if (!s)
		return 0;
	key_of(p, key);
	snprintf(count, sizeof count, "s:%s", s->what);
	snprintf(letter, sizeof letter, "l:%s", s->what);
	const char *const names[] = { count, letter };
	int r = bus_hash_delete(p->bus, key, names, 2, err);
	if (r != 0)
		return r;
	free(s->what);
	*s = p->suspects[--p->suspect_count];
	return 0;
}

/* -- poison ------------------------------------------------------------------------------------------------------------------------- */

static bool on_letter(const char *id, struct bytes body, void *arg)
{
	(void)id;
	(void)body;
	*(bool *)arg = true;
	return false;
}

/* What was made of it before, if nobody has replayed or purged that since. */
static int has_letter(const struct bus_probation *p, const struct bus_suspect *s, bool *ret, struct error *err)
{
	*ret = false;
	int r = *s->letter ? dead_letter_show(p->bus, p->chain, p->subscription, s->letter, on_letter, ret, err) : 0;
	return r == WEIR_NOT_FOUND ? 0 : r;
}

static int remember_letter(struct bus_probation *p, struct bus_suspect *s, const char *letter, struct error *err)
{
	char field[BUS_WHAT_MAX + 2];
	snprintf(field, sizeof field, "l:%s", s->what);
	snprintf(s->letter, sizeof s->letter, "%s", letter);
	const struct bus_field fields[] = { { field, letter } };
	return write_fields(p, fields, 1, err);
}

static int park_poison(struct bus_owner *o, struct bus_suspect *s, const struct bus_message *m, struct error *err)
{
	struct bus_probation *p = bus_owner_probation(o);
	bool there = false;
	int r = m->replay ? 0 : has_letter(p, s, &there, err);
	if (r != 0)
		return r;
	if (there) {
		log_warn(&p->bus->log, "bus_poison_left_out", "instances ended over it: it lies in the dead letters, and is not tried again until that is replayed",
			 LOG_S("chain", p->chain), LOG_S("topic", p->topic), LOG_S("subscription", p->subscription), LOG_S("what", s->what),
			 LOG_S("letter", s->letter));
		return 0;
	}
	struct error why = { 0 };
	struct bus_message keyless = *m; /* what comes later under its key must not wait behind what cannot get better */
	keyless.frame.key = (struct bytes){ NULL, 0 };
	error_set(&why, WEIR_CRASH, "instances ended %d times while they handled it", s->times);
	r = bus_owner_park(o, &keyless, &why, err);
	if (r == 0 && !m->replay)
		r = remember_letter(p, s, bus_owner_parked_last(o), err);
	if (r == 0)
		log_error(&p->bus->log, "bus_poison_parked", "instances ended over it: it became a dead letter, the others go on", LOG_S("chain", p->chain),
			  LOG_S("topic", p->topic), LOG_S("subscription", p->subscription), LOG_S("what", s->what), LOG_I("times", s->times));
	return r;
}

int bus_owner_begin(struct bus_owner *o, const struct bus_message *m, const char *what, bool *ret_poison, struct error *err)
{
	struct bus_probation *p = bus_owner_probation(o);
	char own[BUS_WHAT_MAX];
	*ret_poison = false;
	if (p->left == 0 && p->suspect_count == 0)
		return 0;
	if (!what) {
		bus_message_name(m, own);
		what = own;
	}
	struct bus_suspect *s = suspect_of(p, what);
	*ret_poison = s && s->times >= BUS_CRASHES;
#ifdef WEIR_MUTANT_NO_POISON
	*ret_poison = false;
#endif
	if (!*ret_poison)
		return bus_owner_note(o, what, err);
	int r = bus_owner_note(o, NULL, err);
	return r ? r : park_poison(o, s, m, err);
}
