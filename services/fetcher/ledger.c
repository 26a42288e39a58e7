/* ledger.c - what the ledger wants (state, hashes) and what others command. */
#include "fetcher.h"

#include "base/clock.h"
#include "wire/hex.h"
#include "weir/streams.h"
#include "weir/v1/control.pb-c.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define STALE_MS 15000
#define COMMANDS_MAX 64
#define REFETCH_MAX 1024

static void on_state(const char *name, const char *value, void *arg)
{
	struct ledger_state *s = arg;
	if (strcmp(name, STATE_WATERMARK_HEIGHT) == 0)
		s->watermark = strtoll(value, NULL, 10);
	else if (strcmp(name, STATE_NEXT_HEIGHT) == 0)
		s->next_height = strtoull(value, NULL, 10);
	else if (strcmp(name, STATE_EPOCH) == 0)
		s->epoch = strtoull(value, NULL, 10);
	else if (strcmp(name, STATE_WRITTEN_MS) == 0)
		s->written_ms = strtoull(value, NULL, 10);
	else if (strcmp(name, STATE_PAUSED) == 0)
		s->paused = value[0] == '1';
	else if (strcmp(name, STATE_WATERMARK_HASH) == 0)
		snprintf(s->watermark_hash, sizeof s->watermark_hash, "%s", value);
	else if (strcmp(name, STATE_GENESIS_HASH) == 0)
		snprintf(s->genesis_hash, sizeof s->genesis_hash, "%s", value);
}

static void ready(struct follower *f, bool ok, const char *reason)
{
	char name[64];
	snprintf(name, sizeof name, "ledger %s", f->chain.name);
	daemon_check_set(f->fetcher->ctx, name, ok, reason);
}

/* Forgets what was published: the ledger knows better. */
static void start_over(struct follower *f, const char *why)
{
	fetch_window_forget_published(&f->window);
	f->generation++;
	f->fork_until_ms = 0;
	f->head_news = true;
	for (size_t i = 0; i < f->ready_count; i++)
		job_free(&f->ready[i]);
	f->ready_count = 0;
	fetcher_count(f, "weir_fetcher_restarts_total", why, 1);
	log_info(&f->log, "publishing_from", why, LOG_U("next_height", f->ledger.next_height));
}

int ledger_read(struct follower *f, struct error *err)
{
	struct ledger_state s = { .watermark = -1 };
	char key[128];
	snprintf(key, sizeof key, STATE_KEY_FORMAT, f->chain.name);
	int r = bus_hash_read(f->bus, key, on_state, &s, err);
	if (r == WEIR_NOT_FOUND || (r == 0 && clock_wall_ms() - (int64_t)s.written_ms > STALE_MS)) {
		if (f->ledger.known || r == WEIR_NOT_FOUND)
			ready(f, false, "waiting for the reconciler to say which block the ledger wants next");
		f->ledger.known = false;
		return 0;
	}
	if (r != 0)
		return r;
	bool first = !f->ledger.known, restarted = f->ledger.known && s.epoch != f->ledger.epoch;
	uint64_t epoch = f->ledger.epoch;
	s.known = true;
	f->ledger = s;
	if ((!f->has_genesis || *f->genesis_teller) && *s.genesis_hash) { /* the ledger's word is worth more than an endpoint's */
		f->has_genesis = hex_to_bytes(s.genesis_hash, strlen(s.genesis_hash), f->genesis, 32) == 0;
		f->genesis_teller[0] = 0;
	}
	if (!first && !restarted)
		return 0;
	ready(f, true, "");
	if (restarted || epoch != s.epoch)
		start_over(f, restarted ? "rewound" : "started");
	return ledger_read_hashes(f, err);
}

static void on_hash(const char *name, const char *value, void *arg)
{
	struct follower *f = arg;
	uint8_t hash[32];
	uint64_t height = strtoull(name, NULL, 10);
	if (hex_to_bytes(value, strlen(value), hash, 32) != 0)
		return;
	struct height *h = fetch_window_find(&f->window, height);
	if (!h || !h->known || memcmp(h->hash, hash, 32) != 0)
		fetch_window_learn(&f->window, height, hash, NULL);
}

