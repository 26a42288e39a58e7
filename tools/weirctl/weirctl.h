/* weirctl.h - the operators' command line: one table of commands, one way to ask, two ways to show.
 *
 * main.c  arguments and the table of commands · ask.c  HTTP and JSON · show.c  tables for people, JSON for programs
 */
#ifndef WEIRCTL_H
#define WEIRCTL_H

#include "base/error.h"
#include "base/mem.h"

#include <stdbool.h>
#include <yyjson.h>

struct settings {
	const char *api, *admin, *key; /* addresses of the two listeners, and an API key */
	const char *chain;
	bool json;
};

/* The answer's document, or NULL with *err filled (a problem's detail, or why there was no answer). body NULL: GET. */
yyjson_doc *ask(const struct settings *, bool admin, const char *path, const char *body, struct error *err);
/* Appends text percent-encoded for a path or query. */
void add_encoded(struct buf *out, const char *text);

/* A column: its head, and where its value stands in an item ("head.height"). */
struct column {
	const char *head, *path;
};
/* The items of a list answer as a table, or the whole answer as JSON. */
void show_list(const struct settings *, yyjson_doc *, const struct column *, size_t n);
void show_document(const struct settings *, yyjson_doc *); /* indented JSON, also for people: nested facts */
const char *value_text(yyjson_val *, char ret[96]);        /* one value as people read it */
yyjson_val *value_at(yyjson_val *item, const char *path);

/* Command that needs more than one question: explain.c */
int explain(const struct settings *, int argc, char **argv, struct error *err);

#endif
