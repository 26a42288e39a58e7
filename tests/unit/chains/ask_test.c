/* ask_test.c - questions as JSON-RPC calls, what answers and errors mean, accounts and assets in text. Answers are those of real nodes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "chains/evm/evm.h"
#include "wire/hex.h"

#include <stdio.h>
#include <string.h>

#define STANDARD(name) WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_##name

static struct chain dev, mainnet;
static struct arena *arena;

#define WHO "0x00000000000000000000000000000000000000a1"
#define TOKEN "0xcccccccccccccccccccccccccccccccccccccccc"
#define HASH "0x1111111111111111111111111111111111111111111111111111111111111111"
#define EMPTY_ROOT "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"
#define WORD_A1 "00000000000000000000000000000000000000000000000000000000000000a1"

static struct chain_args args_for(const char *asset_text, int standard, bool by_hash)
{
	static uint8_t hash[32], who[32];
	static struct chain_asset asset;
	static size_t size;
	struct error err;
	assert_int_equal(hex_to_bytes(HASH, 66, hash, 32), 0);
	assert_int_equal(dev.family->account_parse(&dev, WHO, who, &size, &err), 0);
	assert_int_equal(dev.family->asset_parse(&dev, asset_text, &asset, &err), 0);
	if (standard)
		asset.standard = standard;
	return (struct chain_args){ .height = 255, .hash = by_hash ? hash : NULL, .account = { who, size }, .asset = &asset };
}

static void test_questions(void **state)
{
	(void)state;
	static const struct {
		enum chain_question question;
		const char *asset;
		int standard;
		bool by_hash;
		const char *method, *params;
	} rows[] = {
		{ CHAIN_ASK_CHAIN_ID, "native", 0, false, "eth_chainId", "[]" },
		{ CHAIN_ASK_CLIENT, "native", 0, false, "web3_clientVersion", "[]" },
		{ CHAIN_ASK_HEAD, "native", 0, false, "eth_getBlockByNumber", "[\"latest\",false]" },
		{ CHAIN_ASK_SAFE, "native", 0, false, "eth_getBlockByNumber", "[\"safe\",false]" },
		{ CHAIN_ASK_FINALIZED, "native", 0, false, "eth_getBlockByNumber", "[\"finalized\",false]" },
		{ CHAIN_ASK_BY_HEIGHT, "native", 0, false, "eth_getBlockByNumber", "[\"0xff\",false]" },
		{ CHAIN_ASK_BY_HASH, "native", 0, true, "eth_getBlockByHash", "[\"" HASH "\",false]" },
		{ CHAIN_ASK_BALANCE, "native", 0, true, "eth_getBalance", "[\"" WHO "\",{\"blockHash\":\"" HASH "\"}]" },
		{ CHAIN_ASK_BALANCE, "native", 0, false, "eth_getBalance", "[\"" WHO "\",\"0xff\"]" },
		{ CHAIN_ASK_BALANCE, TOKEN, 0, true, "eth_call",
		  "[{\"to\":\"" TOKEN "\",\"data\":\"0x70a08231" WORD_A1 "\"},{\"blockHash\":\"" HASH "\"}]" },
		{ CHAIN_ASK_BALANCE, TOKEN ":161", STANDARD(ERC721), false, "eth_call", "[{\"to\":\"" TOKEN "\",\"data\":\"0x6352211e" WORD_A1 "\"},\"0xff\"]" },
		{ CHAIN_ASK_BALANCE, TOKEN ":161", STANDARD(ERC1155), false, "eth_call",
		  "[{\"to\":\"" TOKEN "\",\"data\":\"0x00fdd58e" WORD_A1 WORD_A1 "\"},\"0xff\"]" },
		{ CHAIN_ASK_HAS_CODE, "native", 0, false, "eth_getCode", "[\"" WHO "\",\"0xff\"]" },
		{ CHAIN_ASK_ASSET_SYMBOL, TOKEN, 0, false, "eth_call", "[{\"to\":\"" TOKEN "\",\"data\":\"0x95d89b41\"},\"0xff\"]" },
		{ CHAIN_ASK_ASSET_DECIMALS, TOKEN, 0, false, "eth_call", "[{\"to\":\"" TOKEN "\",\"data\":\"0x313ce567\"},\"0xff\"]" },
		{ CHAIN_ASK_SUBSCRIBE_HEADS, "native", 0, false, "eth_subscribe", "[\"newHeads\"]" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct chain_args args = args_for(rows[i].asset, rows[i].standard, rows[i].by_hash);
		struct chain_call call;
		struct error err;
		assert_int_equal(dev.family->question(&dev, rows[i].question, &args, arena, &call, &err), 0);
		assert_string_equal(call.method, rows[i].method);
		assert_string_equal(call.params, rows[i].params);
	}
}

#define BLOCK "{\"number\":\"0xff\",\"hash\":\"" HASH "\",\"parentHash\":\"" HASH "\",\"timestamp\":\"0x10\"}"
#define WORD(n) "\"0x00000000000000000000000000000000000000000000000000000000000000" n "\""
#define ABI_STRING "\"0x0000000000000000000000000000000000000000000000000000000000000020" \
		   "0000000000000000000000000000000000000000000000000000000000000004" "57455448" \
		   "00000000000000000000000000000000000000000000000000000000\""
#define OLD_SYMBOL "\"0x4d4b520000000000000000000000000000000000000000000000000000000000\""
#define EVIL_SYMBOL "\"0x4d4b0a0000000000000000000000000000000000000000000000000000000000\""

static void test_answers(void **state)
{
	(void)state;
	enum { NO = 0, YES = 1 };
	static const struct {
		enum chain_question question;
		const char *asset;
		int standard;
		const char *result;
		int code;
		bool found;
		uint64_t number; /* number, or the amount's low limb, or the block's height */
		const char *text;
	} rows[] = {
		{ CHAIN_ASK_CHAIN_ID, "native", 0, "\"0x7a69\"", 0, YES, 31337, NULL },
		{ CHAIN_ASK_CHAIN_ID, "native", 0, "31337", WEIR_PROTOCOL, NO, 0, NULL },
		{ CHAIN_ASK_CHAIN_ID, "native", 0, "\"0x\"", WEIR_PROTOCOL, NO, 0, NULL },
		{ CHAIN_ASK_CHAIN_ID, "native", 0, "\"0x1ffffffffffffffff\"", WEIR_PROTOCOL, NO, 0, NULL },
		{ CHAIN_ASK_CLIENT, "native", 0, "\"anvil/v1.7.1\"", 0, YES, 0, "anvil/v1.7.1" },
		{ CHAIN_ASK_HEAD, "native", 0, BLOCK, 0, YES, 255, NULL },
		{ CHAIN_ASK_HEAD, "native", 0, "{}", WEIR_PROTOCOL, NO, 0, NULL },
		{ CHAIN_ASK_HEAD, "native", 0, "[", WEIR_PROTOCOL, NO, 0, NULL },
		{ CHAIN_ASK_SAFE, "native", 0, "null", 0, NO, 0, NULL },
		{ CHAIN_ASK_BY_HEIGHT, "native", 0, BLOCK, 0, YES, 255, NULL },
		{ CHAIN_ASK_BY_HEIGHT, "native", 0, "{\"number\":\"0xfe\",\"hash\":\"" HASH "\",\"parentHash\":\"" HASH "\",\"timestamp\":\"0x10\"}", WEIR_PROTOCOL, NO,
		  0, NULL },
		{ CHAIN_ASK_BALANCE, "native", 0, "\"0x64\"", 0, YES, 100, NULL },
		{ CHAIN_ASK_BALANCE, "native", 0, "\"0x0\"", 0, YES, 0, NULL },
		{ CHAIN_ASK_BALANCE, "native", 0, "null", WEIR_PROTOCOL, NO, 0, NULL },
		{ CHAIN_ASK_BALANCE, "native", 0, "\"100\"", WEIR_PROTOCOL, NO, 0, NULL },
		{ CHAIN_ASK_BALANCE, TOKEN, 0, WORD("64"), 0, YES, 100, NULL },
		{ CHAIN_ASK_BALANCE, TOKEN, 0, "\"0x\"", 0, NO, 0, NULL },
		{ CHAIN_ASK_BALANCE, TOKEN, 0, "\"0x64\"", 0, NO, 0, NULL }, /* what a contract answers is not its endpoint's fault … */
		{ CHAIN_ASK_BALANCE, TOKEN, 0, "\"0x01020\"", WEIR_PROTOCOL, NO, 0, NULL }, /* … but this is no data */
		{ CHAIN_ASK_BALANCE, TOKEN, 0, "\"0x01zz\"", WEIR_PROTOCOL, NO, 0, NULL },
		{ CHAIN_ASK_BALANCE, TOKEN ":1", STANDARD(ERC721), WORD("a1"), 0, YES, 1, NULL },
		{ CHAIN_ASK_BALANCE, TOKEN ":1", STANDARD(ERC721), WORD("b2"), 0, YES, 0, NULL },
		{ CHAIN_ASK_BALANCE, TOKEN ":1", STANDARD(ERC1155), WORD("a1"), 0, YES, 161, NULL },
		{ CHAIN_ASK_HAS_CODE, "native", 0, "\"0x6000\"", 0, YES, 1, NULL },
		{ CHAIN_ASK_HAS_CODE, "native", 0, "\"0x\"", 0, YES, 0, NULL },
		{ CHAIN_ASK_HAS_CODE, "native", 0, "null", WEIR_PROTOCOL, NO, 0, NULL },
		{ CHAIN_ASK_ASSET_SYMBOL, TOKEN, 0, ABI_STRING, 0, YES, 0, "WETH" },
		{ CHAIN_ASK_ASSET_SYMBOL, TOKEN, 0, OLD_SYMBOL, 0, YES, 0, "MKR" },
		{ CHAIN_ASK_ASSET_SYMBOL, TOKEN, 0, EVIL_SYMBOL, 0, NO, 0, NULL },
		{ CHAIN_ASK_ASSET_SYMBOL, TOKEN, 0, "\"0x\"", 0, NO, 0, NULL },
		{ CHAIN_ASK_ASSET_DECIMALS, TOKEN, 0, WORD("12"), 0, YES, 18, NULL },
		{ CHAIN_ASK_ASSET_DECIMALS, TOKEN, 0, "\"0x" HASH "\"", 0, NO, 0, NULL },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct chain_args args = args_for(rows[i].asset, rows[i].standard, false);
		struct chain_answer answer;
		struct error err;
		struct bytes result = { (const uint8_t *)rows[i].result, strlen(rows[i].result) };
		int r = dev.family->answer(&dev, rows[i].question, &args, result, arena, &answer, &err);
		uint64_t number = rows[i].question == CHAIN_ASK_BALANCE ? answer.amount.limb[0] :
				  answer.block.height			 ? answer.block.height :
									   answer.number;
		if (r != rows[i].code || (r == 0 && (answer.found != rows[i].found || number != rows[i].number)))
			fail_msg("row %zu: %s: code %d, found %d, number %llu", i, rows[i].result, r, answer.found, (unsigned long long)number);
		if (rows[i].text)
			assert_string_equal(answer.text, rows[i].text);
	}
	struct chain_answer answer;
	struct error err;
	struct chain_args args = args_for("native", 0, true);
	static const char other[] = "{\"number\":\"0xff\",\"hash\":\"0x2222222222222222222222222222222222222222222222222222222222222222\",\"parentHash\":\"" HASH
				    "\",\"timestamp\":\"0x10\"}";
	assert_int_equal(dev.family->answer(&dev, CHAIN_ASK_BY_HASH, &args, (struct bytes){ (const uint8_t *)other, sizeof other - 1 }, arena, &answer, &err),
			 WEIR_PROTOCOL);
}

