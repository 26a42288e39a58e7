/* keyring.c - loading keys, following changes, telling when keys were used. */
#include "identity/keyring.h"

#include "identity/api_key.h"
#include "identity/denial.h"
#include "identity/session_watch.h"
#include "gateway.h"

#include "base/clock.h"
#include "base/cond.h"

#include <nettle/memops.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define BUCKETS 8192
#define ROWS 1000
#define USED_MS 2000 /* how often last_used_at is written */

struct key {
	char id[API_KEY_ID];
	uint8_t hash[API_KEY_HASH];
	struct principal who;
	struct client_ranges *addresses; /* NULL: anywhere */
	bool used;
	struct key *next;
};

struct keyring {
	struct gateway *gateway;
	struct log log;
	pthread_t thread;
	bool started;
	pthread_mutex_t pg_lock; /* guards pg */
	struct pg *pg;
	pthread_mutex_t lock; /* guards everything below */
	pthread_cond_t wake;
	bool closing;
	struct key *buckets[BUCKETS];
	size_t count;
	_Atomic uint64_t generation;
	struct session_watch *sessions;
	struct denials *denials;
	/* the thread's own */
	int64_t seen;
	bool there, warned;
};

static struct key **place_of(struct keyring *ring, const char *id)
{
	unsigned hash = 0;
	for (const char *p = id; *p; p++)
		hash = hash * 31 + (unsigned char)*p;
	struct key **place = &ring->buckets[hash % BUCKETS];
	while (*place && strcmp((*place)->id, id) != 0)
		place = &(*place)->next;
	return place;
}

static void free_key(struct key *key)
{
	free(key->addresses);
	free(key);
}

/* ---- using ----------------------------------------------------------------------------------------------------------------------------- */

enum keyring_verdict keyring_check(struct keyring *ring, const char *text, const struct client_address *from, struct principal *ret)
{
	char id[API_KEY_ID];
	uint8_t hash[API_KEY_HASH];
	if (!api_key_parse(text, id))
		return KEYRING_UNKNOWN;
	api_key_hash(text, ring->gateway->config->gateway.key_pepper, hash);
	enum keyring_verdict verdict = KEYRING_UNKNOWN;
	pthread_mutex_lock(&ring->lock);
	struct key *key = *place_of(ring, id);
	if (key && memeql_sec(key->hash, hash, sizeof hash)) {
		verdict = key->who.until_ms && key->who.until_ms <= clock_wall_ms() ? KEYRING_EXPIRED :
			  key->addresses && !client_ranges_have(key->addresses, from) ? KEYRING_ADDRESS : KEYRING_GOOD;
		*ret = key->who;
		key->used = key->used || verdict == KEYRING_GOOD;
	}
	pthread_mutex_unlock(&ring->lock);
	return verdict;
}

uint64_t keyring_generation(const struct keyring *ring)
{
	return atomic_load(&ring->generation);
}

bool keyring_holds(struct keyring *ring, const char *name)
{
	const char *id = strrchr(name, '#');
	if (!id || strlen(id + 1) != API_KEY_ID - 1)
		return true;
	pthread_mutex_lock(&ring->lock);
	const struct key *key = *place_of(ring, id + 1);
	bool holds = key && strcmp(key->who.name, name) == 0;
	pthread_mutex_unlock(&ring->lock);
	return holds;
}

bool keyring_denies(struct keyring *ring, uint64_t jti, const char *subject, int64_t issued_s)
{
	return denials_have(ring->denials, jti, subject, issued_s);
}

bool keyring_session_stands(struct keyring *ring, const char *session)
{
	return session_watch_stands(ring->sessions, session);
}

/* ---- following ------------------------------------------------------------------------------------------------------------------------- */

struct pg *keyring_take_pg(struct keyring *ring, struct error *err)
{
	const struct config *c = ring->gateway->config;
	const struct pg_options options = { .url = c->postgres.reader_url && c->postgres.reader_url[0] ? c->postgres.reader_url : c->postgres.url,
					    .application_name = "weir-gateway-identity",
					    .connect_timeout_ms = c->postgres.connect_timeout_ms,
					    .statement_timeout_ms = c->gateway.request_timeout_ms,
					    .log = &ring->log };
	pthread_mutex_lock(&ring->pg_lock);
	if (ring->pg || pg_open(&options, &ring->pg, err) == 0)
		return ring->pg;
	pthread_mutex_unlock(&ring->pg_lock);
	return NULL;
}

void keyring_give_pg(struct keyring *ring)
{
	pg_rollback(ring->pg);
	pthread_mutex_unlock(&ring->pg_lock);
}

