/* hub_list.c - the connections and subscriptions of the moment, searched and written by the hub's own thread for one who waits. */
#include "live/hub_internal.h"

#include "base/clock.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define LOOKED_AT_ONCE 1000 /* connections; between two parts the hub goes on with its work */

static int folded(char c)
{
	return c == '_' ? ' ' : tolower((unsigned char)c);
}

static bool has(const char *text, const char *find)
{
	for (; *text; text++) {
		size_t n = 0;
		while (find[n] && folded(text[n]) == folded(find[n]))
			n++;
		if (!find[n])
			return true;
	}
	return false;
}

static const char *state_name(enum sub_state state)
{
	static const char *const names[] = { "locating", "reading", "waiting", "retrying", "lagging", "live" };
	return names[state];
}

static const char *sub_state(const struct sub *sub)
{
	const bool between_two_looks = sub->topic == TOPIC_OF_LETTERS && sub->state == SUB_RETRYING;
	return state_name(between_two_looks ? SUB_LIVE : sub->state);
}

struct sub_texts {
	char account[80], asset[ASSET_TEXT_MAX], watchlist[24]; /* "": any */
};

static void texts_of(const struct sub *sub, struct sub_texts *ret)
{
	const struct chain *chain = &sub->chain->chain->chain;
	const struct filter *f = &sub->filter;
	*ret = (struct sub_texts){ 0 };
	if (f->has_account)
		account_text(chain, (struct bytes){ f->account, f->account_size }, ret->account);
	if (f->has_asset)
		asset_text(chain, &f->asset, ret->asset);
	if (f->watchlist)
		snprintf(ret->watchlist, sizeof ret->watchlist, "%lld", (long long)f->watchlist);
}

static void put_sub(struct buf *out, const struct sub *sub)
{
	const struct filter *f = &sub->filter;
	const bool letters = sub->topic == TOPIC_OF_LETTERS;
	uint64_t at = sub->state == SUB_LIVE ? live_edge(sub) : sub->offset.sequence;
	struct sub_texts texts;
	texts_of(sub, &texts);
	put_object(out, NULL);
	put_i64(out, "subscription", sub->id);
	put_text(out, "chain", sub->chain->chain->chain.name);
	put_text(out, "topic", topic_name(sub->topic));
	put_text(out, "account", *texts.account ? texts.account : NULL);
	put_text(out, "asset", *texts.asset ? texts.asset : NULL);
	put_text(out, "kind", f->kind ? kind_name(f->kind) : NULL);
	put_text(out, "watchlist", *texts.watchlist ? texts.watchlist : NULL);
	put_text(out, "state", sub_state(sub));
	put_text(out, "laggard", laggard_name(sub->laggard));
	put_u64(out, "pushes", sub->pushes);
	put_u64(out, "behind", !letters && sub->chain->newest > at ? sub->chain->newest - at : 0);
	put_end(out, '}');
}

static const char *holder_of(const struct conn *conn)
{
	int64_t until_ms = 0;
	return conn->socket ? http_holder(conn->socket, &until_ms) : "";
}

static const char *carrier_name(const struct conn *conn)
{
	static const char *const names[] = { "websocket", "stream", "poll" };
	return names[conn->carrier];
}

static const char *conn_state(const struct conn *conn)
{
	return conn->closing ? "closing" : conn->blocked ? "slow" : "open";
}

static void put_conn(struct buf *out, const struct conn *conn, int64_t now_ms)
{
	const char *holder = holder_of(conn);
	put_object(out, NULL);
	put_u64(out, "connection", conn->number);
	put_text(out, "remote", conn->remote);
	put_text(out, "who", *holder ? holder : NULL);
	put_text(out, "carrier", carrier_name(conn));
	put_u64(out, "queued_frames", conn->queue_count);
	put_u64(out, "queued_bytes", conn->queue_bytes);
	put_i64(out, "heard_ms_ago", now_ms - conn->heard_ms);
	put_text(out, "state", conn_state(conn));
	put_array(out, "subscriptions");
	for (const struct sub *sub = conn->subs; sub; sub = sub->next_of_conn)
		put_sub(out, sub);
	put_end(out, ']');
	put_end(out, '}');
}

static bool sub_has(const struct sub *sub, const char *find)
{
	struct sub_texts texts;
	char watchlist[40] = "";
	texts_of(sub, &texts);
	if (*texts.watchlist)
		snprintf(watchlist, sizeof watchlist, "watch-list %s", texts.watchlist);
	return has(sub->chain->chain->chain.name, find) || has(topic_name(sub->topic), find) || has(texts.account, find) || has(texts.asset, find) ||
	       has(sub->filter.kind ? kind_name(sub->filter.kind) : "", find) || has(sub_state(sub), find) || has(watchlist, find);
}

static bool conn_has(const struct conn *conn, const char *find)
{
	if (!find || has(holder_of(conn), find) || has(conn->remote, find) || has(carrier_name(conn), find) || has(conn_state(conn), find))
		return true;
	for (const struct sub *sub = conn->subs; sub; sub = sub->next_of_conn)
		if (sub_has(sub, find))
			return true;
	return false;
}

void hub_list_write(struct hub *hub, struct hub_listing *l)
{
	int64_t now = clock_mono_ms();
	size_t looked = 0;
	const struct conn *conn = hub->conns;
	while (conn && l->before && conn->number >= l->before)
		conn = conn->next;
	for (; conn && looked < LOOKED_AT_ONCE && !l->more; conn = conn->next, looked++) {
		l->before = conn->number;
		if (conn->dead || !conn_has(conn, l->find))
			continue;
		if (l->left > 0) {
			put_conn(l->out, conn, now);
			l->left--;
			l->last = conn->number;
		} else
			l->more = true;
	}
	l->end = !conn;
	pthread_mutex_lock(&hub->lock);
	l->done = true;
	pthread_cond_broadcast(&hub->listed);
	pthread_mutex_unlock(&hub->lock);
}

uint64_t hub_list(struct hub *hub, struct buf *out, const struct hub_search *search)
{
	struct hub_listing l = { .out = out, .find = search->find, .left = search->limit, .before = search->before };
	put_array(out, "items");
	while (!l.end && !l.more) {
		l.done = false;
		hub_leave(hub, &(struct note){ .kind = NOTE_LISTING, .listing = &l });
		pthread_mutex_lock(&hub->lock);
		while (!l.done)
			pthread_cond_wait(&hub->listed, &hub->lock);
		pthread_mutex_unlock(&hub->lock);
	}
	put_end(out, ']');
	return l.more ? l.last : 0;
}
