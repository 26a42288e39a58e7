/* chain.h - what a chain is: one folder per family, each with the same four faces, and no input or output of its own.
 *
 *   ask      which question to put to a node (method and params as JSON text), and what its answer means
 *   prove    recompute the commitments of a block from what was received          } together: normalize()
 *   read     block -> transactions and balance entries                            }
 *   balance  how to ask for a balance at a block, and what the answer means
 *
 * A service loops over questions and answers through lib/net and never contains a chain's name. A new family is a folder and a
 * row in chain_families[]; a new EVM chain is a row in evm's table of profiles.
 * Everything here is pure and thread-safe; results live in the arena given.
 */
#ifndef WEIR_CHAINS_CHAIN_H
#define WEIR_CHAINS_CHAIN_H

#include "base/error.h"
#include "base/mem.h"
#include "base/u256.h"

#include "weir/v1/block.pb-c.h"
#include "weir/v1/raw.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

#define CHAIN_PARTS_MAX 8

struct chain_family;
struct chain_profile; /* private to the family: one row of its table */

/* One configured chain. Owned by whoever made it; strings are borrowed from the configuration. */
struct chain {
	const char *name; /* "ethereum" */
	const struct chain_family *family;
	const struct chain_profile *profile;
	uint64_t chain_id;
	uint64_t start_height;
};

/* WEIR_CONFIG with the lists of known families or profiles in *err. */
int chain_init(struct chain *, const char *name, const char *family, const char *profile, uint64_t chain_id, struct error *);

struct chain_call {
	const char *method;
	const char *params; /* JSON array text, in the arena */
};

/* What may be asked of a node. args used: (h) height, (b) block hash, (t) tag implied, (a) account, (s) asset. */
enum chain_question {
	CHAIN_ASK_CHAIN_ID,    /* -> answer.number */
	CHAIN_ASK_CLIENT,      /* -> answer.text, for logs */
	CHAIN_ASK_HEAD,        /* -> answer.block */
	CHAIN_ASK_SAFE,        /* -> answer.block, found=false where the node has none */
	CHAIN_ASK_FINALIZED,   /* -> answer.block */
	CHAIN_ASK_BY_HEIGHT,   /* (h) -> answer.block: header facts only */
	CHAIN_ASK_BY_HASH,     /* (b) -> answer.block */
	CHAIN_ASK_BALANCE,     /* (a)(s) at (b), or at (h) where hash is NULL -> answer.amount */
	CHAIN_ASK_HAS_CODE,    /* (a) at (b)/(h): does a contract exist there? -> answer.number 0 or 1 */
	CHAIN_ASK_ASSET_SYMBOL,   /* (s) -> answer.text, found=false where the contract has none */
	CHAIN_ASK_ASSET_DECIMALS, /* (s) -> answer.number */
	CHAIN_ASK_SUBSCRIBE_HEADS, /* over WebSocket; each notification is read with notice() */
};

struct chain_block_ref {
	uint64_t height;
	uint8_t hash[32];
	uint8_t parent_hash[32];
	uint64_t timestamp;
	bool proven; /* the whole header was there and gives the hash: so height and parent are that block's. Not for notices. */
};

struct chain_asset { /* an asset as the ledger names it; "native", "0x…", "0x…:id" in text */
	int standard; /* Weir__V1__TokenStandard */
	uint8_t contract[32];
	uint8_t contract_size;
	bool has_token_id;
	struct u256 token_id;
};

struct chain_args {
	uint64_t height;
	const uint8_t *hash; /* 32 bytes or NULL */
	struct bytes account;
	const struct chain_asset *asset;
};

struct chain_answer {
	bool found; /* false: null, "unknown block", execution reverted: a clean no */
	struct chain_block_ref block;
	uint64_t number;
	struct u256 amount;
	const char *text;
};

/* The parts of one block, in the order they should be asked. A call without method: wanted, but nobody offers it. */
struct chain_part_call {
	Weir__V1__PartKind kind;
	struct chain_call call;
	bool optional; /* an endpoint without it still serves the block (traces) */
};

