/* traces.h - private: what both readers of traces (call_traces.c, flat_traces.c) share (traces.c). */
#ifndef WEIR_CHAINS_EVM_TRACES_H
#define WEIR_CHAINS_EVM_TRACES_H

#include "chains/evm/evm.h"

#define TRACE_DEPTH_MAX 1025 /* the EVM's call depth is at most 1024 below the root */
#define TRACE_FAIL(w, ...) evm_fail((w)->c, WEIR__V1__CHECK_NAME__CHECK_NAME_TRACE_COHERENCE, (w)->c->traces_endpoint, __VA_ARGS__)

struct trace_death { /* a contract that destroyed itself in this transaction; what it got since then perishes with it */
	uint8_t address[20];
	struct u256 since;
	const char *path;
};

struct trace_walk { /* through one block's traces, in order of execution */
	struct evm_block *b;
	struct evm_certificate *c;
	size_t move_capacity;
	size_t tx_index;
	uint8_t (*created)[20]; /* in this transaction */
	size_t created_count, created_capacity;
	struct trace_death *deaths; /* in this transaction */
	size_t death_count, death_capacity;
	uint32_t path[TRACE_DEPTH_MAX];
	uint8_t contexts[TRACE_DEPTH_MAX][20]; /* by depth: in whose name the call's code runs */
	size_t depth;
};

enum trace_kind { TRACE_CALL, TRACE_STATIC, TRACE_DELEGATED, TRACE_CREATE, TRACE_DESTROY };

/* One call of a trace, in either form. */
struct trace_call {
	enum trace_kind kind;
	uint8_t from[20], to[20];
	struct u256 value; /* what a self-destruct had */
	bool failed;
};

/* All return false after evm_fail. */
void trace_begin_tx(struct trace_walk *, size_t index);
bool trace_end_tx(struct trace_walk *);
bool trace_check_root(struct trace_walk *, const struct trace_call *); /* against the transaction and its receipt */
bool trace_execute(struct trace_walk *, const struct trace_call *, bool root); /* a call that was not undone, at walk's path */

#endif
