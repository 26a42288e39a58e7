/* daemon.h - the shape of every weir process: arguments, settings, logs, signals, operations listener, drain, exit status.
 *
 * A service's main.c is a struct daemon and one call. daemon_main:
 *   1. parses --config FILE (or WEIR_CONFIG), --check (load settings, preflight, exit), --migrate (load settings, bring the schema up to
 *      date, exit), --health (load settings, ask /healthz of the process that runs with them, exit with 0 or 1), --version, --help,
 *      --print-settings-md, --print-sample-config, --print-metrics-md, --print-errors-md;
 *   2. loads settings, starts logging, registers metrics, blocks SIGTERM/SIGINT into a flag (SIGPIPE ignored);
 *   3. starts the operations listener (libmicrohttpd, own thread): /healthz (process lives and its main loop has ticked within
 *      60 s), /readyz (init done, not draining, and every named check is ok; body lists them as JSON), /metrics;
 *   4. calls init (bounded: preflight of Redis, PostgreSQL, endpoints within PREFLIGHT_MS each), run, deinit;
 *   5. on SIGTERM or SIGINT daemon_stopping() becomes true; run must return after finishing what is in hand. A watchdog ends the
 *      process with WEIR_STUCK's exit status when shutdown_timeout passes; a second signal ends it at once.
 * Works as process 1. Exit status: error_exit_status(code of the failure), 0 after a clean drain.
 */
#ifndef WEIR_DAEMON_DAEMON_H
#define WEIR_DAEMON_DAEMON_H

#include "base/error.h"
#include "base/log.h"
#include "base/metrics.h"
#include "daemon/config.h"

#define PREFLIGHT_MS 5000 /* what Redis, PostgreSQL and the nodes each have to answer before a process starts, and for --check */

struct span_sink;
struct daemon_ctx; /* given to every callback */

struct daemon {
	const char *name;        /* "fetcher": binary is weir-fetcher */
	const char *summary;     /* one line for --help */
	const struct metric_def *metrics;
	size_t metric_count;
	bool asks_nodes;         /* has weir_rpc_* metrics, too: for the manual */
	size_t state_size;       /* bytes of the service's own state, zeroed */
	int (*init)(struct daemon_ctx *, void *state, struct error *err);   /* may be retried by a supervisor; must be idempotent */
	int (*check)(struct daemon_ctx *, void *state, struct error *err);  /* --check, after init: what only run would reach; may be NULL */
	int (*migrate)(struct daemon_ctx *, struct error *err);             /* --migrate, instead of init; NULL: there is no such option */
	int (*run)(struct daemon_ctx *, void *state, struct error *err);    /* until daemon_stopping() */
	void (*deinit)(struct daemon_ctx *, void *state);                   /* accepts half-built state */
};

int daemon_main(const struct daemon *, int argc, char **argv); /* returns the exit status */

const struct config *daemon_config(const struct daemon_ctx *);
const struct log *daemon_log(const struct daemon_ctx *);
struct metrics *daemon_metrics(const struct daemon_ctx *);
/* Where spans go (base/span.h); NULL: tracing is off. */
const struct span_sink *daemon_spans(const struct daemon_ctx *);
bool daemon_only_checks(const struct daemon_ctx *); /* --check: nothing is changed anywhere */
bool daemon_stopping(const struct daemon_ctx *);
void daemon_request_stop(struct daemon_ctx *);   /* stop from inside, e.g. a fatal error in a thread */
int daemon_stop_fd(const struct daemon_ctx *);   /* readable once stopping: for poll loops */
void daemon_tick(struct daemon_ctx *);           /* the main loop lives */
/* Readiness checks by name ("redis", "postgres", "chain ethereum"): ok or the reason. Thread-safe. */
void daemon_check_set(struct daemon_ctx *, const char *name, bool ok, const char *reason);
#define NOT_ASKED_YET "not asked yet" /* the reason of a check that waits for its first look: nobody is ready before */
/* A ready-made context for tests and tools: no signals, no listener. */
struct daemon_ctx *daemon_ctx_new(const char *name, const struct config *config, const struct metric_def *defs, size_t n);
void daemon_ctx_free(struct daemon_ctx **);

/* Alerts: cool-down per key, a state change bypasses it; logged at warn/error, counted, and sent to alerts.destinations and
 * alerts.webhook_url from a bounded queue on its own thread: those that come within alerts.group_wait in one message, those that are
 * silenced (silence.h) not at all, nor is what takes them back. runbook: page name under docs/runbook/; it tells the severity, too. */
enum alert_state { ALERT_FIRING, ALERT_RESOLVED };
void alert_raise(struct daemon_ctx *, const char *key, enum alert_state, const char *runbook, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

/* Sends a test alert now, past cool-down, grouping and silences, to the destination of that name, or to all (NULL), one after the other.
 * Any thread; a few seconds each. WEIR_NOT_FOUND: there is no such destination, or none at all. */
typedef void alert_tested(const char *name, const char *kind, const struct error *failed, void *arg); /* failed NULL: it was taken */
int alert_test(struct daemon_ctx *, const char *name, const char *who, alert_tested *, void *arg, struct error *);

#endif
