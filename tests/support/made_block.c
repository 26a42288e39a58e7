/* made_block.c - valid blocks made to order. Written twice: once with empty signatures and roots, read back to encode and sign, then with
 * the real ones. Amounts are reckoned here from first principles, so the state diff is an independent witness of the entries.
 */
#include "support/made_block.h"

#include "chains/evm/evm.h"
#include "wire/hex.h"
#include "wire/keccak.h"
#include "wire/trie.h"

#include <secp256k1_recovery.h>
#include <stdio.h>
#include <string.h>

#define SENDERS 16
#define TOKENS 5
#define TEXT_MAX (256u << 20)
#define BASE_FEE 1000000007u
#define TIP 3u
#define PRICE (BASE_FEE + TIP) /* what each transaction comes to pay */
#define GAS_LIMIT 400000u
#define VALUE 1000000u
#define START_BALANCE 4000000000000000000u

enum kind { LEGACY, UNPROTECTED, ACCESS_LIST, DYNAMIC, BLOB, SET_CODE, CREATION, FAILURE, KINDS };

struct tx {
	enum kind kind;
	unsigned sender;
	char hash[67], from[43], to[43], created[43], r[67], s[67];
	uint64_t v, nonce, gas_used;
};

struct maker {
	const struct made_block *order;
	struct arena *arena;
	secp256k1_context *curve;
	uint8_t keys[SENDERS][32], addresses[SENDERS][20];
	uint64_t nonces[SENDERS], balances[SENDERS];
	struct tx *txs;
	char hash[67], transactions_root[67], receipts_root[67], withdrawals_root[67], parent[67];
	char bloom[515], (*blooms)[515];
	uint64_t gas_used;
	struct buf block, receipts, calls, flat, diff;
};

static void name_bytes(const char *word, uint64_t n, uint8_t ret[32])
{
	char text[64];
	int size = snprintf(text, sizeof text, "%s %llu", word, (unsigned long long)n);
	keccak256(text, (size_t)size, ret);
}

static void name_text(const char *word, uint64_t n, size_t size, char *ret)
{
	uint8_t bytes[32];
	name_bytes(word, n, bytes);
	hex_from_bytes(bytes, size, ret);
}

static void make_senders(struct maker *m)
{
	for (unsigned i = 0; i < SENDERS; i++) {
		secp256k1_pubkey key;
		uint8_t point[65], hash[32];
		size_t size = sizeof point;
		name_bytes("sender", m->order->seed * 1000u + i, m->keys[i]);
		if (!secp256k1_ec_pubkey_create(m->curve, &key, m->keys[i]))
			abort();
		secp256k1_ec_pubkey_serialize(m->curve, point, &size, &key, SECP256K1_EC_UNCOMPRESSED);
		keccak256(point + 1, 64, hash);
		memcpy(m->addresses[i], hash + 12, 20);
		m->nonces[i] = m->order->height;
		m->balances[i] = START_BALANCE;
	}
}

static unsigned type_of(enum kind kind)
{
	static const unsigned types[KINDS] = { 0, 0, 1, 2, 3, 4, 2, 2 };
	return types[kind];
}

static void make_txs(struct maker *m)
{
	for (size_t i = 0; i < m->order->transactions; i++) {
		struct tx *t = &m->txs[i];
		t->kind = (enum kind)(i % KINDS);
		t->sender = (unsigned)(i % SENDERS);
		t->nonce = m->nonces[t->sender]++;
		t->gas_used = 21000 + 977 * (i % 5) + (t->kind != FAILURE && m->order->logs > 0 ? 30000u : 0u);
		hex_from_bytes(m->addresses[t->sender], 20, t->from);
		name_text("recipient", i % 23, 20, t->to);
		strcpy(t->r, "0x0");
		strcpy(t->s, "0x0");
		name_text("none", i, 32, t->hash);
		m->gas_used += t->gas_used;
	}
}

static const char fees_dynamic[] = "\"maxFeePerGas\":\"0x77359400\",\"maxPriorityFeePerGas\":\"0x3\",";

