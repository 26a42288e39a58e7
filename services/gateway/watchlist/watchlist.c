/* watchlist.c - following lists: read page by page, then change by change. */
#include "watchlist/watchlist.h"

#include "write/writer.h"

#include "base/clock.h"
#include "base/cond.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define PAGE_ADDRESSES 20000
#define CHANGES 200
#define TOO_LARGE_AGAIN_MS 30000
#define FORGET_MS 60000
#define CLEAN_MS 30000
#define RECENT_EVENTS 4096 /* removed addresses are remembered for so many events: more than the hub keeps in memory */

enum list_state { LIST_NEW, LIST_LOADING, LIST_LOADED, LIST_TOO_LARGE };

struct watchlist {
	int64_t id;
	bool left; /* guarded by the module's lock */
	struct watchlist *next; /* changed by the thread alone once it is in */
	pthread_mutex_t lock; /* guards these; changed by the thread alone */
	bool deleted;
	enum list_state state;
	struct watchlist_set set;
	/* the thread's own */
	int64_t seen;       /* position of the newest change that it has, once loading has begun */
	uint8_t address[64]; /* the page goes on behind these */
	size_t address_size;
	int64_t added, again_ms;
	size_t chain;
};

struct watchlists {
	struct gateway *gateway;
	struct log log;
	watchlists_known *known;
	void *arg;
	pthread_t thread;
	bool started;
	pthread_mutex_t pg_lock; /* guards writer */
	struct pg *writer;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t wake;
	bool closing, wanted;
	struct watchlist *lists;
	uint64_t *wants; /* by chain; 0: nothing */
	/* the thread's own */
	struct watchlist *mine; /* the lists of this turn */
	struct pg *pg;
	int64_t seen, forget_ms, clean_ms;
	bool warned;
	struct metric *followed, *memory;
};

/* ---- the hub's side ------------------------------------------------------------------------------------------------------------------------ */

static void wake(struct watchlists *w)
{
	w->wanted = true;
	pthread_cond_signal(&w->wake);
}

struct watchlist *watchlist_follow(struct watchlists *w, int64_t id)
{
	struct watchlist *list = xmalloc(sizeof *list);
	list->id = id;
	pthread_mutex_init(&list->lock, NULL);
	watchlist_set_init(&list->set);
	pthread_mutex_lock(&w->lock);
	list->next = w->lists;
	w->lists = list;
	wake(w);
	pthread_mutex_unlock(&w->lock);
	return list;
}

void watchlist_leave(struct watchlists *w, struct watchlist **listp)
{
	pthread_mutex_lock(&w->lock);
	(*listp)->left = true;
	pthread_mutex_unlock(&w->lock);
	*listp = NULL;
}

void watchlists_want(struct watchlists *w, const struct gateway_chain *chain, uint64_t sequence)
{
	pthread_mutex_lock(&w->lock);
	if (w->wants[chain->index] < sequence)
		w->wants[chain->index] = sequence;
	wake(w);
	pthread_mutex_unlock(&w->lock);
}

void watchlist_has(struct watchlist *list, const struct bytes *addresses, size_t stride, size_t n, uint64_t sequence, uint8_t *ret)
{
	const uint8_t *at = (const uint8_t *)addresses;
	pthread_mutex_lock(&list->lock);
	for (size_t i = 0; i < n; i++, at += stride) {
		struct bytes address;
		memcpy(&address, at, sizeof address);
		ret[i] = (uint8_t)(list->state == LIST_LOADED ? watchlist_set_has(&list->set, address, sequence) : WATCHLIST_ASK);
	}
	pthread_mutex_unlock(&list->lock);
}

bool watchlist_deleted(struct watchlist *list)
{
	pthread_mutex_lock(&list->lock);
	bool deleted = list->deleted;
	pthread_mutex_unlock(&list->lock);
	return deleted;
}

