/* reader.c - see reader.h. */
#include "call/reader.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define POOL_WAIT_MS 3000

struct reader {
	struct gateway *gateway;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* guards everything below */
	pthread_cond_t came;
	struct row_read *first, **last;
	size_t waiting;
	bool sleeping, closing;
	int64_t asked_ms; /* the ledger, for what is in hand; 0: nothing is */
};

static void add(struct reader *reader, struct row_read *read)
{
	read->next = NULL;
	*reader->last = read;
	reader->last = &read->next;
	reader->waiting++;
}

static void put_back(struct reader *reader, struct row_read *read)
{
	pthread_mutex_lock(&reader->lock);
	add(reader, read);
	pthread_mutex_unlock(&reader->lock);
}

/* ---- the thread ------------------------------------------------------------------------------------------------------------------------- */

/* 0: it is over. */
static size_t take_some(struct reader *reader, struct row_read *ret[READER_TOGETHER])
{
	size_t n = 0;
	pthread_mutex_lock(&reader->lock);
	while (!reader->first && !reader->closing) {
		reader->sleeping = true;
		reader->asked_ms = 0;
		pthread_cond_wait(&reader->came, &reader->lock);
	}
	reader->sleeping = false;
	for (; reader->first && n < READER_TOGETHER; n++) {
		ret[n] = reader->first;
		reader->first = ret[n]->next;
	}
	if (!reader->first)
		reader->last = &reader->first;
	reader->waiting -= n;
	reader->asked_ms = clock_mono_ms();
	pthread_mutex_unlock(&reader->lock);
	return n;
}

/* What waits behind reads that take long goes to the workers. */
static void hand_on(void *arg)
{
	struct reader *reader = arg;
	pthread_mutex_lock(&reader->lock);
	struct row_read *read = reader->first;
	reader->first = NULL;
	reader->last = &reader->first;
	reader->waiting = 0;
	pthread_mutex_unlock(&reader->lock);
	for (struct row_read *next; read; read = next) {
		next = read->next;
		if (read->hand_on(read->call, read->arg))
			free(read);
		else
			put_back(reader, read);
	}
}

static bool ask_all(struct reader *reader, struct pg *pg, struct row_read *reads[], struct pg_ask asks[], size_t n)
{
	const struct pg_patience patience = { READER_PATIENCE_MS, hand_on, reader };
	struct error err = { 0 };
	for (size_t i = 0; i < n; i++) {
		const struct row_ask *ask = &reads[i]->ask;
		asks[i] = (struct pg_ask){ .name = ask->name, .sql = ask->sql, .params = ask->params, .n = ask->n };
	}
	return pg_prepared_all(pg, asks, n, &patience, &err) == 0;
}

/* One of them failed, or the connection did: each by itself, so that each has its own answer. */
static void ask_one(struct pg *pg, const struct row_read *read, struct pg_ask *ask)
{
	struct error err = { 0 };
	if (pg_prepared(pg, ask->name, ask->sql, ask->params, ask->n, &ask->result, &err))
		call_failed(read->call, &err);
}

static void answer(struct reader *reader, struct row_read *reads[], size_t n)
{
	struct pg_ask asks[READER_TOGETHER];
	const struct http_request *requests[READER_TOGETHER];
	struct error err = { 0 };
	struct pg *pg = pg_pool_take(reader->gateway->pool, POOL_WAIT_MS, &err);
	bool together = pg && ask_all(reader, pg, reads, asks, n);
	for (size_t i = 0; i < n; i++) {
		if (!pg)
			call_failed(reads[i]->call, &err);
		else if (!together)
			ask_one(pg, reads[i], &asks[i]);
		if (pg && asks[i].result) {
			reads[i]->call->route->row->put(reads[i]->call, asks[i].result);
			pg_result_free(&asks[i].result);
		}
		requests[i] = reads[i]->call->request;
		reads[i]->finish(reads[i]->call, reads[i]->arg);
		free(reads[i]);
	}
	pg_pool_give(reader->gateway->pool, &pg);
	http_finish(requests, n);
}

static void *run(void *arg)
{
	struct row_read *reads[READER_TOGETHER];
	for (size_t n; (n = take_some(arg, reads)) > 0;)
		answer(arg, reads, n);
	return NULL;
}

/* ---- other threads ------------------------------------------------------------------------------------------------------------------------ */

bool reader_has_room(struct reader *reader)
{
	pthread_mutex_lock(&reader->lock);
	bool slow = reader->asked_ms && clock_mono_ms() - reader->asked_ms > READER_PATIENCE_MS;
	bool room = !reader->closing && reader->waiting < READER_WAITING && !slow;
	pthread_mutex_unlock(&reader->lock);
	return room;
}

bool reader_take(struct reader *reader, struct row_read *read)
{
	pthread_mutex_lock(&reader->lock);
	bool open = !reader->closing, wakes = open && reader->sleeping;
	if (open) {
		add(reader, read);
		reader->sleeping = false;
	}
	pthread_mutex_unlock(&reader->lock);
	if (wakes) /* who wakes finds the lock free */
		pthread_cond_signal(&reader->came);
	return open;
}

/* ---- opening and closing ------------------------------------------------------------------------------------------------------------------- */

int reader_open(struct gateway *gateway, struct reader **ret, struct error *err)
{
	struct reader *reader = xmalloc(sizeof *reader);
	*ret = reader;
	reader->gateway = gateway;
	reader->last = &reader->first;
	pthread_mutex_init(&reader->lock, NULL);
	pthread_cond_init(&reader->came, NULL);
	reader->started = pthread_create(&reader->thread, NULL, run, reader) == 0;
	if (reader->started)
		return 0;
	reader_close(ret);
	return error_set(err, WEIR_FULL, "cannot start a thread: the system's limit is reached");
}

void reader_stop(struct reader *reader)
{
	if (!reader || !reader->started)
		return;
	pthread_mutex_lock(&reader->lock);
	reader->closing = true;
	pthread_cond_signal(&reader->came);
	pthread_mutex_unlock(&reader->lock);
	pthread_join(reader->thread, NULL);
	reader->started = false;
}

void reader_close(struct reader **readerp)
{
	struct reader *reader = *readerp;
	if (!reader)
		return;
	reader_stop(reader);
	pthread_cond_destroy(&reader->came);
	pthread_mutex_destroy(&reader->lock);
	xfree(readerp);
}
