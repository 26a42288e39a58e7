/* ask.c - questions to an EVM node as JSON-RPC calls, and what the answers mean (EIP-1474, execution-apis; EIP-1898 for pinned
 * state; EIP-20, 721 and 1155 for balances). */
#include "chains/evm/evm.h"

#include "wire/hex.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Function selectors: the first four bytes of keccak256 of the signature. */
#define BALANCE_OF "70a08231"      /* balanceOf(address) */
#define BALANCE_OF_ID "00fdd58e"   /* balanceOf(address,uint256) */
#define OWNER_OF "6352211e"        /* ownerOf(uint256) */
#define SYMBOL "95d89b41"          /* symbol() */
#define DECIMALS "313ce567"        /* decimals() */

/* The block argument of a state question: by hash where one is given, so that a reorg can't answer for another block. */
static const char *at_block(const struct chain_args *args, char ret[160])
{
	char hash[67];
	if (args->hash) {
		hex_from_bytes(args->hash, 32, hash);
		snprintf(ret, 160, "{\"blockHash\":\"%s\"}", hash);
	} else {
		snprintf(ret, 160, "\"0x%llx\"", (unsigned long long)args->height);
	}
	return ret;
}

static void word_of_address(struct bytes account, char ret[65])
{
	char text[67];
	hex_from_bytes(account.data, account.size > 20 ? 20 : account.size, text);
	snprintf(ret, 65, "%024d%s", 0, text + 2);
}

static void word_of_u256(struct u256 value, char ret[65])
{
	uint8_t bytes[32];
	char text[67];
	u256_to_be32(value, bytes);
	hex_from_bytes(bytes, 32, text);
	memcpy(ret, text + 2, 65);
}

static int call_contract(const struct chain_args *args, const char *data, struct arena *arena, struct chain_call *ret)
{
	char to[67], block[160];
	hex_from_bytes(args->asset->contract, 20, to);
	ret->method = "eth_call";
	ret->params = arena_printf(arena, "[{\"to\":\"%s\",\"data\":\"0x%s\"},%s]", to, data, at_block(args, block));
	return ret->params ? 0 : WEIR_LIMIT;
}

static int balance_question(const struct chain_args *args, struct arena *arena, struct chain_call *ret)
{
	char block[160], text[67], who[65], id[65], data[160];
	if (args->asset->contract_size == 0) {
		hex_from_bytes(args->account.data, 20, text);
		ret->method = "eth_getBalance";
		ret->params = arena_printf(arena, "[\"%s\",%s]", text, at_block(args, block));
		return ret->params ? 0 : WEIR_LIMIT;
	}
	word_of_address(args->account, who);
	word_of_u256(args->asset->token_id, id);
	if (!args->asset->has_token_id)
		snprintf(data, sizeof data, BALANCE_OF "%s", who);
	else if (args->asset->standard == WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_ERC721)
		snprintf(data, sizeof data, OWNER_OF "%s", id);
	else
		snprintf(data, sizeof data, BALANCE_OF_ID "%s%s", who, id);
	return call_contract(args, data, arena, ret);
}

static int plain(struct chain_call *ret, const char *method, const char *params)
{
	ret->method = method;
	ret->params = params;
	return params ? 0 : WEIR_LIMIT;
}

