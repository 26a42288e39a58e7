/* prove.c - recomputes what the header commits to from what was received, and what no root covers but the ledger relies on. */
#include "chains/evm/evm.h"

#include "wire/hex.h"
#include "wire/keccak.h"
#include "wire/rlp.h"
#include "wire/trie.h"

#include <pthread.h>
#include <secp256k1_recovery.h> /* the static context verifies; it needs no tables since 0.2 */
#include <stdio.h>
#include <string.h>

#define FAIL(c, check, endpoint, ...) evm_fail(c, WEIR__V1__CHECK_NAME__CHECK_NAME_##check, endpoint, __VA_ARGS__)
#define PASS(c, check, endpoint) evm_pass(c, WEIR__V1__CHECK_NAME__CHECK_NAME_##check, endpoint)
#define ENCODED_MAX (512u << 20)
#define HEADER_MAX (1u << 20)

struct proof {
	struct evm_block *b;
	struct evm_certificate *c;
	struct buf encoded, scratch;
	struct bytes *values;
	size_t *offsets;
	bool blob_price_accepted; /* of this block's blob transactions, by an unknown schedule */
};

static bool equal(const uint8_t a[32], const uint8_t b[32], struct evm_certificate *c, Weir__V1__CheckName name, const char *endpoint,
		  const char *what)
{
	if (memcmp(a, b, 32) == 0) {
		evm_pass(c, name, endpoint);
		return true;
	}
	char said[67], found[67];
	hex_from_bytes(a, 32, said);
	hex_from_bytes(b, 32, found);
	return evm_fail(c, name, endpoint, "%s: the header says %s, what was received gives %s", what, said, found);
}

/* Names in a block's JSON that are no header fields, or are in the hash already. */
static const char *const known_names[] = { "hash", "parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom",
					   "difficulty", "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce",
					   "baseFeePerGas", "withdrawalsRoot", "blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot",
					   "requestsHash", "size", "totalDifficulty", "transactions", "uncles", "withdrawals" };

static bool is_known(const char *name)
{
	for (size_t i = 0; i < sizeof known_names / sizeof known_names[0]; i++)
		if (strcmp(known_names[i], name) == 0)
			return true;
	return false;
}

/* Forks append fields to the header. One that this version does not know is taken as the node shows it, behind the known ones: a 32-byte
 * word as data, anything shorter as a number. Whether that is right, the hash tells. Names them in ret. */
static bool hash_with_unknown(const struct evm_header *h, struct buf *encoded, struct buf *scratch, size_t payload, uint8_t hash[32], char *ret,
			      size_t ret_size)
{
	yyjson_obj_iter iter = yyjson_obj_iter_with(h->json);
	size_t known = encoded->size;
	ret[0] = 0;
	for (yyjson_val *key; (key = yyjson_obj_iter_next(&iter));) {
		struct text text = json_text(yyjson_obj_iter_get_val(key));
		if (!text.s || is_known(yyjson_get_str(key)))
			continue;
		bool added = text.n == 66 ? rlp_add_hex_data(encoded, text.s, text.n) : rlp_add_hex_quantity(encoded, text.s, text.n);
		size_t used = strlen(ret);
		if (added)
			snprintf(ret + used, ret_size - used, "%s%.40s", used ? ", " : "", yyjson_get_str(key));
	}
	if (encoded->size == known || encoded->overflow)
		return false;
	uint8_t head[9];
	size_t size = encoded->size - payload, n = rlp_list_header(size, head);
	buf_reset(scratch);
	buf_add(scratch, head, n);
	buf_add(scratch, encoded->data + payload, size);
	keccak256(scratch->data, scratch->size, hash);
	return true;
}

/* The hash that the header's fields give. False: one of them is not hex. *unknown names fields of forks that were needed. */
static bool hash_of(const struct evm_header *h, struct buf *encoded, struct buf *scratch, uint8_t ret[32], char *unknown, size_t unknown_size)
{
	uint8_t longer[32];
	unknown[0] = 0;
	buf_reset(encoded);
	evm_encode_header(h, encoded);
	if (encoded->overflow)
		return false;
	keccak256(encoded->data, encoded->size, ret);
#ifdef WEIR_MUTANT_NO_HEADER_HASH
	memcpy(ret, h->hash, 32);
#endif
	/* a list of more than 255 bytes (the bloom alone has 256) and less than 64 KiB begins with three bytes of header */
	if (memcmp(ret, h->hash, 32) != 0 && hash_with_unknown(h, encoded, scratch, 3, longer, unknown, unknown_size))
		memcpy(ret, longer, 32);
	return true;
}