static void print_tx(struct maker *m, struct buf *out, size_t i)
{
	const struct tx *t = &m->txs[i];
	buf_printf(out, "{\"type\":\"0x%x\",\"hash\":\"%s\",\"blockHash\":\"%s\",\"blockNumber\":\"0x%llx\",\"transactionIndex\":\"0x%zx\",", type_of(t->kind),
		   t->hash, m->hash, (unsigned long long)m->order->height, i);
	buf_printf(out, "\"from\":\"%s\",\"nonce\":\"0x%llx\",\"gas\":\"0x%x\",\"value\":\"0x%x\",\"gasPrice\":\"0x%x\",", t->from, (unsigned long long)t->nonce,
		   GAS_LIMIT, VALUE, PRICE);
	if (t->kind == CREATION)
		buf_add_str(out, "\"to\":null,\"input\":\"0x6001600055\",");
	else
		buf_printf(out, "\"to\":\"%s\",\"input\":\"0x%s\",", t->to, i % 3 ? "" : "a9059cbb00");
	if (t->kind != UNPROTECTED)
		buf_printf(out, "\"chainId\":\"0x%llx\",", (unsigned long long)m->order->chain_id);
	if (type_of(t->kind) >= 2)
		buf_add_str(out, fees_dynamic);
	if (type_of(t->kind) >= 1)
		buf_printf(out, "\"yParity\":\"0x%llx\",\"accessList\":[%s],", (unsigned long long)t->v,
			   t->kind == ACCESS_LIST ? "{\"address\":\"0x1111111111111111111111111111111111111111\",\"storageKeys\":"
						    "[\"0x0000000000000000000000000000000000000000000000000000000000000007\"]}" :
						    "");
	if (t->kind == BLOB)
		buf_add_str(out, "\"maxFeePerBlobGas\":\"0x10\",\"blobVersionedHashes\":"
				 "[\"0x0100000000000000000000000000000000000000000000000000000000000001\"],");
	if (t->kind == SET_CODE)
		buf_printf(out, "\"authorizationList\":[{\"chainId\":\"0x%llx\",\"address\":\"0x2222222222222222222222222222222222222222\",\"nonce\":\"0x1\","
				"\"yParity\":\"0x0\",\"r\":\"0x123\",\"s\":\"0x456\"}],",
			   (unsigned long long)m->order->chain_id);
	buf_printf(out, "\"v\":\"0x%llx\",\"r\":\"%s\",\"s\":\"%s\"}", (unsigned long long)t->v, t->r, t->s);
}

static void print_block(struct maker *m)
{
	struct buf *out = &m->block;
	const struct made_block *o = m->order;
	buf_reset(out);
	buf_printf(out, "{\"hash\":\"%s\",\"parentHash\":\"%s\",\"sha3Uncles\":\"0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347\",", m->hash,
		   m->parent);
	buf_printf(out, "\"miner\":\"0x00000000000000000000000000000000000000aa\",\"stateRoot\":\"%s\",\"transactionsRoot\":\"%s\",\"receiptsRoot\":\"%s\",",
		   m->parent, m->transactions_root, m->receipts_root);
	buf_printf(out, "\"logsBloom\":\"%s\",\"difficulty\":\"0x0\",\"number\":\"0x%llx\",\"gasLimit\":\"0x%x\",\"gasUsed\":\"0x%llx\",", m->bloom,
		   (unsigned long long)o->height, 30000000, (unsigned long long)m->gas_used);
	buf_printf(out, "\"timestamp\":\"0x%llx\",\"extraData\":\"0x77656972\",\"mixHash\":\"%s\",\"nonce\":\"0x0000000000000000\",\"baseFeePerGas\":\"0x%x\",",
		   (unsigned long long)(1750000000 + 12 * o->height), m->parent, BASE_FEE);
	buf_printf(out, "\"withdrawalsRoot\":\"%s\",\"blobGasUsed\":\"0x%zx\",\"excessBlobGas\":\"0x%llx\",\"parentBeaconBlockRoot\":\"%s\",", m->withdrawals_root,
		   131072 * ((o->transactions + KINDS - 1 - BLOB) / KINDS), (unsigned long long)o->excess_blob_gas, m->parent);
	buf_printf(out, "\"requestsHash\":\"%s\",\"size\":\"0x1\",\"uncles\":[],\"withdrawals\":[", m->parent);
	for (size_t i = 0; i < o->withdrawals; i++)
		buf_printf(out, "%s{\"index\":\"0x%zx\",\"validatorIndex\":\"0x%zx\",\"address\":\"0x33333333333333333333333333333333333333%02zx\",\"amount\":\"0x%zx\"}",
			   i ? "," : "", i, 77 + i, i & 255, 12345678 + i);
	buf_add_str(out, "],\"transactions\":[");
	for (size_t i = 0; i < o->transactions; i++) {
		if (i)
			buf_add_byte(out, ',');
		print_tx(m, out, i);
	}
	buf_add_str(out, "]}");
}