/* out: NULL: nothing is written. Tells how much memory it takes. */
static size_t put_list(struct watchlist *list, struct buf *out)
{
	static const char *const states[] = { "waiting", "loading", "memory", "database" };
	char id[24];
	pthread_mutex_lock(&list->lock);
	enum list_state state = list->state;
	size_t bytes = watchlist_set_bytes(&list->set), used = list->set.used;
	pthread_mutex_unlock(&list->lock);
	snprintf(id, sizeof id, "%lld", (long long)list->id);
	if (out) {
		put_object(out, NULL);
		put_text(out, "id", id);
		put_text(out, "state", states[state]);
		put_u64(out, "addresses", used);
		put_u64(out, "bytes", bytes);
		put_end(out, '}');
	}
	return bytes;
}

void watchlists_put(struct watchlists *w, struct buf *out, size_t limit)
{
	size_t n = 0, bytes = 0;
	put_array(out, "items");
	pthread_mutex_lock(&w->lock);
	for (struct watchlist *list = w->lists; list; list = list->next) {
		if (list->left)
			continue;
		bytes += put_list(list, n < limit ? out : NULL);
		n++;
	}
	pthread_mutex_unlock(&w->lock);
	put_end(out, ']');
	put_u64(out, "followed", n);
	put_u64(out, "bytes", bytes);
	put_i64(out, "bytes_max", w->gateway->config->gateway.watchlist_memory_bytes);
}

/* ---- connections --------------------------------------------------------------------------------------------------------------------------- */

static int open_pg(const struct watchlists *w, const char *session, struct pg **ret, struct error *err)
{
	const struct config *c = w->gateway->config;
	const struct pg_options options = { .url = c->postgres.reader_url && c->postgres.reader_url[0] ? c->postgres.reader_url : c->postgres.url,
					    .application_name = "weir-gateway-watchlists",
					    .connect_timeout_ms = c->postgres.connect_timeout_ms,
					    .statement_timeout_ms = c->gateway.request_timeout_ms,
					    .session_sql = session,
					    .log = &w->log };
	return pg_open(&options, ret, err);
}

struct pg *watchlists_take_pg(struct watchlists *w, struct error *err)
{
	pthread_mutex_lock(&w->pg_lock);
	/* Nobody waits for long for a gateway that stands still in the middle of a change. */
	if (w->writer || open_pg(w, "set idle_in_transaction_session_timeout = '5s'", &w->writer, err) == 0)
		return w->writer;
	pthread_mutex_unlock(&w->pg_lock);
	return NULL;
}

void watchlists_give_pg(struct watchlists *w)
{
	pg_rollback(w->writer);
	pthread_mutex_unlock(&w->pg_lock);
}

int watchlists_fence(struct pg *pg, struct error *err)
{
	/* LOCK TABLE takes no snapshot: that of the transaction is taken behind it, and has every change that was before us. */
	return pg_exec(pg, "lock table weir_watch.fence in row share mode", err);
}

/* ---- the thread: one list ------------------------------------------------------------------------------------------------------------------- */

static void begin_loading(struct watchlist *list)
{
	pthread_mutex_lock(&list->lock);
	watchlist_set_free(&list->set);
	watchlist_set_init(&list->set);
	list->state = LIST_LOADING;
	pthread_mutex_unlock(&list->lock);
	list->address_size = 0;
	list->added = 0;
}

static void give_up(struct watchlists *w, struct watchlist *list)
{
	log_warn(&w->log, "watchlist_too_large", "gateway.watchlist_memory is used up: the list is read from the database for each event instead", LOG_I("watchlist", list->id));
	pthread_mutex_lock(&list->lock);
	watchlist_set_free(&list->set);
	list->state = LIST_TOO_LARGE;
	pthread_mutex_unlock(&list->lock);
	list->again_ms = clock_mono_ms() + TOO_LARGE_AGAIN_MS;
}

