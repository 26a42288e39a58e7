/* pool.c - a bounded set of read-only connections shared by threads. */
#include "store/internal.h"

#include "base/clock.h"
#include "base/cond.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

struct pg_pool {
	pthread_mutex_t lock;
	pthread_cond_t given;
	size_t size, idle_count;
	struct pg **all;  /* owned */
	struct pg **idle; /* stack: the warmest connection is taken first */
};

int pg_pool_open(const struct pg_options *options, size_t size, int64_t first_ms, struct pg_pool **ret, struct error *err)
{
	struct pg_options read_only = *options;
	read_only.read_only = true;
	struct pg_pool *pool = xmalloc(sizeof *pool);
	pthread_mutex_init(&pool->lock, NULL);
	cond_init(&pool->given);
	pool->size = size > 0 ? size : 1;
	pool->all = xcalloc(pool->size, sizeof *pool->all);
	pool->idle = xcalloc(pool->size, sizeof *pool->idle);
	for (size_t i = 0; i < pool->size; i++)
		pool->all[i] = pool->idle[pool->idle_count++] = pg_new(&read_only);
	struct pg *first = pool->idle[pool->idle_count - 1];
	const int64_t patience_ms = first->connect_timeout_ms;
	first->connect_timeout_ms = first_ms < patience_ms ? first_ms : patience_ms;
	int code = pg_ready(first, err);
	first->connect_timeout_ms = patience_ms;
	if (code) {
		pg_pool_close(&pool);
		return code;
	}
	*ret = pool;
	return 0;
}

void pg_pool_close(struct pg_pool **poolp)
{
	struct pg_pool *pool = *poolp;
	if (!pool)
		return;
	for (size_t i = 0; i < pool->size; i++)
		pg_close(&pool->all[i]);
	xfree(&pool->all);
	xfree(&pool->idle);
	pthread_cond_destroy(&pool->given);
	pthread_mutex_destroy(&pool->lock);
	xfree(poolp);
}

struct pg *pg_pool_take(struct pg_pool *pool, int64_t timeout_ms, struct error *err)
{
	const struct timespec until = cond_deadline(timeout_ms);
	pthread_mutex_lock(&pool->lock);
	int waited = 0;
	while (pool->idle_count == 0 && waited != ETIMEDOUT)
		waited = pthread_cond_timedwait(&pool->given, &pool->lock, &until);
	struct pg *pg = pool->idle_count > 0 ? pool->idle[--pool->idle_count] : NULL;
	pthread_mutex_unlock(&pool->lock);
	if (!pg) {
		error_set(err, WEIR_FULL, "all %zu PostgreSQL connections were busy for %lld ms", pool->size, (long long)timeout_ms);
		return NULL;
	}
	if (pg_ready(pg, err)) {
		pg_pool_give(pool, &pg);
		return NULL;
	}
	return pg;
}

void pg_pool_give(struct pg_pool *pool, struct pg **pgp)
{
	struct pg *pg = *pgp;
	if (!pg)
		return;
	*pgp = NULL;
	pg_rollback(pg);
	pthread_mutex_lock(&pool->lock);
	pool->idle[pool->idle_count++] = pg;
	pthread_mutex_unlock(&pool->lock);
	pthread_cond_signal(&pool->given); /* who wakes finds the lock free */
}