int evm_question(const struct chain *chain, enum chain_question question, const struct chain_args *args, struct arena *arena,
		 struct chain_call *ret, struct error *err)
{
	char text[160];
	switch (question) {
	case CHAIN_ASK_CHAIN_ID:
		return plain(ret, "eth_chainId", "[]");
	case CHAIN_ASK_CLIENT:
		return plain(ret, "web3_clientVersion", "[]");
	case CHAIN_ASK_HEAD:
		return plain(ret, "eth_getBlockByNumber", "[\"latest\",false]");
	case CHAIN_ASK_SAFE:
		return plain(ret, "eth_getBlockByNumber", "[\"safe\",false]");
	case CHAIN_ASK_FINALIZED:
		return plain(ret, "eth_getBlockByNumber", "[\"finalized\",false]");
	case CHAIN_ASK_BY_HEIGHT:
		return plain(ret, "eth_getBlockByNumber", arena_printf(arena, "[\"0x%llx\",false]", (unsigned long long)args->height));
	case CHAIN_ASK_BY_HASH:
		hex_from_bytes(args->hash, 32, text);
		return plain(ret, "eth_getBlockByHash", arena_printf(arena, "[\"%s\",false]", text));
	case CHAIN_ASK_BALANCE:
		return balance_question(args, arena, ret);
	case CHAIN_ASK_HAS_CODE: {
		char address[67];
		hex_from_bytes(args->account.data, 20, address);
		return plain(ret, "eth_getCode", arena_printf(arena, "[\"%s\",%s]", address, at_block(args, text)));
	}
	case CHAIN_ASK_ASSET_SYMBOL:
		return call_contract(args, SYMBOL, arena, ret);
	case CHAIN_ASK_ASSET_DECIMALS:
		return call_contract(args, DECIMALS, arena, ret);
	case CHAIN_ASK_SUBSCRIBE_HEADS:
		return plain(ret, "eth_subscribe", "[\"newHeads\"]");
	}
	return error_set(err, WEIR_UNSUPPORTED, "chain %s: unknown question", chain->name);
}

/* -- answers -------------------------------------------------------------------------------------------------------------- */

static yyjson_doc *parse(struct bytes result, struct arena *arena)
{
	yyjson_alc alc = json_arena_allocator(arena);
	/* The JSON text is not ours to change: no in-situ parsing, so the const may be cast away. */
	return yyjson_read_opts((char *)(uintptr_t)result.data, result.size, YYJSON_READ_NOFLAG, &alc, NULL);
}

static bool read_ref(yyjson_val *block, struct chain_block_ref *ret)
{
	ret->proven = false;
	return evm_hex_u64(yyjson_obj_get(block, "number"), &ret->height) && evm_hex_bytes(yyjson_obj_get(block, "hash"), ret->hash, 32) &&
	       evm_hex_bytes(yyjson_obj_get(block, "parentHash"), ret->parent_hash, 32) &&
	       evm_hex_u64(yyjson_obj_get(block, "timestamp"), &ret->timestamp);
}

static int block_answer(yyjson_val *root, const struct chain_args *args, enum chain_question question, struct chain_answer *ret, struct error *err)
{
	if (yyjson_is_null(root))
		return 0; /* a clean no */
	if (!read_ref(root, &ret->block))
		return error_set(err, WEIR_PROTOCOL, "not a block: number, hash, parentHash or timestamp is missing or malformed");
	if (question == CHAIN_ASK_BY_HEIGHT && ret->block.height != args->height)
		return error_set(err, WEIR_PROTOCOL, "asked for block %llu, answered block %llu", (unsigned long long)args->height,
				 (unsigned long long)ret->block.height);
	if (question == CHAIN_ASK_BY_HASH && memcmp(ret->block.hash, args->hash, 32) != 0)
		return error_set(err, WEIR_PROTOCOL, "asked for a block by hash, answered another one");
	ret->found = true;
	ret->block.proven = evm_header_gives_hash(root);
	return 0;
}

/* An ABI word. Less than one is a clean no: there is no code, no such function, or a contract that answers what it likes. Only what is not
 * hex data at all is the endpoint's fault. */
static int word_answer(struct text text, struct u256 *ret, bool *ret_found)
{
	uint8_t bytes[32];
	if (!text.s)
		return WEIR_PROTOCOL;
	*ret_found = false;
	size_t size = text.n < 66 ? text.n : 66;
	if (size < 2 || text.n % 2 || hex_to_bytes(text.s, size, bytes, size / 2 - 1) != 0)
		return WEIR_PROTOCOL;
	if (size < 66)
		return 0;
	*ret = u256_from_be(bytes, 32);
	*ret_found = true;
	return 0;
}

static int balance_answer(yyjson_val *root, const struct chain_args *args, struct chain_answer *ret, struct error *err)
{
	if (args->asset->contract_size == 0) {
		ret->found = evm_hex_u256(root, &ret->amount);
		return ret->found ? 0 : error_set(err, WEIR_PROTOCOL, "not a balance: a hex quantity is expected");
	}
	struct u256 word;
	if (word_answer(json_text(root), &word, &ret->found) != 0)
		return error_set(err, WEIR_PROTOCOL, "not a contract's answer: hex data is expected");
	if (!ret->found)
		return 0;
	ret->amount = word;
	if (args->asset->standard == WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_ERC721) {
		uint8_t owner[32];
		u256_to_be32(word, owner);
		ret->amount = u256_from_u64(memcmp(owner + 12, args->account.data, 20) == 0);
	}
	return 0;
}

