/* encode.c - header, transaction, receipt and withdrawal as RLP, the form that hashes and roots commit to.
 *
 * Sources: yellow paper §4.3; EIP-155 (replay protection), 1559, 2718 (typed envelopes), 2930, 4788, 4844, 4895, 7685, 7702.
 */
#include "chains/evm/evm.h"

#include "wire/hex.h"
#include "wire/keccak.h"
#include "wire/rlp.h"

#include <string.h>

static void add_text(struct buf *out, struct text text)
{
	if (!text.s || !rlp_add_hex_data(out, text.s, text.n))
		out->overflow = true; /* malformed hex: whoever compares the hash sees a failure */
}

static void add_quantity(struct buf *out, struct text text)
{
	if (!text.s || !rlp_add_hex_quantity(out, text.s, text.n))
		out->overflow = true;
}

void evm_encode_header(const struct evm_header *h, struct buf *out)
{
	size_t list = rlp_list_begin(out);
	rlp_add_bytes(out, h->parent_hash, 32);
	rlp_add_bytes(out, h->uncles_hash, 32);
	rlp_add_bytes(out, h->miner, 20);
	add_text(out, h->state_root);
	rlp_add_bytes(out, h->transactions_root, 32);
	rlp_add_bytes(out, h->receipts_root, 32);
	rlp_add_bytes(out, h->bloom, 256);
	rlp_add_u256(out, h->difficulty);
	rlp_add_u64(out, h->height);
	rlp_add_u64(out, h->gas_limit);
	rlp_add_u64(out, h->gas_used);
	rlp_add_u64(out, h->timestamp);
	add_text(out, h->extra_data);
	if (h->mix_hash.s)
		add_text(out, h->mix_hash);
	if (h->nonce.s)
		add_text(out, h->nonce);
	if (h->has_base_fee)
		rlp_add_u256(out, h->base_fee);
	if (h->has_withdrawals)
		rlp_add_bytes(out, h->withdrawals_root, 32);
	if (h->has_blob_gas) {
		rlp_add_u64(out, h->blob_gas_used);
		rlp_add_u64(out, h->excess_blob_gas);
	}
	if (h->has_beacon_root)
		add_text(out, h->beacon_root);
	if (h->has_requests_hash)
		add_text(out, h->requests_hash);
	rlp_list_end(out, list);
}

static void add_access_list(struct buf *out, yyjson_val *access)
{
	size_t list = rlp_list_begin(out), i, n, j, m;
	yyjson_val *item, *key;
	yyjson_arr_foreach(access, i, n, item)
	{
		size_t pair = rlp_list_begin(out);
		add_text(out, json_text(yyjson_obj_get(item, "address")));
		size_t keys = rlp_list_begin(out);
		yyjson_arr_foreach(yyjson_obj_get(item, "storageKeys"), j, m, key) add_text(out, json_text(key));
		rlp_list_end(out, keys);
		rlp_list_end(out, pair);
	}
	rlp_list_end(out, list);
}

static void add_authorizations(struct buf *out, yyjson_val *authorizations)
{
	size_t list = rlp_list_begin(out), i, n;
	yyjson_val *item;
	yyjson_arr_foreach(authorizations, i, n, item)
	{
		size_t one = rlp_list_begin(out);
		yyjson_val *parity = yyjson_obj_get(item, "yParity");
		add_quantity(out, json_text(yyjson_obj_get(item, "chainId")));
		add_text(out, json_text(yyjson_obj_get(item, "address")));
		add_quantity(out, json_text(yyjson_obj_get(item, "nonce")));
		add_quantity(out, json_text(parity ? parity : yyjson_obj_get(item, "v")));
		add_quantity(out, json_text(yyjson_obj_get(item, "r")));
		add_quantity(out, json_text(yyjson_obj_get(item, "s")));
		rlp_list_end(out, one);
	}
	rlp_list_end(out, list);
}

static void add_recipient(struct buf *out, const struct evm_tx *tx)
{
	rlp_add_bytes(out, tx->to, tx->creates ? 0 : 20);
}

static void encode_legacy(const struct evm_tx *tx, bool signature, struct buf *out)
{
	size_t list = rlp_list_begin(out);
	rlp_add_u64(out, tx->nonce);
	rlp_add_u256(out, tx->gas_price);
	rlp_add_u64(out, tx->gas);
	add_recipient(out, tx);
	rlp_add_u256(out, tx->value);
	add_text(out, tx->input);
	if (signature) {
		rlp_add_u64(out, tx->v);
		rlp_add_u256(out, tx->r);
		rlp_add_u256(out, tx->s);
	} else if (tx->v >= 35) { /* EIP-155: the signed text names the chain */
		rlp_add_u64(out, (tx->v - 35) / 2);
		rlp_add_u64(out, 0);
		rlp_add_u64(out, 0);
	}
	rlp_list_end(out, list);
}

