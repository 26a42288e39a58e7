/* evm.h - the EVM family: one row per profile, and the parts that its files share.
 *
 * Read in this order: ask.c (questions and answers), text.c (accounts and assets in text), block.c (JSON -> structs),
 * encode.c (structs -> RLP), prove.c (commitments), call_traces.c, flat_traces.c, traces.c (inner transfers), state_diff.c (against the
 * state), tokens.c and read.c (entries), normalize.c (all of it).
 */
#ifndef WEIR_CHAINS_EVM_H
#define WEIR_CHAINS_EVM_H

#include "chains/chain.h"
#include "wire/json.h"

extern const struct chain_family evm_family;

/* One EVM chain's rules. A quirk is a named field or function here, never an `if` on a chain's name. */
struct chain_profile {
	const char *name;
	uint64_t chain_id;     /* the only chain that these rules are for; 0: any */
	uint32_t demanded;     /* bits 1 << CheckName: must have passed for a block to be proven */
	uint64_t pow_until;    /* blocks below pay a proof-of-work reward by height */
	bool burns_base_fee;   /* EIP-1559; else the fee recipient gets all */
	bool checks_senders;   /* recover `from` from the signature */
	bool commits_sidecars; /* the transactions root covers blob transactions in their network form (anvil) */
	bool mainnet_blob_schedule; /* the blob price follows from the header by mainnet's schedule */
};

const struct chain_profile *evm_profile(const char *name);
bool evm_fits(const struct chain_profile *, uint64_t chain_id);
#define EVM_PROFILES "ethereum (chain id 1 only), testnet, dev"

/* -- ask.c, text.c -------------------------------------------------------------------------------------------------------- */

int evm_question(const struct chain *, enum chain_question, const struct chain_args *, struct arena *, struct chain_call *ret, struct error *);
int evm_answer(const struct chain *, enum chain_question, const struct chain_args *, struct bytes, struct arena *, struct chain_answer *ret,
	       struct error *);
int evm_classify(const struct chain *, int64_t code, const char *message);
int evm_notice(const struct chain *, struct bytes message, struct chain_block_ref *ret, struct error *);
size_t evm_parts(const struct chain *, const struct chain_capabilities *, const char *traces, bool state_diff, uint64_t height,
		 const uint8_t *hash, struct arena *, struct chain_part_call ret[CHAIN_PARTS_MAX]);
int evm_receipt_call(const struct chain *, const uint8_t hash[32], struct arena *, struct chain_call *ret);
enum chain_belongs evm_belongs(Weir__V1__PartKind, struct bytes result, uint8_t ret[32]);
int evm_peek_block(const struct chain *, struct bytes result, struct arena *, struct chain_block_ref *ret, const uint8_t **ret_transactions,
		   size_t *ret_count, struct error *);
int evm_asset_parse(const struct chain *, const char *text, struct chain_asset *ret, struct error *);
void evm_asset_print(const struct chain *, const struct chain_asset *, struct buf *out);
int evm_account_parse(const struct chain *, const char *text, uint8_t ret[32], size_t *ret_size, struct error *);
void evm_account_print(const struct chain *, struct bytes account, struct buf *out);
bool evm_reconcilable(const struct chain *, struct bytes account, const struct chain_asset *, const char **ret_reason);
int evm_normalize(const struct chain *, const Weir__V1__RawBlock *, size_t max_bytes, struct arena *, Weir__V1__NormalizedBlock **ret,
		  struct error *);

/* -- a parsed block (block.c). Everything lives in the arena or points into the JSON documents, which do too. ---------------- */

#define EVM_TRANSACTIONS_MAX 200000
#define EVM_LOGS_MAX 1000000
#define EVM_MOVES_MAX 2000000
#define EVM_ENTRIES_MAX 4000000

struct evm_header { /* text as the node wrote it, where it is only hashed */
	yyjson_val *json; /* for fields of forks that this version does not know */
	uint8_t hash[32], parent_hash[32], transactions_root[32], receipts_root[32], withdrawals_root[32], uncles_hash[32];
	uint8_t miner[20], bloom[256];
	uint64_t height, timestamp, gas_used, gas_limit, blob_gas_used, excess_blob_gas;
	struct u256 difficulty, base_fee;
	bool has_base_fee, has_withdrawals, has_blob_gas, has_beacon_root, has_requests_hash;
	struct text state_root, extra_data, mix_hash, nonce, beacon_root, requests_hash;
	size_t uncle_count;
};

