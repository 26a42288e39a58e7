/* feed.c - the live end of one chain's journal. */
#include "live/feed.h"

#include "live/event.h"
#include "live/hub.h"

#include "call/final.h"
#include "call/recent.h"

#include "base/clock.h"
#include "bus/bus.h"

#include "weir/streams.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define READ_MAX 64
#define READ_WAIT_MS 1000  /* silence after which the ledger is asked whether something was missed */
#define AWAY_POLL_MS 250   /* while Redis is away */
#define HEAL_ROWS 512
#define POOL_WAIT_MS 1000

struct feed {
	struct gateway *gateway;
	struct gateway_chain *chain;
	struct log log;
	struct bus *bus;
	struct bus_tail *tail;
	pthread_t thread;
	bool started;
	_Atomic bool closing;
	bool known;          /* sequence means something */
	uint32_t print;      /* of the event there; 0: not known */
	bool redis_ok, ledger_ok;
	bool told_unknown;   /* that the ledger does not have the chain yet */
	unsigned behind;     /* looks in a row at which the journal was shorter than what we gave */
	char redis_check[80], ledger_check[80];
	struct metric *healed, *position;
};

static bool stopping(void *arg)
{
	struct feed *feed = arg;
	return atomic_load(&feed->closing); /* not before: clients that are sent away one by one are served until then */
}

/* Sleeps in small steps, so that closing is quick. */
static void rest(struct feed *feed, int64_t ms)
{
	for (int64_t until = clock_mono_ms() + ms; clock_mono_ms() < until && !stopping(feed);)
		clock_sleep_ms(20);
}

static void say(struct feed *feed, bool *state, const char *check, bool ok, const char *what, const struct error *err)
{
	if (*state != ok && ok)
		log_info(&feed->log, "dependency_back", what);
	else if (*state != ok)
		log_warn(&feed->log, "dependency_lost", what, LOG_ERR(err));
	*state = ok;
	daemon_check_set(feed->gateway->ctx, check, ok, ok ? "" : err->text);
}

static void give(struct feed *feed, struct event *event)
{
	if (event->kind == WEIR__V1__LEDGER_EVENT__EVENT_BLOCK_RETRACTED)
		final_forget(feed->gateway->final);
	recent_moved(feed->gateway->recent, feed->chain->index, event->kind == WEIR__V1__LEDGER_EVENT__EVENT_BLOCK_RETRACTED);
	atomic_store(&feed->chain->sequence, event->sequence);
	feed->print = event->print;
	metric_set(feed->position, (double)event->sequence);
	hub_event(feed->gateway->hub, feed->chain, event);
}

static void begin_at(struct feed *feed, uint64_t sequence, uint32_t print)
{
	atomic_store(&feed->chain->sequence, sequence);
	metric_set(feed->position, (double)sequence);
	feed->known = true;
	feed->print = print;
	feed->behind = 0;
	final_forget(feed->gateway->final);
	recent_moved(feed->gateway->recent, feed->chain->index, true);
	hub_reset(feed->gateway->hub, feed->chain, sequence, print);
	bus_tail_seek(feed->tail, sequence);
}

/* ---- from the ledger ------------------------------------------------------------------------------------------------------------------- */

/* Print of the event in a row's column; 0: there is none. */
static int print_in(const struct feed *feed, const struct pg_result *r, size_t column, uint32_t *ret, struct error *err)
{
	struct event *event = NULL;
	*ret = 0;
	if (pg_is_null(r, 0, column))
		return 0;
	int code = event_read(&feed->chain->chain, pg_get_bytes(r, 0, column), &event, err);
	*ret = code ? 0 : event->print;
	event_drop(&event);
	return code;
}

struct journal_end {
	bool found;
	uint64_t newest;
	uint32_t newest_print, our_print; /* of the event there, and of the one that we stand at; 0: there is none */
};

static int query_end(struct feed *feed, struct pg *pg, struct journal_end *ret, struct error *err)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	int code = 0;
	*ret = (struct journal_end){ 0 };
	/* The reconciler makes the schema: before that there is nothing to ask. */
	if (atomic_load(&feed->chain->id) == 0) {
		code = pg_query(pg, "select to_regclass('weir_api.chains') is not null", NULL, 0, &r, err);
		bool exists = !code && pg_get_bool(r, 0, 0);
		pg_result_free(&r);
		if (code || !exists)
			return code;
	}
	pg_text(&p[0], feed->chain->chain.name);
	pg_i64(&p[1], (int64_t)atomic_load(&feed->chain->sequence));
	code = pg_prepared(pg, "feed_end",
			   "select id::int4, journal_sequence, (select body from weir_api.journal j where j.chain = c.id and j.sequence = c.journal_sequence),"
			   " (select body from weir_api.journal j where j.chain = c.id and j.sequence = $2) from weir_api.chains c where name = $1",
			   p, 2, &r, err);
	ret->found = !code && pg_rows(r) == 1;
	if (ret->found) {
		atomic_store(&feed->chain->id, (int32_t)pg_get_i64(r, 0, 0));
		ret->newest = (uint64_t)pg_get_i64(r, 0, 1);
		code = print_in(feed, r, 2, &ret->newest_print, err);
		if (!code)
			code = print_in(feed, r, 3, &ret->our_print, err);
	}
	pg_result_free(&r);
	return code;
}