static size_t logs_of(const struct maker *m, size_t i)
{
	return m->txs[i].kind == FAILURE ? 0 : m->order->logs;
}

static const char transfer_topic[] = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";

static void print_log(struct maker *m, struct buf *out, size_t tx, size_t log, size_t index)
{
	char token[43], from[43], to[43];
	name_text("token", (tx + log) % TOKENS, 20, token);
	name_text("holder", log % 97, 20, from);
	name_text("holder", (log * 31 + tx + 1) % 97, 20, to);
	buf_printf(out, "{\"address\":\"%s\",\"topics\":[\"%s\",\"0x%024d%s\",\"0x%024d%s\"],\"data\":\"0x%064zx\",", token, transfer_topic, 0, from + 2, 0, to + 2,
		   1000 + index);
	buf_printf(out, "\"blockNumber\":\"0x%llx\",\"transactionHash\":\"%s\",\"transactionIndex\":\"0x%zx\",\"blockHash\":\"%s\",\"logIndex\":\"0x%zx\",\"removed\":false}",
		   (unsigned long long)m->order->height, m->txs[tx].hash, tx, m->hash, index);
}

static void print_receipts(struct maker *m)
{
	struct buf *out = &m->receipts;
	uint64_t cumulative = 0;
	size_t index = 0;
	buf_reset(out);
	buf_add_byte(out, '[');
	for (size_t i = 0; i < m->order->transactions; i++) {
		const struct tx *t = &m->txs[i];
		cumulative += t->gas_used;
		buf_printf(out, "%s{\"type\":\"0x%x\",\"transactionHash\":\"%s\",\"transactionIndex\":\"0x%zx\",\"blockHash\":\"%s\",\"blockNumber\":\"0x%llx\",",
			   i ? "," : "", type_of(t->kind), t->hash, i, m->hash, (unsigned long long)m->order->height);
		buf_printf(out, "\"from\":\"%s\",\"cumulativeGasUsed\":\"0x%llx\",\"gasUsed\":\"0x%llx\",\"effectiveGasPrice\":\"0x%x\",\"status\":\"0x%x\",", t->from,
			   (unsigned long long)cumulative, (unsigned long long)t->gas_used, PRICE, t->kind != FAILURE);
		if (t->kind == CREATION)
			buf_printf(out, "\"to\":null,\"contractAddress\":\"%s\",", t->created);
		else
			buf_printf(out, "\"to\":\"%s\",\"contractAddress\":null,", t->to);
		if (t->kind == BLOB)
			buf_printf(out, "\"blobGasUsed\":\"0x20000\",\"blobGasPrice\":\"0x%x\",", m->order->blob_price ? m->order->blob_price : 1);
		buf_printf(out, "\"logsBloom\":\"%s\",\"logs\":[", m->blooms[i]);
		for (size_t l = 0; l < logs_of(m, i); l++) {
			if (l)
				buf_add_byte(out, ',');
			print_log(m, out, i, l, index++);
		}
		buf_add_str(out, "]}");
	}
	buf_add_byte(out, ']');
}

/* -- traces: each successful call passes 10 on to a helper, which fails to pass 20 on, delegates, and creates a contract with 30 ------ */