bool evm_header_gives_hash(yyjson_val *block)
{
	struct evm_header h;
	struct buf encoded = BUF_INIT(HEADER_MAX), scratch = BUF_INIT(HEADER_MAX);
	uint8_t hash[32];
	char unknown[160];
	bool gives = evm_parse_header(&h, block) && hash_of(&h, &encoded, &scratch, hash, unknown, sizeof unknown) && memcmp(hash, h.hash, 32) == 0;
	buf_free(&encoded);
	buf_free(&scratch);
	return gives;
}

static void header_hash(struct proof *p, const Weir__V1__RawBlock *raw)
{
	const struct evm_header *h = &p->b->header;
	uint8_t hash[32];
	char unknown[160], what[240] = "block hash";
	if (!hash_of(h, &p->encoded, &p->scratch, hash, unknown, sizeof unknown)) {
		FAIL(p->c, HEADER_HASH, p->c->block_endpoint, "a header field is not hex");
		return;
	}
	if (*unknown)
		snprintf(what, sizeof what, "block hash (with fields of a fork that this version does not know: %s)", unknown);
	if (h->height != raw->height)
		FAIL(p->c, HEADER_HASH, p->c->block_endpoint, "asked for block %llu, answered block %llu", (unsigned long long)raw->height,
		     (unsigned long long)h->height);
	else if (raw->hash.len == 32 && memcmp(raw->hash.data, h->hash, 32) != 0)
		FAIL(p->c, HEADER_HASH, p->c->block_endpoint, "another block than the one asked for (a fork, or a lie)");
	else
		equal(h->hash, hash, p->c, WEIR__V1__CHECK_NAME__CHECK_NAME_HEADER_HASH, p->c->block_endpoint, what);
}

/* Encodes n items one behind the other and points values at them; the buffer may move while it grows, so offsets first. */
static void point_values(struct proof *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p->values[i] = (struct bytes){ p->encoded.data + p->offsets[i], p->offsets[i + 1] - p->offsets[i] };
}

/* The transactions again, in the form that this chain's root covers. */
static bool encode_committed(struct proof *p)
{
	struct evm_block *b = p->b;
	buf_reset(&p->encoded);
	for (size_t i = 0; i < b->tx_count; i++) {
		p->offsets[i] = p->encoded.size;
		if (!evm_encode_committed_tx(&b->txs[i], b->chain->profile, &p->encoded))
			return FAIL(p->c, TRANSACTIONS_ROOT, p->c->block_endpoint, "transaction %zu cannot be encoded with its sidecar", i);
	}
	p->offsets[b->tx_count] = p->encoded.size;
	if (p->encoded.overflow)
		return FAIL(p->c, TRANSACTIONS_ROOT, p->c->block_endpoint, "a sidecar is not hex, or the block is too large");
	point_values(p, b->tx_count);
	return true;
}

static void transactions(struct proof *p)
{
	struct evm_block *b = p->b;
	buf_reset(&p->encoded);
	for (size_t i = 0; i < b->tx_count; i++) {
		p->offsets[i] = p->encoded.size;
		if (!evm_encode_tx(&b->txs[i], b->chain->chain_id, true, &p->encoded)) {
			FAIL(p->c, TRANSACTIONS_ROOT, p->c->block_endpoint, "transaction %zu has unknown type %u", i, b->txs[i].type);
			return;
		}
	}
	p->offsets[b->tx_count] = p->encoded.size;
	if (p->encoded.overflow) {
		FAIL(p->c, TRANSACTIONS_ROOT, p->c->block_endpoint, "a transaction field is not hex, or the block is too large");
		return;
	}
	point_values(p, b->tx_count);
	for (size_t i = 0; i < b->tx_count; i++) {
		uint8_t hash[32];
		keccak256(p->values[i].data, p->values[i].size, hash);
		if (memcmp(hash, b->txs[i].hash, 32) != 0)
			FAIL(p->c, TRANSACTION_HASHES, p->c->block_endpoint, "transaction %zu does not hash to its hash", i);
	}
	PASS(p->c, TRANSACTION_HASHES, p->c->block_endpoint);
	if (b->chain->profile->commits_sidecars && !encode_committed(p))
		return;
	uint8_t root[32];
	trie_list_root(p->values, b->tx_count, &p->scratch, root);
	equal(b->header.transactions_root, root, p->c, WEIR__V1__CHECK_NAME__CHECK_NAME_TRANSACTIONS_ROOT, p->c->block_endpoint,
	      "transactions root");
}

