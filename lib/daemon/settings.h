/* settings.h - private to lib/daemon: the table of settings that parser, manual and sample are made from, and the steps of loading:
 * YAML or environment text (config.c) -> one checked value (value.c) -> what a range cannot say (check.c). */
#ifndef WEIR_DAEMON_SETTINGS_H
#define WEIR_DAEMON_SETTINGS_H

#include "daemon/config.h"

enum setting_type {
	SETTING_STRING,
	SETTING_SECRET,      /* a string that is never printed; "file:/path" reads it from there */
	SETTING_BOOL,
	SETTING_INT,         /* int64_t */
	SETTING_UNSIGNED,    /* uint64_t */
	SETTING_DURATION_MS, /* int64_t; "500ms", "5s", "2m", or bare milliseconds */
	SETTING_BYTES,       /* int64_t; "64KiB", "16MiB", or bare bytes */
	SETTING_RATIO,       /* int64_t, millionths; "0.01" */
	SETTING_CHOICE,      /* int enum: index into choices */
};

/* Where a setting lives: in struct config itself, or in an element of a list. */
enum setting_owner { OWNER_CONFIG, OWNER_CHAIN, OWNER_ENDPOINT, OWNER_KEY, OWNER_DESTINATION };

struct setting {
	enum setting_owner owner;
	const char *path; /* dotted, below the owner */
	enum setting_type type;
	size_t offset;
	const char *initial; /* default, as text */
	int64_t min, max;
	const char *const *choices; /* NULL-ended; for SETTING_CHOICE, and for strings limited to a set */
	const char *text;           /* the manual's paragraph */
};

extern const struct setting settings[];
extern const size_t settings_count;

/* Which struct holds a list of which elements. */
struct setting_list {
	enum setting_owner owner;
	const char *path;
	enum setting_owner element;
	size_t element_size, array_offset, count_offset, max;
};
extern const struct setting_list setting_lists[];
extern const size_t setting_lists_count;

size_t setting_list_count(const struct setting_list *, const void *owner);
void *setting_list_element(const struct setting_list *, void *owner, size_t index);
void *setting_list_append(const struct setting_list *, void *owner); /* a zeroed element; NULL when the list is full */

/* Checks text against the setting's type and range and stores it in owner. shown: how messages name the setting. WEIR_CONFIG. */
int setting_assign(const struct setting *, void *owner, const char *text, const char *shown, struct error *err);
const char *setting_allowed(const struct setting *, char ret[256]); /* "1 to 100", "logfmt, json"; empty: anything */

/* The name below prefix ("bus", or "") that is nearest to an unknown one, or NULL when none is near. */
const char *setting_nearest(enum setting_owner, const char *prefix, const char *name, char ret[65]);

/* Where values were read, so that a check made after loading can still name file, line and column. */
struct origin {
	char *path;     /* owned: "chains[0].endpoints[1].url" */
	char *variable; /* owned: the environment variable, or NULL: the file */
	size_t line, column; /* from 1 */
};
struct origins {
	const char *file;
	struct origin *items; /* owned; one per value and list element of the file, so bounded by its size */
	size_t count, capacity;
};
void origins_add(struct origins *, const char *path, const char *variable, size_t line, size_t column);
const struct origin *origins_find(const struct origins *, const char *path); /* or of what holds it, or NULL */
void origins_free(struct origins *);

int settings_check(struct config *, const struct origins *, struct error *err);

#endif