static const char helper[] = "0x4444444444444444444444444444444444444444";
static const char child[] = "0x5555555555555555555555555555555555555555";

static void print_call_trace(struct maker *m, size_t i)
{
	struct buf *out = &m->calls;
	const struct tx *t = &m->txs[i];
	bool creates = t->kind == CREATION;
	const char *to = creates ? t->created : t->to;
	buf_printf(out, "%s{\"txHash\":\"%s\",\"result\":{\"type\":\"%s\",\"from\":\"%s\",\"to\":\"%s\",\"value\":\"0x%x\",\"gas\":\"0x%x\",\"gasUsed\":\"0x%llx\",\"input\":\"0x\"",
		   i ? "," : "", t->hash, creates ? "CREATE" : "CALL", t->from, to, VALUE, GAS_LIMIT, (unsigned long long)t->gas_used);
	if (t->kind == FAILURE)
		buf_add_str(out, ",\"error\":\"execution reverted\"");
	buf_printf(out, ",\"calls\":[{\"type\":\"CALL\",\"from\":\"%s\",\"to\":\"%s\",\"value\":\"0xa\",\"calls\":["
			"{\"type\":\"CALL\",\"from\":\"%s\",\"to\":\"%s\",\"value\":\"0x14\",\"error\":\"execution reverted\",\"calls\":["
			"{\"type\":\"CALL\",\"from\":\"%s\",\"to\":\"%s\",\"value\":\"0x5\"}]},"
			"{\"type\":\"DELEGATECALL\",\"from\":\"%s\",\"to\":\"%s\",\"value\":\"0xa\"},"
			"{\"type\":\"CREATE\",\"from\":\"%s\",\"to\":\"%s\",\"value\":\"0x1\"}]}]}}",
		   to, helper, helper, to, to, helper, helper, to, helper, child);
}

static void print_flat(struct maker *m, size_t i, const char *type, const char *from, const char *to, const char *value, const char *address, int subtraces,
		       const char *error, const char *created)
{
	struct buf *out = &m->flat;
	buf_printf(out, "%s{\"type\":\"%s\",\"action\":{\"from\":\"%s\",\"value\":\"%s\",\"gas\":\"0x1\",", out->size > 1 ? "," : "", created ? "create" : "call", from,
		   value);
	if (created)
		buf_printf(out, "\"init\":\"0x\"},\"result\":{\"address\":\"%s\",\"code\":\"0x\",\"gasUsed\":\"0x0\"},", created);
	else
		buf_printf(out, "\"callType\":\"%s\",\"input\":\"0x\",\"to\":\"%s\"},\"result\":%s,", type, to, error ? "null" : "{\"gasUsed\":\"0x0\",\"output\":\"0x\"}");
	if (error)
		buf_printf(out, "\"error\":\"%s\",", error);
	buf_printf(out, "\"subtraces\":%d,\"traceAddress\":[%s],\"transactionHash\":\"%s\",\"transactionPosition\":%zu,\"blockHash\":\"%s\",\"blockNumber\":%llu}", subtraces,
		   address, m->txs[i].hash, i, m->hash, (unsigned long long)m->order->height);
}

static void print_flat_trace(struct maker *m, size_t i)
{
	const struct tx *t = &m->txs[i];
	const char *to = t->kind == CREATION ? t->created : t->to;
	char value[24];
	snprintf(value, sizeof value, "0x%x", VALUE);
	print_flat(m, i, "call", t->from, to, value, "", 1, t->kind == FAILURE ? "Reverted" : NULL, t->kind == CREATION ? t->created : NULL);
	print_flat(m, i, "call", to, helper, "0xa", "0", 3, NULL, NULL);
	print_flat(m, i, "call", helper, to, "0x14", "0,0", 1, "Reverted", NULL);
	print_flat(m, i, "call", to, helper, "0x5", "0,0,0", 0, NULL, NULL);
	print_flat(m, i, "delegatecall", helper, to, "0xa", "0,1", 0, NULL, NULL);
	print_flat(m, i, "call", helper, child, "0x1", "0,2", 0, NULL, child);
}

