/* cursor_keys.c - the ring of keys for cursors, kept level with Redis. */
#include "call/cursor_keys.h"

#include "control.h"

#include "base/clock.h"
#include "bus/kept.h"
#include "wire/hex.h"

#include "weir/streams.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define DAY_S 86400
#define KEEP_MS ((int64_t)4 * DAY_S * 1000) /* made a day early, signs for a day, verifies for another and a step */
#define LOOK_MS 30000
#define LOOK_AGAIN_MS 5000 /* after a failure */
#define SECRET_SIZE 32
#define DAYS 4 /* the day before yesterday's for what it signed last, yesterday's, today's, tomorrow's: a clock may be ahead */
#define TODAY 2

struct day {
	int64_t number; /* since 1970; 0: none */
	uint8_t secret[SECRET_SIZE], replaced[SECRET_SIZE]; /* replaced: what this process signed with before Redis had another */
	bool was_replaced;
};

struct cursor_keys {
	const struct gateway *gateway;
	bool fixed; /* by the settings */
	int64_t next_ms;
	struct day days[DAYS]; /* of the thread that calls cursor_keys_turn */
	pthread_mutex_t lock;  /* guards ring */
	struct cursor_ring ring;
};

static void add(struct cursor_ring *ring, struct bytes secret)
{
	if (ring->count < CURSOR_KEYS_MAX)
		ring->keys[ring->count++] = cursor_key_from(secret);
}

static void publish(struct cursor_keys *k, const struct cursor_ring *ring)
{
	pthread_mutex_lock(&k->lock);
	k->ring = *ring;
	pthread_mutex_unlock(&k->lock);
}

static void use_settings(struct cursor_keys *k, const char *key, const char *previous)
{
	struct cursor_ring ring = { 0 };
	add(&ring, (struct bytes){ (const uint8_t *)key, strlen(key) });
	if (*previous)
		add(&ring, (struct bytes){ (const uint8_t *)previous, strlen(previous) });
	publish(k, &ring);
}

static void use_days(struct cursor_keys *k)
{
	static const size_t order[DAYS] = { TODAY, 1, 3, 0 };
	struct cursor_ring ring = { 0 };
	for (size_t i = 0; i < DAYS; i++)
		add(&ring, (struct bytes){ k->days[order[i]].secret, SECRET_SIZE });
	for (size_t i = 0; i < DAYS; i++)
		if (k->days[order[i]].was_replaced)
			add(&ring, (struct bytes){ k->days[order[i]].replaced, SECRET_SIZE });
	publish(k, &ring);
}

/* Days that are over make room for those that come; a new one gets a secret, whether or not Redis will take it. */
static void move_to(struct cursor_keys *k, int64_t today)
{
	struct day old[DAYS];
	memcpy(old, k->days, sizeof old);
	for (int64_t i = 0; i < DAYS; i++) {
		struct day *day = &k->days[i];
		*day = (struct day){ .number = today - TODAY + i };
		const struct day *known = NULL;
		for (size_t j = 0; j < DAYS; j++)
			if (old[j].number == day->number)
				known = &old[j];
		if (known)
			*day = *known;
		for (size_t j = 0; !known && j < SECRET_SIZE; j += 8) {
			uint64_t r = random_u64();
			memcpy(day->secret + j, &r, 8);
		}
	}
}

static int share(struct bus *bus, struct day *day, struct error *err)
{
	char key[64], hex[2 * SECRET_SIZE + 3];
	struct buf kept = BUF_INIT(1024);
	uint8_t secret[SECRET_SIZE];
	snprintf(key, sizeof key, CURSOR_KEY_FORMAT, (long long)day->number);
	hex_from_bytes(day->secret, SECRET_SIZE, hex);
	int code = bus_keep_first(bus, key, (struct bytes){ (const uint8_t *)hex, strlen(hex) }, KEEP_MS, &kept, err);
	if (!code && hex_to_bytes(buf_str(&kept), kept.size, secret, SECRET_SIZE))
		code = error_set(err, WEIR_INVALID, "the key %s in Redis is not 32 bytes in hex", key);
	if (!code && memcmp(secret, day->secret, SECRET_SIZE) != 0) {
		memcpy(day->replaced, day->secret, SECRET_SIZE);
		memcpy(day->secret, secret, SECRET_SIZE);
		day->was_replaced = true;
	}
	buf_free(&kept);
	return code;
}

void cursor_keys_turn(struct cursor_keys *k)
{
	struct error err = { 0 };
	int64_t today = clock_wall_ms() / 1000 / DAY_S;
	int code = 0;
	if (k->fixed || (clock_mono_ms() < k->next_ms && k->days[TODAY].number == today))
		return;
	move_to(k, today);
	struct bus *bus = control_take(k->gateway->control);
	for (size_t i = 0; !code && i < DAYS; i++)
		code = share(bus, &k->days[i], &err);
	control_give(k->gateway->control);
	if (code)
		log_debug(&k->gateway->log, "cursor_keys_own", "cursors are signed with keys of this gateway until Redis has them", LOG_ERR(&err));
	use_days(k);
	k->next_ms = clock_mono_ms() + (code ? LOOK_AGAIN_MS : LOOK_MS);
}

void cursor_keys_open(const struct gateway *gateway, struct cursor_keys **ret)
{
	struct cursor_keys *k = xmalloc(sizeof *k);
	const char *key = gateway->config->gateway.cursor_key;
	k->gateway = gateway;
	pthread_mutex_init(&k->lock, NULL);
	if (key && *key) {
		k->fixed = true;
		use_settings(k, key, gateway->config->gateway.cursor_key_previous);
	} else {
		cursor_keys_turn(k);
	}
	*ret = k;
}

void cursor_keys_close(struct cursor_keys **kp)
{
	if (!*kp)
		return;
	pthread_mutex_destroy(&(*kp)->lock);
	xfree(kp);
}

void cursor_keys_ring(struct cursor_keys *k, struct cursor_ring *ret)
{
	pthread_mutex_lock(&k->lock);
	*ret = k->ring;
	pthread_mutex_unlock(&k->lock);
}