struct evm_tx {
	uint8_t hash[32], from[20], to[20];
	bool creates; /* no `to` */
	uint8_t type;
	uint64_t nonce, gas;
	struct u256 value, gas_price, max_fee, max_priority;
	struct u256 r, s;
	uint64_t v; /* legacy v, or y parity */
	size_t blob_count;
	struct text input, chain_id, max_blob_fee;
	yyjson_val *access_list, *authorizations, *blob_hashes;
	yyjson_val *blobs, *commitments, *proofs, *cell_proofs; /* sidecar, where the node shows it */
	/* from the receipt */
	uint64_t gas_used, cumulative_gas, blob_gas_used;
	struct u256 effective_gas_price, blob_gas_price;
	bool succeeded, has_status, has_receipt;
	uint8_t created[20]; /* where a creation puts its contract */
	struct text state_root; /* before Byzantium, instead of a status */
	uint8_t bloom[256];
	size_t first_log, log_count;
	/* from the traces */
	size_t first_move, move_count;
};

struct evm_log {
	uint8_t address[20];
	uint8_t topic_count;
	const uint8_t *topics; /* topic_count x 32 */
	struct bytes data;
	uint64_t index;
};

struct evm_withdrawal {
	uint64_t index, validator, amount_gwei;
	uint8_t address[20];
};

enum evm_move_kind { EVM_MOVE_CALL, EVM_MOVE_CREATE, EVM_MOVE_SELFDESTRUCT };

struct evm_move { /* native value moved by an inner call */
	enum evm_move_kind kind;
	uint8_t from[20], to[20];
	struct u256 value;
	const char *path; /* "trace:0.1" */
	bool burns;       /* destroyed with its contract: `to` gets nothing */
};

struct evm_reward { /* trace_block of proof-of-work chains */
	uint8_t account[20];
	struct u256 value;
	bool uncle;
};

/* Byte strings, each once, in order of first appearance (intern.c). */
struct evm_intern {
	uint32_t *slots; /* index + 1; 0: free */
	uint64_t seed;
	size_t mask, count, capacity;
	struct bytes *keys;
};
struct evm_intern *evm_intern_new(struct arena *, size_t capacity); /* NULL: arena full */
/* Index of key, which is copied when new; UINT32_MAX when the arena is full. */
uint32_t evm_intern(struct evm_intern **, struct arena *, const uint8_t *key, size_t size);

struct evm_block {
	const struct chain *chain;
	struct arena *arena;
	struct evm_header header;
	struct evm_tx *txs;
	size_t tx_count;
	struct evm_withdrawal *withdrawals;
	size_t withdrawal_count;
	struct evm_log *logs;
	size_t log_count;
	struct evm_move *moves;
	size_t move_count;
	struct evm_reward *rewards;
	size_t reward_count;
	struct evm_header *uncles; /* where they were fetched: all of them */
	size_t uncle_count;
	bool uncles_asked; /* and the node answered, be it null */
	size_t guessed_count; /* transactions whose receipts do not say whether they succeeded, nor does their gas: without traces a guess */
	bool has_receipts, has_traces;
};

/* -- certificate (certificate.c) ------------------------------------------------------------------------------------------- */

#define EVM_CHECKS 16 /* CheckName values 1..15 */