static void receipts(struct proof *p)
{
	struct evm_block *b = p->b;
	buf_reset(&p->encoded);
	for (size_t i = 0; i < b->tx_count; i++) {
		p->offsets[i] = p->encoded.size;
		evm_encode_receipt(b, &b->txs[i], &p->encoded);
	}
	p->offsets[b->tx_count] = p->encoded.size;
	if (p->encoded.overflow) {
		FAIL(p->c, RECEIPTS_ROOT, p->c->receipts_endpoint, "a receipt field is not hex, or the receipts are too large");
		return;
	}
	point_values(p, b->tx_count);
	uint8_t root[32];
	trie_list_root(p->values, b->tx_count, &p->scratch, root);
#ifdef WEIR_MUTANT_NO_RECEIPTS_ROOT
	memcpy(root, b->header.receipts_root, 32);
#endif
	equal(b->header.receipts_root, root, p->c, WEIR__V1__CHECK_NAME__CHECK_NAME_RECEIPTS_ROOT, p->c->receipts_endpoint, "receipts root");
}

static void withdrawals(struct proof *p)
{
	struct evm_block *b = p->b;
	if (!b->header.has_withdrawals) {
		evm_not_possible(p->c, WEIR__V1__CHECK_NAME__CHECK_NAME_WITHDRAWALS_ROOT, "the header commits to no withdrawals");
		return;
	}
	struct bytes *values = arena_zalloc(b->arena, b->withdrawal_count + 1, sizeof *values);
	size_t *offsets = arena_zalloc(b->arena, b->withdrawal_count + 1, sizeof *offsets);
	if (!values || !offsets)
		return;
	buf_reset(&p->encoded);
	for (size_t i = 0; i < b->withdrawal_count; i++) {
		offsets[i] = p->encoded.size;
		evm_encode_withdrawal(&b->withdrawals[i], &p->encoded);
	}
	offsets[b->withdrawal_count] = p->encoded.size;
	for (size_t i = 0; i < b->withdrawal_count; i++)
		values[i] = (struct bytes){ p->encoded.data + offsets[i], offsets[i + 1] - offsets[i] };
	uint8_t root[32];
	trie_list_root(values, b->withdrawal_count, &p->scratch, root);
	equal(b->header.withdrawals_root, root, p->c, WEIR__V1__CHECK_NAME__CHECK_NAME_WITHDRAWALS_ROOT, p->c->block_endpoint, "withdrawals root");
}

/* -- bloom (yellow paper §4.3.1) ------------------------------------------------------------------------------------------- */

/* The same addresses and topics come again and again: their three bits are remembered. */
struct bloom_slot {
	uint8_t key[33]; /* length, then bytes */
	uint16_t bits[3];
};

static void bloom_add(struct bloom_slot cache[64], uint8_t bloom[256], const uint8_t *data, size_t size)
{
	struct bloom_slot *slot = &cache[(data[size - 1] ^ data[size / 2] * 5u ^ data[0] * 3u) & 63];
	if (slot->key[0] != size || memcmp(slot->key + 1, data, size) != 0) {
		uint8_t hash[32];
		keccak256(data, size, hash);
		slot->key[0] = (uint8_t)size;
		memcpy(slot->key + 1, data, size);
		for (size_t i = 0; i < 3; i++)
			slot->bits[i] = (uint16_t)((hash[2 * i] << 8 | hash[2 * i + 1]) & 2047);
	}
	for (size_t i = 0; i < 3; i++)
		bloom[255 - slot->bits[i] / 8] |= (uint8_t)(1 << slot->bits[i] % 8);
}

