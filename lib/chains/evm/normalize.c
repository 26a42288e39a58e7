/* normalize.c - the pure function RawBlock -> NormalizedBlock: decompress, parse, prove, read. */
#include "chains/evm/evm.h"

#include "wire/compress.h"

#include <stdio.h>
#include <string.h>

struct part {
	const Weir__V1__Part *part;
	yyjson_val *root; /* NULL: absent or unavailable */
};

struct parts {
	struct part block, receipts, call_traces, flat_traces, state_diff, uncles[2];
};

static struct part *slot_of(struct parts *parts, Weir__V1__PartKind kind)
{
	switch ((int)kind) {
	case WEIR__V1__PART_KIND__PART_KIND_BLOCK:
		return &parts->block;
	case WEIR__V1__PART_KIND__PART_KIND_RECEIPTS:
		return &parts->receipts;
	case WEIR__V1__PART_KIND__PART_KIND_CALL_TRACES:
		return &parts->call_traces;
	case WEIR__V1__PART_KIND__PART_KIND_FLAT_TRACES:
		return &parts->flat_traces;
	case WEIR__V1__PART_KIND__PART_KIND_STATE_DIFF:
		return &parts->state_diff;
	case WEIR__V1__PART_KIND__PART_KIND_UNCLE: /* one after the other */
		return parts->uncles[0].part ? &parts->uncles[1] : &parts->uncles[0];
	default:
		return NULL;
	}
}

static const char *const part_words[] = { "?", "block", "receipts", "call traces", "flat traces", "state diff", "uncle" };

/* Decompresses and parses one part. A part that is no JSON is the endpoint's fault: the certificate says so. */
static bool open_part(struct part *slot, struct compressor *zstd, size_t max, struct arena *arena, struct evm_certificate *c)
{
	const Weir__V1__Part *part = slot->part;
	struct bytes body = { part->body.data, part->body.len };
	struct error err = { 0 };
	const bool packed = part->encoding == WEIR__V1__ENCODING__ENCODING_ZSTD;
	if (packed && decompress_zstd(zstd, body, part->size, max, arena, &body, &err) != 0)
		return evm_fail(c, WEIR__V1__CHECK_NAME__CHECK_NAME_SHAPE, part->endpoint, "%s: %s", part_words[part->kind], err.text);
	if (body.size > max)
		return evm_fail(c, WEIR__V1__CHECK_NAME__CHECK_NAME_SHAPE, part->endpoint, "%s: larger than %zu bytes", part_words[part->kind], max);
	yyjson_alc alc = json_arena_allocator(arena);
	yyjson_read_err why;
	yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)body.data, body.size, packed ? YYJSON_READ_INSITU : YYJSON_READ_NOFLAG, &alc, &why);
	if (!doc)
		return evm_fail(c, WEIR__V1__CHECK_NAME__CHECK_NAME_SHAPE, part->endpoint, "%s: not JSON: %s at byte %zu", part_words[part->kind], why.msg,
				why.pos);
	slot->root = yyjson_doc_get_root(doc);
	return true;
}

static bool open_parts(const Weir__V1__RawBlock *raw, size_t max, struct parts *parts, struct arena *arena, struct evm_certificate *c)
{
	struct compressor *zstd = compressor_new();
	bool good = true;
	for (size_t i = 0; i < raw->n_parts; i++) {
		struct part *slot = slot_of(parts, raw->parts[i]->kind);
		if (!slot || slot->part || *raw->parts[i]->unavailable)
			continue;
		slot->part = raw->parts[i];
		good = open_part(slot, zstd, max, arena, c) && good;
	}
	compressor_free(&zstd);
	return good;
}

static const char *why_unavailable(const Weir__V1__RawBlock *raw, Weir__V1__PartKind a, Weir__V1__PartKind b, const char *otherwise)
{
	for (size_t i = 0; i < raw->n_parts; i++)
		if ((raw->parts[i]->kind == a || raw->parts[i]->kind == b) && *raw->parts[i]->unavailable)
			return raw->parts[i]->unavailable;
	return otherwise;
}