static void note_deleted(struct watchlist *list)
{
	pthread_mutex_lock(&list->lock);
	list->deleted = true;
	watchlist_set_free(&list->set);
	list->state = LIST_TOO_LARGE;
	pthread_mutex_unlock(&list->lock);
	list->again_ms = INT64_MAX;
}

static size_t bytes_of_all(const struct watchlists *w, const struct watchlist *except)
{
	size_t bytes = 0;
	for (const struct watchlist *list = w->mine; list; list = list->next)
		bytes += list != except ? watchlist_set_bytes(&list->set) : 0;
	return bytes;
}

/* Is there such a list still, and may it take memory? */
static int look_at(struct watchlists *w, struct watchlist *list, struct error *err)
{
	struct pg_param p;
	struct pg_result *r = NULL;
	int code = pg_prepared(w->pg, "watch_list", "select chain, addresses from weir_watch.lists where id = $1 and deleted_at is null", pg_i64(&p, list->id), 1, &r, err);
	if (!code && pg_rows(r) == 0) {
		note_deleted(list);
	} else if (!code) {
		const struct gateway_chain *chain = gateway_find_chain(w->gateway, pg_get_text(r, 0, 0));
		size_t need = watchlist_set_bytes_for((size_t)pg_get_i64(r, 0, 1));
		list->chain = chain ? chain->index : 0;
		if (bytes_of_all(w, list) + need > (size_t)w->gateway->config->gateway.watchlist_memory_bytes)
			give_up(w, list);
		else
			begin_loading(list);
		list->seen = w->seen;
	}
	pg_result_free(&r);
	return code;
}

static void take_row(struct watchlist *list, const struct pg_result *r, size_t i, bool has_end)
{
	struct bytes address = pg_get_bytes(r, i, 0);
	if (has_end && !pg_is_null(r, i, 2))
		watchlist_set_remove(&list->set, address, (uint64_t)pg_get_i64(r, i, 2));
	else
		watchlist_set_add(&list->set, address, (uint64_t)pg_get_i64(r, i, 1));
}

static int load_page(struct watchlists *w, struct watchlist *list, struct error *err)
{
	static const uint8_t none[1];
	struct pg_param p[3];
	struct pg_result *r = NULL;
	pg_i64(&p[0], list->id);
	pg_bytea(&p[1], (struct bytes){ list->address_size ? list->address : none, list->address_size });
	pg_i64(&p[2], list->added);
	int code = pg_prepared(w->pg, "watch_page",
			       "select a.address, c.sequence, e.sequence, a.added from weir_watch.addresses a join weir_watch.changes c on c.id = a.added"
			       " left join weir_watch.changes e on e.id = a.removed"
			       " where a.list = $1 and (a.address, a.added) > ($2, $3) order by a.address, a.added limit 20000",
			       p, 3, &r, err);
	size_t n = code ? 0 : pg_rows(r);
	pthread_mutex_lock(&list->lock);
	for (size_t i = 0; i < n; i++)
		take_row(list, r, i, true);
	if (!code && n < PAGE_ADDRESSES)
		list->state = LIST_LOADED;
	pthread_mutex_unlock(&list->lock);
	if (n > 0) {
		struct bytes last = pg_get_bytes(r, n - 1, 0);
		list->address_size = last.size < sizeof list->address ? last.size : sizeof list->address;
		memcpy(list->address, last.data, list->address_size);
		list->added = pg_get_i64(r, n - 1, 3);
	}
	pg_result_free(&r);
	return code;
}

/* ---- the thread: changes -------------------------------------------------------------------------------------------------------------------- */

static struct watchlist *find(const struct watchlists *w, int64_t id)
{
	struct watchlist *list = w->mine;
	while (list && list->id != id)
		list = list->next;
	return list;
}

