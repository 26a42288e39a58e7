/* weirctl.h - the operators' command line: one table of commands, one way to ask, two ways to show.
 *
 * main.c  options, the table of commands · ask.c  HTTP and JSON · list.c  commands that list · dlq.c  dead letters · dlq_job.c  replays
 * as jobs · dlq_file.c  dead letters as files · audit.c  what operators did · key.c  API keys · user.c  who signs in by name · webhook.c  receivers of events · alert.c  alerts · weights.c  shares of classes · statistics.c  how messages fared · chain.c  commands to a chain · status.c, explain.c  what takes more than one table · show.c  tables for people, JSON for programs
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
	const char *subscription, *type, *reason, *error_class, *why, *cursor, *limit; /* NULL: not said */
	const char *message_key, *kind, *from, *to;                     /* which dead letters */
	const char *rate, *burst, *concurrency, *stop_percent; /* of a replay job */
	const char *idempotency_key; /* of anything that is done */
	const char *sha256;
	const char *addresses, *expires_in; /* of a key */
	const char *account, *asset, *state, *algorithm, *from_height, *overlap; /* of a webhook */
	bool all, json, dry_run;
};

typedef int command_fn(struct settings *, int argc, char **argv, struct error *err);
command_fn status, chains, gaps, incidents, dlq_list, dlq_show, dlq_replay, dlq_purge, dlq_counts, dlq_edit, dlq_skip, dlq_start, dlq_jobs, dlq_job,
	dlq_pause, dlq_resume, dlq_cancel, dlq_export, dlq_import, audit_list, audit_verify, key_list, key_make, key_revoke, token_list, token_revoke, user_list, user_make, user_password, user_role, user_disable, refetch, reconcile, pause_chain, resume_chain, rewind_chain, kafka_restart,
	explain, webhook_list, webhook_show, webhook_add, webhook_test, webhook_enable, webhook_disable, webhook_remove, webhook_rotate, webhook_deliveries,
	webhook_delivery, webhook_replay, alert_list, alert_try, alert_silence, alert_unsilence, weights_show, weights_set, statistics_show;

/* The answer's document, or NULL with *err filled (a problem's detail, or why there was no answer). body NULL: GET. */
yyjson_doc *ask(const struct settings *, bool admin, const char *path, yyjson_mut_doc *body, struct error *err);
void add_encoded(struct buf *out, const char *text);                         /* percent-encoded for a path or query */
void add_query(struct buf *path, const char *name, const char *value);       /* "?name=value", then "&…"; NULL: nothing */
void add_text(yyjson_mut_doc *body, const char *name, const char *value);    /* a member of a body's object; NULL: nothing */
yyjson_mut_doc *new_body(void);                                              /* an empty object */
int find_chain(struct settings *, struct error *err);                        /* where one chain is served nobody should have to name it */
int read_height(const char *text, uint64_t *ret, struct error *err);
void add_letter_query(struct buf *path, const struct settings *);            /* chain, subscription and filters, as query and as members of a body */
void add_letter_filters(yyjson_mut_doc *body, const struct settings *);
int need_subscription(const struct settings *, struct error *err);
int add_number(yyjson_mut_doc *body, const char *name, const char *text, struct error *err); /* NULL: nothing */
void add_ids(yyjson_mut_doc *body, int argc, char **argv);                   /* none: nothing */
int answer_facts(const struct settings *, yyjson_doc *, struct error *err);  /* shows and frees what ask gave */
/* The whole file, "-" being standard input; at most max bytes. */
int read_file(const char *path, size_t max, struct buf *ret, struct error *err);

/* A column: its head, and where its value stands in an item ("head.height"). */
struct column {
	const char *head, *path;
};
int list_items(const struct settings *, bool admin, const struct buf *path, const struct column *columns, size_t n, struct error *err); /* one page */
#define LIST(s, admin, path, columns, err) list_items(s, admin, path, columns, sizeof(columns) / sizeof(columns)[0], err)
void show_items(yyjson_val *items, const struct column *columns, size_t n); /* a table, for people */
void show_facts(yyjson_val *object, const char *prefix);                    /* a line per member; lists of objects as tables below */
void show_json(yyjson_doc *);                                               /* one line, for programs */
const char *value_text(yyjson_val *, char ret[96]); /* one value as people read it; nothing in it can move a terminal's cursor */
yyjson_val *value_at(yyjson_val *item, const char *path);

#endif
