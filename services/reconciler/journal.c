/* journal.c - numbering, packing, storing and framing ledger events. */
#include "journal.h"

#include "base/clock.h"
#include "base/hash.h"
#include "store/pg.h"

#include "weir/streams.h"

#include <string.h>

#define ARENA_MAX ((size_t)512 << 20)
#define ID_BASIS UINT64_C(1469598103934665603) /* not HASH_BASIS, and must stay: ids of events depend on it */

void journal_init(struct journal *journal, const char *chain)
{
	*journal = (struct journal){ .chain = chain };
	journal->arena = arena_new(ARENA_MAX);
}

void journal_free(struct journal *journal)
{
	arena_free(&journal->arena);
	xfree(&journal->events);
	journal->count = journal->capacity = 0;
}

void journal_begin(struct journal *journal, uint64_t last)
{
	arena_reset(journal->arena);
	journal->count = 0;
	journal->last = last;
}

static struct bytes pack(struct journal *journal, Weir__V1__LedgerEvent *event, uint64_t now_ms)
{
	/* protobuf-c's structs are not const-correct: packing never writes through the name. */
	union {
		const char *in;
		char *out;
	} chain = { .in = journal->chain };
	event->chain = chain.out;
	event->sequence = journal->last;
	event->committed_at_unix_ms = now_ms;
	size_t size = weir__v1__ledger_event__get_packed_size(event);
	uint8_t *body = arena_alloc(journal->arena, size);
	if (!body)
		return (struct bytes){ NULL, 0 };
	weir__v1__ledger_event__pack(event, body);
	return (struct bytes){ body, size };
}

struct journal_event *journal_add(struct journal *journal, Weir__V1__LedgerEvent *event, Weir__V1__LedgerEvent *lean, int64_t height, int16_t branch)
{
	if (journal->count == journal->capacity) {
		journal->capacity = journal->capacity ? journal->capacity * 2 : 64;
		journal->events = xrealloc(journal->events, journal->capacity, sizeof *journal->events);
	}
	journal->last++;
	uint64_t now_ms = (uint64_t)clock_wall_ms();
	struct journal_event *e = &journal->events[journal->count++];
	*e = (struct journal_event){ .sequence = journal->last, .height = height, .kind = (int16_t)event->event_case, .branch = branch };
	e->body = pack(journal, lean ? lean : event, now_ms);
	e->full = lean ? pack(journal, event, now_ms) : e->body;
	if (!e->full.data) /* larger than fits: readers take the entries from the ledger */
		e->full = e->body;
	return e;
}

int journal_write(struct journal *journal, struct pg *pg, int16_t chain_id, struct error *err)
{
	if (journal->count == 0)
		return 0;
	struct pg_copy *copy = NULL;
	int code = pg_copy_begin(pg, "copy weir.journal (chain, sequence, kind, height, branch, body) from stdin binary", &copy, err);
	if (code)
		return code;
	for (size_t i = 0; i < journal->count; i++) {
		const struct journal_event *e = &journal->events[i];
		if (!e->body.data) {
			pg_copy_abort(&copy);
			return error_set(err, WEIR_LIMIT, "an event of block %lld is too large for the journal", (long long)e->height);
		}
		pg_copy_row(copy, 6);
		pg_copy_i16(copy, chain_id);
		pg_copy_i64(copy, (int64_t)e->sequence);
		pg_copy_i16(copy, e->kind);
		pg_copy_i64(copy, e->height);
		pg_copy_i16(copy, e->branch);
		pg_copy_bytes(copy, e->body);
	}
	return pg_copy_end(&copy, err);
}

void journal_frame(const struct journal *journal, const struct journal_event *e, struct frame *ret)
{
	*ret = (struct frame){ .type = MESSAGE_LEDGER_EVENT, .schema_version = 1, .created_unix_ms = (uint64_t)clock_wall_ms(), .body = e->full };
	frame_set_trace(ret, &e->trace);
	/* The same event has the same id whenever and from wherever it is sent again. */
	const uint64_t chain = hash_bytes(ID_BASIS, journal->chain, strlen(journal->chain));
	for (int i = 0; i < 8; i++) {
		ret->event_id[i] = (uint8_t)(chain >> 8 * (7 - i));
		ret->event_id[8 + i] = (uint8_t)(e->sequence >> 8 * (7 - i));
	}
}
