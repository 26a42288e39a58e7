/* internal.h - private to lib/daemon: what the context of a process holds, and who owns which part. */
#ifndef WEIR_DAEMON_INTERNAL_H
#define WEIR_DAEMON_INTERNAL_H

#include "daemon/daemon.h"
#include "daemon/otel.h"

#include <pthread.h>
#include <stdatomic.h>

#define CHECKS_MAX 128

struct check { /* one readiness check */
	char name[96];
	bool ok;
	char reason[400];
};

struct alerts; /* alert.c */
struct ops;    /* ops.c */

struct daemon_ctx {
	const char *name;
	const struct config *config;
	struct config *owned_config; /* what daemon_main loaded; NULL in tests */
	struct log log;
	struct metrics *metrics;
	bool only_checks;
	atomic_bool stopping;
	int stop_fd[2]; /* a pipe: readable once stopping */
	_Atomic int64_t ticked_ms;
	atomic_bool ready; /* init is done */
	int64_t started_wall_ms;
	pthread_mutex_t lock; /* guards checks */
	struct check checks[CHECKS_MAX];
	size_t check_count;
	struct alerts *alerts;
	struct ops *ops;
	struct otel *otel; /* NULL: off */
	char service_name[128], instance[128];
};

int ops_start(struct daemon_ctx *, const char *listen, struct error *); /* "host:port" */
void ops_stop(struct daemon_ctx *);
const char *ops_split(const char *address, char ret_host[256]); /* the port of "host:port" or "[v6]:port"; NULL: it is neither */
/* health.c: 0, or 1 where the process does not listen on address, is stuck, or is another; ret_said is one line that tells. 4 s at most. */
int health_ask(const char *process, const char *address, struct buf *ret_said);
void alerts_start(struct daemon_ctx *);
void alerts_stop(struct daemon_ctx *);
void process_metrics_update(struct daemon_ctx *);
extern const struct metric_def process_metric_defs[];
extern const size_t process_metric_count;

#endif
