/* rpc.h - JSON-RPC 2.0 calls to a set of endpoints of one chain: failover, roles, weights, rate limits, breaker, batches.
 *
 * One `struct rpc` belongs to one thread and drives any number of calls at once over one curl multi handle (keep-alive, HTTP/2
 * where offered). The endpoint set (struct endpoints) is shared between threads: it holds each endpoint's health, learnt limits
 * and rate-limit bucket.
 *
 * Choosing an endpoint: those with the role asked for, not excluded, breaker closed, identity verified (chain id and genesis are
 * checked when an endpoint is first used and after each time its breaker closed again), highest known head first for tip work,
 * then by weight and current load. Retriable failures go to the next endpoint within the call's deadline.
 */
#ifndef WEIR_NET_RPC_H
#define WEIR_NET_RPC_H

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <stdbool.h>
#include <stdint.h>

#define RPC_ENDPOINTS_MAX 32
#define RPC_ANSWER_MAX (64u << 20) /* bytes of one HTTP answer; larger is cut off and WEIR_LIMIT */

enum endpoint_role { ENDPOINT_HEAD = 1, ENDPOINT_BACKFILL = 2, ENDPOINT_VERIFY = 4 };

struct endpoint_options {
	const char *name, *url, *ws_url, *auth_header;
	unsigned roles; /* enum endpoint_role bits */
	int64_t weight, requests_per_second, max_concurrency;
};

enum breaker_state { BREAKER_CLOSED, BREAKER_HALF_OPEN, BREAKER_OPEN };

struct endpoint_status {
	const char *name, *url;
	enum breaker_state breaker;
	bool identified, wrong_chain;
	bool lacks_block_receipts, lacks_call_tracer, lacks_flat_traces, lacks_state_diff; /* learnt */
	uint64_t head_height;      /* highest it has told */
	int64_t batch_max;         /* learnt: calls per HTTP batch that it accepts */
	uint64_t consecutive_errors;
	int64_t opened_ms; /* wall clock: since when the breaker is not closed; 0: it is */
	int64_t probe_ms;  /* wall clock: when it is probed next; 0: closed, or being probed */
	double call_ms;            /* smoothed: a request's time shared among its calls; 0: none was answered yet */
	char last_error[200];
	unsigned roles;            /* enum endpoint_role bits, as configured */
	uint64_t rate_limited, timeouts; /* how often, since the start */
};

struct endpoints;
/* chain: for logs and metrics. Copies the options. */
struct endpoints *endpoints_new(const char *chain, const struct endpoint_options *, size_t n, const struct log *, struct metrics *);
void endpoints_free(struct endpoints **);
size_t endpoints_count(const struct endpoints *);
void endpoints_status(struct endpoints *, size_t index, struct endpoint_status *ret);
int endpoints_find(const struct endpoints *, const char *name); /* index or -1 */
void endpoints_note_head(struct endpoints *, size_t index, uint64_t height);
void endpoints_note_lacks(struct endpoints *, size_t index, const char *feature); /* "block_receipts" | "call_tracer" | "flat_traces" | "state_diff" */
void endpoints_note_lie(struct endpoints *, size_t index, const char *why); /* its answer failed the proof: opens its breaker for a while */
/* The answer was right in form and failed in content (wrong height, null for a block that exists …): counts as a failure. */
void endpoints_note_failure(struct endpoints *, size_t index, int code, const char *why);
/* The endpoint to ask everything of one block from (rpc_request.only): usable, best by exclude, head, weight and load.
 * WEIR_UNAVAILABLE: none is usable now; rpc_poll brings them back. */
int rpc_choose(struct endpoints *, unsigned role, uint64_t exclude, uint64_t needs_height);
void rpc_register_metrics(struct metrics *);
extern const struct metric_def rpc_metric_defs[]; /* for the manual */
extern const size_t rpc_metric_count;