static bool parse_all(struct evm_block *b, struct parts *parts, struct evm_certificate *c)
{
	if (!evm_parse_block(b, parts->block.root, c))
		return false;
	for (size_t i = 0; i < 2; i++)
		if (parts->uncles[i].root && !evm_parse_uncle(b, parts->uncles[i].root, c))
			return false;
	if (parts->receipts.root)
		return evm_parse_receipts(b, parts->receipts.root, c);
	if (b->tx_count > 0)
		return evm_fail(c, WEIR__V1__CHECK_NAME__CHECK_NAME_RECEIPT_COHERENCE, c->block_endpoint, "no receipts were fetched");
	b->has_receipts = true; /* no transaction, no receipt: the receipts root is that of the empty list */
	evm_pass(c, WEIR__V1__CHECK_NAME__CHECK_NAME_RECEIPT_COHERENCE, c->receipts_endpoint);
	evm_pass(c, WEIR__V1__CHECK_NAME__CHECK_NAME_LOG_COHERENCE, c->receipts_endpoint);
	return true;
}

/* What no root commits to: traces, then the state diff, which needs them. */
static void check_state(struct evm_block *b, const Weir__V1__RawBlock *raw, struct parts *parts, struct evm_certificate *c)
{
	bool good = true;
	if (parts->flat_traces.root)
		good = evm_parse_flat_traces(b, parts->flat_traces.root, c);
	else if (parts->call_traces.root)
		good = evm_parse_call_traces(b, parts->call_traces.root, c);
	else if (b->tx_count == 0)
		b->has_traces = true;
	const char *why = b->tx_count == 0 ? "no transactions, nothing to trace" :
					     why_unavailable(raw, WEIR__V1__PART_KIND__PART_KIND_CALL_TRACES, WEIR__V1__PART_KIND__PART_KIND_FLAT_TRACES,
							     "no traces were fetched");
	char guessed[200];
	if (!b->has_traces && b->guessed_count > 0) {
		snprintf(guessed, sizeof guessed, "%.100s; receipts before Byzantium do not say what succeeded: guessed of %zu that used all their gas", why,
			 b->guessed_count);
		why = guessed;
	}
	evm_not_possible(c, WEIR__V1__CHECK_NAME__CHECK_NAME_TRACE_COHERENCE, why);
	if (good && b->has_traces && parts->state_diff.root)
		(void)evm_check_state_diff(b, parts->state_diff.root, parts->state_diff.part->endpoint, c);
	evm_not_possible(c, WEIR__V1__CHECK_NAME__CHECK_NAME_STATE_DIFF,
			 !b->has_traces ? "without traces inner transfers are unknown" :
					  why_unavailable(raw, WEIR__V1__PART_KIND__PART_KIND_STATE_DIFF, WEIR__V1__PART_KIND__PART_KIND_STATE_DIFF,
							  "no state diff was fetched"));
}

/* An uncle's reward is an entry like any other: a block without it is not whole. Its header gives it, or the traces tell it. */
static void check_uncles(const struct evm_block *b, const Weir__V1__RawBlock *raw, struct evm_certificate *c)
{
	struct u256 base, miner;
	char why[200] = "traces tell the uncles' rewards";
	if (b->header.uncle_count > b->uncle_count && b->reward_count == 0 && evm_block_reward(b, &base, &miner)) {
		evm_demand(c, WEIR__V1__CHECK_NAME__CHECK_NAME_UNCLES_HASH);
		snprintf(why, sizeof why, "uncle headers are needed for their rewards: %s",
			 why_unavailable(raw, WEIR__V1__PART_KIND__PART_KIND_UNCLE, WEIR__V1__PART_KIND__PART_KIND_UNCLE, "they were not fetched"));
	}
	evm_not_possible(c, WEIR__V1__CHECK_NAME__CHECK_NAME_UNCLES_HASH, why);
}