/* symbol(): an ABI string, or bytes32 as old tokens have it. Untrusted: only printable ASCII of at most 32 characters is taken. */
static void symbol_answer(struct text text, struct arena *arena, struct chain_answer *ret)
{
	uint8_t data[160];
	size_t size;
	if (!text.s || hex_to_data(text.s, text.n, data, sizeof data, &size) != 0 || size < 32)
		return;
	const uint8_t *from = data;
	size_t length = 32;
	if (size >= 96 && data[31] == 32 && data[63] <= 32) {
		from = data + 64;
		length = data[63];
	}
	length = strnlen((const char *)from, length);
	for (size_t i = 0; i < length; i++)
		if (from[i] < ' ' || from[i] > '~')
			return;
	if (length == 0)
		return;
	ret->text = arena_printf(arena, "%.*s", (int)length, (const char *)from);
	ret->found = ret->text != NULL;
}

int evm_answer(const struct chain *chain, enum chain_question question, const struct chain_args *args, struct bytes result,
	       struct arena *arena, struct chain_answer *ret, struct error *err)
{
	(void)chain;
	memset(ret, 0, sizeof *ret);
	yyjson_doc *doc = parse(result, arena);
	if (!doc)
		return error_set(err, WEIR_PROTOCOL, "the answer is not JSON");
	yyjson_val *root = yyjson_doc_get_root(doc);
	struct u256 word;
	switch (question) {
	case CHAIN_ASK_CHAIN_ID:
		ret->found = evm_hex_u64(root, &ret->number);
		return ret->found ? 0 : error_set(err, WEIR_PROTOCOL, "not a chain id");
	case CHAIN_ASK_CLIENT:
		ret->text = yyjson_is_str(root) ? yyjson_get_str(root) : "unknown";
		ret->found = true;
		return 0;
	case CHAIN_ASK_HEAD:
	case CHAIN_ASK_SAFE:
	case CHAIN_ASK_FINALIZED:
	case CHAIN_ASK_BY_HEIGHT:
	case CHAIN_ASK_BY_HASH:
		return block_answer(root, args, question, ret, err);
	case CHAIN_ASK_BALANCE:
		return balance_answer(root, args, ret, err);
	case CHAIN_ASK_HAS_CODE:
		if (!json_text(root).s)
			return error_set(err, WEIR_PROTOCOL, "not code: hex data is expected");
		ret->found = true;
		ret->number = json_text(root).n > 2;
		return 0;
	case CHAIN_ASK_ASSET_SYMBOL:
		symbol_answer(json_text(root), arena, ret);
		return 0;
	case CHAIN_ASK_ASSET_DECIMALS:
		if (word_answer(json_text(root), &word, &ret->found) != 0)
			ret->found = false;
		ret->found = ret->found && u256_to_u64(word, &ret->number) && ret->number <= 255;
		return 0;
	case CHAIN_ASK_SUBSCRIBE_HEADS:
		ret->found = true;
		return 0;
	}
	return error_set(err, WEIR_UNSUPPORTED, "unknown question");
}

/* -- errors --------------------------------------------------------------------------------------------------------------- */

/* What nodes and providers write, in lower case; the code alone says little (-32000 is used for everything, -32005 for rates and for
 * sizes). The first words found decide, so what is special comes before what is general. */
