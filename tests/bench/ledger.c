/* ledger.c - speed of the ledger, as ratios measured in one run on a private PostgreSQL (fsync on). One JSON line.
 *
 *   ledger [ENTRIES [GROWN]]    ENTRIES measured (default 1000000); GROWN rows to grow the table to before measuring again (0: not)
 *
 * copy:   plain binary COPY of the same rows (blocks, certificates, transactions, entries) into tables with the same primary keys and
 *         nothing else, in the same batches; rows encoded beforehand
 * apply:  ledger_apply of the same blocks: blocks, transactions, certificates, entries with running balances and both indexes,
 *         accounts, balances, watermark, journal; batches as the default settings make them
 * replay: recognising, from the packed message, blocks that are in the ledger
 * tip:    ledger_apply of one block of 200 transactions at a time, at the head of the chain: what a live block waits for
 */
#include "services/reconciler/apply.h"
#include "services/reconciler/window.h"

#include "base/clock.h"
#include "support/ledger_blocks.h"
#include "support/postgres_server.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* The settings' defaults: reconciler.batch_blocks, reconciler.batch_entries. */
#define BATCH_BLOCKS 256
#define BATCH_ENTRIES 40000

static struct error err;
static const struct ledger_blocks set = { .seed = 1, .accounts = 200000, .hot = 70, .tokens = 50, .transactions = 50 };

static void must(int code, const char *what)
{
	if (!code)
		return;
	fprintf(stderr, "%s: %s\n", what, err.text);
	exit(1);
}

/* Blocks of one batch from height on. */
static size_t make_batch(struct arena *arena, uint64_t height, Weir__V1__NormalizedBlock **blocks)
{
	size_t n = 0, entries = 0;
	arena_reset(arena);
	while (n < BATCH_BLOCKS && entries < BATCH_ENTRIES) {
		blocks[n] = ledger_blocks_make(&set, arena, height + n, 0, 0);
		entries += blocks[n++]->n_entries;
	}
	return n;
}

/* ---- the yardstick ----------------------------------------------------------------------------------------------------- */

static void run(PGconn *conn, const char *sql, ExecStatusType wanted)
{
	PGresult *result = PQexec(conn, sql);
	if (PQresultStatus(result) != wanted) {
		fprintf(stderr, "%s: %s", sql, PQerrorMessage(conn));
		exit(1);
	}
	PQclear(result);
}

/* The tables whose rows are counted, and the same without anything but the primary key. */
static const char *const tables[] = { "blocks", "certificates", "transactions", "entries" };
enum { TABLES = sizeof tables / sizeof tables[0] };

static void make_plain(PGconn *conn)
{
	char sql[300];
	for (size_t i = 0; i < TABLES; i++) {
		snprintf(sql, sizeof sql, "create table plain_%s (like weir.%s including defaults)", tables[i], tables[i]);
		run(conn, sql, PGRES_COMMAND_OK);
		snprintf(sql, sizeof sql, "alter table plain_%s add primary key (chain, height, branch%s)", tables[i],
			 i == 2 ? ", tx_index" :
			 i == 3 ? ", ordinal" :
				  "");
		run(conn, sql, PGRES_COMMAND_OK);
	}
}

static void read_rows(PGconn *conn, const char *table, uint64_t from, uint64_t to, struct buf *out)
{
	char sql[300], *piece;
	snprintf(sql, sizeof sql, "copy (select * from weir.%s where height between %llu and %llu order by height) to stdout binary", table,
		 (unsigned long long)from, (unsigned long long)to);
	buf_reset(out);
	run(conn, sql, PGRES_COPY_OUT);
	for (int n; (n = PQgetCopyData(conn, &piece, 0)) > 0;) {
		buf_add(out, piece, (size_t)n);
		PQfreemem(piece);
	}
	PQclear(PQgetResult(conn));
}