/* -- what the state does: only the accounts of this transaction; recipients and miner start from nothing they keep track of ---------- */

struct account {
	char address[43];
	uint64_t before, after;
};

static void move(struct account *accounts, size_t *n, const char *address, int64_t delta)
{
	size_t i = 0;
	while (i < *n && strcmp(accounts[i].address, address) != 0)
		i++;
	if (i == *n) {
		accounts[i].before = accounts[i].after = START_BALANCE / 2;
		snprintf(accounts[(*n)++].address, 43, "%s", address);
	}
	accounts[i].after += (uint64_t)delta;
}

static void print_diff(struct maker *m, size_t i)
{
	struct buf *out = &m->diff;
	const struct tx *t = &m->txs[i];
	struct account accounts[8];
	size_t n = 0;
	const char *to = t->kind == CREATION ? t->created : t->to;
	move(accounts, &n, t->from, -(int64_t)(t->gas_used * PRICE) - (t->kind == BLOB ? 131072 : 0));
	move(accounts, &n, "0x00000000000000000000000000000000000000aa", (int64_t)(t->gas_used * TIP));
	if (t->kind != FAILURE) {
		move(accounts, &n, t->from, -(int64_t)VALUE);
		move(accounts, &n, to, VALUE - 10);
		move(accounts, &n, helper, 9);
		move(accounts, &n, child, 1);
	}
	buf_printf(out, "%s{\"txHash\":\"%s\",\"result\":{\"pre\":{", i ? "," : "", t->hash);
	for (size_t a = 0; a < n; a++)
		buf_printf(out, "%s\"%s\":{\"balance\":\"0x%llx\"}", a ? "," : "", accounts[a].address, (unsigned long long)accounts[a].before);
	buf_add_str(out, "},\"post\":{");
	for (size_t a = 0; a < n; a++)
		buf_printf(out, "%s\"%s\":{\"balance\":\"0x%llx\"}", a ? "," : "", accounts[a].address, (unsigned long long)accounts[a].after);
	buf_add_str(out, "}}}");
}

/* -- signing and roots -------------------------------------------------------------------------------------------------------------- */

static struct evm_block *read_back(struct maker *m, bool with_receipts)
{
	struct evm_block *b = arena_zalloc(m->arena, 1, sizeof *b);
	struct evm_certificate *c = arena_zalloc(m->arena, 1, sizeof *c);
	static const struct chain_profile profile = { .name = "made" };
	struct chain *chain = arena_zalloc(m->arena, 1, sizeof *chain);
	chain->profile = &profile;
	b->chain = chain;
	b->arena = m->arena;
	yyjson_alc alc = json_arena_allocator(m->arena);
	yyjson_doc *block = yyjson_read_opts((char *)m->block.data, m->block.size, 0, &alc, NULL);
	yyjson_doc *receipts = with_receipts ? yyjson_read_opts((char *)m->receipts.data, m->receipts.size, 0, &alc, NULL) : NULL;
	if (!evm_parse_block(b, yyjson_doc_get_root(block), c) || (with_receipts && !evm_parse_receipts(b, yyjson_doc_get_root(receipts), c))) {
		for (size_t i = 0; i < EVM_CHECKS; i++)
			if (c->checks[i].detail[0])
				fprintf(stderr, "made block: %s\n", c->checks[i].detail);
		abort();
	}
	return b;
}

