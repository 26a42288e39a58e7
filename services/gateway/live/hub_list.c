/* hub_list.c - the connections and subscriptions of the moment, written by the hub's own thread for one who waits. */
#include "live/hub_internal.h"

#include "base/clock.h"

#include <stdio.h>

static const char *state_name(enum sub_state state)
{
	static const char *const names[] = { "locating", "reading", "waiting", "retrying", "lagging", "live" };
	return names[state];
}

static void put_sub(struct buf *out, const struct sub *sub)
{
	const struct chain *chain = &sub->chain->chain->chain;
	char account[80], asset[ASSET_TEXT_MAX];
	const struct filter *f = &sub->filter;
	const bool letters = sub->topic == TOPIC_OF_LETTERS;
	uint64_t at = sub->state == SUB_LIVE ? live_edge(sub) : sub->offset.sequence;
	if (f->has_account)
		account_text(chain, (struct bytes){ f->account, f->account_size }, account);
	if (f->has_asset)
		asset_text(chain, &f->asset, asset);
	put_object(out, NULL);
	put_i64(out, "subscription", sub->id);
	put_text(out, "chain", chain->name);
	put_text(out, "topic", topic_name(sub->topic));
	put_text(out, "account", f->has_account ? account : NULL);
	put_text(out, "asset", f->has_asset ? asset : NULL);
	put_text(out, "kind", f->kind ? kind_name(f->kind) : NULL);
	char list[24];
	snprintf(list, sizeof list, "%lld", (long long)f->watchlist);
	put_text(out, "watchlist", f->watchlist ? list : NULL);
	put_text(out, "state", state_name(letters && sub->state == SUB_RETRYING ? SUB_LIVE : sub->state)); /* between two looks */
	put_text(out, "laggard", laggard_name(sub->laggard));
	put_u64(out, "pushes", sub->pushes);
	put_u64(out, "behind", !letters && sub->chain->newest > at ? sub->chain->newest - at : 0);
	put_end(out, '}');
}

static void put_conn(struct buf *out, const struct conn *conn, int64_t now_ms)
{
	static const char *const carriers[] = { "websocket", "stream", "poll" };
	int64_t until_ms = 0;
	const char *holder = conn->socket ? http_holder(conn->socket, &until_ms) : "";
	put_object(out, NULL);
	put_text(out, "remote", conn->remote);
	put_text(out, "who", *holder ? holder : NULL);
	put_text(out, "carrier", carriers[conn->carrier]);
	put_u64(out, "queued_frames", conn->queue_count);
	put_u64(out, "queued_bytes", conn->queue_bytes);
	put_i64(out, "heard_ms_ago", now_ms - conn->heard_ms);
	put_text(out, "state", conn->closing ? "closing" : conn->blocked ? "slow" : "open");
	put_array(out, "subscriptions");
	for (const struct sub *sub = conn->subs; sub; sub = sub->next_of_conn)
		put_sub(out, sub);
	put_end(out, ']');
	put_end(out, '}');
}

void hub_list_write(struct hub *hub, struct hub_listing *listing)
{
	int64_t now = clock_mono_ms();
	size_t n = 0;
	put_array(listing->out, "items");
	for (const struct conn *conn = hub->conns; conn && n < listing->limit; conn = conn->next)
		if (!conn->dead) {
			put_conn(listing->out, conn, now);
			n++;
		}
	put_end(listing->out, ']');
	pthread_mutex_lock(&hub->lock);
	listing->done = true;
	pthread_cond_broadcast(&hub->listed);
	pthread_mutex_unlock(&hub->lock);
}

void hub_list(struct hub *hub, struct buf *out, size_t limit)
{
	struct hub_listing listing = { .out = out, .limit = limit };
	hub_leave(hub, &(struct note){ .kind = NOTE_LISTING, .listing = &listing });
	pthread_mutex_lock(&hub->lock);
	while (!listing.done)
		pthread_cond_wait(&hub->listed, &hub->lock);
	pthread_mutex_unlock(&hub->lock);
}