/* Seconds to COPY the rows of all blocks below `height` into the plain tables, in the batches that the ledger made. */
static double plain_copy(uint64_t height, uint64_t batch_blocks, const char *url)
{
	PGconn *conn = PQconnectdb(url);
	struct buf rows[TABLES];
	int64_t spent = 0;
	for (size_t i = 0; i < TABLES; i++)
		rows[i] = (struct buf)BUF_INIT((size_t)1 << 30);
	make_plain(conn);
	for (uint64_t from = 0; from < height; from += batch_blocks) {
		for (size_t i = 0; i < TABLES; i++)
			read_rows(conn, tables[i], from, from + batch_blocks - 1, &rows[i]);
		int64_t began = clock_mono_ns();
		run(conn, "begin", PGRES_COMMAND_OK);
		for (size_t i = 0; i < TABLES; i++) {
			char sql[100];
			snprintf(sql, sizeof sql, "copy plain_%s from stdin binary", tables[i]);
			run(conn, sql, PGRES_COPY_IN);
			for (size_t at = 0; at < rows[i].size; at += 262144)
				PQputCopyData(conn, (const char *)rows[i].data + at,
					      (int)(rows[i].size - at < 262144 ? rows[i].size - at : 262144));
			PQputCopyEnd(conn, NULL);
			for (PGresult *r; (r = PQgetResult(conn)); PQclear(r))
				if (PQresultStatus(r) != PGRES_COMMAND_OK)
					fprintf(stderr, "copy: %s", PQerrorMessage(conn)), exit(1);
		}
		run(conn, "commit", PGRES_COMMAND_OK);
		spent += clock_mono_ns() - began;
	}
	for (size_t i = 0; i < TABLES; i++)
		buf_free(&rows[i]);
	PQfinish(conn);
	return (double)spent / 1e9;
}

/* Entries per second of ledger_apply over at least total entries from *height on. */
static double apply(struct ledger *ledger, struct arena *arena, uint64_t total, uint64_t *height, uint64_t *ret_blocks)
{
	Weir__V1__NormalizedBlock *blocks[BATCH_BLOCKS];
	int64_t spent = 0;
	uint64_t entries = 0;
	*ret_blocks = 0;
	while (entries < total) {
		size_t n = make_batch(arena, *height, blocks);
		struct applied applied;
		for (size_t done = 0; done < n; done += applied.blocks + applied.skipped) {
			int64_t began = clock_mono_ns();
			must(ledger_apply(ledger, blocks + done, n - done, &applied, &err), "apply");
			spent += clock_mono_ns() - began;
			entries += applied.entries;
		}
		*height += n;
		*ret_blocks += n;
	}
	return (double)entries * 1e9 / (double)spent;
}