/* What an endpoint was found to offer; learnt at run time by the caller from WEIR_UNSUPPORTED answers. */
struct chain_capabilities {
	bool block_receipts; /* eth_getBlockReceipts */
	bool call_tracer, flat_traces, state_diff;
};

enum chain_belongs { CHAIN_BELONGS_UNSAID, CHAIN_BELONGS_TO_BLOCK, CHAIN_BELONGS_TO_TRANSACTION };

struct chain_family {
	const char *name;
	const struct chain_profile *(*profile)(const char *name); /* NULL: unknown */
	const char *profiles;                                      /* "ethereum, dev": for messages */
	bool (*fits)(const struct chain_profile *, uint64_t chain_id); /* are these rules that chain's? */

	/* ask and balance */
	int (*question)(const struct chain *, enum chain_question, const struct chain_args *, struct arena *, struct chain_call *ret, struct error *);
	/* result: the JSON text of `result`. WEIR_PROTOCOL when it does not have the form that the question demands. */
	int (*answer)(const struct chain *, enum chain_question, const struct chain_args *, struct bytes result, struct arena *,
		      struct chain_answer *ret, struct error *);
	/* a JSON-RPC error answer: what does it mean for the caller? WEIR_UNSUPPORTED (method unknown), WEIR_RATE_LIMITED, WEIR_LIMIT
	 * (range or size too large), WEIR_NOT_FOUND (unknown block, pruned state), WEIR_UNAVAILABLE, WEIR_PROTOCOL */
	int (*classify)(const struct chain *, int64_t rpc_code, const char *message);
	/* head notification over WebSocket (whole message text) */
	int (*notice)(const struct chain *, struct bytes message, struct chain_block_ref *ret, struct error *);
	/* The calls that fetch everything of the block `hash` at `height`; traces: "auto" | "trace_block" | "call_tracer" | "none". */
	size_t (*parts)(const struct chain *, const struct chain_capabilities *, const char *traces, bool state_diff, uint64_t height,
			const uint8_t *hash, struct arena *, struct chain_part_call ret[CHAIN_PARTS_MAX]);
	/* A receipts answer is missing on this endpoint: the call for one transaction's receipt. */
	int (*receipt_call)(const struct chain *, const uint8_t transaction_hash[32], struct arena *, struct chain_call *ret);
	/* What the first item of a part says it belongs to: a cheap look, which the proof's stands behind. */
	enum chain_belongs (*belongs)(Weir__V1__PartKind, struct bytes result, uint8_t ret[32]);
	/* Cheap first look at an answer before it is published: is it a block of that height, and which hash, parent and transactions?
	 * *ret_transactions: hashes, 32 bytes each, in the arena. */
	int (*peek_block)(const struct chain *, struct bytes result, struct arena *, struct chain_block_ref *ret,
			  const uint8_t **ret_transactions, size_t *ret_count, struct error *);

	/* prove and read: a pure function. Returns 0 with a certificate that is proven or says what failed; negative only when the
	 * RawBlock itself is not one (WEIR_INVALID, WEIR_LIMIT). Decoded parts larger than max_bytes: certificate fails with SHAPE. */
	int (*normalize)(const struct chain *, const Weir__V1__RawBlock *, size_t max_bytes, struct arena *, Weir__V1__NormalizedBlock **ret,
			 struct error *);

	/* asset and account in text */
	int (*asset_parse)(const struct chain *, const char *text, struct chain_asset *ret, struct error *);
	void (*asset_print)(const struct chain *, const struct chain_asset *, struct buf *out);
	int (*account_parse)(const struct chain *, const char *text, uint8_t ret[32], size_t *ret_size, struct error *);
	void (*account_print)(const struct chain *, struct bytes account, struct buf *out);
	/* Can the chain itself be asked for this account's balance? False for burn sinks and the like; *ret_reason for counting. */
	bool (*reconcilable)(const struct chain *, struct bytes account, const struct chain_asset *, const char **ret_reason);
};

extern const struct chain_family *const chain_families[]; /* NULL-ended */

#endif