static unsigned read_scopes(const char *text)
{
	unsigned scopes = 0;
	for (text += strspn(text, ","); *text; text += strspn(text, ",")) {
		size_t size = strcspn(text, ",");
		scopes |= scope_by_name(text, size);
		text += size;
	}
	return scopes;
}

static struct key *make_key(const struct pg_result *r, size_t row)
{
	struct key *key = xmalloc(sizeof *key);
	struct bytes hash = pg_get_bytes(r, row, 2);
	const char *addresses = pg_get_text(r, row, 4);
	snprintf(key->id, sizeof key->id, "%s", pg_get_text(r, row, 0));
	snprintf(key->who.name, sizeof key->who.name, "%.96s#%s", pg_get_text(r, row, 1), key->id);
	memcpy(key->hash, hash.data, hash.size < sizeof key->hash ? hash.size : sizeof key->hash);
	key->who.scopes = read_scopes(pg_get_text(r, row, 3));
	key->who.role = scope_role_name(key->who.scopes);
	key->who.until_ms = pg_get_i64(r, row, 5);
	if (*addresses) {
		key->addresses = xmalloc(sizeof *key->addresses);
		if (client_ranges_parse(addresses, key->addresses, NULL))
			key->addresses->count = 0; /* not written by a gateway: from nowhere */
	}
	return key;
}

static void take_row(struct keyring *ring, const struct pg_result *r, size_t row)
{
	bool revoked = pg_get_bool(r, row, 6);
	pthread_mutex_lock(&ring->lock);
	struct key **place = place_of(ring, pg_get_text(r, row, 0)), *old = *place;
	if (old) {
		*place = old->next;
		free_key(old);
		ring->count--;
		atomic_fetch_add(&ring->generation, 1);
	}
	if (!revoked && ring->count < KEYRING_MAX) {
		struct key *key = make_key(r, row);
		place = place_of(ring, key->id);
		key->next = *place;
		*place = key;
		ring->count++;
	}
	pthread_mutex_unlock(&ring->lock);
	ring->seen = pg_get_i64(r, row, 7);
}

static int look_for(struct keyring *ring, struct pg *pg, struct error *err)
{
	struct pg_result *r = NULL;
	int code = pg_query(pg, "select to_regclass('weir_identity.keys') is not null", NULL, 0, &r, err);
	ring->there = !code && pg_get_bool(r, 0, 0);
	pg_result_free(&r);
	if (!code && !ring->there)
		return error_set(err, WEIR_NOT_FOUND, "the database has no schema weir_identity: run this version's reconciler");
	return code;
}

/* The database was put back to an older state: what was learnt since is not so. */
static void forget_all(struct keyring *ring)
{
	pthread_mutex_lock(&ring->lock);
	for (size_t i = 0; i < BUCKETS; i++)
		while (ring->buckets[i]) {
			struct key *key = ring->buckets[i];
			ring->buckets[i] = key->next;
			free_key(key);
		}
	ring->count = 0;
	atomic_fetch_add(&ring->generation, 1);
	pthread_mutex_unlock(&ring->lock);
	ring->seen = 0;
}

static int read_number(struct keyring *ring, struct pg *pg, int64_t *ret, struct error *err)
{
	struct pg_result *r = NULL;
	int code = ring->there ? 0 : look_for(ring, pg, err);
	if (!code)
		code = pg_prepared(pg, "keyring_number", "select number from weir_identity.changes", NULL, 0, &r, err);
	*ret = !code && pg_rows(r) > 0 ? pg_get_i64(r, 0, 0) : 0;
	pg_result_free(&r);
	return code;
}

static int load(struct keyring *ring, struct pg *pg, struct error *err)
{
	struct pg_result *r = NULL;
	struct pg_param p;
	size_t n;
	int64_t number;
	bool denied = false;
	int code = read_number(ring, pg, &number, err);
	if (!code)
		code = denials_load(ring->denials, pg, number, &denied, err);
	if (denied)
		atomic_fetch_add(&ring->generation, 1);
	if (code || number == ring->seen)
		return code;
	if (number < ring->seen)
		forget_all(ring);
	do {
		n = 0;
		if (!code)
			code = pg_prepared(pg, "keyring_changes",
					   "select id, name, hash, array_to_string(scopes, ','), addresses, coalesce(extract(epoch from expires_at) * 1000, 0)::int8,"
					   " revoked_at is not null, change from weir_identity.keys where change > $1 order by change limit 1000",
					   pg_i64(&p, ring->seen), 1, &r, err);
		if (!code)
			n = pg_rows(r);
		for (size_t i = 0; i < n; i++)
			take_row(ring, r, i);
		pg_result_free(&r);
	} while (n == ROWS);
	if (!code && ring->seen < number)
		ring->seen = number;
	return code;
}

