/* hub_live.c - the newest events in memory, and who gets them. */
#include "hub_internal.h"

#include <string.h>

#define APPLIED WEIR__V1__LEDGER_EVENT__EVENT_BLOCK_APPLIED
#define RETRACTED WEIR__V1__LEDGER_EVENT__EVENT_BLOCK_RETRACTED
#define OPENINGS WEIR__V1__LEDGER_EVENT__EVENT_OPENINGS_RECORDED
#define FINALITY WEIR__V1__LEDGER_EVENT__EVENT_FINALITY_PROMOTED

#define PUSH_BYTES 600 /* about what an entry takes in a queue, rather more than less */

enum outcome { DELIVERED, NEEDS_LEDGER };

/* ---- who listens ------------------------------------------------------------------------------------------------------------------------- */

static size_t bucket_of(const uint8_t *account, size_t size)
{
	uint64_t h = 1469598103934665603u; /* FNV-1a */
	for (size_t i = 0; i < size; i++)
		h = (h ^ account[i]) * 1099511628211u;
	return (size_t)(h ^ h >> 32) % BUCKETS;
}

void live_add(struct sub *sub)
{
	struct hub_chain *chain = sub->chain;
	sub->next_of_chain = chain->subs;
	if (sub->next_of_chain)
		sub->next_of_chain->previous_of_chain = sub;
	chain->subs = sub;
	if (!sub->filter.has_account)
		return;
	if (!chain->buckets)
		chain->buckets = xcalloc(BUCKETS, sizeof *chain->buckets);
	struct sub **bucket = &chain->buckets[bucket_of(sub->filter.account, sub->filter.account_size)];
	sub->next_of_bucket = *bucket;
	*bucket = sub;
}

void live_remove(struct sub *sub)
{
	struct hub_chain *chain = sub->chain;
	*(sub->previous_of_chain ? &sub->previous_of_chain->next_of_chain : &chain->subs) = sub->next_of_chain;
	if (sub->next_of_chain)
		sub->next_of_chain->previous_of_chain = sub->previous_of_chain;
	if (!sub->filter.has_account)
		return;
	for (struct sub **p = &chain->buckets[bucket_of(sub->filter.account, sub->filter.account_size)]; *p; p = &(*p)->next_of_bucket)
		if (*p == sub) {
			*p = sub->next_of_bucket;
			return;
		}
}

/* ---- the ring ------------------------------------------------------------------------------------------------------------------------------ */

static void drop_oldest(struct hub_chain *chain)
{
	struct event **slot = &chain->ring[chain->oldest % RING_EVENTS];
	chain->ring_bytes -= arena_used((*slot)->arena);
	event_drop(slot);
	chain->oldest++;
}

static void ring_add(struct hub_chain *chain, struct event *event)
{
	chain->ring_bytes += arena_used(event->arena);
	while (chain->oldest <= chain->newest && (chain->newest + 1 - chain->oldest >= RING_EVENTS || chain->ring_bytes > RING_BYTES))
		drop_oldest(chain);
	chain->ring[event->sequence % RING_EVENTS] = event;
	chain->newest = event->sequence;
}

/* The event that applied a block, if memory still has it with its entries. */
static struct event *find_applied(struct hub_chain *chain, const struct event *retracted)
{
	for (uint64_t s = chain->newest; s >= chain->oldest && s > 0; s--) {
		struct event *e = chain->ring[s % RING_EVENTS];
		if (e->kind == APPLIED && e->height == retracted->height && e->branch == retracted->branch)
			return e;
	}
	return NULL;
}

void live_free(struct hub_chain *chain)
{
	while (chain->oldest <= chain->newest && chain->known)
		drop_oldest(chain);
	xfree(&chain->buckets);
}

/* ---- one event for one subscription ---------------------------------------------------------------------------------------------------------- */

static struct tail *render(struct hub *hub, struct tail **slot, void (*fn)(const struct chain *, const struct event *, struct buf *), const struct chain *chain,
			   const struct event *event)
{
	if (!*slot) {
		buf_reset(&hub->text);
		fn(chain, event, &hub->text);
		*slot = tail_new(&hub->text);
	}
	return *slot;
}

static void give(struct sub *sub, struct tail *tail, uint64_t sequence, int64_t index)
{
	if (tail->size > 0)
		conn_push(sub->conn, sub, tail, sequence, index);
}

static void give_ids(struct sub *sub, const struct event *event, const uint8_t *ids, size_t n, int64_t index)
{
	struct hub *hub = sub->conn->hub;
	buf_reset(&hub->text);
	render_retracted(&sub->chain->chain->chain, event->height, event->hash, ids, n, &hub->text);
	struct tail *tail = tail_new(&hub->text);
	give(sub, tail, event->sequence, index);
	tail_drop(&tail);
}

