/* settings.h - private to lib/daemon: the table of settings that parser, manual and sample are made from. */
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
	SETTING_CHOICE,      /* int enum: index into choices */
};

/* Where a setting lives: in struct config itself, or in an element of a list. */
enum setting_owner { OWNER_CONFIG, OWNER_CHAIN, OWNER_ENDPOINT, OWNER_KEY };

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

#endif