static void blooms(struct proof *p)
{
	struct evm_block *b = p->b;
	struct bloom_slot cache[64];
	memset(cache, 0, sizeof cache);
	uint8_t all[256] = { 0 };
	for (size_t i = 0; i < b->tx_count; i++) {
		uint8_t bloom[256] = { 0 };
		const struct evm_tx *tx = &b->txs[i];
		for (size_t j = 0; j < tx->log_count; j++) {
			const struct evm_log *log = &b->logs[tx->first_log + j];
			bloom_add(cache, bloom, log->address, 20);
			for (size_t t = 0; t < log->topic_count; t++)
				bloom_add(cache, bloom, log->topics + 32 * t, 32);
		}
		if (memcmp(bloom, tx->bloom, 256) != 0) {
			FAIL(p->c, LOGS_BLOOM, p->c->receipts_endpoint, "receipt %zu: its bloom does not follow from its logs", i);
			return;
		}
		for (size_t k = 0; k < 256; k++)
			all[k] |= bloom[k];
	}
	if (memcmp(all, b->header.bloom, 256) != 0)
		FAIL(p->c, LOGS_BLOOM, p->c->block_endpoint, "the header's bloom does not follow from the logs");
	else
		PASS(p->c, LOGS_BLOOM, p->c->receipts_endpoint);
}

/* -- senders: no root covers `from`, only the signature says who pays ------------------------------------------------------- */

static bool recover(const uint8_t digest[32], const struct evm_tx *tx, uint8_t ret[20])
{
	uint8_t compact[64], point[65], hash[32];
	u256_to_be32(tx->r, compact);
	u256_to_be32(tx->s, compact + 32);
	int parity = tx->type != 0 ? (int)tx->v : tx->v >= 35 ? (int)((tx->v - 35) & 1) : (int)(tx->v - 27);
	secp256k1_ecdsa_recoverable_signature signature;
	secp256k1_pubkey key;
	size_t size = sizeof point;
	if (parity < 0 || parity > 1 || !secp256k1_ecdsa_recoverable_signature_parse_compact(secp256k1_context_static, &signature, compact, parity) ||
	    !secp256k1_ecdsa_recover(secp256k1_context_static, &key, &signature, digest))
		return false;
	secp256k1_ec_pubkey_serialize(secp256k1_context_static, point, &size, &key, SECP256K1_EC_UNCOMPRESSED);
	keccak256(point + 1, 64, hash);
	memcpy(ret, hash + 12, 20);
	return true;
}

/* Recovery is by far the dearest check, and a block at the head has somebody waiting for it: large blocks are shared among threads. */
#define SENDERS_PER_THREAD 48
#define SENDER_THREADS 4

struct senders {
	const struct evm_block *b;
	size_t from, to;  /* these transactions */
	size_t wrong;     /* the first that its `from` did not sign; to: none */
	bool cannot;      /* one could not be encoded: the transactions root has failed already */
};

static void *recover_some(void *arg)
{
	struct senders *s = arg;
	struct buf scratch = BUF_INIT(ENCODED_MAX);
	for (s->wrong = s->from; s->wrong < s->to; s->wrong++) {
		const struct evm_tx *tx = &s->b->txs[s->wrong];
		uint8_t digest[32], from[20];
		buf_reset(&scratch);
		s->cannot = !evm_encode_tx(tx, s->b->chain->chain_id, false, &scratch) || scratch.overflow;
		if (s->cannot)
			break;
		keccak256(scratch.data, scratch.size, digest);
		if (!recover(digest, tx, from) || memcmp(from, tx->from, 20) != 0)
			break;
	}
	buf_free(&scratch);
	return NULL;
}

static void senders(struct proof *p)
{
	const struct evm_block *b = p->b;
	struct senders shares[SENDER_THREADS];
	pthread_t threads[SENDER_THREADS];
	bool runs[SENDER_THREADS] = { false };
#ifdef WEIR_MUTANT_NO_SENDER_CHECK
	PASS(p->c, SENDERS, p->c->block_endpoint);
	return;
#endif
	if (!b->chain->profile->checks_senders) {
		evm_not_possible(p->c, WEIR__V1__CHECK_NAME__CHECK_NAME_SENDERS, "this chain's transactions carry no plain signature");
		return;
	}
	size_t n = b->tx_count / SENDERS_PER_THREAD;
	n = n < 1 ? 1 : n > SENDER_THREADS ? SENDER_THREADS : n;
	for (size_t i = 0; i < n; i++)
		shares[i] = (struct senders){ .b = b, .from = b->tx_count * i / n, .to = b->tx_count * (i + 1) / n };
	for (size_t i = 1; i < n; i++)
		runs[i] = pthread_create(&threads[i], NULL, recover_some, &shares[i]) == 0;
	for (size_t i = 0; i < n; i++)
		if (!runs[i])
			recover_some(&shares[i]);
	for (size_t i = 0; i < n; i++)
		if (runs[i])
			pthread_join(threads[i], NULL);
	for (size_t i = 0; i < n; i++) {
		if (shares[i].cannot)
			return;
		if (shares[i].wrong < shares[i].to) {
			FAIL(p->c, SENDERS, p->c->block_endpoint, "transaction %zu was not signed by its `from`", shares[i].wrong);
			return;
		}
	}
	PASS(p->c, SENDERS, p->c->block_endpoint);
}

