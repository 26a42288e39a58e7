/* weirctl.h - the operators' command line: one table of commands, one way to ask, two ways to show.
 *
 * main.c  options, the table of commands · ask.c  HTTP and JSON · list.c  commands that list · dlq.c  dead letters ·
 * chain.c  commands to a chain · status.c, explain.c  what takes more than one table · show.c  tables for people, JSON for programs
 */
#ifndef WEIRCTL_H
#define WEIRCTL_H

#include "base/error.h"
#include "base/mem.h"

#include <stdbool.h>
#include <yyjson.h>

struct settings {
	const char *api, *admin, *key; /* addresses of the two listeners, and an API key */
	const char *chain;             /* NULL: not said */
	const char *subscription, *type, *reason, *why, *cursor, *limit; /* NULL: not said */
	bool all, json;
};

typedef int command_fn(struct settings *, int argc, char **argv, struct error *err);
command_fn status, chains, gaps, incidents, dlq_list, dlq_show, dlq_replay, dlq_purge, refetch, reconcile, pause_chain, resume_chain, rewind_chain,
	explain;

/* The answer's document, or NULL with *err filled (a problem's detail, or why there was no answer). body NULL: GET. */
yyjson_doc *ask(const struct settings *, bool admin, const char *path, yyjson_mut_doc *body, struct error *err);
void add_encoded(struct buf *out, const char *text);                         /* percent-encoded for a path or query */
void add_query(struct buf *path, const char *name, const char *value);       /* "?name=value", then "&…"; NULL: nothing */
void add_text(yyjson_mut_doc *body, const char *name, const char *value);    /* a member of a body's object; NULL: nothing */
yyjson_mut_doc *new_body(void);                                              /* an empty object */
int find_chain(struct settings *, struct error *err);                        /* where one chain is served nobody should have to name it */
int read_height(const char *text, uint64_t *ret, struct error *err);

/* A column: its head, and where its value stands in an item ("head.height"). */
struct column {
	const char *head, *path;
};
void show_items(yyjson_val *items, const struct column *columns, size_t n); /* a table, for people */
void show_facts(yyjson_val *object, const char *prefix);                    /* a line per member; lists of objects as tables below */
void show_json(yyjson_doc *);                                               /* one line, for programs */
const char *value_text(yyjson_val *, char ret[96]); /* one value as people read it; nothing in it can move a terminal's cursor */
yyjson_val *value_at(yyjson_val *item, const char *path);

#endif
