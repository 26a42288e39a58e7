/* tokens.c - token movements as logged: ERC-20, ERC-721, ERC-1155 (single and batch), old tokens whose arguments are not indexed,
 * and wrapped-native deposits and withdrawals.
 *
 * Entries say what a contract logged, not what it did: a token that lies is found by the reconciler, not here. ERC-20 and ERC-721
 * share one event; the third indexed argument (a fourth topic) tells them apart.
 */
#include "chains/evm/evm.h"

#include <stdio.h>
#include <string.h>

#define BATCH_MAX 10000

/* keccak256 of the events' signatures */
static const uint8_t transfer_topic[32] = { /* Transfer(address,address,uint256) */
	0xdd, 0xf2, 0x52, 0xad, 0x1b, 0xe2, 0xc8, 0x9b, 0x69, 0xc2, 0xb0, 0x68, 0xfc, 0x37, 0x8d, 0xaa,
	0x95, 0x2b, 0xa7, 0xf1, 0x63, 0xc4, 0xa1, 0x16, 0x28, 0xf5, 0x5a, 0x4d, 0xf5, 0x23, 0xb3, 0xef };
static const uint8_t single_topic[32] = { /* TransferSingle(address,address,address,uint256,uint256) */
	0xc3, 0xd5, 0x81, 0x68, 0xc5, 0xae, 0x73, 0x97, 0x73, 0x1d, 0x06, 0x3d, 0x5b, 0xbf, 0x3d, 0x65,
	0x78, 0x54, 0x42, 0x73, 0x43, 0xf4, 0xc0, 0x83, 0x24, 0x0f, 0x7a, 0xac, 0xaa, 0x2d, 0x0f, 0x62 };
static const uint8_t batch_topic[32] = { /* TransferBatch(address,address,address,uint256[],uint256[]) */
	0x4a, 0x39, 0xdc, 0x06, 0xd4, 0xc0, 0xdb, 0xc6, 0x4b, 0x70, 0xaf, 0x90, 0xfd, 0x69, 0x8a, 0x23,
	0x3a, 0x51, 0x8a, 0xa5, 0xd0, 0x7e, 0x59, 0x5d, 0x98, 0x3b, 0x8c, 0x05, 0x26, 0xc8, 0xf7, 0xfb };
static const uint8_t deposit_topic[32] = { /* Deposit(address,uint256) */
	0xe1, 0xff, 0xfc, 0xc4, 0x92, 0x3d, 0x04, 0xb5, 0x59, 0xf4, 0xd2, 0x9a, 0x8b, 0xfc, 0x6c, 0xda,
	0x04, 0xeb, 0x5b, 0x0d, 0x3c, 0x46, 0x07, 0x51, 0xc2, 0x40, 0x2c, 0x5c, 0x5c, 0xc9, 0x10, 0x9c };
static const uint8_t withdrawal_topic[32] = { /* Withdrawal(address,uint256) */
	0x7f, 0xcf, 0x53, 0x2c, 0x15, 0xf0, 0xa6, 0xdb, 0x0b, 0xd6, 0xd0, 0xe0, 0x38, 0xbe, 0xa7, 0x1d,
	0x30, 0xd8, 0x08, 0xc7, 0xd9, 0x8c, 0xb3, 0xbf, 0x72, 0x68, 0xa9, 0x5b, 0xf5, 0x08, 0x1b, 0x65 };

static const uint8_t zero_address[20];

/* An address in a word: the upper twelve bytes are zero, else the word is none. */
static bool word_address(const uint8_t *word, const uint8_t **ret)
{
	static const uint8_t zeros[12];
	*ret = word + 12;
	return memcmp(word, zeros, 12) == 0;
}

static struct chain_asset token(const struct evm_log *log, Weir__V1__TokenStandard standard)
{
	struct chain_asset asset = { .standard = (int)standard, .contract_size = 20 };
	memcpy(asset.contract, log->address, 20);
	return asset;
}