static void sign(struct maker *m, struct evm_tx *read, struct tx *t)
{
	struct buf text = BUF_INIT(TEXT_MAX);
	uint8_t digest[32], compact[64];
	int parity;
	secp256k1_ecdsa_recoverable_signature signature;
	read->v = t->kind == LEGACY ? 35 + 2 * m->order->chain_id : t->kind == UNPROTECTED ? 27 : 0;
	evm_encode_tx(read, m->order->chain_id, false, &text);
	keccak256(text.data, text.size, digest);
	if (!secp256k1_ecdsa_sign_recoverable(m->curve, &signature, digest, m->keys[t->sender], NULL, NULL))
		abort();
	secp256k1_ecdsa_recoverable_signature_serialize_compact(m->curve, compact, &parity, &signature);
	read->v = t->v = read->v + (uint64_t)parity;
	read->r = u256_from_be(compact, 32);
	read->s = u256_from_be(compact + 32, 32);
	hex_from_bytes(compact, 32, t->r);
	hex_from_bytes(compact + 32, 32, t->s);
	buf_reset(&text);
	evm_encode_tx(read, m->order->chain_id, true, &text);
	keccak256(text.data, text.size, digest);
	hex_from_bytes(digest, 32, t->hash);
	if (t->kind == CREATION) {
		uint8_t created[20];
		evm_created_address(m->addresses[t->sender], read->nonce, created);
		hex_from_bytes(created, 20, t->created);
	}
	buf_free(&text);
}

static void root_of(struct maker *m, const struct evm_block *b, size_t n, int what, char ret[67])
{
	struct buf all = BUF_INIT(TEXT_MAX), scratch = BUF_INIT(TEXT_MAX);
	size_t *ends = arena_zalloc(m->arena, n + 1, sizeof *ends);
	struct bytes *values = arena_zalloc(m->arena, n + 1, sizeof *values);
	for (size_t i = 0; i < n; i++) {
		if (what == 't')
			evm_encode_tx(&b->txs[i], m->order->chain_id, true, &all);
		else if (what == 'r')
			evm_encode_receipt(b, &b->txs[i], &all);
		else
			evm_encode_withdrawal(&b->withdrawals[i], &all);
		ends[i] = all.size;
	}
	for (size_t i = 0; i < n; i++)
		values[i] = (struct bytes){ all.data + (i ? ends[i - 1] : 0), ends[i] - (i ? ends[i - 1] : 0) };
	uint8_t root[32];
	trie_list_root(values, n, &scratch, root);
	hex_from_bytes(root, 32, ret);
	buf_free(&all);
	buf_free(&scratch);
}

static void bloom_bits(uint8_t bloom[256], const uint8_t *data, size_t size)
{
	uint8_t hash[32];
	keccak256(data, size, hash);
	for (size_t i = 0; i < 6; i += 2) {
		unsigned bit = (unsigned)(hash[i] << 8 | hash[i + 1]) & 2047;
		bloom[255 - bit / 8] |= (uint8_t)(1 << bit % 8);
	}
}

static void make_blooms(struct maker *m, const struct evm_block *b)
{
	uint8_t all[256] = { 0 };
	for (size_t i = 0; i < b->tx_count; i++) {
		uint8_t bloom[256] = { 0 };
		for (size_t l = 0; l < b->txs[i].log_count; l++) {
			const struct evm_log *log = &b->logs[b->txs[i].first_log + l];
			bloom_bits(bloom, log->address, 20);
			for (size_t t = 0; t < log->topic_count; t++)
				bloom_bits(bloom, log->topics + 32 * t, 32);
		}
		for (size_t k = 0; k < 256; k++)
			all[k] |= bloom[k];
		hex_from_bytes(bloom, 256, m->blooms[i]);
	}
	hex_from_bytes(all, 256, m->bloom);
}

static void add_part(struct maker *m, Weir__V1__RawBlock *raw, Weir__V1__PartKind kind, const struct buf *json)
{
	Weir__V1__Part *part = arena_alloc(m->arena, sizeof *part);
	weir__v1__part__init(part);
	part->kind = kind;
	part->encoding = WEIR__V1__ENCODING__ENCODING_IDENTITY;
	part->body.data = arena_alloc(m->arena, json->size + 16);
	memcpy(part->body.data, json->data, json->size);
	part->body.len = part->size = json->size;
	part->endpoint = (char *)(uintptr_t)"made";
	raw->parts[raw->n_parts++] = part;
}

static void print_traces(struct maker *m)
{
	buf_add_byte(&m->calls, '[');
	buf_add_byte(&m->flat, '[');
	buf_add_byte(&m->diff, '[');
	for (size_t i = 0; i < m->order->transactions; i++) {
		print_call_trace(m, i);
		print_flat_trace(m, i);
		print_diff(m, i);
	}
	buf_add_byte(&m->calls, ']');
	buf_add_byte(&m->flat, ']');
	buf_add_byte(&m->diff, ']');
}