static int give_rows(struct feed *feed, struct pg *pg, size_t *ret_n, struct error *err)
{
	struct pg_param p[3];
	struct pg_result *r = NULL;
	pg_i32(&p[0], atomic_load(&feed->chain->id));
	pg_i64(&p[1], (int64_t)atomic_load(&feed->chain->sequence));
	pg_i64(&p[2], HEAL_ROWS);
	int code = pg_prepared(pg, "feed_rows", "select body from weir_api.journal where chain = $1 and sequence > $2 order by sequence limit $3", p, 3, &r, err);
	*ret_n = code ? 0 : pg_rows(r);
	for (size_t i = 0; !code && i < *ret_n; i++) {
		struct event *event = NULL;
		code = event_read(&feed->chain->chain, pg_get_bytes(r, i, 0), &event, err);
		if (!code && event->sequence == atomic_load(&feed->chain->sequence) + 1)
			give(feed, event);
		else if (!code)
			event_drop(&event);
	}
	pg_result_free(&r);
	return code;
}

static void begin_again(struct feed *feed, const struct journal_end *end)
{
	log_warn(&feed->log, "ledger_replaced", "the journal does not have what was served: the ledger was restored or made anew, subscribers must begin again",
		 LOG_U("newest", end->newest), LOG_U("served", atomic_load(&feed->chain->sequence)));
	begin_at(feed, end->newest, end->newest_print);
}

static int catch_up(struct feed *feed, struct pg *pg, struct error *err)
{
	struct journal_end end;
	size_t n = HEAL_ROWS;
	int code = query_end(feed, pg, &end, err);
	if (code || !end.found)
		return code;
	if (!feed->known) {
		begin_at(feed, end.newest, end.newest_print);
		return 0;
	}
	const uint64_t before = atomic_load(&feed->chain->sequence), newest = end.newest;
	if (newest < before) {
		/* Once may be an old snapshot's word; three times it is another ledger. */
		if (++feed->behind >= 3)
			begin_again(feed, &end);
		return 0;
	}
	if (feed->print && end.our_print && feed->print != end.our_print) { /* it has grown past us since */
		begin_again(feed, &end);
		return 0;
	}
	feed->behind = 0;
	while (!code && n == HEAL_ROWS && atomic_load(&feed->chain->sequence) < newest && !stopping(feed))
		code = give_rows(feed, pg, &n, err);
	uint64_t given = atomic_load(&feed->chain->sequence) - before;
	if (given > 0) {
		metric_add(feed->healed, given);
		bus_tail_seek(feed->tail, atomic_load(&feed->chain->sequence));
	}
	return code;
}

/* Whatever the journal has behind our position, from PostgreSQL. */
static void heal(struct feed *feed)
{
	struct error err = { 0 };
	struct pg *pg = pg_pool_take(feed->gateway->pool, POOL_WAIT_MS, &err);
	int code = pg ? pg_begin(pg, &err) : err.code;
	if (!code)
		code = catch_up(feed, pg, &err);
	pg_pool_give(feed->gateway->pool, &pg);
	if (code == WEIR_FULL || code == WEIR_CANCELED)
		return;
	say(feed, &feed->ledger_ok, feed->ledger_check, code == 0, "PostgreSQL", &err);
	if (!code && !feed->known) {
		struct error none;
		error_set(&none, WEIR_UNAVAILABLE, "the ledger does not have chain %s yet: is its reconciler running?", feed->chain->chain.name);
		daemon_check_set(feed->gateway->ctx, feed->ledger_check, false, none.text);
		if (!feed->told_unknown)
			log_warn(&feed->log, "ledger_unknown", "waiting for it", LOG_ERR(&none));
		feed->told_unknown = true;
	}
}

/* ---- from the stream --------------------------------------------------------------------------------------------------------------------- */