/* -- fees ------------------------------------------------------------------------------------------------------------------ */

static bool fee_of(const struct evm_tx *tx, const struct evm_header *h, struct u256 *ret)
{
	if (tx->type < 2) {
		*ret = tx->gas_price;
		return true;
	}
	struct u256 bid; /* EIP-1559: min(max fee, base fee + tip) */
	if (!u256_add(h->base_fee, tx->max_priority, &bid))
		return false;
	*ret = u256_cmp(bid, tx->max_fee) < 0 ? bid : tx->max_fee;
	return true;
}

/* EIP-4844's fake_exponential(1, excess, fraction); false when it would not fit. */
static bool blob_price(uint64_t excess, uint64_t fraction, struct u256 *ret)
{
	struct u256 output = { { 0 } }, term = u256_from_u64(fraction);
	uint64_t rest;
	for (uint64_t i = 1; !u256_is_zero(term); i++) {
		if (!u256_add(output, term, &output) || !u256_mul_u64(term, excess, &term) || i > 100000)
			return false;
		u256_div_u64(term, fraction, &term, &rest);
		u256_div_u64(term, i, &term, &rest);
	}
	u256_div_u64(output, fraction, ret, &rest);
	return true;
}

/* Update fractions of the blob schedules so far: Cancun, Prague, BPO1, BPO2 (EIP-4844, 7691, 7892), and when each began on mainnet. */
static const struct {
	uint64_t fraction, mainnet_time;
} blob_schedules[] = { { 3338477, 1710338135 }, { 5007716, 1746612311 }, { 8346193, 1765290071 }, { 11684671, 1767747671 } };
#define BLOB_SCHEDULES (sizeof blob_schedules / sizeof blob_schedules[0])

/* Until then no other schedule was known to be planned for mainnet (2026-02-01). */
#define BLOB_SCHEDULES_KNOWN_UNTIL 1769904000

/* Do all blob transactions of the block pay the same price, and is there a schedule under which the header would give it? */
static bool is_price_of_some_schedule(const struct evm_block *b, struct u256 price)
{
	uint64_t low = blob_schedules[0].fraction / 4, high = blob_schedules[BLOB_SCHEDULES - 1].fraction * 64;
	struct u256 expected;
	for (size_t i = 0; i < b->tx_count; i++)
		if (b->txs[i].blob_count > 0 && u256_cmp(b->txs[i].blob_gas_price, price) != 0)
			return false;
	while (low < high) { /* the larger the fraction the lower the price: the smallest that is not above it */
		uint64_t middle = low + (high - low) / 2;
		if (blob_price(b->header.excess_blob_gas, middle, &expected) && u256_cmp(expected, price) <= 0)
			high = middle;
		else
			low = middle + 1;
	}
	return blob_price(b->header.excess_blob_gas, low, &expected) && u256_cmp(expected, price) == 0;
}

/* A fork later than this version may have brought another schedule: to halt at each of its blocks would halt the ledger until a release. The
 * price stands then as traces do, which no root covers either: coherent, and held against balances. */
static bool accept_unknown_schedule(struct proof *p, const struct evm_tx *tx)
{
	const struct evm_block *b = p->b;
	if (p->blob_price_accepted)
		return true;
	if (!b->chain->profile->mainnet_blob_schedule || b->header.timestamp < BLOB_SCHEDULES_KNOWN_UNTIL || !is_price_of_some_schedule(b, tx->blob_gas_price))
		return false;
	p->blob_price_accepted = true;
	evm_remark(p->c, WEIR__V1__CHECK_NAME__CHECK_NAME_FEES,
		   "not possible: that the blob price is what the header demands, as its schedule is not known to this version; the receipts' word was taken");
	return true;
}