struct rpc;
struct rpc_options {
	struct endpoints *endpoints;
	const struct log *log;
	struct metrics *metrics;
	/* Tells what a JSON-RPC error means (chain family's classify). */
	int (*classify)(void *arg, int64_t rpc_code, const char *message);
	/* Identity check of an endpoint before its first use: gets the answers' JSON of the calls named. 0 or WEIR_WRONG_CHAIN. */
	int (*identify)(void *arg, size_t endpoint, const char *chain_id_result, const char *genesis_result, struct error *);
	const char *identify_methods[2]; /* e.g. "eth_chainId" and "eth_getBlockByNumber" */
	const char *identify_params[2];  /* e.g. "[]" and "[\"0x0\",false]" */
	void *arg;
	int64_t timeout_ms;         /* of one attempt, default 10000 */
};
int rpc_open(const struct rpc_options *, struct rpc **ret, struct error *);
void rpc_close(struct rpc **); /* open calls end with WEIR_CANCELED */

/* One call. on_done runs inside rpc_poll, exactly once; result points to the JSON text of `result`, valid during the callback. */
struct rpc_answer {
	int code;               /* 0, or why it failed after all endpoints were tried */
	struct error error;
	size_t endpoint;        /* who answered (or the last asked) */
	int64_t rpc_code;       /* JSON-RPC error code when code != 0 came from one */
	struct bytes result;
	double seconds;
};
typedef void rpc_done_fn(const struct rpc_answer *, void *arg);
struct rpc_request {
	const char *method;
	const char *params;      /* JSON array text; copied */
	unsigned role;           /* enum endpoint_role */
	uint64_t exclude;        /* bit mask of endpoint indexes to avoid while another is left */
	int only;                /* endpoint index to ask and no other; -1: any */
	uint64_t needs_height;   /* prefer endpoints that have told a head at least this high; 0: any */
	int64_t timeout_ms;      /* of everything; default 30000 */
	int64_t attempt_ms;      /* of one attempt; default rpc_options.timeout_ms */
	unsigned attempts;       /* at most so many endpoints, default 3 */
	bool tip;                /* latency matters: not delayed for batching */
	bool no_is_answer;       /* WEIR_NOT_FOUND (a call that reverts, state that is gone) is no error of the endpoint: not counted */
	rpc_done_fn *on_done;
	void *arg;
};
int rpc_call(struct rpc *, const struct rpc_request *); /* WEIR_FULL: too many in flight (4096) */
size_t rpc_in_flight(const struct rpc *);
/* Moves bytes, runs callbacks; waits at most timeout_ms for something to do. wake_fd (or -1) also ends the wait. */
int rpc_poll(struct rpc *, int64_t timeout_ms, int wake_fd);
/* For straight-line code: one call, waited for. *ret_result is owned by the arena. */
int rpc_ask(struct rpc *, const struct rpc_request *, struct arena *, struct bytes *ret_result, size_t *ret_endpoint, struct error *);

/* -- preflight ---------------------------------------------------------------------------------------------------------- */

/* Who is each endpoint? A running service gets along with one that answers; before a start each counts. All chains at the same time, for at
 * most timeout_ms, or until stop_fd is readable. Says in the log of each chain who answers; WEIR_WRONG_CHAIN or WEIR_UNAVAILABLE names every
 * endpoint that does not, or serves another chain. */
struct rpc_preflight {
	const char *chain;
	const struct log *log;
	struct endpoints *endpoints;
	struct rpc *rpc; /* over these endpoints */
};
int rpc_preflight(const struct rpc_preflight *, size_t n, int64_t timeout_ms, int stop_fd, struct error *);

/* -- WebSocket subscription (wire: RFC 6455 by wslay) ------------------------------------------------------------------- */

struct rpc_socket; /* one endpoint's ws_url; reconnects by itself with back-off; own thread-less: polled */
int rpc_socket_open(const char *url, const char *auth_header, const char *subscribe_message, const struct log *, struct rpc_socket **ret, struct error *);
void rpc_socket_close(struct rpc_socket **);
int rpc_socket_fd(const struct rpc_socket *); /* -1 while not connected */
/* Reads what is there; on_message per text message (valid during the callback). Reconnects when due. 0, or the last failure. */
int rpc_socket_poll(struct rpc_socket *, void (*on_message)(struct bytes, void *arg), void *arg, struct error *);
bool rpc_socket_live(const struct rpc_socket *); /* connected and heard something within 60 s */

#endif
