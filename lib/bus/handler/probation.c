/* probation.c - which message it was over which instances of an ordered subscription ended.
 *
 * A hash per subscription and topic. An instance writes that it holds, and, when it goes in order, that it left clean. One that finds
 * another's name and no clean leave is on probation: it notes each of the next PROBATION messages before it hands it over. What was noted last
 * when an instance ended is a suspect, counted by the next one (field s:<message>). In normal running nothing is written. Instances are
 * told apart by a random name: a restarted container may have the same host and pid.
 */
#include "bus/handler/deliver.h"
#include "bus/redis/command.h"
#include "bus/core/transport.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROBATION 1024
#define SUSPECTS_MAX 256 /* more of them are no pattern: begun anew */

struct found {
	char holder[32], at[96], suspect[104];
	unsigned times, suspects; /* of the one asked for; of all */
	bool clean, any;
};

static void key_of(const struct bus_subscription *s, char ret[KEY_MAX])
{
	snprintf(ret, KEY_MAX, PROBE_KEY_FORMAT, s->chain, s->topic, s->name);
}

static void on_field(const char *name, const char *value, void *arg)
{
	struct found *f = arg;
	f->any = true;
	if (strcmp(name, "holder") == 0)
		snprintf(f->holder, sizeof f->holder, "%s", value);
	else if (strcmp(name, "at") == 0)
		snprintf(f->at, sizeof f->at, "%s", value);
	else if (strcmp(name, "clean") == 0)
		f->clean = strcmp(value, "1") == 0;
	else if (strncmp(name, "s:", 2) == 0)
		f->suspects++;
	if (strcmp(name, f->suspect) == 0)
		f->times = (unsigned)strtoul(value, NULL, 10);
}

/* at: NULL, or the message whose count is wanted. */
static int look(struct bus_subscription *s, const char *at, struct found *ret, struct error *err)
{
	char key[KEY_MAX];
	key_of(s, key);
	memset(ret, 0, sizeof *ret);
	snprintf(ret->suspect, sizeof ret->suspect, "s:%s", at ? at : "");
	int r = bus_hash_read(s->bus, key, on_field, ret, err);
	return r == WEIR_NOT_FOUND ? 0 : r;
}

static int forget(struct bus_subscription *s, struct error *err)
{
	struct bus_args a = { 0 };
	char key[KEY_MAX];
	key_of(s, key);
	bus_args_add(&a, "DEL");
	bus_args_add(&a, key);
	int r = bus_run(s->bus, &a, 0, NULL, err);
	bus_args_free(&a);
	return r;
}

/* The instance before us ended over this one. */
static int accuse(struct bus_subscription *s, const char *at, struct error *err)
{
	char key[KEY_MAX], times[16];
	struct found f;
	int r = look(s, at, &f, err);
	if (r == 0 && f.suspects >= SUSPECTS_MAX)
		r = forget(s, err);
	if (r != 0)
		return r;
	snprintf(times, sizeof times, "%u", f.times + 1);
	key_of(s, key);
	const struct bus_field fields[] = { { f.suspect, times } };
	return bus_hash_write(s->bus, key, fields, 1, err);
}

int probation_begin(struct bus_subscription *s, struct error *err)
{
	char key[KEY_MAX];
	struct found f;
	if (s->bus->transport)
		return 0; /* several instances own a subscription at the same time: one's name says nothing of another */
	int r = look(s, NULL, &f, err);
	bool ours = strcmp(f.holder, s->instance) == 0;
	if (r != 0 || (ours && !f.clean))
		return r;
	if (f.any && !f.clean) {
		s->probation = PROBATION;
		r = *f.at ? accuse(s, f.at, err) : 0;
		log_warn(&s->bus->log, "bus_probation",
			 "the instance before ended without a good-bye: messages are noted before they are handed over", LOG_S("chain", s->chain),
			 LOG_S("topic", s->topic), LOG_S("subscription", s->name), LOG_S("noted_last", f.at));
	}
	key_of(s, key);
	const struct bus_field fields[] = { { "holder", s->instance }, { "clean", "0" }, { "at", "" } };
	return r ? r : bus_hash_write(s->bus, key, fields, 3, err);
}

int probation_note(struct bus_subscription *s, const struct bus_message *m, unsigned *ret_crashes, struct error *err)
{
	char key[KEY_MAX], at[96];
	struct found f;
	snprintf(at, sizeof at, "%s/%s", bus_classes[m->klass % CLASSES], *m->letter ? m->letter : m->id);
	int r = look(s, at, &f, err);
	if (r != 0)
		return r;
	*ret_crashes = f.times;
	s->probation--;
	key_of(s, key);
	/* The last one of the probation leaves no name behind: what ends us later was not noted. */
	const struct bus_field fields[] = { { "at", s->probation == 0 || f.times >= BUS_CRASHES ? "" : at } };
	return bus_hash_write(s->bus, key, fields, 1, err);
}

void probation_end(struct bus_subscription *s)
{
	char key[KEY_MAX];
	if (s->bus->transport)
		return;
	key_of(s, key);
	const struct bus_field fields[] = { { "clean", "1" }, { "at", "" } };
	(void)bus_hash_write(s->bus, key, fields, 2, NULL); /* else the next instance is careful for nothing */
}