/* Was the block given to this subscription? DELIVERED with *ret_given, or unknown without the ledger. */
static enum outcome was_given(const struct sub *sub, const struct event *event, const struct event *applied, bool *ret_given)
{
	*ret_given = event->height >= sub->offset.min_height && (!applied || applied->sequence > sub->offset.given_after);
	return applied || sub->offset.given_after == 0 || !*ret_given ? DELIVERED : NEEDS_LEDGER;
}

static enum outcome give_block(struct sub *sub, struct event *event)
{
	struct hub *hub = sub->conn->hub;
	const struct chain *chain = &sub->chain->chain->chain;
	uint8_t id[EVENT_ID_SIZE];
	bool given = false;
	if (event->kind == APPLIED && event->height >= sub->offset.min_height)
		give(sub, render(hub, &event->tail, render_block, chain, event), event->sequence, -1);
	if (event->kind == FINALITY)
		give(sub, render(hub, &event->tail, render_status, chain, event), event->sequence, -1);
	if (event->kind != RETRACTED)
		return DELIVERED;
	if (was_given(sub, event, find_applied(sub->chain, event), &given) == NEEDS_LEDGER)
		return NEEDS_LEDGER;
	block_id(chain->name, (struct bytes){ event->hash, 32 }, id);
	if (given)
		give_ids(sub, event, id, 1, -1);
	return DELIVERED;
}

static bool any_matches(const struct sub *sub, const struct event *event)
{
	for (size_t i = 0; i < event->item_count; i++)
		if (filter_takes(&sub->filter, event->items[i].account, &event->items[i].asset))
			return true;
	return false;
}

static uint32_t entries_of(const struct event *event)
{
	switch (event->kind) {
	case APPLIED:
		return event->message->block_applied->entry_count;
	case RETRACTED:
		return event->message->block_retracted->entry_count;
	case OPENINGS:
		return event->message->openings_recorded->count;
	default:
		return 0;
	}
}

static void give_items(struct sub *sub, struct event *event)
{
	struct hub *hub = sub->conn->hub;
	const struct chain *chain = &sub->chain->chain->chain;
	for (size_t i = 0; i < event->item_count; i++) {
		struct item *item = &event->items[i];
		if (!filter_takes(&sub->filter, item->account, &item->asset))
			continue;
		if (!item->tail) {
			buf_reset(&hub->text);
			render_item(chain, event, item, &hub->text);
			item->tail = tail_new(&hub->text);
		}
		give(sub, item->tail, event->sequence, item->ordinal);
	}
}

static void give_retracted_items(struct sub *sub, const struct event *event, const struct event *applied)
{
	const char *name = sub->chain->chain->chain.name;
	uint8_t ids[RETRACTED_IDS_MAX * EVENT_ID_SIZE];
	size_t n = 0;
	int32_t last = 0;
	for (size_t i = 0; i < applied->item_count; i++) {
		const struct item *item = &applied->items[i];
		if (!filter_takes(&sub->filter, item->account, &item->asset))
			continue;
		if (n == RETRACTED_IDS_MAX) {
			give_ids(sub, event, ids, n, last);
			n = 0;
		}
		entry_id(name, item->kind, (struct bytes){ event->hash, 32 }, item->ordinal, ids + n++ * EVENT_ID_SIZE);
		last = item->ordinal;
	}
	if (n > 0)
		give_ids(sub, event, ids, n, last);
}

/* Would the event leave room in the client's queue? One that is piled up whole would close the connection of a client that reads well. */
static bool fits(const struct sub *sub, const struct event *event)
{
	return sub->filter.has_account || event->item_count * PUSH_BYTES < sub->conn->hub->queue_max / 2;
}

static enum outcome give_entries(struct sub *sub, struct event *event)
{
	const struct event *source = event;
	if (entries_of(event) == 0 || event->height < sub->offset.min_height)
		return DELIVERED;
	if (event->kind == RETRACTED) {
		bool given = false;
		source = find_applied(sub->chain, event);
		if (source && was_given(sub, event, source, &given) == DELIVERED && !given)
			return DELIVERED;
	}
	if (!source || !source->has_items || source->item_count > LIVE_ITEMS_MAX || !fits(sub, source))
		return NEEDS_LEDGER;
	if (sub->topic == TOPIC_OF_ACCOUNTS) /* balances are the ledger's to say */
		return any_matches(sub, source) ? NEEDS_LEDGER : DELIVERED;
	if (event->kind == RETRACTED)
		give_retracted_items(sub, event, source);
	else
		give_items(sub, event);
	return DELIVERED;
}