struct evm_certificate {
	struct {
		Weir__V1__CheckResult result;
		char detail[256];
		const char *endpoint;
	} checks[EVM_CHECKS];
	const char *block_endpoint, *receipts_endpoint, *traces_endpoint, *uncles_endpoint;
	uint32_t demanded; /* of this block, beside what the profile demands of every one: bits 1 << CheckName */
};
/* The first failure of a check is kept; a failure is never overwritten by a pass. Returns false, for `return evm_fail(…)`. */
bool evm_fail(struct evm_certificate *, Weir__V1__CheckName, const char *endpoint, const char *format, ...) __attribute__((format(printf, 4, 5)));
void evm_pass(struct evm_certificate *, Weir__V1__CheckName, const char *endpoint);
/* What to know about a check that passes. */
void evm_remark(struct evm_certificate *, Weir__V1__CheckName, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The block is not proven without this check. */
void evm_demand(struct evm_certificate *, Weir__V1__CheckName);
void evm_not_possible(struct evm_certificate *, Weir__V1__CheckName, const char *why);
bool evm_failed(const struct evm_certificate *); /* any */
Weir__V1__Certificate *evm_certificate_message(const struct evm_certificate *, const struct chain_profile *, struct arena *);

/* -- steps. Each returns false after evm_fail. ------------------------------------------------------------------------------ */

bool evm_parse_block(struct evm_block *, yyjson_val *root, struct evm_certificate *);
bool evm_parse_header(struct evm_header *, yyjson_val *block); /* alone; false: malformed */
bool evm_parse_uncle(struct evm_block *, yyjson_val *root, struct evm_certificate *); /* one more; null: there is none */
bool evm_parse_receipts(struct evm_block *, yyjson_val *root, struct evm_certificate *); /* with receipt and log coherence */
bool evm_parse_call_traces(struct evm_block *, yyjson_val *root, struct evm_certificate *);
bool evm_parse_flat_traces(struct evm_block *, yyjson_val *root, struct evm_certificate *);
/* What each transaction did to native balances against the state diff (state_diff.c). */
bool evm_check_state_diff(const struct evm_block *, yyjson_val *root, const char *endpoint, struct evm_certificate *);

/* Encodings (encode.c); false when the transaction's type is not known. */
void evm_encode_header(const struct evm_header *, struct buf *out);
bool evm_encode_tx(const struct evm_tx *, uint64_t chain_id, bool signature, struct buf *out);
/* As the transactions root covers it: the same, except for chains that commit to sidecars. */
bool evm_encode_committed_tx(const struct evm_tx *, const struct chain_profile *, struct buf *out);
void evm_encode_receipt(const struct evm_block *, const struct evm_tx *, struct buf *out);
void evm_encode_withdrawal(const struct evm_withdrawal *, struct buf *out);
/* Where a top-level creation puts its contract: keccak256(rlp([sender, nonce])) (yellow paper §7). */
void evm_created_address(const uint8_t sender[20], uint64_t nonce, uint8_t ret[20]);

/* Does the block's hash follow from its header (prove.c)? */
bool evm_header_gives_hash(yyjson_val *block);
void evm_prove(struct evm_block *, const Weir__V1__RawBlock *, struct evm_certificate *);

/* Entries (entry.c; found by read.c and tokens.c): appended to the message. */
struct evm_writer {
	struct evm_block *block;
	Weir__V1__NormalizedBlock *message;
	Weir__V1__Entry *entries; /* array of message.entries' targets */
	size_t entry_count, entry_capacity;
	struct evm_intern *accounts, *assets;
	bool failed; /* out of arena or limits */
};
void evm_write_entry(struct evm_writer *, Weir__V1__EntryKind, int32_t tx_index, const char *path, const uint8_t account[20],
		     const struct chain_asset *, struct u256 amount, bool negative);
void evm_read_tokens(struct evm_writer *, size_t tx_index);
bool evm_read(struct evm_block *, Weir__V1__NormalizedBlock *, struct error *);
/* Do the native entries sum to what was issued less what was burned? */
bool evm_check_conservation(const struct evm_block *, const Weir__V1__NormalizedBlock *, struct evm_certificate *);
/* What a transaction pays, whether it succeeds or not; false when a product passes 2^256. */
struct evm_fees {
	struct u256 fee, tip, blob; /* the tip is the part of the fee that is not burned */
};
bool evm_fees_of(const struct evm_block *, const struct evm_tx *, struct evm_fees *ret);
/* Proof-of-work: the reward of the height, and what this block's miner gets. False when the block pays none. */
bool evm_block_reward(const struct evm_block *, struct u256 *ret_base, struct u256 *ret_miner);

/* Hex fields of JSON into fixed places (block.c). */
bool evm_hex_bytes(yyjson_val *, uint8_t *ret, size_t size);
bool evm_hex_u64(yyjson_val *, uint64_t *ret);
bool evm_hex_u256(yyjson_val *, struct u256 *ret);

#endif
