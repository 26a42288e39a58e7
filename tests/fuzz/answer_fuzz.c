/* answer_fuzz.c - JSON-RPC answers of a node: taken apart, understood as every question's answer, and normalized as every part of a
 * block. Whatever the bytes, the result is an error, a failed certificate, or a proof that holds. */
#include "chains/chain.h"
#include "net/answer.h"

#include <string.h>

static void on_item(const struct answer_item *item, void *arg)
{
	struct bytes *last = arg;
	if (item->has_result)
		*last = item->result;
}

static void as_answers(const struct chain *chain, struct bytes text, struct arena *arena)
{
	static const uint8_t account[20];
	struct chain_asset asset = { .standard = WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_ERC721, .contract_size = 20, .has_token_id = true };
	struct chain_args args = { .height = 1, .account = { account, 20 }, .asset = &asset };
	struct chain_answer answer;
	struct error err;
	for (int question = CHAIN_ASK_CHAIN_ID; question < CHAIN_ASK_SUBSCRIBE_HEADS; question++)
		if (question != CHAIN_ASK_BY_HASH)
			(void)chain->family->answer(chain, (enum chain_question)question, &args, text, arena, &answer, &err);
	struct chain_block_ref ref;
	const uint8_t *hashes;
	size_t count;
	(void)chain->family->peek_block(chain, text, arena, &ref, &hashes, &count, &err);
	(void)chain->family->notice(chain, text, &ref, &err);
}

static void as_block(const struct chain *chain, struct bytes text, struct arena *arena)
{
	/* The input is split at NUL bytes into block, receipts and traces, so that one input can reach all parsers. */
	static const Weir__V1__PartKind kinds[] = { WEIR__V1__PART_KIND__PART_KIND_BLOCK, WEIR__V1__PART_KIND__PART_KIND_RECEIPTS,
						    WEIR__V1__PART_KIND__PART_KIND_FLAT_TRACES, WEIR__V1__PART_KIND__PART_KIND_CALL_TRACES };
	Weir__V1__RawBlock raw;
	Weir__V1__Part parts[4], *list[4];
	weir__v1__raw_block__init(&raw);
	Weir__V1__NormalizedBlock *block;
	struct error err;
	size_t at = 0;
	for (size_t i = 0; i < 4 && at <= text.size; i++) {
		const uint8_t *end = at < text.size ? memchr(text.data + at, 0, text.size - at) : NULL;
		size_t size = end ? (size_t)(end - text.data) - at : text.size - at;
		weir__v1__part__init(&parts[i]);
		parts[i].kind = kinds[i];
		parts[i].encoding = WEIR__V1__ENCODING__ENCODING_IDENTITY;
		parts[i].body.data = arena_alloc(arena, size + 16);
		parts[i].body.len = size;
		if (!parts[i].body.data)
			return;
		if (size)
			memcpy(parts[i].body.data, text.data + at, size);
		list[raw.n_parts++] = &parts[i];
		at += size + 1;
	}
	raw.parts = list;
	(void)chain->family->normalize(chain, &raw, 1 << 24, arena, &block, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct chain chain;
	struct error err;
	struct bytes result = { data, 0 };
	bool batch;
	if (!chain.family && chain_init(&chain, "fuzz", "evm", "dev", 1, &err) != 0)
		return 0;
	struct arena *arena = arena_new(256u << 20);
	struct bytes text = { data, size };
	(void)answer_split(text, on_item, &result, &batch, &err);
	as_answers(&chain, text, arena);
	as_block(&chain, text, arena);
	arena_free(&arena);
	return 0;
}