static enum outcome deliver(struct sub *sub, struct event *event)
{
	const struct chain *chain = &sub->chain->chain->chain;
#ifdef WEIR_MUTANT_NO_RETRACTION
	if (event->kind == RETRACTED)
		return DELIVERED;
#endif
	switch (sub->topic) {
	case TOPIC_OF_BLOCKS:
		return give_block(sub, event);
	case TOPIC_OF_STATUS:
		if (event->kind != APPLIED && event->kind != RETRACTED && event->kind != OPENINGS)
			give(sub, render(sub->conn->hub, &event->tail, render_status, chain, event), event->sequence, -1);
		return DELIVERED;
	case TOPIC_OF_ENTRIES:
	case TOPIC_OF_ACCOUNTS:
		return give_entries(sub, event);
	}
	return DELIVERED;
}

/* ---- everybody -------------------------------------------------------------------------------------------------------------------------------- */

static void offer(struct sub *sub, struct event *event)
{
	if (sub->state != SUB_LIVE || sub->mark == event->sequence || !sub->conn || sub->conn->closing)
		return;
	if (event->sequence <= sub->offset.sequence)
		return; /* given by another gateway that was ahead of this one */
	sub->mark = event->sequence;
	if (deliver(sub, event) == DELIVERED)
		return;
	sub->offset.sequence = event->sequence - 1;
	sub->offset.index = -1;
	sub->state = SUB_WAITING;
	sub_room(sub->conn);
}

static void offer_by_account(struct hub_chain *chain, struct event *event, const struct event *source)
{
	for (size_t i = 0; i < source->item_count; i++) {
		const struct bytes account = source->items[i].account;
		struct sub *next;
		for (struct sub *sub = chain->buckets[bucket_of(account.data, account.size)]; sub; sub = next) {
			next = sub->next_of_bucket;
			if (filter_takes(&sub->filter, account, &source->items[i].asset))
				offer(sub, event);
		}
	}
}

void live_event(struct hub *hub, struct hub_chain *chain, struct event *event)
{
	(void)hub;
	if (chain->known && event->sequence != chain->newest + 1) {
		event_drop(&event); /* the feed begins behind what was reset */
		return;
	}
	if (!chain->known) {
		chain->known = true;
		chain->oldest = event->sequence;
		chain->newest = event->sequence - 1;
	}
	ring_add(chain, event);
	const struct event *source = event->kind == RETRACTED ? find_applied(chain, event) : event;
	/* With the entries at hand only those who watch an account in it are asked; else everybody is. */
	bool narrow = chain->buckets && entries_of(event) > 0 && source && source->has_items && source->item_count <= LIVE_ITEMS_MAX;
	struct sub *next;
	for (struct sub *sub = chain->subs; sub; sub = next) {
		next = sub->next_of_chain;
		if (!sub->filter.has_account || (!narrow && entries_of(event) > 0))
			offer(sub, event);
	}
	if (narrow)
		offer_by_account(chain, event, source);
}

void live_reset(struct hub *hub, struct hub_chain *chain, uint64_t newest)
{
	bool again = chain->known;
	while (chain->known && chain->oldest <= chain->newest)
		drop_oldest(chain);
	chain->known = true;
	chain->newest = newest;
	chain->oldest = newest + 1;
	if (!again)
		return;
	for (struct conn *conn = hub->conns; conn; conn = conn->next)
		for (struct sub *sub = conn->subs; sub; sub = sub->next_of_conn)
			if (sub->chain == chain)
				conn_close(conn, 1012, "the ledger was made anew: subscribe again");
}

bool live_join(struct sub *sub)
{
	struct hub_chain *chain = sub->chain;
	if (sub->offset.index >= 0 || !chain->known || sub->offset.sequence + 1 < chain->oldest)
		return false;
	while (sub->offset.sequence < chain->newest) {
		if (sub->conn->queue_bytes > sub->conn->hub->queue_max / 4) {
			sub->state = SUB_WAITING; /* for room: memory is read at the client's pace, too */
			return true;
		}
		struct event *event = chain->ring[(sub->offset.sequence + 1) % RING_EVENTS];
		sub->mark = event->sequence;
		if (deliver(sub, event) == NEEDS_LEDGER)
			return false;
		if (!sub->conn || sub->conn->closing)
			return true;
		sub->offset.sequence++;
	}
	sub->state = SUB_LIVE;
	return true;
}
