/* blocks.c - looking at normalized blocks. */
#include "support/blocks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Weir__V1__NormalizedBlock *blocks_normalize(const struct chain *chain, const Weir__V1__RawBlock *raw, struct arena *arena)
{
	Weir__V1__NormalizedBlock *block = NULL;
	struct error err = { 0 };
	if (chain->family->normalize(chain, raw, (size_t)1 << 30, arena, &block, &err) != 0) {
		fprintf(stderr, "block %llu: %s\n", (unsigned long long)raw->height, err.text);
		abort();
	}
	return block;
}

const Weir__V1__Check *blocks_check(const Weir__V1__NormalizedBlock *block, Weir__V1__CheckName name)
{
	for (size_t i = 0; i < block->certificate->n_checks; i++)
		if (block->certificate->checks[i]->name == name)
			return block->certificate->checks[i];
	return NULL;
}

bool blocks_passed(const Weir__V1__NormalizedBlock *block, Weir__V1__CheckName name)
{
	const Weir__V1__Check *check = blocks_check(block, name);
	return check && check->result == WEIR__V1__CHECK_RESULT__CHECK_RESULT_PASSED;
}

bool blocks_failed(const Weir__V1__NormalizedBlock *block, Weir__V1__CheckName name)
{
	const Weir__V1__Check *check = blocks_check(block, name);
	return check && check->result == WEIR__V1__CHECK_RESULT__CHECK_RESULT_FAILED;
}

const char *blocks_failures(const Weir__V1__NormalizedBlock *block, struct arena *arena)
{
	const char *text = "";
	for (size_t i = 0; i < block->certificate->n_checks; i++) {
		const Weir__V1__Check *check = block->certificate->checks[i];
		if (check->result != WEIR__V1__CHECK_RESULT__CHECK_RESULT_FAILED)
			continue;
		const char *name = protobuf_c_enum_descriptor_get_value(&weir__v1__check_name__descriptor, (int)check->name)->name + strlen("CHECK_NAME_");
		text = arena_printf(arena, "%s%s%s: %s", text, *text ? "; " : "", name, check->detail);
	}
	return text;
}

struct i256 blocks_native_delta(const Weir__V1__NormalizedBlock *block, const uint8_t account[20])
{
	struct i256 sum = { { 0 } }, delta;
	for (size_t i = 0; i < block->n_entries; i++) {
		const Weir__V1__Entry *e = block->entries[i];
		if (block->assets[e->asset]->standard == WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_NATIVE &&
		    memcmp(block->accounts[e->account].data, account, 20) == 0 &&
		    (i256_from_be(e->delta.data, e->delta.len, &delta) != 0 || !i256_add(sum, delta, &sum)))
			abort();
	}
	return sum;
}

static bool same_bytes(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static bool same_transaction(const Weir__V1__Transaction *a, const Weir__V1__Transaction *b)
{
	return same_bytes(&a->hash, &b->hash) && a->type == b->type && same_bytes(&a->from, &b->from) && same_bytes(&a->to, &b->to) &&
	       same_bytes(&a->value, &b->value) && a->nonce == b->nonce && a->gas_used == b->gas_used &&
	       same_bytes(&a->effective_gas_price, &b->effective_gas_price) && a->succeeded == b->succeeded && same_bytes(&a->created, &b->created) &&
	       a->log_count == b->log_count;
}

static bool same_entry(const Weir__V1__NormalizedBlock *x, const Weir__V1__Entry *a, const Weir__V1__NormalizedBlock *y, const Weir__V1__Entry *b)
{
	const Weir__V1__Asset *s = x->assets[a->asset], *t = y->assets[b->asset];
	return a->kind == b->kind && a->tx_index == b->tx_index && strcmp(a->path, b->path) == 0 && same_bytes(&a->delta, &b->delta) &&
	       same_bytes(&x->accounts[a->account], &y->accounts[b->account]) && s->standard == t->standard && s->has_token_id == t->has_token_id &&
	       same_bytes(&s->contract, &t->contract) && same_bytes(&s->token_id, &t->token_id);
}

bool blocks_equal(const Weir__V1__NormalizedBlock *a, const Weir__V1__NormalizedBlock *b)
{
	if (a->n_transactions != b->n_transactions || a->n_entries != b->n_entries || a->timestamp != b->timestamp || a->gas_used != b->gas_used ||
	    !same_bytes(&a->hash, &b->hash) || !same_bytes(&a->parent_hash, &b->parent_hash) || !same_bytes(&a->base_fee, &b->base_fee) ||
	    !same_bytes(&a->fee_recipient, &b->fee_recipient) || a->height != b->height)
		return false;
	for (size_t i = 0; i < a->n_transactions; i++)
		if (!same_transaction(a->transactions[i], b->transactions[i]))
			return false;
	for (size_t i = 0; i < a->n_entries; i++)
		if (!same_entry(a, a->entries[i], b, b->entries[i]))
			return false;
	return true;
}