static const struct {
	const char *words;
	int code;
} patterns[] = {
	/* the contract said no */
	{ "execution reverted", WEIR_NOT_FOUND },
	{ "vm execution error", WEIR_NOT_FOUND },
	{ "vm exception", WEIR_NOT_FOUND },
	{ "evm error", WEIR_NOT_FOUND },
	{ "evm revert", WEIR_NOT_FOUND },
	{ "reverted", WEIR_NOT_FOUND },
	{ "out of gas", WEIR_NOT_FOUND },
	{ "gas required exceeds", WEIR_NOT_FOUND },
	{ "invalid opcode", WEIR_NOT_FOUND },
	{ "invalid jump", WEIR_NOT_FOUND },
	{ "stack underflow", WEIR_NOT_FOUND },
	/* the node does not have it: state pruned, block unknown */
	{ "missing trie node", WEIR_NOT_FOUND },
	{ "trie node not found", WEIR_NOT_FOUND },
	{ "historical state", WEIR_NOT_FOUND },
	{ "state histories", WEIR_NOT_FOUND },
	{ "state not available", WEIR_NOT_FOUND },
	{ "state is not available", WEIR_NOT_FOUND },
	{ "no state available", WEIR_NOT_FOUND },
	{ "state recently", WEIR_NOT_FOUND },
	{ "proof window", WEIR_NOT_FOUND },
	{ "pruned", WEIR_NOT_FOUND },
	{ "pruning", WEIR_NOT_FOUND },
	{ "header not found", WEIR_NOT_FOUND },
	{ "for hash not found", WEIR_NOT_FOUND },
	{ "unknown block", WEIR_NOT_FOUND },
	{ "block not found", WEIR_NOT_FOUND },
	{ "hash is not currently canonical", WEIR_NOT_FOUND },
	{ "blockoutofrange", WEIR_NOT_FOUND },
	{ "block out of range", WEIR_NOT_FOUND },
	{ "beyond current head", WEIR_NOT_FOUND },
	{ "resource not found", WEIR_NOT_FOUND },
	{ "genesis is not traceable", WEIR_NOT_FOUND },
	/* it took too long */
	{ "deadline exceeded", WEIR_TIMEOUT },
	{ "timeout", WEIR_TIMEOUT },
	{ "timed out", WEIR_TIMEOUT },
	/* too much at once */
	{ "response size", WEIR_LIMIT },
	{ "response is too big", WEIR_LIMIT },
	{ "too large", WEIR_LIMIT },
	{ "exceeds limit", WEIR_LIMIT },
	{ "batch size", WEIR_LIMIT },
	{ "batch limit", WEIR_LIMIT },
	{ "too many requests in batch", WEIR_LIMIT },
	{ "maximum allowed", WEIR_LIMIT },
	/* not for this caller, or not by this node */
	{ "on your current plan", WEIR_UNSUPPORTED },
	{ "upgrade your", WEIR_UNSUPPORTED },
	{ "paid tier", WEIR_UNSUPPORTED },
	{ "not whitelisted", WEIR_UNSUPPORTED },
	{ "not enabled", WEIR_UNSUPPORTED },
	{ "disabled", WEIR_UNSUPPORTED },
	{ "method not found", WEIR_UNSUPPORTED },
	{ "does not exist/is not available", WEIR_UNSUPPORTED },
	{ "unsupported", WEIR_UNSUPPORTED },
	{ "not supported", WEIR_UNSUPPORTED },
	{ "not implemented", WEIR_UNSUPPORTED },
	{ "tracer not found", WEIR_UNSUPPORTED },
	/* too fast */
	{ "rate limit", WEIR_RATE_LIMITED },
	{ "rate exceeded", WEIR_RATE_LIMITED },
	{ "too many requests", WEIR_RATE_LIMITED },
	{ "request limit", WEIR_RATE_LIMITED },
	{ "request count exceeded", WEIR_RATE_LIMITED },
	{ "throughput", WEIR_RATE_LIMITED },
	{ "capacity", WEIR_RATE_LIMITED },
	{ "compute units", WEIR_RATE_LIMITED },
	{ "credits", WEIR_RATE_LIMITED },
	{ "quota", WEIR_RATE_LIMITED },
	/* it is not well */
	{ "syncing", WEIR_UNAVAILABLE },
	{ "unavailable", WEIR_UNAVAILABLE },
	{ "no backend", WEIR_UNAVAILABLE },
	{ "bad gateway", WEIR_UNAVAILABLE },
	{ "connection refused", WEIR_UNAVAILABLE },
};

