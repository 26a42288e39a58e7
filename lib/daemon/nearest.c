/* nearest.c - the setting that somebody meant who wrote an unknown one: the nearest name in the table, by letters to change. */
#include "daemon/settings.h"

#include <stdio.h>
#include <string.h>

#define LETTERS_MAX 2
#define NAME_MAX_BYTES 64

static size_t least(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;
	return ab < c ? ab : c;
}

/* Levenshtein's distance, one row of his table at a time. */
static size_t distance(const char *a, const char *b, size_t b_length)
{
	size_t row[NAME_MAX_BYTES + 1];
	for (size_t j = 0; j <= b_length; j++)
		row[j] = j;
	for (size_t i = 0; a[i]; i++) {
		size_t diagonal = row[0];
		row[0] = i + 1;
		for (size_t j = 0; j < b_length; j++) {
			size_t above = row[j + 1];
			row[j + 1] = least(above + 1, row[j] + 1, diagonal + (a[i] != b[j]));
			diagonal = above;
		}
	}
	return row[b_length];
}

struct search {
	const char *prefix, *name;
	size_t best;
	char found[NAME_MAX_BYTES + 1];
};

/* path's name below the prefix, if it stands there: a setting, a list or a section. */
static void look_at(struct search *s, const char *path)
{
	size_t n = strlen(s->prefix);
	if (n > 0 && (strncmp(path, s->prefix, n) != 0 || path[n] != '.'))
		return;
	const char *name = path + n + (n > 0);
	size_t length = strcspn(name, ".");
	if (length > NAME_MAX_BYTES)
		return;
	size_t d = distance(s->name, name, length);
	if (d < s->best) {
		s->best = d;
		snprintf(s->found, sizeof s->found, "%.*s", (int)length, name);
	}
}

const char *setting_nearest(enum setting_owner owner, const char *prefix, const char *name, char ret[65])
{
	struct search s = { .prefix = prefix, .name = name, .best = LETTERS_MAX + 1 };
	for (size_t i = 0; i < settings_count; i++)
		if (settings[i].owner == owner)
			look_at(&s, settings[i].path);
	for (size_t i = 0; i < setting_lists_count; i++)
		if (setting_lists[i].owner == owner)
			look_at(&s, setting_lists[i].path);
	snprintf(ret, 65, "%s", s.found);
	return *ret && s.best < strlen(name) ? ret : NULL; /* "x" is not meant to be anything */
}