static bool prove_and_read(struct evm_block *b, const Weir__V1__RawBlock *raw, struct parts *parts, struct evm_certificate *c,
			   Weir__V1__NormalizedBlock *m, struct error *err)
{
	if (!parse_all(b, parts, c))
		return true;
	evm_pass(c, WEIR__V1__CHECK_NAME__CHECK_NAME_SHAPE, c->block_endpoint);
	evm_prove(b, raw, c);
	if (!evm_failed(c))
		check_state(b, raw, parts, c);
	if (!evm_failed(c))
		check_uncles(b, raw, c);
	if (evm_failed(c))
		return true;
	if (!evm_read(b, m, err))
		return false;
	(void)evm_check_conservation(b, m, c);
	return true;
}

/* An unproven block says nothing but its certificate. */
static void empty_message(Weir__V1__NormalizedBlock *m)
{
	m->n_transactions = m->n_accounts = m->n_assets = m->n_entries = 0;
	m->gas_used = 0;
	m->base_fee.len = m->fee_recipient.len = 0;
}

int evm_normalize(const struct chain *chain, const Weir__V1__RawBlock *raw, size_t max_bytes, struct arena *arena,
		  Weir__V1__NormalizedBlock **ret, struct error *err)
{
	struct parts parts = { 0 };
	struct evm_certificate c = { 0 };
	struct evm_block *b = arena_zalloc(arena, 1, sizeof *b);
	Weir__V1__NormalizedBlock *m = arena_alloc(arena, sizeof *m);
	if (!b || !m)
		return error_set(err, WEIR_LIMIT, "no memory for block %llu", (unsigned long long)raw->height);
	if (raw->n_parts == 0)
		return error_set(err, WEIR_INVALID, "raw block %llu of chain %s has no parts", (unsigned long long)raw->height, chain->name);
	b->chain = chain;
	b->arena = arena;
	weir__v1__normalized_block__init(m);
	m->chain = (char *)(uintptr_t)chain->name;
	m->height = raw->height;
	m->hash = raw->hash;
	m->reason = raw->reason;
	m->attempt = raw->attempt;
	m->announced_at_unix_ms = raw->announced_at_unix_ms;

	bool opened = open_parts(raw, max_bytes, &parts, arena, &c);
	c.block_endpoint = parts.block.part ? parts.block.part->endpoint : "";
	c.receipts_endpoint = parts.receipts.part ? parts.receipts.part->endpoint : c.block_endpoint;
	const struct part *traces = parts.flat_traces.part ? &parts.flat_traces : &parts.call_traces;
	c.traces_endpoint = traces->part ? traces->part->endpoint : c.block_endpoint;
	c.uncles_endpoint = parts.uncles[0].part ? parts.uncles[0].part->endpoint : c.block_endpoint;
	if (!parts.block.part)
		(void)evm_fail(&c, WEIR__V1__CHECK_NAME__CHECK_NAME_SHAPE, "", "the block itself was not fetched");
	else if (opened && !prove_and_read(b, raw, &parts, &c, m, err))
		return WEIR_LIMIT;

	m->endpoints = arena_zalloc(arena, raw->n_parts + 1, sizeof *m->endpoints);
	m->certificate = evm_certificate_message(&c, chain->profile, arena);
	if (!m->endpoints || !m->certificate)
		return error_set(err, WEIR_LIMIT, "no memory for block %llu", (unsigned long long)raw->height);
	for (size_t i = 0; i < raw->n_parts; i++) {
		bool seen = !*raw->parts[i]->endpoint;
		for (size_t j = 0; j < m->n_endpoints && !seen; j++)
			seen = strcmp(m->endpoints[j], raw->parts[i]->endpoint) == 0;
		if (!seen)
			m->endpoints[m->n_endpoints++] = raw->parts[i]->endpoint;
	}
	if (m->certificate->proven) {
		m->hash = (ProtobufCBinaryData){ .len = 32, .data = b->header.hash };
		m->parent_hash = (ProtobufCBinaryData){ .len = 32, .data = b->header.parent_hash };
		m->timestamp = b->header.timestamp;
	} else {
		empty_message(m);
	}
	*ret = m;
	return 0;
}
