/* hub_watchlist.c - subscriptions to watch-lists: an event is matched once for each list that is followed, when all about the list is known up to it,
 * and only those who follow a list that it matches are asked. Until then they stand before it; everybody else is not held up. */
#include "live/hub_internal.h"

#include "watchlist/watchlist.h"

#include <string.h>

void lists_add(struct sub *sub)
{
	struct hub_chain *chain = sub->chain;
	struct hub_list *list = chain->lists;
	while (list && list->id != sub->filter.watchlist)
		list = list->next;
	if (!list) {
		list = xmalloc(sizeof *list);
		list->id = sub->filter.watchlist;
		list->given = chain->newest;
		list->print = live_print(chain, list->given);
		list->list = watchlist_follow(sub->conn->hub->gateway->watchlists, list->id);
		list->next = chain->lists;
		chain->lists = list;
	}
	sub->list = list;
	sub->next_of_bucket = list->subs;
	list->subs = sub;
}

void lists_remove(struct sub *sub)
{
	struct hub_list *list = sub->list;
	for (struct sub **p = &list->subs; *p; p = &(*p)->next_of_bucket)
		if (*p == sub) {
			*p = sub->next_of_bucket;
			break;
		}
	sub->list = NULL;
	if (list->subs)
		return;
	for (struct hub_list **p = &sub->chain->lists; *p; p = &(*p)->next)
		if (*p == list) {
			*p = list->next;
			break;
		}
	watchlist_leave(sub->conn->hub->gateway->watchlists, &list->list);
	free(list);
}

void lists_look(struct hub_list *list, const struct event *event)
{
	if (list->looked == event->sequence)
		return;
	list->looked = event->sequence;
	list->any = list->ask = false;
	if (event->item_count == 0)
		return;
	watchlist_has(list->list, &event->items[0].account, sizeof event->items[0], event->item_count, event->sequence, list->verdicts);
	for (size_t i = 0; i < event->item_count; i++) {
		list->any = list->any || list->verdicts[i] == WATCHLIST_YES;
		list->ask = list->ask || list->verdicts[i] == WATCHLIST_ASK;
	}
}

static void end_all(struct hub_chain *chain, struct hub_list *list)
{
	(void)chain;
	for (struct sub *sub = list->subs, *next; sub; sub = next) {
		next = sub->next_of_bucket;
		sub_end(sub, "the watch-list was deleted"); /* with the last one the list is gone */
	}
}

/* Memory does not have what comes next: whoever is at the live end reads it in the ledger. */
static void send_back(const struct hub_chain *chain, struct hub_list *list, uint64_t to)
{
	for (struct sub *sub = list->subs; sub; sub = sub->next_of_bucket)
		if (sub->state == SUB_LIVE) {
			if (sub->offset.sequence < list->given) {
				sub->offset.sequence = list->given;
				sub->offset.print = list->print;
			}
			sub->offset.index = -1;
			sub->state = SUB_WAITING;
		}
	list->given = to;
	list->print = live_print(chain, to);
	for (struct sub *sub = list->subs; sub; sub = sub->next_of_bucket)
		if (sub->state == SUB_WAITING)
			sub_room(sub->conn);
}

static void advance(struct hub_chain *chain, struct hub_list *list, uint64_t sequence)
{
	struct sub *next;
	while (list->given < sequence) {
		if (list->given + 1 < chain->oldest) {
			send_back(chain, list, sequence);
			return;
		}
		struct event *event = chain->ring[(list->given + 1) % RING_EVENTS];
		bool wanted = live_may_concern(chain, list, event);
		list->given++; /* who is asked, is asked about the newest */
		list->print = event->print;
		for (struct sub *sub = list->subs; sub; sub = next) {
			next = sub->next_of_bucket;
			if (wanted || (sub->finality && event->kind == WEIR__V1__LEDGER_EVENT__EVENT_FINALITY_PROMOTED))
				live_offer(sub, event);
		}
	}
}

void lists_known(struct hub *hub, struct hub_chain *chain, uint64_t sequence)
{
	struct hub_list *next;
	(void)hub;
	for (struct hub_list *list = chain->lists; list; list = next) {
		next = list->next;
		if (watchlist_deleted(list->list))
			end_all(chain, list);
		else
			advance(chain, list, sequence < chain->newest ? sequence : chain->newest);
	}
}