static void encode_typed(const struct evm_tx *tx, bool signature, struct buf *out)
{
	buf_add_byte(out, tx->type);
	size_t list = rlp_list_begin(out);
	add_quantity(out, tx->chain_id);
	rlp_add_u64(out, tx->nonce);
	if (tx->type == 1) {
		rlp_add_u256(out, tx->gas_price);
	} else {
		rlp_add_u256(out, tx->max_priority);
		rlp_add_u256(out, tx->max_fee);
	}
	rlp_add_u64(out, tx->gas);
	add_recipient(out, tx);
	rlp_add_u256(out, tx->value);
	add_text(out, tx->input);
	add_access_list(out, tx->access_list);
	if (tx->type == 3) {
		add_quantity(out, tx->max_blob_fee);
		size_t hashes = rlp_list_begin(out), i, n;
		yyjson_val *hash;
		yyjson_arr_foreach(tx->blob_hashes, i, n, hash) add_text(out, json_text(hash));
		rlp_list_end(out, hashes);
	}
	if (tx->type == 4)
		add_authorizations(out, tx->authorizations);
	if (signature) {
		rlp_add_u64(out, tx->v);
		rlp_add_u256(out, tx->r);
		rlp_add_u256(out, tx->s);
	}
	rlp_list_end(out, list);
}

bool evm_encode_tx(const struct evm_tx *tx, uint64_t chain_id, bool signature, struct buf *out)
{
	(void)chain_id;
	if (tx->type > 4)
		return false;
	if (tx->type == 0)
		encode_legacy(tx, signature, out);
	else
		encode_typed(tx, signature, out);
	return true;
}

static void add_texts(struct buf *out, yyjson_val *texts)
{
	size_t list = rlp_list_begin(out), i, n;
	yyjson_val *text;
	yyjson_arr_foreach(texts, i, n, text) add_text(out, json_text(text));
	rlp_list_end(out, list);
}

bool evm_encode_committed_tx(const struct evm_tx *tx, const struct chain_profile *profile, struct buf *out)
{
	if (!profile->commits_sidecars || tx->type != 3 || !tx->blobs)
		return evm_encode_tx(tx, 0, true, out);
	/* Network form: 0x03 || rlp([payload, blobs, commitments, proofs]) (EIP-4844), or with version 1 behind the payload and a proof per
	 * cell (EIP-7594). */
	struct buf plain = BUF_INIT(out->max);
	if (!evm_encode_tx(tx, 0, true, &plain) || plain.overflow) {
		buf_free(&plain);
		return false;
	}
	buf_add_byte(out, tx->type);
	size_t list = rlp_list_begin(out);
	buf_add(out, plain.data + 1, plain.size - 1);
	if (tx->cell_proofs)
		rlp_add_u64(out, 1);
	add_texts(out, tx->blobs);
	add_texts(out, tx->commitments);
	add_texts(out, tx->cell_proofs ? tx->cell_proofs : tx->proofs);
	rlp_list_end(out, list);
	buf_free(&plain);
	return true;
}

void evm_encode_receipt(const struct evm_block *b, const struct evm_tx *tx, struct buf *out)
{
	if (tx->type != 0)
		buf_add_byte(out, tx->type);
	size_t list = rlp_list_begin(out);
	if (tx->has_status)
		rlp_add_u64(out, tx->succeeded);
	else
		add_text(out, tx->state_root);
	rlp_add_u64(out, tx->cumulative_gas);
	rlp_add_bytes(out, tx->bloom, 256);
	size_t logs = rlp_list_begin(out);
	for (size_t i = 0; i < tx->log_count; i++) {
		const struct evm_log *log = &b->logs[tx->first_log + i];
		size_t one = rlp_list_begin(out);
		rlp_add_bytes(out, log->address, 20);
		size_t topics = rlp_list_begin(out);
		for (size_t t = 0; t < log->topic_count; t++)
			rlp_add_bytes(out, log->topics + 32 * t, 32);
		rlp_list_end(out, topics);
		rlp_add_bytes(out, log->data.data, log->data.size);
		rlp_list_end(out, one);
	}
	rlp_list_end(out, logs);
	rlp_list_end(out, list);
}

void evm_encode_withdrawal(const struct evm_withdrawal *w, struct buf *out)
{
	size_t list = rlp_list_begin(out);
	rlp_add_u64(out, w->index);
	rlp_add_u64(out, w->validator);
	rlp_add_bytes(out, w->address, 20);
	rlp_add_u64(out, w->amount_gwei);
	rlp_list_end(out, list);
}

void evm_created_address(const uint8_t sender[20], uint64_t nonce, uint8_t ret[20])
{
	uint8_t text[32] = { 0xd5, 0x94 }, hash[32]; /* list of 21 bytes and the nonce; string of 20 */
	size_t n = 22;
	memcpy(text + 2, sender, 20);
	if (nonce > 0 && nonce < 0x80) {
		text[n++] = (uint8_t)nonce;
	} else {
		size_t head = n++;
		for (int shift = 56; shift >= 0; shift -= 8)
			if (n > head + 1 || (nonce >> shift) & 0xff)
				text[n++] = (uint8_t)(nonce >> shift);
		text[head] = (uint8_t)(0x80 + n - head - 1);
	}
	text[0] = (uint8_t)(0xc0 + n - 1);
	keccak256(text, n, hash);
	memcpy(ret, hash + 12, 20);
}