static void test_errors(void **state)
{
	(void)state;
	static const struct {
		int64_t code;
		const char *message;
		int meaning;
	} rows[] = {
		{ -32601, "the method trace_block does not exist/is not available", WEIR_UNSUPPORTED },
		{ -32601, "Method not found", WEIR_UNSUPPORTED },
		{ -32000, "unsupported method: debug_traceBlockByHash", WEIR_UNSUPPORTED },
		{ -32000, "Archive, Debug and Trace requests are not available on your current plan", WEIR_UNSUPPORTED },
		{ 3, "execution reverted: ERC721: invalid token ID", WEIR_NOT_FOUND },
		{ 3, "", WEIR_NOT_FOUND },
		{ -32015, "VM execution error.", WEIR_NOT_FOUND },
		{ -32000, "invalid opcode: INVALID", WEIR_NOT_FOUND },
		{ -32000, "missing trie node 5c8a (path ) state 0x5c8a is not available", WEIR_NOT_FOUND },
		{ -32000, "required historical state unavailable (reexec=128)", WEIR_NOT_FOUND },
		{ -32000, "header not found", WEIR_NOT_FOUND },
		{ -32000, "header for hash not found", WEIR_NOT_FOUND },
		{ -32602, "BlockOutOfRangeError: block height is 10 but requested was 99", WEIR_NOT_FOUND },
		{ -32001, "Unable to complete request at this time.", WEIR_NOT_FOUND },
		{ -32008, "Response is too big", WEIR_LIMIT },
		{ -32005, "project ID request rate exceeded", WEIR_RATE_LIMITED },
		{ -32005, "daily request count exceeded, request rate limited", WEIR_RATE_LIMITED },
		{ 429, "Your app has exceeded its compute units per second capacity.", WEIR_RATE_LIMITED },
		{ -32007, "50/second request limit reached - reduce calls per second", WEIR_RATE_LIMITED },
		{ -32016, "over rate limit", WEIR_RATE_LIMITED },
		{ -32602, "response size should not greater than 10000000 bytes", WEIR_LIMIT },
		{ -32000, "execution aborted (timeout = 5s)", WEIR_TIMEOUT },
		{ -32000, "context deadline exceeded", WEIR_TIMEOUT },
		{ -32603, "Internal error", WEIR_UNAVAILABLE },
		{ -32602, "invalid argument 0: json: cannot unmarshal", WEIR_PROTOCOL },
		{ -32700, "parse error", WEIR_PROTOCOL },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (dev.family->classify(&dev, rows[i].code, rows[i].message) != rows[i].meaning)
			fail_msg("%lld %s: %s", (long long)rows[i].code, rows[i].message, error_name(dev.family->classify(&dev, rows[i].code, rows[i].message)));
}

static void test_notices(void **state)
{
	(void)state;
	static const char head[] = "{\"jsonrpc\":\"2.0\",\"method\":\"eth_subscription\",\"params\":{\"subscription\":\"0x1\",\"result\":" BLOCK "}}";
	static const char reply[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"0x1\"}";
	static const char broken[] = "{\"params\":{\"result\":{\"number\":\"0x1\"}}}";
	struct chain_block_ref ref;
	struct error err;
	assert_int_equal(dev.family->notice(&dev, (struct bytes){ (const uint8_t *)head, sizeof head - 1 }, &ref, &err), 0);
	assert_int_equal(ref.height, 255);
	assert_int_equal(ref.timestamp, 16);
	assert_int_equal(dev.family->notice(&dev, (struct bytes){ (const uint8_t *)reply, sizeof reply - 1 }, &ref, &err), WEIR_NOT_FOUND);
	assert_int_equal(dev.family->notice(&dev, (struct bytes){ (const uint8_t *)broken, sizeof broken - 1 }, &ref, &err), WEIR_PROTOCOL);
	assert_int_equal(dev.family->notice(&dev, (struct bytes){ (const uint8_t *)"{", 1 }, &ref, &err), WEIR_PROTOCOL);
}

static void expect_parts(const struct chain *chain, struct chain_capabilities have, const char *traces, bool diff, uint64_t height, const uint8_t *hash,
			 const char *methods)
{
	struct chain_part_call calls[CHAIN_PARTS_MAX];
	struct buf text = BUF_INIT(1000);
	size_t n = chain->family->parts(chain, &have, traces, diff, height, hash, arena, calls);
	for (size_t i = 0; i < n; i++)
		buf_printf(&text, "%s%s%s", i ? " " : "", calls[i].call.method ? calls[i].call.method : "nobody", calls[i].optional ? "?" : "");
	assert_string_equal(buf_str(&text), methods);
	buf_free(&text);
}

static void test_parts(void **state)
{
	(void)state;
	uint8_t hash[32] = { 1 };
	struct chain_capabilities all = { true, true, true, true }, none = { 0 }, calls = { .block_receipts = true, .call_tracer = true };
	expect_parts(&dev, all, "auto", true, 5, hash, "eth_getBlockByHash eth_getBlockReceipts trace_block? debug_traceBlockByHash?");
	expect_parts(&dev, all, "call_tracer", false, 5, hash, "eth_getBlockByHash eth_getBlockReceipts debug_traceBlockByHash?");
	expect_parts(&dev, all, "none", false, 5, NULL, "eth_getBlockByNumber eth_getBlockReceipts");
	expect_parts(&dev, calls, "auto", true, 5, hash, "eth_getBlockByHash eth_getBlockReceipts debug_traceBlockByHash?");
	expect_parts(&dev, none, "auto", true, 5, hash, "eth_getBlockByHash nobody?");
	expect_parts(&dev, none, "none", true, 5, hash, "eth_getBlockByHash");
	expect_parts(&dev, all, "auto", true, 0, hash, "eth_getBlockByHash eth_getBlockReceipts"); /* genesis is not traceable */
	expect_parts(&mainnet, calls, "auto", false, 1000000, hash,
		     "eth_getBlockByHash eth_getBlockReceipts debug_traceBlockByHash? eth_getUncleByBlockHashAndIndex? eth_getUncleByBlockHashAndIndex?");
	expect_parts(&mainnet, calls, "none", false, 1000000, NULL, /* as history is asked for */
		     "eth_getBlockByNumber eth_getBlockReceipts eth_getUncleByBlockNumberAndIndex? eth_getUncleByBlockNumberAndIndex?");
	expect_parts(&mainnet, calls, "trace_block", false, 1000000, NULL, /* nobody has the traces that would tell the rewards */
		     "eth_getBlockByNumber eth_getBlockReceipts nobody? eth_getUncleByBlockNumberAndIndex? eth_getUncleByBlockNumberAndIndex?");
	expect_parts(&mainnet, all, "auto", false, 1000000, hash, "eth_getBlockByHash eth_getBlockReceipts trace_block?");
	expect_parts(&mainnet, calls, "auto", false, 20000000, hash, "eth_getBlockByHash eth_getBlockReceipts debug_traceBlockByHash?");
	struct chain_call receipt;
	assert_int_equal(dev.family->receipt_call(&dev, hash, arena, &receipt), 0);
	assert_string_equal(receipt.method, "eth_getTransactionReceipt");
}

static void test_peek(void **state)
{
	(void)state;
	static const char full[] = "{\"number\":\"0xff\",\"hash\":\"" HASH "\",\"parentHash\":\"" HASH "\",\"timestamp\":\"0x10\",\"transactions\":[{\"hash\":\"" HASH "\"}]}";
	static const char hashes[] = "{\"number\":\"0xff\",\"hash\":\"" HASH "\",\"parentHash\":\"" HASH "\",\"timestamp\":\"0x10\",\"transactions\":[\"" HASH "\"]}";
	static const char *const bad[] = { "null", "{}", "[]", "{\"number\":\"0xff\",\"hash\":\"" HASH "\",\"parentHash\":\"" HASH "\",\"timestamp\":\"0x10\"}",
					   "{\"number\":\"0xff\",\"hash\":\"" HASH "\",\"parentHash\":\"" HASH "\",\"timestamp\":\"0x10\",\"transactions\":[1]}" };
	struct chain_block_ref ref;
	const uint8_t *transactions;
	size_t count;
	struct error err;
	const char *const good[] = { full, hashes };
	for (size_t i = 0; i < 2; i++) {
		struct bytes text = { (const uint8_t *)good[i], strlen(good[i]) };
		assert_int_equal(dev.family->peek_block(&dev, text, arena, &ref, &transactions, &count, &err), 0);
		assert_int_equal(count, 1);
		assert_int_equal(transactions[31], 0x11);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct bytes text = { (const uint8_t *)bad[i], strlen(bad[i]) };
		assert_true(dev.family->peek_block(&dev, text, arena, &ref, &transactions, &count, &err) < 0);
	}
}

static void test_whose_part(void **state)
{
	(void)state;
	static const struct {
		Weir__V1__PartKind kind;
		const char *text;
		enum chain_belongs belongs;
	} rows[] = {
		{ WEIR__V1__PART_KIND__PART_KIND_RECEIPTS, "[{\"status\":\"0x1\",\"logs\":[{\"blockHash\" : \"" HASH "\"}]}]", CHAIN_BELONGS_TO_BLOCK },
		{ WEIR__V1__PART_KIND__PART_KIND_FLAT_TRACES, "[{\"blockHash\":\"" HASH "\"}]", CHAIN_BELONGS_TO_BLOCK },
		{ WEIR__V1__PART_KIND__PART_KIND_CALL_TRACES, "[{\"txHash\":\"" HASH "\",\"result\":{}}]", CHAIN_BELONGS_TO_TRANSACTION },
		{ WEIR__V1__PART_KIND__PART_KIND_CALL_TRACES, "[{\"result\":{}}]", CHAIN_BELONGS_UNSAID }, /* as older nodes have it */
		{ WEIR__V1__PART_KIND__PART_KIND_BLOCK, "{\"blockHash\":\"" HASH "\"}", CHAIN_BELONGS_UNSAID },
		{ WEIR__V1__PART_KIND__PART_KIND_RECEIPTS, "[]", CHAIN_BELONGS_UNSAID },
		{ WEIR__V1__PART_KIND__PART_KIND_RECEIPTS, "[{\"blockHash\":", CHAIN_BELONGS_UNSAID },
		{ WEIR__V1__PART_KIND__PART_KIND_RECEIPTS, "[{\"blockHash\":\"0x1\"}]", CHAIN_BELONGS_UNSAID },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint8_t owner[32] = { 0 };
		assert_int_equal(dev.family->belongs(rows[i].kind, (struct bytes){ (const uint8_t *)rows[i].text, strlen(rows[i].text) }, owner), rows[i].belongs);
		assert_int_equal(owner[31], rows[i].belongs == CHAIN_BELONGS_UNSAID ? 0 : 0x11);
	}
}

/* Ethereum's block 0, with the parent given. */
static struct bytes genesis_with_parent(const char *parent)
{
	char *text = arena_printf(arena,
				  "{\"number\":\"0x0\",\"hash\":\"0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3\","
				  "\"parentHash\":\"%s\",\"sha3Uncles\":\"0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347\","
				  "\"miner\":\"0x%040d\",\"stateRoot\":\"0xd7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544\","
				  "\"transactionsRoot\":\"" EMPTY_ROOT "\",\"receiptsRoot\":\"" EMPTY_ROOT "\",\"logsBloom\":\"0x%0512d\","
				  "\"difficulty\":\"0x400000000\",\"gasLimit\":\"0x1388\",\"gasUsed\":\"0x0\",\"timestamp\":\"0x0\","
				  "\"extraData\":\"0x11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa\",\"mixHash\":\"0x%064d\","
				  "\"nonce\":\"0x0000000000000042\",\"transactions\":[],\"uncles\":[]}",
				  parent, 0, 0, 0);
	return (struct bytes){ (const uint8_t *)text, strlen(text) };
}

/* Only a header that gives the block's hash says which parent the block has. */
static void test_header_gives_hash(void **state)
{
	(void)state;
	static const struct {
		const char *parent;
		bool proven;
	} cases[] = { { "0x0000000000000000000000000000000000000000000000000000000000000000", true }, { HASH, false } };
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct bytes text = genesis_with_parent(cases[i].parent);
		struct chain_answer answer;
		struct chain_block_ref ref;
		const uint8_t *transactions;
		size_t count;
		struct error err;
		assert_int_equal(dev.family->answer(&dev, CHAIN_ASK_BY_HEIGHT, &(struct chain_args){ .height = 0 }, text, arena, &answer, &err), 0);
		assert_true(answer.found);
		assert_int_equal(answer.block.proven, cases[i].proven);
		assert_int_equal(dev.family->peek_block(&dev, text, arena, &ref, &transactions, &count, &err), 0);
		assert_int_equal(ref.proven, cases[i].proven);
	}
}

static void test_text(void **state)
{
	(void)state;
	static const char *const round[] = { "native", TOKEN, TOKEN ":0", TOKEN ":115792089237316195423570985008687907853269984665640564039457584007913129639935" };
	static const char *const bad[] = { "", "Native", "0x", "0xcc", TOKEN "c", TOKEN ":", TOKEN ":-1", TOKEN ":1x", TOKEN ":0x1",
					   TOKEN ":115792089237316195423570985008687907853269984665640564039457584007913129639936", "native:1" };
	struct error err;
	struct chain_asset asset;
	uint8_t account[32];
	size_t size;
	for (size_t i = 0; i < sizeof round / sizeof round[0]; i++) {
		struct buf text = BUF_INIT(200);
		assert_int_equal(dev.family->asset_parse(&dev, round[i], &asset, &err), 0);
		dev.family->asset_print(&dev, &asset, &text);
		assert_string_equal(buf_str(&text), round[i]);
		buf_free(&text);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(dev.family->asset_parse(&dev, bad[i], &asset, &err), WEIR_INVALID);
	assert_int_equal(dev.family->account_parse(&dev, "0xABCDEFabcdefABCDEFabcdefABCDEFabcdefABCD", account, &size, &err), 0);
	struct buf text = BUF_INIT(200);
	dev.family->account_print(&dev, (struct bytes){ account, size }, &text);
	assert_string_equal(buf_str(&text), "0xabcdefabcdefabcdefabcdefabcdefabcdefabcd");
	buf_free(&text);
	assert_int_equal(dev.family->account_parse(&dev, "0xABCDEFabcdefABCDEFabcdefABCDEFabcdefABC", account, &size, &err), WEIR_INVALID);
	assert_int_equal(dev.family->account_parse(&dev, "0xABCDEFabcdefABCDEFabcdefABCDEFabcdefABCDE", account, &size, &err), WEIR_INVALID);
	assert_int_equal(dev.family->account_parse(&dev, "1xABCDEFabcdefABCDEFabcdefABCDEFabcdefABCD", account, &size, &err), WEIR_INVALID);
}

static void test_reconcilable(void **state)
{
	(void)state;
	uint8_t zero[20] = { 0 }, one[20] = { 1 };
	const char *reason;
	struct chain_asset native = { .standard = STANDARD(NATIVE) }, token = { .standard = STANDARD(ERC20), .contract_size = 20 };
	assert_true(dev.family->reconcilable(&dev, (struct bytes){ zero, 20 }, &native, &reason)); /* anvil pays its tips there */
	assert_true(dev.family->reconcilable(&dev, (struct bytes){ one, 20 }, &token, &reason));
	assert_false(dev.family->reconcilable(&dev, (struct bytes){ zero, 20 }, &token, &reason));
	assert_string_equal(reason, "zero_address");
}

static void test_families(void **state)
{
	(void)state;
	struct chain chain;
	struct error err;
	assert_int_equal(chain_init(&chain, "x", "evm", "no-such", 1, &err), WEIR_CONFIG);
	assert_non_null(strstr(err.text, "ethereum"));
	assert_int_equal(chain_init(&chain, "x", "no-such", "dev", 1, &err), WEIR_CONFIG);
	assert_non_null(strstr(err.text, "evm"));
	assert_int_equal(chain_init(&chain, "sepolia", "evm", "ethereum", 11155111, &err), WEIR_CONFIG); /* mainnet's rules are no other chain's */
	assert_non_null(strstr(err.text, "11155111"));
	assert_non_null(strstr(err.text, "testnet"));
	assert_int_equal(chain_init(&chain, "sepolia", "evm", "testnet", 11155111, &err), 0);
}

static int open_all(void **state)
{
	(void)state;
	struct error err;
	arena = arena_new(64 << 20);
	return chain_init(&dev, "dev", "evm", "dev", 31337, &err) || chain_init(&mainnet, "ethereum", "evm", "ethereum", 1, &err);
}

static int close_all(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_questions), cmocka_unit_test(test_answers), cmocka_unit_test(test_errors),       cmocka_unit_test(test_notices),
		cmocka_unit_test(test_parts),	  cmocka_unit_test(test_peek),	  cmocka_unit_test(test_text),	       cmocka_unit_test(test_reconcilable),
		cmocka_unit_test(test_families), cmocka_unit_test(test_header_gives_hash), cmocka_unit_test(test_whose_part),
	};
	return cmocka_run_group_tests(tests, open_all, close_all);
}