/* The price that the header demands, into the transaction where the receipt leaves it out. A chain whose schedule is not known must
 * say a price, and it must be what one of the schedules gives. */
static bool settle_blob_price(const struct evm_block *b, struct evm_tx *tx)
{
	const struct evm_header *h = &b->header;
	bool said = !u256_is_zero(tx->blob_gas_price);
	struct u256 expected;
	for (size_t i = BLOB_SCHEDULES; i > 0; i--) {
		bool in_force = h->timestamp >= blob_schedules[i - 1].mainnet_time || i == 1;
		if (b->chain->profile->mainnet_blob_schedule && !in_force)
			continue;
		if (!blob_price(h->excess_blob_gas, blob_schedules[i - 1].fraction, &expected))
			return false;
		if (b->chain->profile->mainnet_blob_schedule && !said)
			tx->blob_gas_price = expected;
		if (u256_cmp(expected, tx->blob_gas_price) == 0)
			return true;
		if (b->chain->profile->mainnet_blob_schedule)
			return false;
	}
	return false;
}

static void fees(struct proof *p)
{
	const struct evm_block *b = p->b;
	for (size_t i = 0; i < b->tx_count; i++) {
		struct evm_tx *tx = &b->txs[i];
		struct u256 expected;
		if (!fee_of(tx, &b->header, &expected) || u256_cmp(expected, tx->effective_gas_price) != 0 ||
		    u256_cmp(tx->effective_gas_price, b->header.base_fee) < 0) {
			FAIL(p->c, FEES, p->c->receipts_endpoint, "transaction %zu: the effective gas price is not what type, base fee and tip demand", i);
			return;
		}
		uint64_t blob_gas = tx->blob_count * 131072; /* EIP-4844 */
		bool blob_fits = (tx->blob_gas_used == blob_gas || tx->blob_gas_used == 0) && (tx->blob_count == 0 || settle_blob_price(b, tx) || accept_unknown_schedule(p, tx));
		tx->blob_gas_used = blob_gas;
		if (!blob_fits) {
			FAIL(p->c, FEES, p->c->receipts_endpoint, "transaction %zu: blob gas or its price is not what blobs and header demand", i);
			return;
		}
	}
	PASS(p->c, FEES, p->c->receipts_endpoint);
}

static void uncles(struct proof *p)
{
	const struct evm_block *b = p->b;
	uint8_t hash[32];
	if (b->header.uncle_count != b->uncle_count) {
		if (b->uncles_asked)
			FAIL(p->c, UNCLES_HASH, p->c->uncles_endpoint, "%zu uncles named, %zu fetched", b->header.uncle_count, b->uncle_count);
		return; /* not asked for: traces have to tell their rewards */
	}
	buf_reset(&p->encoded);
	size_t list = rlp_list_begin(&p->encoded);
	for (size_t i = 0; i < b->uncle_count; i++)
		evm_encode_header(&b->uncles[i], &p->encoded);
	rlp_list_end(&p->encoded, list);
	keccak256(p->encoded.data, p->encoded.size, hash);
	equal(b->header.uncles_hash, hash, p->c, WEIR__V1__CHECK_NAME__CHECK_NAME_UNCLES_HASH, p->c->uncles_endpoint, "uncles hash");
}

void evm_prove(struct evm_block *b, const Weir__V1__RawBlock *raw, struct evm_certificate *c)
{
	struct proof p = { .b = b, .c = c, .encoded = BUF_INIT(ENCODED_MAX), .scratch = BUF_INIT(ENCODED_MAX) };
	p.values = arena_zalloc(b->arena, b->tx_count + 1, sizeof *p.values);
	p.offsets = arena_zalloc(b->arena, b->tx_count + 1, sizeof *p.offsets);
	if (p.values && p.offsets) {
		header_hash(&p, raw);
		transactions(&p);
		withdrawals(&p);
		uncles(&p);
		if (b->has_receipts) {
			receipts(&p);
			blooms(&p);
			fees(&p);
		}
		if (!evm_failed(c))
			senders(&p); /* the dearest check comes last: 42 µs a transaction */
	} else {
		FAIL(c, SHAPE, c->block_endpoint, "the block needs more memory than one message may have");
	}
	buf_free(&p.encoded);
	buf_free(&p.scratch);
}