static int note_used(struct keyring *ring, struct pg *pg, struct error *err)
{
	struct buf ids = BUF_INIT((size_t)4 << 20);
	struct pg_param p;
	pthread_mutex_lock(&ring->lock);
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct key *key = ring->buckets[i]; key; key = key->next)
			if (key->used) {
				buf_printf(&ids, "%s%s", ids.size ? "," : "", key->id);
				key->used = false;
			}
	pthread_mutex_unlock(&ring->lock);
	int code = ids.size == 0 ? 0 :
				   pg_prepared(pg, "keyring_used",
					       "update weir_identity.keys set last_used_at = now() where id = any(string_to_array($1, ','))"
					       " and (last_used_at is null or last_used_at < now() - interval '30 seconds')",
					       pg_text(&p, buf_str(&ids)), 1, NULL, err);
	buf_free(&ids);
	return code;
}

static void warn_once(struct keyring *ring, const struct error *err)
{
	if (!ring->warned)
		log_warn(&ring->log, "keys_unavailable",
			 "API keys of the database are not followed now; grant weir_identity to the gateway's login if it may not read them", LOG_ERR(err));
	ring->warned = true;
}

static void turn(struct keyring *ring, bool used)
{
	struct error err = { 0 };
	struct pg *pg = keyring_take_pg(ring, &err);
	int code = pg ? load(ring, pg, &err) : err.code;
	bool ended = false;
	if (!code)
		code = session_watch_look(ring->sessions, pg, &ended, &err);
	if (ended)
		atomic_fetch_add(&ring->generation, 1);
	if (!code && used)
		code = note_used(ring, pg, &err);
	if (pg)
		keyring_give_pg(ring);
	if (code) {
		warn_once(ring, &err);
	} else if (ring->warned) {
		ring->warned = false;
		log_info(&ring->log, "keys_available", "API keys of the database are followed");
	}
}

static void wait_ms(struct keyring *ring, int64_t ms)
{
	const struct timespec until = cond_deadline(ms);
	pthread_cond_timedwait(&ring->wake, &ring->lock, &until);
}

static void *follow(void *arg)
{
	struct keyring *ring = arg;
	int64_t used_ms = clock_mono_ms();
	pthread_mutex_lock(&ring->lock);
	while (!ring->closing) {
		pthread_mutex_unlock(&ring->lock);
		bool used = clock_mono_ms() - used_ms >= USED_MS;
		turn(ring, used);
		if (used)
			used_ms = clock_mono_ms();
		pthread_mutex_lock(&ring->lock);
		if (!ring->closing)
			wait_ms(ring, ring->warned ? 4 * KEYRING_POLL_MS : KEYRING_POLL_MS);
	}
	pthread_mutex_unlock(&ring->lock);
	return NULL;
}

/* ---- opening and closing ----------------------------------------------------------------------------------------------------------------- */

int keyring_open(struct gateway *gateway, struct keyring **ret, struct error *err)
{
	struct keyring *ring = xmalloc(sizeof *ring);
	*ret = ring;
	ring->gateway = gateway;
	ring->log = gateway->log;
	pthread_mutex_init(&ring->pg_lock, NULL);
	pthread_mutex_init(&ring->lock, NULL);
	cond_init(&ring->wake);
	ring->sessions = session_watch_new();
	ring->denials = denials_new();
	turn(ring, false); /* the first request finds the keys */
	if (pthread_create(&ring->thread, NULL, follow, ring) != 0)
		return error_set(err, WEIR_FULL, "cannot start a thread: the system's limit is reached");
	ring->started = true;
	return 0;
}

void keyring_close(struct keyring **ringp)
{
	struct keyring *ring = *ringp;
	if (!ring)
		return;
	pthread_mutex_lock(&ring->lock);
	ring->closing = true;
	pthread_cond_signal(&ring->wake);
	pthread_mutex_unlock(&ring->lock);
	if (ring->started)
		pthread_join(ring->thread, NULL);
	pg_close(&ring->pg);
	forget_all(ring);
	session_watch_free(&ring->sessions);
	denials_free(&ring->denials);
	pthread_cond_destroy(&ring->wake);
	pthread_mutex_destroy(&ring->lock);
	pthread_mutex_destroy(&ring->pg_lock);
	xfree(ringp);
}