static int take_change(struct watchlists *w, struct watchlist *list, int64_t change, int64_t sequence, struct error *err)
{
	struct pg_param p[3];
	struct pg_result *r = NULL;
	pg_i64(&p[0], list->id);
	pg_i64(&p[1], change);
	pg_i64(&p[2], sequence);
	int code = pg_prepared(w->pg, "watch_change",
			       "select address, $3::int8, null::int8 from weir_watch.addresses where list = $1 and added = $2"
			       " union all select address, null, $3::int8 from weir_watch.addresses where list = $1 and removed = $2",
			       p, 3, &r, err);
	pthread_mutex_lock(&list->lock);
	for (size_t i = 0; !code && i < pg_rows(r); i++)
		take_row(list, r, i, true);
	pthread_mutex_unlock(&list->lock);
	pg_result_free(&r);
	if (!code && bytes_of_all(w, NULL) > (size_t)w->gateway->config->gateway.watchlist_memory_bytes)
		give_up(w, list);
	return code;
}

static int take_changes(struct watchlists *w, size_t *ret_n, struct error *err)
{
	struct pg_param p;
	struct pg_result *r = NULL;
	int code = pg_prepared(w->pg, "watch_changes",
			       "select c.id, c.list, c.position, c.sequence, l.deleted_at is not null from weir_watch.changes c join weir_watch.lists l on l.id = c.list"
			       " where c.position > $1 order by c.position limit 200",
			       pg_i64(&p, w->seen), 1, &r, err);
	*ret_n = code ? 0 : pg_rows(r);
	for (size_t i = 0; !code && i < *ret_n; i++) {
		int64_t position = pg_get_i64(r, i, 2);
		for (struct watchlist *list = find(w, pg_get_i64(r, i, 1)); !code && list; list = NULL) {
			if (pg_get_bool(r, i, 4))
				note_deleted(list);
			else if (position > list->seen && (list->state == LIST_LOADED || list->state == LIST_LOADING))
				code = take_change(w, list, pg_get_i64(r, i, 0), pg_get_i64(r, i, 3), err);
			if (!code)
				list->seen = position;
		}
		if (!code)
			w->seen = position;
	}
	pg_result_free(&r);
	return code;
}

/* The database was put back to an older state: what was learnt since is not so. */
static void forget_all(struct watchlists *w, int64_t position)
{
	for (struct watchlist *list = w->mine; list; list = list->next) {
		pthread_mutex_lock(&list->lock);
		if (!list->deleted)
			list->state = LIST_NEW;
		pthread_mutex_unlock(&list->lock);
	}
	w->seen = position;
}

static bool any_in_memory(const struct watchlists *w)
{
	for (const struct watchlist *list = w->mine; list; list = list->next)
		if (list->state == LIST_LOADING || list->state == LIST_LOADED)
			return true;
	return false;
}

static int catch_up(struct watchlists *w, struct error *err)
{
	struct pg_result *r = NULL;
	int code = pg_prepared(w->pg, "watch_look", "select weir_watch.look()", NULL, 0, &r, err);
	int64_t position = !code && pg_rows(r) > 0 ? pg_get_i64(r, 0, 0) : 0;
	pg_result_free(&r);
	if (!code && position < w->seen)
		forget_all(w, position);
	if (!code && !any_in_memory(w))
		w->seen = position;
	for (size_t n = CHANGES; !code && w->seen < position && n == CHANGES;)
		code = take_changes(w, &n, err);
	if (!code && w->seen < position)
		w->seen = position; /* the newest were of lists that are gone */
	return code;
}

/* ---- the thread: its turns ------------------------------------------------------------------------------------------------------------------ */

static void drop_left(struct watchlists *w)
{
	for (struct watchlist **p = &w->lists; *p;) {
		struct watchlist *list = *p;
		if (!list->left) {
			p = &list->next;
			continue;
		}
		*p = list->next;
		watchlist_set_free(&list->set);
		pthread_mutex_destroy(&list->lock);
		free(list);
	}
}

