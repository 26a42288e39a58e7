/* hub_live.c - the newest events in memory, and who gets them. */
#include "live/hub_internal.h"

#include "watchlist/watchlist.h"

#include "base/hash.h"

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
	const uint64_t h = hash_bytes(HASH_BASIS, account, size);
	return (size_t)(h ^ h >> 32) % BUCKETS;
}

static size_t bucket_of_asset(const struct chain_asset *asset)
{
	uint8_t key[sizeof asset->contract + sizeof asset->token_id];
	memcpy(key, asset->contract, asset->contract_size);
	memcpy(key + asset->contract_size, &asset->token_id, sizeof asset->token_id);
	return bucket_of(key, asset->contract_size + sizeof asset->token_id);
}

static enum sub_kind kind_of(const struct sub *sub)
{
	if (sub->topic == TOPIC_OF_LETTERS)
		return SUB_LETTERS;
	if (sub->filter.watchlist)
		return SUB_LISTED;
	if (!sub->filter.has_account && !sub->filter.has_asset)
		return SUB_EVERY;
	return sub->finality ? SUB_INDEXED_FINALITY : SUB_INDEXED;
}

static struct sub **bucket_of_sub(struct sub *sub)
{
	const struct filter *f = &sub->filter;
	struct sub ***index = f->has_account ? &sub->chain->accounts : &sub->chain->assets;
	if (!*index)
		*index = xcalloc(BUCKETS, sizeof **index);
	return &(*index)[f->has_account ? bucket_of(f->account, f->account_size) : bucket_of_asset(&f->asset)];
}

void live_add(struct sub *sub)
{
	enum sub_kind kind = kind_of(sub);
	struct sub **all = &sub->chain->subs[kind];
	sub->next_of_chain = *all;
	if (sub->next_of_chain)
		sub->next_of_chain->previous_of_chain = sub;
	*all = sub;
	if (kind == SUB_LISTED)
		lists_add(sub);
	if (kind != SUB_INDEXED && kind != SUB_INDEXED_FINALITY)
		return;
	struct sub **bucket = bucket_of_sub(sub);
	sub->next_of_bucket = *bucket;
	*bucket = sub;
}

void live_remove(struct sub *sub)
{
	enum sub_kind kind = kind_of(sub);
	*(sub->previous_of_chain ? &sub->previous_of_chain->next_of_chain : &sub->chain->subs[kind]) = sub->next_of_chain;
	if (sub->next_of_chain)
		sub->next_of_chain->previous_of_chain = sub->previous_of_chain;
	if (kind == SUB_LISTED)
		lists_remove(sub);
	if (kind != SUB_INDEXED && kind != SUB_INDEXED_FINALITY)
		return;
	for (struct sub **p = bucket_of_sub(sub); *p; p = &(*p)->next_of_bucket)
		if (*p == sub) {
			*p = sub->next_of_bucket;
			return;
		}
}

uint64_t live_edge(const struct sub *sub)
{
	return sub->list ? sub->list->given : sub->chain->newest;
}

/* ---- the ring ------------------------------------------------------------------------------------------------------------------------------ */

static void drop_oldest(struct hub_chain *chain)
{
	struct event **slot = &chain->ring[chain->oldest % RING_EVENTS];
	chain->ring_bytes -= arena_used((*slot)->arena);
	chain->before = (*slot)->print;
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

uint32_t live_print(const struct hub_chain *chain, uint64_t sequence)
{
	if (sequence + 1 == chain->oldest)
		return chain->before;
	return sequence >= chain->oldest && sequence <= chain->newest ? chain->ring[sequence % RING_EVENTS]->print : 0;
}

uint32_t live_edge_print(const struct sub *sub)
{
	return sub->list ? sub->list->print : live_print(sub->chain, sub->chain->newest);
}

/* From here on it stands behind the event, as a whole. */
static void stand_behind(struct sub *sub, uint64_t sequence)
{
	sub->offset.sequence = sequence;
	sub->offset.print = live_print(sub->chain, sequence);
	sub->offset.index = -1;
}

/* The event that applied a block, if memory still has it with its entries. */
static struct event *find_applied(const struct hub_chain *chain, const struct event *retracted)
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
	xfree(&chain->accounts);
	xfree(&chain->assets);
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
		conn_push(sub->conn, sub, tail, &(struct offset){ .sequence = sequence, .print = live_print(sub->chain, sequence), .index = index });
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

/* Of a watch-list, what lists_look saw of the event. */
static bool takes(const struct sub *sub, const struct event *event, size_t i)
{
	return (!sub->list || sub->list->verdicts[i] == WATCHLIST_YES) && filter_takes(&sub->filter, event->items[i].account, &event->items[i].asset, event->items[i].kind);
}

static bool any_matches(const struct sub *sub, const struct event *event)
{
	for (size_t i = 0; i < event->item_count; i++)
		if (filter_takes(&sub->filter, event->items[i].account, &event->items[i].asset, event->items[i].kind))
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
		if (!takes(sub, event, i))
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
		if (!takes(sub, applied, i))
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
	if (event->kind == FINALITY && sub->finality)
		give(sub, render(sub->conn->hub, &event->tail, render_status, &sub->chain->chain->chain, event), event->sequence, -1);
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
	if (sub->list) {
		lists_look(sub->list, source);
		if (sub->list->ask)
			return NEEDS_LEDGER;
	}
	if (sub->topic == TOPIC_OF_ACCOUNTS) /* balances are the ledger's to say */
		return any_matches(sub, source) ? NEEDS_LEDGER : DELIVERED;
	if (event->kind == RETRACTED)
		give_retracted_items(sub, event, source);
	else
		give_items(sub, event);
	return DELIVERED;
}

bool live_may_concern(const struct hub_chain *chain, struct hub_list *list, const struct event *event)
{
	const struct event *source = event->kind == RETRACTED ? find_applied(chain, event) : event;
	if (entries_of(event) == 0)
		return false;
	if (!source || !source->has_items || source->item_count > LIVE_ITEMS_MAX)
		return true;
	lists_look(list, source);
	return list->any || list->ask;
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
	case TOPIC_OF_WATCHLIST:
	case TOPIC_OF_ACCOUNTS:
		return give_entries(sub, event);
	case TOPIC_OF_LETTERS: /* never asked for */
	case TOPIC_OF_LEDGER:
		break;
	}
	return DELIVERED;
}