/* JSON-RPC 2.0, EIP-1474, and codes of providers. */
static const struct {
	int64_t rpc;
	int code;
} codes[] = {
	{ -32601, WEIR_UNSUPPORTED }, { -32004, WEIR_UNSUPPORTED },  { -32001, WEIR_NOT_FOUND },    { -32002, WEIR_UNAVAILABLE },
	{ -32603, WEIR_UNAVAILABLE }, { -32005, WEIR_RATE_LIMITED }, { -32016, WEIR_RATE_LIMITED }, { -32007, WEIR_RATE_LIMITED },
	{ -32029, WEIR_RATE_LIMITED }, { -32090, WEIR_RATE_LIMITED }, { -32097, WEIR_RATE_LIMITED }, { 429, WEIR_RATE_LIMITED },
	{ 3, WEIR_NOT_FOUND }, /* geth: reverted, with data */
};

int evm_classify(const struct chain *chain, int64_t code, const char *message)
{
	(void)chain;
	if (code == -32601) /* leaves no doubt, whatever the words */
		return WEIR_UNSUPPORTED;
	for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++)
		if (strcasestr(message, patterns[i].words))
			return patterns[i].code;
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		if (codes[i].rpc == code)
			return codes[i].code;
	return WEIR_PROTOCOL;
}

/* -- heads and parts ------------------------------------------------------------------------------------------------------ */

int evm_notice(const struct chain *chain, struct bytes message, struct chain_block_ref *ret, struct error *err)
{
	(void)chain;
	yyjson_doc *doc = yyjson_read((const char *)message.data, message.size, 0);
	if (!doc)
		return error_set(err, WEIR_PROTOCOL, "head notice is not JSON");
	yyjson_val *result = yyjson_obj_get(yyjson_obj_get(yyjson_doc_get_root(doc), "params"), "result");
	bool good = result && read_ref(result, ret);
	bool other = !result; /* the answer to eth_subscribe itself */
	yyjson_doc_free(doc);
	if (other)
		return WEIR_NOT_FOUND;
	return good ? 0 : error_set(err, WEIR_PROTOCOL, "head notice without number, hash, parentHash or timestamp");
}

size_t evm_parts(const struct chain *chain, const struct chain_capabilities *have, const char *traces, bool state_diff, uint64_t height,
		 const uint8_t *hash, struct arena *arena, struct chain_part_call ret[CHAIN_PARTS_MAX])
{
	size_t n = 0;
	char block[67];
	if (hash)
		hex_from_bytes(hash, 32, block);
	else
		snprintf(block, sizeof block, "0x%llx", (unsigned long long)height);
	const char *trace = hash ? "debug_traceBlockByHash" : "debug_traceBlockByNumber";
	bool automatic = strcmp(traces, "auto") == 0;
	bool flat = height > 0 && (automatic || strcmp(traces, "trace_block") == 0) && have->flat_traces;
	ret[n++] = (struct chain_part_call){ WEIR__V1__PART_KIND__PART_KIND_BLOCK,
					     { hash ? "eth_getBlockByHash" : "eth_getBlockByNumber", arena_printf(arena, "[\"%s\",true]", block) },
					     false };
	if (have->block_receipts)
		ret[n++] = (struct chain_part_call){ WEIR__V1__PART_KIND__PART_KIND_RECEIPTS, { "eth_getBlockReceipts", arena_printf(arena, "[\"%s\"]", block) }, false };
	/* trace_block takes only a number: the answer's blockHash is what the normalizer compares. */
	if (flat)
		ret[n++] = (struct chain_part_call){ WEIR__V1__PART_KIND__PART_KIND_FLAT_TRACES,
						     { "trace_block", arena_printf(arena, "[\"0x%llx\"]", (unsigned long long)height) },
						     true };
	else if (height > 0 && (automatic || strcmp(traces, "call_tracer") == 0) && have->call_tracer)
		ret[n++] = (struct chain_part_call){ WEIR__V1__PART_KIND__PART_KIND_CALL_TRACES,
						     { trace, arena_printf(arena, "[\"%s\",{\"tracer\":\"callTracer\"}]", block) },
						     true };
	else if (height > 0 && strcmp(traces, "none") != 0)
		ret[n++] = (struct chain_part_call){ WEIR__V1__PART_KIND__PART_KIND_CALL_TRACES, { NULL, NULL }, true };
	if (height > 0 && state_diff && have->state_diff)
		ret[n++] = (struct chain_part_call){
			WEIR__V1__PART_KIND__PART_KIND_STATE_DIFF,
			{ trace, arena_printf(arena, "[\"%s\",{\"tracer\":\"prestateTracer\",\"tracerConfig\":{\"diffMode\":true}}]", block) },
			true
		};
	/* Flat traces tell the uncles' rewards already. */
	const char *uncle = hash ? "eth_getUncleByBlockHashAndIndex" : "eth_getUncleByBlockNumberAndIndex";
	for (unsigned i = 0; i < 2 && height > 0 && height < chain->profile->pow_until && !flat; i++)
		ret[n++] = (struct chain_part_call){ WEIR__V1__PART_KIND__PART_KIND_UNCLE,
						     { uncle, arena_printf(arena, "[\"%s\",\"0x%x\"]", block, i) },
						     true };
	return n;
}