/* Blocks per second that are recognised as applied, from the packed message: what a restart or a second delivery brings. */
static double replay(struct ledger *ledger, struct arena *arena, uint64_t top)
{
	enum { BLOCKS = 100 };
	struct bytes packed[BLOCKS];
	int64_t spent = 0;
	uint64_t count = 0;
	for (uint64_t height = top > 2000 ? top - 2000 : 0; height + BLOCKS <= top; height += BLOCKS) {
		arena_reset(arena);
		for (uint64_t i = 0; i < BLOCKS; i++) {
			Weir__V1__NormalizedBlock *block = ledger_blocks_make(&set, arena, height + i, 0, 0);
			packed[i].size = weir__v1__normalized_block__get_packed_size(block);
			uint8_t *data = arena_alloc(arena, packed[i].size);
			weir__v1__normalized_block__pack(block, data);
			packed[i].data = data;
		}
		int64_t began = clock_mono_ns();
		for (uint64_t i = 0; i < BLOCKS; i++) {
			struct block_facts facts;
			bool has = false;
			must(block_facts(packed[i], &facts), "facts");
			must(ledger_has(ledger, facts.height, facts.hash, &has, &err), "has");
			count += has;
		}
		spent += clock_mono_ns() - began;
	}
	return (double)count * 1e9 / (double)(spent > 0 ? spent : 1);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Milliseconds for one block at the head, as it comes live. */
static void tip(struct ledger *ledger, struct arena *arena, uint64_t *height, double *ret_p50, double *ret_p99)
{
	enum { BLOCKS = 200 };
	static const struct ledger_blocks live = { .seed = 2, .accounts = 200000, .hot = 90, .tokens = 50, .transactions = 200 };
	double took[BLOCKS];
	uint8_t parent[32];
	must(ledger_hash_at(ledger, (int64_t)*height - 1, parent, &err), "hash");
	for (size_t i = 0; i < BLOCKS; i++, ++*height) {
		arena_reset(arena);
		struct ledger_head head = { .height = (int64_t)*height, .safe = -1, .finalized = -1 };
		Weir__V1__NormalizedBlock *block = ledger_blocks_make(&live, arena, *height, 0, 0);
		struct applied applied;
		if (i == 0)
			block->parent_hash = (ProtobufCBinaryData){ 32, parent }; /* another set's block comes before it */
		must(ledger_note_head(ledger, &head, &err), "head");
		int64_t began = clock_mono_ns();
		must(ledger_apply(ledger, &block, 1, &applied, &err), "apply");
		took[i] = (double)(clock_mono_ns() - began) / 1e6;
	}
	qsort(took, BLOCKS, sizeof took[0], compare);
	*ret_p50 = took[BLOCKS / 2];
	*ret_p99 = took[BLOCKS * 99 / 100];
}

int main(int argc, char **argv)
{
	uint64_t total = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000, grown = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
	struct postgres_server *server = postgres_server_start("-c shared_buffers=4GB -c max_wal_size=16GB -c checkpoint_timeout=30min -c wal_compression=lz4");
	if (!server)
		return 1;
	struct chain chain = { .name = "bench", .chain_id = 1 };
	struct ledger_options options = { .pg = { .url = postgres_server_url(server), .connect_timeout_ms = 5000 },
					  .chain = &chain,
					  .family = "evm",
					  .profile = "dev",
					  .balance_cache = 131072 };
	struct ledger *ledger = NULL;
	struct arena *arena = arena_new((size_t)1 << 30);
	uint64_t height = 0, blocks, more;
	must(ledger_migrate(&options.pg, &err), "migrate");
	must(ledger_open(&options, &ledger, &err), "open");
	must(ledger_claim(ledger, "1:bench", &err), "claim");
	/* A head far away: backfill, not the tip. */
	struct ledger_head head = { .height = 1 << 30, .safe = -1, .finalized = -1 };
	must(ledger_note_head(ledger, &head, &err), "head");
	double applied = apply(ledger, arena, total, &height, &blocks);
	uint64_t rows = blocks * set.transactions * 4;
	uint64_t batch = (BATCH_ENTRIES + set.transactions * 4 - 1) / (set.transactions * 4);
	double copied = (double)rows / plain_copy(height, batch < BATCH_BLOCKS ? batch : BATCH_BLOCKS, postgres_server_url(server));
	double replayed = replay(ledger, arena, height);
	double blocks_per_second = applied / ((double)rows / (double)blocks);
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	printf("{\"entries\": %llu, \"copy_entries_per_second\": %.0f, \"apply_entries_per_second\": %.0f, \"apply_over_copy\": %.3f,"
	       " \"apply_blocks_per_second\": %.0f, \"replay_blocks_per_second\": %.0f, \"replay_over_apply\": %.1f, \"max_rss_mib\": %.1f",
	       (unsigned long long)rows, copied, applied, applied / copied, blocks_per_second, replayed, replayed / blocks_per_second,
	       (double)usage.ru_maxrss / 1024);
	if (grown > rows) {
		apply(ledger, arena, grown - rows, &height, &more);
		double later = apply(ledger, arena, total, &height, &more);
		printf(", \"grown_to\": %llu, \"apply_grown_entries_per_second\": %.0f, \"grown_over_empty\": %.3f", (unsigned long long)grown, later,
		       later / applied);
	}
	double p50, p99;
	tip(ledger, arena, &height, &p50, &p99);
	printf(", \"tip_p50_ms\": %.1f, \"tip_p99_ms\": %.1f}\n", p50, p99);
	ledger_close(&ledger);
	arena_free(&arena);
	postgres_server_stop(&server);
	return 0;
}