/* Both sides of a movement. The zero address is nobody: from it is a mint, to it a burn. */
static void write_both(struct evm_writer *w, size_t tx, const char *path, const struct chain_asset *asset, const uint8_t *from, const uint8_t *to,
		       struct u256 amount)
{
	bool mint = memcmp(from, zero_address, 20) == 0, burn = memcmp(to, zero_address, 20) == 0;
	Weir__V1__EntryKind kind = mint ? WEIR__V1__ENTRY_KIND__ENTRY_KIND_MINT :
				   burn ? WEIR__V1__ENTRY_KIND__ENTRY_KIND_BURN :
					  WEIR__V1__ENTRY_KIND__ENTRY_KIND_TOKEN_TRANSFER;
	if (!mint)
		evm_write_entry(w, kind, (int32_t)tx, path, from, asset, amount, true);
	if (!burn)
		evm_write_entry(w, kind, (int32_t)tx, path, to, asset, amount, false);
}

/* Transfer, in every form that was ever deployed: 3 topics (ERC-20), 4 (ERC-721), or arguments in the data (old tokens). */
static void transfer(struct evm_writer *w, size_t tx, const struct evm_log *log, const char *path)
{
	const uint8_t *words[3];
	size_t n = 0;
	for (size_t i = 1; i < log->topic_count && n < 3; i++)
		words[n++] = log->topics + 32 * i;
	for (size_t i = 0; i + 32 <= log->data.size && n < 3; i += 32)
		words[n++] = log->data.data + i;
	size_t expected = 32 * (size_t)(4 - log->topic_count);
	const uint8_t *from, *to;
	if (n < 3 || log->data.size != expected || !word_address(words[0], &from) || !word_address(words[1], &to))
		return;
	struct u256 number = u256_from_be(words[2], 32);
	bool nft = log->topic_count == 4;
	struct chain_asset asset = token(log, nft ? WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_ERC721 : WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_ERC20);
	asset.has_token_id = nft;
	if (nft)
		asset.token_id = number;
	write_both(w, tx, path, &asset, from, to, nft ? u256_from_u64(1) : number);
}

static void transfer_single(struct evm_writer *w, size_t tx, const struct evm_log *log, const char *path)
{
	const uint8_t *from, *to;
	if (log->topic_count != 4 || log->data.size != 64 || !word_address(log->topics + 64, &from) || !word_address(log->topics + 96, &to))
		return;
	struct chain_asset asset = token(log, WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_ERC1155);
	asset.has_token_id = true;
	asset.token_id = u256_from_be(log->data.data, 32);
	write_both(w, tx, path, &asset, from, to, u256_from_be(log->data.data + 32, 32));
}

/* An ABI array of words inside data, found through the offset at `head`. */
static bool abi_words(struct bytes data, size_t head, const uint8_t **ret, uint64_t *ret_count)
{
	uint64_t offset, count;
	if (data.size < head + 32 || !u256_to_u64(u256_from_be(data.data + head, 32), &offset) || offset > data.size || data.size - offset < 32 ||
	    !u256_to_u64(u256_from_be(data.data + offset, 32), &count) || count > (data.size - offset - 32) / 32)
		return false;
	*ret = data.data + offset + 32;
	*ret_count = count;
	return true;
}

static void transfer_batch(struct evm_writer *w, size_t tx, const struct evm_log *log, const char *path)
{
	const uint8_t *from, *to, *ids, *amounts;
	uint64_t n, m;
	if (log->topic_count != 4 || !word_address(log->topics + 64, &from) || !word_address(log->topics + 96, &to) ||
	    !abi_words(log->data, 0, &ids, &n) || !abi_words(log->data, 32, &amounts, &m) || n != m || n > BATCH_MAX)
		return;
	struct chain_asset asset = token(log, WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_ERC1155);
	asset.has_token_id = true;
	for (size_t i = 0; i < n; i++) {
		const char *item = arena_printf(w->block->arena, "%s:%zu", path, i);
		asset.token_id = u256_from_be(ids + 32 * i, 32);
		write_both(w, tx, item, &asset, from, to, u256_from_be(amounts + 32 * i, 32));
	}
}