/* ---- everybody -------------------------------------------------------------------------------------------------------------------------------- */

/* At the live end with half of the queue full, or waiting for room (a quarter) since it went to the ledger. */
static bool lags(const struct sub *sub)
{
	size_t limit = sub->conn->hub->queue_max / (sub->state == SUB_LIVE ? 2 : 4);
	return sub->laggard != LAGGARD_CLOSE && sub->conn->queue_bytes > limit;
}

static void fall_behind(struct sub *sub)
{
	sub->offset = sub_stands_at(sub);
	replay_job_free(&sub->piece);
	sub->state = SUB_LAGGING;
	metric_inc(sub->conn->hub->metrics.lagged[sub->laggard]);
}

void live_offer(struct sub *sub, struct event *event)
{
	if (sub->mark == event->sequence || !sub->conn || sub->conn->closing)
		return;
	bool reads_on = sub->piece && sub->laggard == LAGGARD_RESUME;
	if (sub->state == SUB_WAITING && sub->was_live && !reads_on && lags(sub))
		fall_behind(sub);
	if (sub->state != SUB_LIVE)
		return;
	sub->was_live = true;
	if (event->sequence <= sub->offset.sequence)
		return; /* given by another gateway that was ahead of this one */
	sub->mark = event->sequence;
	bool held = lags(sub);
	if (!held && deliver(sub, event) == DELIVERED)
		return;
	stand_behind(sub, event->sequence - 1);
	sub->state = SUB_WAITING;
	if (held)
		fall_behind(sub);
	else
		sub_room(sub->conn);
}

static void offer_bucket(struct sub *sub, struct event *event, const struct item *item)
{
	for (struct sub *next; sub; sub = next) {
		next = sub->next_of_bucket;
		if (filter_takes(&sub->filter, item->account, &item->asset, item->kind))
			live_offer(sub, event);
	}
}

/* To those whose account or asset it names. There is no index of kinds: there are few of them and most blocks have most of them, so it would spare almost
 * nobody; who names a kind is asked about what account, asset or list select, or about every event as one that names nothing is. */
static void offer_by_index(struct hub_chain *chain, struct event *event, const struct event *source)
{
	for (size_t i = 0; i < source->item_count; i++) {
		const struct item *item = &source->items[i];
		if (chain->accounts)
			offer_bucket(chain->accounts[bucket_of(item->account.data, item->account.size)], event, item);
		if (chain->assets)
			offer_bucket(chain->assets[bucket_of_asset(&item->asset)], event, item);
	}
}

static void offer_all(struct hub_chain *chain, enum sub_kind kind, struct event *event)
{
	for (struct sub *sub = chain->subs[kind], *next; sub; sub = next) {
		next = sub->next_of_chain;
		live_offer(sub, event);
	}
}

void live_event(struct hub *hub, struct hub_chain *chain, struct event *event)
{
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
	bool has_entries = entries_of(event) > 0;
	offer_all(chain, SUB_EVERY, event);
	if (has_entries && source && source->has_items && source->item_count <= LIVE_ITEMS_MAX) {
		offer_by_index(chain, event, source);
	} else if (has_entries) { /* what it names is in the ledger alone */
		offer_all(chain, SUB_INDEXED, event);
		offer_all(chain, SUB_INDEXED_FINALITY, event);
	}
	if (event->kind == FINALITY)
		offer_all(chain, SUB_INDEXED_FINALITY, event);
	if (chain->lists)
		watchlists_want(hub->gateway->watchlists, chain->chain, event->sequence);
}

