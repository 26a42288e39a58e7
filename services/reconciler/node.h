/* node.h - questions to the chain's nodes, through the family's faces: which block is canonical, what is a balance, openings.
 *
 * One struct node per thread (it owns a struct rpc); the endpoints and their health are shared.
 */
#ifndef WEIR_RECONCILER_NODE_H
#define WEIR_RECONCILER_NODE_H

#include "cache.h"
#include "ledger.h"

#include "base/metrics.h"
#include "net/rpc.h"

/* What an endpoint must agree with before it is believed; filled in once known, read by all threads of the chain. */
struct node_identity {
	const struct chain *chain;
	_Atomic bool genesis_known; /* set once, after genesis_hash */
	uint8_t genesis_hash[32];
};

struct node;
struct node_options {
	struct node_identity *identity; /* borrowed */
	struct endpoints *endpoints;
	const struct log *log;
	struct metrics *metrics;
	size_t concurrency; /* balance questions in flight */
	int64_t request_timeout_ms; /* of one attempt; 0: rpc.h's default */
	void (*on_wait)(void *arg); /* called now and then while a question is waited for; may be NULL */
	void *on_wait_arg;
};
int node_open(const struct node_options *, struct node **ret, struct error *);
void node_close(struct node **);

/* The canonical block at height as one head endpoint sees it. *ret_found false: it has none there (yet).
 * exclude: endpoints not to ask (bit mask). */
int node_block_at(struct node *, uint64_t height, uint64_t exclude, bool *ret_found, struct chain_block_ref *ret, size_t *ret_endpoint,
		  struct error *);
int node_head(struct node *, struct chain_block_ref *ret, struct error *);
/* Which contracts were there before the ledger's first block is remembered, even where nobody could tell: forget it to ask again. */
void node_forget_codes(struct node *);
/* opening_fn: balances before the ledger's first block. */
int node_openings(void *node, uint64_t height, const uint8_t hash[32], struct opening *, size_t n, struct error *);

/* One balance, asked at a block (hash) or, with hash NULL, at a height. on_answer runs inside node_poll. */
struct node_balance {
	int code;       /* 0; WEIR_NOT_FOUND: the block or its state is not there, or the contract refuses; else why nobody answered */
	struct u256 amount;
	size_t endpoint;
};
typedef void node_balance_fn(const struct node_balance *, void *arg);
int node_ask_balance(struct node *, struct bytes account, const struct chain_asset *, uint64_t height, const uint8_t *hash, uint64_t exclude,
		     node_balance_fn *, void *arg);
/* The same, waited for. */
int node_balance(struct node *, struct bytes account, const struct chain_asset *, uint64_t height, const uint8_t *hash, uint64_t exclude,
		 struct u256 *ret, size_t *ret_endpoint, struct error *);
/* Was there a contract at that address? Waited for; WEIR_NOT_FOUND: that state is not there. */
int node_has_code(struct node *, struct bytes contract, uint64_t height, const uint8_t *hash, bool *ret, struct error *);
int node_poll(struct node *, int64_t timeout_ms, int wake_fd);
size_t node_endpoints(const struct node *);
struct rpc *node_rpc(struct node *); /* for what is asked before a start */

#endif