/* One page of one list at a time, so that events do not wait for a large one. */
static int load_some(struct watchlists *w, bool *ret_more, struct error *err)
{
	int code = 0;
	int64_t now = clock_mono_ms();
	for (struct watchlist *list = w->mine; list && !code; list = list->next)
		if (list->state == LIST_NEW || (list->state == LIST_TOO_LARGE && now >= list->again_ms))
			code = look_at(w, list, err);
	for (struct watchlist *list = w->mine; list && !code && !*ret_more; list = list->next)
		if (list->state == LIST_LOADING) {
			code = load_page(w, list, err);
			*ret_more = true;
			if (!code && bytes_of_all(w, NULL) > (size_t)w->gateway->config->gateway.watchlist_memory_bytes)
				give_up(w, list);
		}
	return code;
}

static void forget_old(struct watchlists *w)
{
	if (clock_mono_ms() < w->forget_ms)
		return;
	w->forget_ms = clock_mono_ms() + FORGET_MS;
	for (struct watchlist *list = w->mine; list; list = list->next) {
		uint64_t newest = atomic_load(&w->gateway->chains[list->chain].sequence);
		if (list->state != LIST_LOADED || newest <= RECENT_EVENTS)
			continue;
		pthread_mutex_lock(&list->lock);
		watchlist_set_forget(&list->set, newest - RECENT_EVENTS);
		pthread_mutex_unlock(&list->lock);
	}
}

/* Bit by bit: what belonged to deleted lists, and what was removed from a list a week ago. Any gateway may. */
static int clean(struct watchlists *w, struct error *err)
{
	if (clock_mono_ms() < w->clean_ms)
		return 0;
	w->clean_ms = clock_mono_ms() + CLEAN_MS;
	static const char *const statements[] = {
		"delete from weir_watch.addresses where ctid in (select a.ctid from weir_watch.lists l join weir_watch.addresses a on a.list = l.id"
		" where l.deleted_at < now() - interval '1 minute' limit 20000)",
		"delete from weir_watch.lists l where l.deleted_at < now() - interval '1 hour' and not exists (select from weir_watch.addresses a where a.list = l.id)",
		"delete from weir_watch.addresses where ctid in (select a.ctid from weir_watch.changes c join weir_watch.addresses a on a.list = c.list and a.removed = c.id"
		" where c.at < now() - interval '7 days' limit 20000)",
		"delete from weir_watch.changes where id in (select c.id from weir_watch.changes c where c.at < now() - interval '7 days'"
		" and not exists (select from weir_watch.addresses a where a.list = c.list and a.added = c.id)"
		" and not exists (select from weir_watch.addresses a where a.list = c.list and a.removed = c.id) limit 1000)",
	};
	int code = 0;
	for (size_t i = 0; !code && i < sizeof statements / sizeof statements[0]; i++)
		code = pg_query(w->pg, statements[i], NULL, 0, NULL, err);
	return code;
}

static bool has_schema(struct watchlists *w, struct error *err)
{
	struct pg_result *r = NULL;
	int code = pg_query(w->pg, "select to_regclass('weir_watch.lists') is not null", NULL, 0, &r, err);
	bool there = !code && pg_get_bool(r, 0, 0);
	pg_result_free(&r);
	if (!code && !there)
		error_set(err, WEIR_NOT_FOUND, "the database has no schema weir_watch: run this version's reconciler");
	return there;
}

static void tell(struct watchlists *w, const uint64_t *wants)
{
	for (size_t i = 0; i < w->gateway->chain_count; i++)
		w->known(w->arg, &w->gateway->chains[i], wants[i]);
}

static void warn_once(struct watchlists *w, const struct error *err)
{
	if (!w->warned)
		log_warn(&w->log, "watchlists_unavailable",
			 "watch-lists are not followed now, their subscriptions wait; grant weir_identity to the gateway's login if it may not read them", LOG_ERR(err));
	w->warned = true;
}

