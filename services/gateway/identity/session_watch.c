/* session_watch.c - a table of the sessions that are asked for. */
#include "identity/session_watch.h"

#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct watched {
	char id[SESSION_ID_MAX]; /* empty: a free place */
	bool over;
	int64_t asked_ms;
};

struct session_watch {
	pthread_mutex_t lock; /* guards the table */
	struct watched table[SESSION_WATCH_MAX];
};

struct session_watch *session_watch_new(void)
{
	struct session_watch *watch = xmalloc(sizeof *watch);
	pthread_mutex_init(&watch->lock, NULL);
	return watch;
}

void session_watch_free(struct session_watch **watchp)
{
	if (!*watchp)
		return;
	pthread_mutex_destroy(&(*watchp)->lock);
	xfree(watchp);
}

/* Its place, or a free one; NULL: there is none. */
static struct watched *place_of(struct session_watch *watch, const char *id)
{
	struct watched *free_place = NULL;
	for (size_t i = 0; i < SESSION_WATCH_MAX; i++) {
		if (strcmp(watch->table[i].id, id) == 0)
			return &watch->table[i];
		if (!watch->table[i].id[0] && !free_place)
			free_place = &watch->table[i];
	}
	return free_place;
}

bool session_watch_stands(struct session_watch *watch, const char *id)
{
	pthread_mutex_lock(&watch->lock);
	struct watched *place = strlen(id) < SESSION_ID_MAX ? place_of(watch, id) : NULL;
	if (place && !place->id[0])
		snprintf(place->id, sizeof place->id, "%s", id);
	if (place)
		place->asked_ms = clock_mono_ms();
	bool stands = place && !place->over;
	pthread_mutex_unlock(&watch->lock);
	return stands;
}

/* The ids of those that go on, with commas; forgets who is not asked for any more. */
static void collect(struct session_watch *watch, struct buf *ids)
{
	int64_t now = clock_mono_ms();
	pthread_mutex_lock(&watch->lock);
	for (size_t i = 0; i < SESSION_WATCH_MAX; i++) {
		struct watched *w = &watch->table[i];
		if (w->id[0] && now - w->asked_ms > SESSION_WATCH_FORGET_MS)
			*w = (struct watched){ 0 };
		else if (w->id[0] && !w->over)
			buf_printf(ids, "%s%s", ids->size ? "," : "", w->id);
	}
	pthread_mutex_unlock(&watch->lock);
}

static void end(struct session_watch *watch, const char *id)
{
	pthread_mutex_lock(&watch->lock);
	struct watched *place = place_of(watch, id);
	if (place && place->id[0])
		place->over = true;
	pthread_mutex_unlock(&watch->lock);
}

int session_watch_look(struct session_watch *watch, struct pg *pg, bool *ret_ended, struct error *err)
{
	struct buf ids = BUF_INIT((size_t)SESSION_WATCH_MAX * SESSION_ID_MAX);
	struct pg_param p;
	struct pg_result *r = NULL;
	*ret_ended = false;
	collect(watch, &ids);
	int code = ids.size == 0 ? 0 :
				   pg_prepared(pg, "sessions_over",
					       "select w.id from unnest(string_to_array($1, ',')) w(id) where not exists"
					       " (select from weir_identity.sessions s join weir_identity.users u on u.name = s.user_name"
					       "   where s.id = w.id and s.ended_at is null and s.expires_at > now() and u.disabled_at is null)",
					       pg_text(&p, buf_str(&ids)), 1, &r, err);
	size_t n = code || !r ? 0 : pg_rows(r);
	for (size_t i = 0; i < n; i++)
		end(watch, pg_get_text(r, i, 0));
	*ret_ended = n > 0;
	pg_result_free(&r);
	buf_free(&ids);
	return code;
}
