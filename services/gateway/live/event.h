/* event.h - one LedgerEvent as the gateway hands it around: decoded once, immutable, counted, and rendered for pushes.
 *
 * A push is {"subscription":…,"seq":…,"offset":"…" + tail. The tail (,"event":{…}}) is the same for every subscriber and shared.
 */
#ifndef WEIR_GATEWAY_EVENT_H
#define WEIR_GATEWAY_EVENT_H

#include "write/present.h"

#include "base/span.h"

#include "weir/v1/ledger.pb-c.h"

/* The tail of a push, shared by every queue that it waits in. */
struct tail {
	_Atomic uint32_t references;
	uint32_t size;
	bool tried;            /* the hub's thread tried to compress it */
	struct tail *deflated; /* NULL: not worth it, or not tried */
	struct tail *packed;   /* as MessagePack; NULL: nobody wanted it yet */
	char text[];
};
struct tail *tail_new(const struct buf *); /* one reference */
struct tail *tail_keep(struct tail *);
void tail_drop(struct tail **);

/* An entry of an event: what filters look at, and what a push says. */
struct item {
	int32_t ordinal;
	struct bytes account;
	struct chain_asset asset;
	int kind;
	const char *delta, *path;
	const char *balance; /* NULL unless read from the ledger */
	struct bytes transaction_hash;
	struct tail *tail; /* made when first wanted, by the hub's thread */
};

/* Which entries a subscription wants. */
struct filter {
	bool has_account, has_asset;
	int64_t watchlist; /* of topic watchlist: the id of the list that the account belongs to; 0: none. Not for filter_takes to know. */
	uint8_t account_size, account[32];
	struct chain_asset asset;
	int kind; /* 0: any */
};
bool filter_takes(const struct filter *, struct bytes account, const struct chain_asset *, int kind);

struct event {
	_Atomic uint32_t references;
	uint64_t sequence;
	uint32_t print;     /* tells it from an event that has the same sequence in another ledger; never 0. The same from the stream and from the journal */
	int kind;           /* Weir__V1__LedgerEvent__EventCase */
	int64_t height;
	int branch;
	uint8_t hash[32];
	struct arena *arena; /* holds message and items */
	const Weir__V1__LedgerEvent *message;
	struct item *items;
	size_t item_count;
	bool has_items;     /* false: entries must be read from the ledger */
	struct tail *tail;  /* of the event as a whole */
	struct span_context trace; /* of the message that brought it; none when read from PostgreSQL */
};

/* From a packed LedgerEvent. WEIR_INVALID when it is none. */
int event_read(const struct chain *, struct bytes body, struct event **ret, struct error *);
void event_drop(struct event **);

/* Renders ,"event":{…}} */
void render_block(const struct chain *, const struct event *, struct buf *out);
void render_item(const struct chain *, const struct event *, const struct item *, struct buf *out);
void render_status(const struct chain *, const struct event *, struct buf *out); /* finality, status, gap, incident, asset */
/* ids: n * EVENT_ID_SIZE bytes */
void render_retracted(const struct chain *, int64_t height, const uint8_t hash[32], const uint8_t *ids, size_t n, struct buf *out);
void render_entry_retracted(const struct chain *, const struct event *, const struct item *, struct buf *out); /* one, and whose it was */
/* Pushes of a subscription that begins anew: how many events of the journal it was not given. */
void render_skipped(const struct chain *, uint64_t events, struct buf *out);
/* The last push of a subscription whose server stops: its offset is where to resume, on another one, after that time. */
void render_reconnect(const struct chain *, int64_t after_ms, struct buf *out);
/* The last push of a subscription that the server ends. */
void render_ended(const struct chain *, const char *reason, struct buf *out);
/* items of one account in one block, with balances. The second: the block was taken back; the balances are those before it. */
void render_account_retracted(const struct chain *, const struct event *, struct bytes account, const struct item *items, size_t n,
			      const uint8_t id[EVENT_ID_SIZE], struct buf *out);
void render_account(const struct chain *, const struct event *, struct bytes account, const struct item *items, size_t n, const uint8_t id[EVENT_ID_SIZE],
		    struct buf *out);

#endif