static Weir__V1__RawBlock *deliver(struct maker *m)
{
	Weir__V1__RawBlock *raw = arena_alloc(m->arena, sizeof *raw);
	weir__v1__raw_block__init(raw);
	raw->parts = arena_zalloc(m->arena, CHAIN_PARTS_MAX, sizeof *raw->parts);
	raw->chain = (char *)(uintptr_t)"made";
	raw->chain_id = m->order->chain_id;
	raw->height = m->order->height;
	raw->hash.data = arena_alloc(m->arena, 32);
	raw->hash.len = 32;
	hex_to_bytes(m->hash, 66, raw->hash.data, 32);
	add_part(m, raw, WEIR__V1__PART_KIND__PART_KIND_BLOCK, &m->block);
	add_part(m, raw, WEIR__V1__PART_KIND__PART_KIND_RECEIPTS, &m->receipts);
	if (m->order->trace == MADE_CALL_TRACE)
		add_part(m, raw, WEIR__V1__PART_KIND__PART_KIND_CALL_TRACES, &m->calls);
	if (m->order->trace == MADE_FLAT_TRACE)
		add_part(m, raw, WEIR__V1__PART_KIND__PART_KIND_FLAT_TRACES, &m->flat);
	if (m->order->state_diff)
		add_part(m, raw, WEIR__V1__PART_KIND__PART_KIND_STATE_DIFF, &m->diff);
	return raw;
}

Weir__V1__RawBlock *made_block(const struct made_block *order, struct arena *arena)
{
	static const struct buf empty = BUF_INIT(TEXT_MAX);
	struct maker m = { .order = order, .arena = arena, .block = empty, .receipts = empty, .calls = empty, .flat = empty, .diff = empty };
	m.curve = secp256k1_context_create(SECP256K1_CONTEXT_SIGN | SECP256K1_CONTEXT_VERIFY);
	m.txs = arena_zalloc(arena, order->transactions + 1, sizeof *m.txs);
	m.blooms = arena_zalloc(arena, order->transactions + 1, sizeof *m.blooms);
	make_senders(&m);
	make_txs(&m);
	name_text("parent", order->height, 32, m.parent);
	memcpy(m.hash, m.parent, sizeof m.hash);
	memcpy(m.transactions_root, m.parent, sizeof m.hash);
	memcpy(m.receipts_root, m.parent, sizeof m.hash);
	memcpy(m.withdrawals_root, m.parent, sizeof m.hash);
	uint8_t none[256] = { 0 };
	hex_from_bytes(none, 256, m.bloom);
	for (size_t i = 0; i < order->transactions; i++)
		memcpy(m.blooms[i], m.bloom, sizeof m.bloom);
	print_block(&m);
	struct evm_block *b = read_back(&m, false);
	for (size_t i = 0; i < order->transactions; i++)
		sign(&m, &b->txs[i], &m.txs[i]);
	root_of(&m, b, b->tx_count, 't', m.transactions_root);
	root_of(&m, b, b->withdrawal_count, 'w', m.withdrawals_root);
	print_block(&m);
	print_receipts(&m);
	make_blooms(&m, read_back(&m, true));
	print_receipts(&m);
	root_of(&m, read_back(&m, true), b->tx_count, 'r', m.receipts_root);
	print_block(&m);
	uint8_t hash[32];
	struct buf header = BUF_INIT(TEXT_MAX);
	evm_encode_header(&read_back(&m, false)->header, &header);
	keccak256(header.data, header.size, hash);
	buf_free(&header);
	hex_from_bytes(hash, 32, m.hash);
	print_block(&m);
	print_receipts(&m);
	print_traces(&m);
	Weir__V1__RawBlock *raw = deliver(&m);
	struct buf *all[] = { &m.block, &m.receipts, &m.calls, &m.flat, &m.diff };
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		buf_free(all[i]);
	secp256k1_context_destroy(m.curve);
	return raw;
}