/* Did native value of exactly this amount move between account and contract in this transaction? Without traces only the top-level
 * call is known, and the log has to be believed. */
static bool native_moved(const struct evm_block *b, const struct evm_tx *tx, const uint8_t *contract, bool in, struct u256 amount)
{
	if (in && !tx->creates && memcmp(tx->to, contract, 20) == 0 && u256_cmp(tx->value, amount) == 0)
		return true;
	if (!b->has_traces)
		return true;
	for (size_t i = 0; i < tx->move_count; i++) {
		const struct evm_move *move = &b->moves[tx->first_move + i];
		if (memcmp(in ? move->to : move->from, contract, 20) == 0 && u256_cmp(move->value, amount) == 0)
			return true;
	}
	return u256_is_zero(amount);
}

/* Does the contract also log the same mint or burn as a Transfer? Then that one counts, not this. */
static bool also_transferred(const struct evm_block *b, const struct evm_tx *tx, const struct evm_log *log, bool mint, const uint8_t *account)
{
	for (size_t i = 0; i < tx->log_count; i++) {
		const struct evm_log *other = &b->logs[tx->first_log + i];
		const uint8_t *from, *to;
		if (other->topic_count == 3 && memcmp(other->topics, transfer_topic, 32) == 0 && memcmp(other->address, log->address, 20) == 0 &&
		    word_address(other->topics + 32, &from) && word_address(other->topics + 64, &to) &&
		    memcmp(mint ? from : to, zero_address, 20) == 0 && memcmp(mint ? to : from, account, 20) == 0)
			return true;
	}
	return false;
}

static void wrap(struct evm_writer *w, size_t tx_index, const struct evm_log *log, const char *path, bool in)
{
	const struct evm_block *b = w->block;
	const struct evm_tx *tx = &b->txs[tx_index];
	const uint8_t *account;
	if (log->topic_count != 2 || log->data.size != 32 || !word_address(log->topics + 32, &account))
		return;
	struct u256 amount = u256_from_be(log->data.data, 32);
	if (!native_moved(b, tx, log->address, in, amount) || also_transferred(b, tx, log, in, account))
		return;
	struct chain_asset asset = token(log, WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_ERC20);
	evm_write_entry(w, in ? WEIR__V1__ENTRY_KIND__ENTRY_KIND_WRAP : WEIR__V1__ENTRY_KIND__ENTRY_KIND_UNWRAP, (int32_t)tx_index, path, account, &asset,
			amount, !in);
}

void evm_read_tokens(struct evm_writer *w, size_t tx_index)
{
	const struct evm_block *b = w->block;
	const struct evm_tx *tx = &b->txs[tx_index];
	for (size_t i = 0; i < tx->log_count && !w->failed; i++) {
		const struct evm_log *log = &b->logs[tx->first_log + i];
		if (log->topic_count == 0)
			continue;
		char path[32];
		snprintf(path, sizeof path, "log:%llu", (unsigned long long)log->index);
		if (memcmp(log->topics, transfer_topic, 32) == 0)
			transfer(w, tx_index, log, path);
		else if (memcmp(log->topics, single_topic, 32) == 0)
			transfer_single(w, tx_index, log, path);
		else if (memcmp(log->topics, batch_topic, 32) == 0)
			transfer_batch(w, tx_index, log, path);
		else if (memcmp(log->topics, deposit_topic, 32) == 0)
			wrap(w, tx_index, log, path, true);
		else if (memcmp(log->topics, withdrawal_topic, 32) == 0)
			wrap(w, tx_index, log, path, false);
	}
}