/* wants: up to where events had arrived before it began. */
static bool turn(struct watchlists *w, const uint64_t *wants)
{
	struct error err = { 0 };
	bool more = false;
	int code = w->pg ? 0 : open_pg(w, NULL, &w->pg, &err);
	if (!code && w->warned && !has_schema(w, &err))
		code = err.code;
	if (!code && w->warned)
		forget_all(w, 0); /* what happened meanwhile may be gone from the changes */
	if (!code)
		code = catch_up(w, &err);
	if (!code)
		code = load_some(w, &more, &err);
	if (!code)
		tell(w, wants);
	if (!code)
		code = clean(w, &err);
	forget_old(w);
	metric_set(w->memory, (double)bytes_of_all(w, NULL));
	if (code) {
		warn_once(w, &err);
		w->clean_ms = clock_mono_ms() + CLEAN_MS;
	} else if (w->warned) {
		log_info(&w->log, "watchlists_available", "watch-lists are followed");
	}
	w->warned = code != 0;
	return more && !code;
}

static void wait_ms(struct watchlists *w, int64_t ms)
{
	const struct timespec until = cond_deadline(ms);
	pthread_cond_timedwait(&w->wake, &w->lock, &until);
}

static void *follow(void *arg)
{
	struct watchlists *w = arg;
	uint64_t *wants = xcalloc(w->gateway->chain_count + 1, sizeof *wants);
	bool more = false;
	pthread_mutex_lock(&w->lock);
	while (!w->closing) {
		drop_left(w);
		size_t n = 0;
		for (const struct watchlist *list = w->lists; list; list = list->next)
			n++;
		metric_set(w->followed, (double)n);
		bool idle = n == 0 && clock_mono_ms() < w->clean_ms;
		more = more && n > 0; /* who followed what was being read may be gone */
		if (!more && !w->closing && (idle || !w->wanted || w->warned))
			wait_ms(w, WATCHLIST_POLL_MS);
		if (idle || w->closing)
			continue;
		w->wanted = false;
		w->mine = w->lists;
		memcpy(wants, w->wants, w->gateway->chain_count * sizeof *wants);
		pthread_mutex_unlock(&w->lock);
		more = turn(w, wants);
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	free(wants);
	return NULL;
}

/* ---- opening and closing -------------------------------------------------------------------------------------------------------------------- */

int watchlists_open(struct gateway *gateway, watchlists_known *known, void *arg, struct watchlists **ret, struct error *err)
{
	struct watchlists *w = xmalloc(sizeof *w);
	*ret = w;
	w->gateway = gateway;
	w->log = gateway->log;
	w->known = known;
	w->arg = arg;
	w->wants = xcalloc(gateway->chain_count + 1, sizeof *w->wants);
	w->clean_ms = clock_mono_ms() + CLEAN_MS;
	w->followed = metrics_get(gateway->metrics, "weir_gateway_watchlists_followed", NULL, NULL, NULL);
	w->memory = metrics_get(gateway->metrics, "weir_gateway_watchlists_bytes", NULL, NULL, NULL);
	pthread_mutex_init(&w->pg_lock, NULL);
	pthread_mutex_init(&w->lock, NULL);
	cond_init(&w->wake);
	if (pthread_create(&w->thread, NULL, follow, w) != 0)
		return error_set(err, WEIR_FULL, "cannot start a thread: the system's limit is reached");
	w->started = true;
	return 0;
}

void watchlists_stop(struct watchlists *w)
{
	if (!w || !w->started)
		return;
	pthread_mutex_lock(&w->lock);
	w->closing = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	w->started = false;
}

void watchlists_close(struct watchlists **wp)
{
	struct watchlists *w = *wp;
	if (!w)
		return;
	watchlists_stop(w);
	for (struct watchlist *list = w->lists; list; list = list->next)
		list->left = true;
	drop_left(w);
	pg_close(&w->pg);
	pg_close(&w->writer);
	xfree(&w->wants);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	pthread_mutex_destroy(&w->pg_lock);
	xfree(wp);
}