static bool give_message(struct feed *feed, const struct bus_message *message)
{
	struct error err = { 0 };
	struct event *event = NULL;
	uint64_t next = atomic_load(&feed->chain->sequence) + 1;
	if (message->sequence + 1 < next)
		return true;
	int code = message->frame.type != MESSAGE_LEDGER_EVENT ? error_set(&err, WEIR_INVALID, "not a ledger event") :
								 event_read(&feed->chain->chain, message->frame.body, &event, &err);
	if (!code && event && event->sequence == next && message->sequence == next) {
		event->trace = frame_trace(&message->frame);
		give(feed, event);
		return true;
	}
	if (!code && event && event->sequence + 1 == next) { /* what we stand at, told again: or is it another ledger's? */
		bool same = !feed->print || event->print == feed->print;
		event_drop(&event);
		return same;
	}
	if (code)
		log_warn(&feed->log, "event_unreadable", "it is read from the ledger instead", LOG_ERR(&err), LOG_U("sequence", message->sequence));
	event_drop(&event);
	return false;
}

/* One look at the stream. True: all is well there. */
static bool listen(struct feed *feed)
{
	struct bus_message *messages = NULL;
	struct error err = { 0 };
	size_t n = 0, i = 0;
	uint64_t first = 0;
	int code = bus_tail_read(feed->tail, READ_MAX, READ_WAIT_MS, &messages, &n, &first, &err);
	for (; !code && i < n; i++)
		if (!give_message(feed, &messages[i]))
			break;
	if (code == WEIR_CANCELED)
		return true;
	if (code != 0 && code != WEIR_GAP) {
		say(feed, &feed->redis_ok, feed->redis_check, false, "Redis", &err);
		rest(feed, AWAY_POLL_MS);
		return false;
	}
	say(feed, &feed->redis_ok, feed->redis_check, true, "Redis", &err);
	return code == 0 && n > 0 && i == n;
}

static void *run(void *arg)
{
	struct feed *feed = arg;
	while (!stopping(feed)) {
		if (!feed->known) {
			heal(feed);
			if (!feed->known)
				rest(feed, AWAY_POLL_MS);
			continue;
		}
		/* A gap, silence, or Redis away: the ledger knows better. */
		if (!listen(feed) && !stopping(feed)) {
			uint64_t before = atomic_load(&feed->chain->sequence);
			heal(feed);
			if (before == atomic_load(&feed->chain->sequence) && feed->redis_ok)
				bus_tail_seek(feed->tail, before);
		}
	}
	return NULL;
}

int feed_open(struct gateway *gateway, struct gateway_chain *chain, struct feed **ret, struct error *err)
{
	struct feed *feed = xmalloc(sizeof *feed);
	char worker[100], host[64] = "?";
	gethostname(host, sizeof host - 1);
	snprintf(worker, sizeof worker, "%s:%ld", host, (long)getpid());
	*ret = feed;
	feed->gateway = gateway;
	feed->chain = chain;
	feed->log = log_for_chain(&gateway->log, chain->chain.name);
	feed->redis_ok = feed->ledger_ok = true;
	snprintf(feed->redis_check, sizeof feed->redis_check, "redis (chain %s)", chain->chain.name);
	snprintf(feed->ledger_check, sizeof feed->ledger_check, "ledger (chain %s)", chain->chain.name);
	feed->healed = metrics_get(gateway->metrics, "weir_gateway_feed_healed_total", chain->chain.name, NULL, NULL);
	feed->position = metrics_get(gateway->metrics, "weir_gateway_feed_sequence", chain->chain.name, NULL, NULL);
	const struct bus_options options = { .url = gateway->config->bus.redis_url,
					     .username = gateway->config->bus.username,
					     .password = gateway->config->bus.password,
					     .command_timeout_ms = 500,
					     .worker = worker,
					     .log = &feed->log,
					     .metrics = gateway->metrics };
	int code = bus_open(&options, &feed->bus, err);
	if (!code) {
		bus_set_stop(feed->bus, stopping, feed);
		code = bus_tail_open(feed->bus, chain->chain.name, TOPIC_LEDGER, CLASS_NORMAL, &feed->tail, err);
	}
	daemon_check_set(gateway->ctx, feed->ledger_check, false, NOT_ASKED_YET);
	if (!code && pthread_create(&feed->thread, NULL, run, feed) != 0)
		code = error_set(err, WEIR_FULL, "cannot start a thread: the system's limit is reached");
	feed->started = code == 0;
	if (code)
		feed_close(ret);
	return code;
}

void feed_close(struct feed **feedp)
{
	struct feed *feed = *feedp;
	if (!feed)
		return;
	atomic_store(&feed->closing, true);
	if (feed->started)
		pthread_join(feed->thread, NULL);
	bus_tail_close(&feed->tail);
	bus_close(&feed->bus);
	xfree(feedp);
}
