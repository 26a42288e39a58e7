/* normalize.c - CPU to normalise a block against the CPU to parse the same JSON with yyjson and to hash the same bytes with keccak.
 * One JSON object out.
 *
 *   normalize [SECONDS]    how long each block is measured for (default 0.3)
 *
 * parse:     yyjson_read of each part, default allocator, freed again
 * hash:      keccak256 over as many messages of the same lengths as normalising hashed (counted by this program's own keccak256)
 * normalize: evm_normalize of the uncompressed parts: every check, entries, the message in memory; best of many runs, as the others
 * senders:   the same with the sender of each transaction recovered, which neither parse nor hash does: elliptic-curve arithmetic
 */
#include "chains/evm/evm.h"
#include "support/made_block.h"
#include "support/recorded.h"

/* This program's keccak256 stands in for the library's: it counts, then does the same work. */
#define keccak256 keccak256_plain
#include "wire/keccak.c"
#undef keccak256

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static size_t *lengths;
static size_t length_count, length_capacity;
static bool counting;

void keccak256(const void *data, size_t size, uint8_t ret[32]);
void keccak256(const void *data, size_t size, uint8_t ret[32])
{
	if (counting) {
		if (length_count == length_capacity) {
			length_capacity = length_capacity ? 2 * length_capacity : 4096;
			lengths = xrealloc(lengths, length_capacity, sizeof *lengths);
		}
		lengths[length_count++] = size;
	}
	keccak256_plain(data, size, ret);
}

static double seconds_each = 0.3;

static double cpu(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* senders are recovered by several threads */
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct job {
	const Weir__V1__RawBlock *raw;
	struct chain chain;
	struct chain_profile profile;
	struct arena *arena;
	uint8_t *bytes; /* as long as the longest message hashed */
	Weir__V1__NormalizedBlock *block;
};

static void do_parse(struct job *j)
{
	for (size_t i = 0; i < j->raw->n_parts; i++) {
		yyjson_doc *doc = yyjson_read((const char *)j->raw->parts[i]->body.data, j->raw->parts[i]->body.len, 0);
		if (!doc)
			abort();
		yyjson_doc_free(doc);
	}
}

static void do_hash(struct job *j)
{
	uint8_t hash[32];
	for (size_t i = 0; i < length_count; i++) {
		keccak256_plain(j->bytes, lengths[i], hash);
		j->bytes[0] ^= hash[0];
	}
}

static void do_normalize(struct job *j)
{
	struct error err;
	arena_reset(j->arena);
	if (j->chain.family->normalize(&j->chain, j->raw, 1u << 30, j->arena, &j->block, &err) != 0 || !j->block->certificate->proven) {
		fprintf(stderr, "block %llu is not proven\n", (unsigned long long)j->raw->height);
		for (size_t i = 0; j->block && i < j->block->certificate->n_checks; i++)
			if (j->block->certificate->checks[i]->result == WEIR__V1__CHECK_RESULT__CHECK_RESULT_FAILED)
				fprintf(stderr, "  %d: %s\n", (int)j->block->certificate->checks[i]->name, j->block->certificate->checks[i]->detail);
		exit(1);
	}
}

static double best(void (*fn)(struct job *), struct job *j)
{
	double least = 1e9, until = cpu() + seconds_each;
	do {
		double begin = cpu();
		fn(j);
		double took = cpu() - begin;
		if (took < least)
			least = took;
	} while (cpu() < until);
	return least * 1e6;
}

static double total_base, total_plain, total_full;
static bool first = true;

static void measure(const char *name, const Weir__V1__RawBlock *raw, const char *profile, uint64_t chain_id)
{
	struct job j = { .raw = raw, .arena = arena_new((size_t)2 << 30), .bytes = xcalloc(1, 64 << 20) };
	struct error err;
	if (chain_init(&j.chain, "bench", "evm", profile, chain_id, &err) != 0)
		abort();
	const struct chain_profile *full = j.chain.profile;
	j.profile = *full;
	j.profile.checks_senders = false;
	j.profile.demanded &= ~(1u << WEIR__V1__CHECK_NAME__CHECK_NAME_SENDERS);
	j.chain.profile = &j.profile;
	length_count = 0;
	counting = true;
	do_normalize(&j);
	counting = false;
	size_t json = 0, hashed = 0;
	for (size_t i = 0; i < raw->n_parts; i++)
		json += raw->parts[i]->body.len;
	for (size_t i = 0; i < length_count; i++)
		hashed += lengths[i];
	double parse = best(do_parse, &j), hash = best(do_hash, &j), plain = best(do_normalize, &j);
	j.chain.profile = full;
	double senders = best(do_normalize, &j);
	printf("%s\n  {\"block\":\"%s\",\"transactions\":%zu,\"entries\":%zu,\"json_bytes\":%zu,\"hashes\":%zu,\"hashed_bytes\":%zu,\"parse_us\":%.0f,\"hash_us\":%.0f,"
	       "\"normalize_us\":%.0f,\"ratio\":%.2f,\"with_senders_us\":%.0f,\"ratio_with_senders\":%.2f}",
	       first ? "" : ",", name, j.block->n_transactions, j.block->n_entries, json, length_count, hashed, parse, hash, plain, plain / (parse + hash), senders,
	       senders / (parse + hash));
	fflush(stdout);
	first = false;
	total_base += parse + hash;
	total_plain += plain;
	total_full += senders;
	arena_free(&j.arena);
	xfree(&j.bytes);
}

static void measure_recorded(const char *folder, const char *height)
{
	struct arena *arena = arena_new((size_t)1 << 30);
	Weir__V1__RawBlock *raw = recorded_block(folder, height, arena);
	char name[64];
	snprintf(name, sizeof name, "ethereum %s", height);
	if (raw)
		measure(name, raw, "ethereum", 1);
	arena_free(&arena);
}

static void measure_made(const char *name, const struct made_block *order)
{
	struct arena *arena = arena_new((size_t)1 << 30);
	measure(name, made_block(order, arena), "dev", order->chain_id);
	arena_free(&arena);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		seconds_each = atof(argv[1]);
	printf("{\"bench\":\"normalize\",\"blocks\":[");
	char *folder = recorded_open("ethereum");
	static const char *const heights[] = { "4000000", "8000000", "14000000", "15753009", "17053184", "17300000", "18951424", "18951920", "20000000" };
	for (size_t i = 0; folder && i < sizeof heights / sizeof heights[0]; i++)
		measure_recorded(folder, heights[i]);
	recorded_close(&folder);
	measure_made("made: 50 logs in 1 transaction", &(struct made_block){ .height = 1, .chain_id = 31337, .transactions = 1, .logs = 50, .trace = MADE_FLAT_TRACE });
	measure_made("made: 200 transactions, 1 log each",
		     &(struct made_block){ .height = 1, .chain_id = 31337, .transactions = 200, .logs = 1, .withdrawals = 16, .trace = MADE_FLAT_TRACE });
	measure_made("made: 200 transactions, 20 logs each",
		     &(struct made_block){ .height = 1, .chain_id = 31337, .transactions = 200, .logs = 20, .withdrawals = 16, .trace = MADE_FLAT_TRACE });
	printf("],\n\"ratio\":%.2f,\"ratio_with_senders\":%.2f,\"target\":2.0}\n", total_plain / total_base, total_full / total_base);
	free(lengths);
	return 0;
}