int evm_receipt_call(const struct chain *chain, const uint8_t hash[32], struct arena *arena, struct chain_call *ret)
{
	(void)chain;
	char text[67];
	hex_from_bytes(hash, 32, text);
	return plain(ret, "eth_getTransactionReceipt", arena_printf(arena, "[\"%s\"]", text));
}

/* Whatever is named first, at whatever depth, belongs to the first item, and to the same block or transaction as that. */
enum chain_belongs evm_belongs(Weir__V1__PartKind kind, struct bytes result, uint8_t ret[32])
{
	bool names_block = kind == WEIR__V1__PART_KIND__PART_KIND_RECEIPTS || kind == WEIR__V1__PART_KIND__PART_KIND_FLAT_TRACES;
	bool names_tx = kind == WEIR__V1__PART_KIND__PART_KIND_CALL_TRACES || kind == WEIR__V1__PART_KIND__PART_KIND_STATE_DIFF;
	const char *name = names_block ? "\"blockHash\"" : "\"txHash\"", *end = (const char *)result.data + result.size;
	const char *at = names_block || names_tx ? memmem(result.data, result.size, name, strlen(name)) : NULL;
	if (!at)
		return CHAIN_BELONGS_UNSAID;
	for (at += strlen(name); at < end && strchr(" \t\r\n:\"", *at); at++)
		;
	if (end - at < 66 || hex_to_bytes(at, 66, ret, 32) != 0)
		return CHAIN_BELONGS_UNSAID;
	return names_block ? CHAIN_BELONGS_TO_BLOCK : CHAIN_BELONGS_TO_TRANSACTION;
}

int evm_peek_block(const struct chain *chain, struct bytes result, struct arena *arena, struct chain_block_ref *ret,
		   const uint8_t **ret_transactions, size_t *ret_count, struct error *err)
{
	(void)chain;
	*ret_count = 0;
	*ret_transactions = NULL;
	yyjson_doc *doc = parse(result, arena);
	if (!doc)
		return error_set(err, WEIR_PROTOCOL, "the block is not JSON");
	yyjson_val *root = yyjson_doc_get_root(doc);
	if (yyjson_is_null(root))
		return error_set(err, WEIR_NOT_FOUND, "the node does not have this block");
	if (!read_ref(root, ret))
		return error_set(err, WEIR_PROTOCOL, "not a block: number, hash, parentHash or timestamp is missing or malformed");
	ret->proven = evm_header_gives_hash(root);
	yyjson_val *transactions = yyjson_obj_get(root, "transactions");
	if (!yyjson_is_arr(transactions))
		return error_set(err, WEIR_PROTOCOL, "block without a list of transactions");
	uint8_t *hashes = arena_alloc(arena, 32 * yyjson_arr_size(transactions) + 1);
	if (!hashes)
		return error_set(err, WEIR_LIMIT, "block with %zu transactions", yyjson_arr_size(transactions));
	size_t index, count;
	yyjson_val *tx;
	yyjson_arr_foreach(transactions, index, count, tx)
	{
		yyjson_val *hash = yyjson_is_obj(tx) ? yyjson_obj_get(tx, "hash") : tx;
		if (!evm_hex_bytes(hash, hashes + 32 * index, 32))
			return error_set(err, WEIR_PROTOCOL, "transaction %zu of the block has no hash", index);
	}
	*ret_transactions = hashes;
	*ret_count = count;
	return 0;
}