void live_reset(struct hub *hub, struct hub_chain *chain, uint64_t newest, uint32_t print)
{
	bool again = chain->known;
	while (chain->known && chain->oldest <= chain->newest)
		drop_oldest(chain);
	chain->known = true;
	chain->newest = newest;
	chain->oldest = newest + 1;
	chain->before = print;
	for (struct hub_list *list = chain->lists; list; list = list->next) {
		list->given = newest;
		list->print = print;
		list->looked = 0; /* its verdicts are of an event of the other journal, which may have had the same sequence */
	}
	if (!again)
		return;
	for (struct conn *conn = hub->conns; conn; conn = conn->next)
		for (struct sub *sub = conn->subs; sub; sub = sub->next_of_conn)
			if (sub->chain == chain && sub->topic != TOPIC_OF_LETTERS)
				conn_close(conn, 1012, "the ledger was made anew: subscribe again");
}

bool live_join(struct sub *sub)
{
	struct hub_chain *chain = sub->chain;
	if (sub->topic == TOPIC_OF_LETTERS || sub->offset.index >= 0 || !chain->known || sub->offset.sequence + 1 < chain->oldest)
		return false;
	while (sub->offset.sequence < live_edge(sub)) {
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
		stand_behind(sub, event->sequence);
	}
	sub->state = SUB_LIVE;
	return true;
}

/* ---- laggards -------------------------------------------------------------------------------------------------------------------------------- */

static void skip(struct sub *sub)
{
	struct hub *hub = sub->conn->hub;
	uint64_t edge = live_edge(sub), events = edge > sub->offset.sequence ? edge - sub->offset.sequence : 0;
	if (events > 0) {
		sub->offset.sequence = edge;
		sub->offset.print = live_edge_print(sub);
	}
	sub->offset.index = -1;
	sub->state = SUB_LIVE;
	buf_reset(&hub->text);
	render_skipped(&sub->chain->chain->chain, events, &hub->text);
	struct tail *tail = tail_new(&hub->text);
	give(sub, tail, sub->offset.sequence, -1);
	tail_drop(&tail);
}

static const struct event *at(const struct hub_chain *chain, uint64_t sequence)
{
	return chain->ring[sequence % RING_EVENTS];
}

static bool is_retracted(const struct hub_chain *chain, const struct event *applied)
{
	for (uint64_t s = applied->sequence + 1; s <= chain->newest; s++)
		if (at(chain, s)->kind == RETRACTED && at(chain, s)->height == applied->height && at(chain, s)->branch == applied->branch)
			return true;
	return false;
}

/* Does a later event say the same thing anew? */
static bool is_replaced(const struct hub_chain *chain, const struct event *event, uint64_t after)
{
	if (event->kind == RETRACTED) { /* of a block that was passed over, too */
		const struct event *applied = find_applied(chain, event);
		return applied && applied->sequence > after;
	}
	if (event->kind == APPLIED && is_retracted(chain, event))
		return true;
	if (event->kind != APPLIED && event->kind != FINALITY && event->kind != WEIR__V1__LEDGER_EVENT__EVENT_CHAIN_STATUS)
		return false;
	for (uint64_t s = event->sequence + 1; s <= chain->newest; s++) {
		const struct event *later = at(chain, s);
		if (later->kind != event->kind || (event->kind == APPLIED && is_retracted(chain, later)))
			continue;
		if (event->kind != FINALITY || later->message->finality_promoted->finality == event->message->finality_promoted->finality)
			return true;
	}
	return false;
}

/* Only what no later event replaces. */
static bool conflate(struct sub *sub)
{
	struct hub_chain *chain = sub->chain;
	const uint64_t after = sub->offset.sequence;
	if (sub->offset.index >= 0 || after + 1 < chain->oldest)
		return false;
	while (sub->offset.sequence < live_edge(sub)) {
		struct event *event = chain->ring[(sub->offset.sequence + 1) % RING_EVENTS];
		if (!is_replaced(chain, event, after) && deliver(sub, event) == NEEDS_LEDGER)
			return false;
		stand_behind(sub, event->sequence);
	}
	sub->state = SUB_LIVE;
	return true;
}

bool live_catch_up(struct sub *sub)
{
	switch (sub->laggard) {
	case LAGGARD_DROP:
		skip(sub);
		return true;
	case LAGGARD_CONFLATE:
		return sub->topic != TOPIC_OF_ACCOUNTS && conflate(sub);
	case LAGGARD_CLOSE:
	case LAGGARD_RESUME:
		break;
	}
	return false;
}