int ledger_read_hashes(struct follower *f, struct error *err)
{
	char key[128];
	snprintf(key, sizeof key, HASHES_KEY_FORMAT, f->chain.name);
	int r = bus_hash_read(f->bus, key, on_hash, f, err);
	return r == WEIR_NOT_FOUND ? 0 : r;
}

/* -- commands -------------------------------------------------------------------------------------------------------------- */

static void refetch(struct follower *f, const Weir__V1__Refetch *command)
{
	uint64_t to = command->to_height;
	if (to < command->from_height || to - command->from_height >= REFETCH_MAX)
		to = command->from_height + (to < command->from_height ? 0 : REFETCH_MAX - 1);
	uint64_t exclude = 0;
	for (size_t i = 0; i < command->n_exclude_endpoints; i++) {
		int index = endpoints_find(f->endpoints, command->exclude_endpoints[i]);
		if (index >= 0) {
			exclude |= (uint64_t)1 << index;
			if (command->excluded_lied)
				endpoints_note_lie(f->endpoints, (size_t)index, command->reason);
		}
	}
	bool any_will_do = exclude == 0 && command->hash.len == 0;
	for (uint64_t height = command->from_height; height <= to; height++) {
		if (any_will_do && job_under_way(f, height))
			continue; /* a node that is slow would only be given the same work once more */
		struct job_request request = { .height = height,
					       .hash = command->hash.len == 32 ? command->hash.data : NULL,
					       .reason = WEIR__V1__FETCH_REASON__FETCH_REASON_REFETCH,
					       .attempt = command->attempt,
					       .exclude = exclude };
		if (!job_start(f, &request))
			break; /* the ledger asks again */
	}
	log_info(&f->log, "refetch", command->reason, LOG_U("from", command->from_height), LOG_U("to", to), LOG_U("attempt", command->attempt));
}

static void obey(struct follower *f, const Weir__V1__Command *command)
{
	switch (command->command_case) {
	case WEIR__V1__COMMAND__COMMAND_REFETCH:
		refetch(f, command->refetch);
		break;
	case WEIR__V1__COMMAND__COMMAND_PAUSE:
		f->paused = true;
		log_warn(&f->log, "paused", command->pause->reason, LOG_S("issuer", command->issuer));
		break;
	case WEIR__V1__COMMAND__COMMAND_RESUME:
		f->paused = false;
		log_info(&f->log, "resumed", NULL, LOG_S("issuer", command->issuer));
		break;
	default:
		break; /* somebody else's */
	}
}

static int take(struct follower *f, const struct bus_message *message, struct error *err)
{
	bool poison = false;
	int r = bus_owner_begin(f->lease, message, NULL, &poison, err);
	if (r != 0 || poison)
		return r;
	if (message->frame.type == MESSAGE_COMMAND) {
		Weir__V1__Command *command = weir__v1__command__unpack(NULL, message->frame.body.size, message->frame.body.data);
		if (command) {
			obey(f, command);
			weir__v1__command__free_unpacked(command, NULL);
		}
	}
	return message->replay ? bus_owner_resolve(f->lease, message, err) : 0;
}

static int read_some(struct follower *f, size_t max, struct error *err)
{
	struct bus_message *messages;
	size_t n;
	int r = bus_owner_read(f->lease, max, 0, &messages, &n, err);
	for (size_t i = 0; i < n && r == 0; i++) {
		r = take(f, &messages[i], err);
		/* A command lost with a crash is given again by who needs it; the floor moves once per batch and class. */
		if (r == 0 && !messages[i].replay && (i + 1 == n || messages[i + 1].klass != messages[i].klass))
			r = bus_owner_commit(f->lease, messages[i].klass, messages[i].generation, messages[i].sequence, err);
	}
	return r;
}

int commands_read(struct follower *f, struct error *err)
{
	static pthread_mutex_t at_work = PTHREAD_MUTEX_INITIALIZER; /* of all chains: over whose command a process ended is only known of one at a time */
	if (!bus_owner_careful(f->lease))
		return read_some(f, COMMANDS_MAX, err);
	if (pthread_mutex_trylock(&at_work) != 0)
		return 0;
	int r = read_some(f, 1, err);
	int noted = bus_owner_note(f->lease, NULL, r ? NULL : err);
	pthread_mutex_unlock(&at_work);
	return r ? r : noted;
}
