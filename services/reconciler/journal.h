/* journal.h - the outbox: LedgerEvents numbered and written in the same transaction as what they tell. */
#ifndef WEIR_RECONCILER_JOURNAL_H
#define WEIR_RECONCILER_JOURNAL_H

#include "base/error.h"
#include "base/mem.h"
#include "wire/frame.h"

#include "weir/v1/ledger.pb-c.h"

struct pg;

struct journal_event {
	uint64_t sequence;
	int64_t height;
	int16_t kind, branch;
	struct bytes body; /* as stored: without entries */
	struct bytes full; /* as published; the same bytes where nothing was left out */
	struct span_context trace; /* of what applied its block; none when read from PostgreSQL */
};

struct journal {
	const char *chain;
	struct arena *arena; /* owned: events of one transaction */
	struct journal_event *events;
	size_t count, capacity;
	uint64_t last; /* sequence of the newest event, added or committed */
};

void journal_init(struct journal *, const char *chain);
void journal_free(struct journal *);
/* A new transaction whose events follow `last`. */
void journal_begin(struct journal *, uint64_t last);
/* Numbers and packs the event (chain, sequence and time are filled in here). `lean`, if not NULL, is stored instead. */
struct journal_event *journal_add(struct journal *, Weir__V1__LedgerEvent *event, Weir__V1__LedgerEvent *lean, int64_t height, int16_t branch);
int journal_write(struct journal *, struct pg *, int16_t chain_id, struct error *);
/* The frame that carries an event on topic "ledger". Points into the event. */
void journal_frame(const struct journal *, const struct journal_event *, struct frame *ret);

#endif
