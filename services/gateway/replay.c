/* replay.c - the threads that read the journal for subscriptions. What a journal row means for a topic is in replay_read.c. */
#include "replay_internal.h"

#include "base/clock.h"

#include <pthread.h>
#include <string.h>

#define POOL_WAIT_MS 2000

struct replay {
	struct gateway *gateway;
	replay_done *done;
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t queued;
	struct replay_job *first, *last;
	bool closing;
	pthread_t threads[8];
	unsigned count;
};

static int journal_end(const struct replay_job *job, struct pg *pg, uint64_t *ret_sequence, int64_t *ret_start, struct error *err)
{
	struct pg_param p;
	struct pg_result *r = NULL;
	int code = pg_prepared(pg, "journal_end", "select journal_sequence, start_height from weir_api.chains where id = $1",
			       pg_i32(&p, atomic_load(&job->chain->id)), 1, &r, err);
	if (!code && pg_rows(r) == 0)
		code = error_set(err, WEIR_UNAVAILABLE, "the ledger does not have this chain yet");
	if (!code) {
		*ret_sequence = (uint64_t)pg_get_i64(r, 0, 0);
		*ret_start = pg_get_i64(r, 0, 1);
	}
	pg_result_free(&r);
	return code;
}

static int from_offset(struct replay_job *job, struct pg *pg, struct error *err)
{
	uint64_t newest = 0;
	int64_t start = 0;
	int code = journal_end(job, pg, &newest, &start, err);
	if (!code && job->offset.sequence > newest)
		code = error_set(err, WEIR_NOT_FOUND, "the offset is beyond the end of the ledger's journal: it is of another ledger");
#ifdef WEIR_MUTANT_RESUME_OFF_BY_ONE
	job->offset.sequence++;
#endif
	return code;
}

/* The journal from where the canonical block at the height was applied: everything canonical above it comes later. */
static int from_height(struct replay_job *job, struct pg *pg, struct error *err)
{
	uint64_t newest = 0;
	int64_t start = 0;
	struct pg_param p[2];
	struct pg_result *r = NULL;
	int code = journal_end(job, pg, &newest, &start, err);
	if (code)
		return code;
	job->offset = (struct offset){ .index = -1, .min_height = job->height };
	if (job->height <= (start > 0 ? start - 1 : 0)) /* the whole ledger, openings included */
		return 0;
	pg_i32(&p[0], atomic_load(&job->chain->id));
	pg_i64(&p[1], job->height);
	code = pg_prepared(pg, "journal_of_height",
			   "select j.sequence from weir_api.blocks b join weir_api.journal j on j.chain = b.chain and j.height = b.height"
			   " and j.branch = b.branch and j.kind = 4 where b.chain = $1 and b.height = $2 and b.canonical",
			   p, 2, &r, err);
	if (!code) /* not reached yet: from now on */
		job->offset.sequence = pg_rows(r) > 0 ? (uint64_t)pg_get_i64(r, 0, 0) - 1 : newest;
	job->offset.given_after = job->offset.sequence;
	pg_result_free(&r);
	return code;
}

static int answer(struct replay *replay, struct replay_job *job, struct error *err)
{
	struct pg *pg = pg_pool_take(replay->gateway->pool, POOL_WAIT_MS, err);
	if (!pg)
		return err->code;
	int code = pg_begin(pg, err);
	if (!code && job->task == REPLAY_FROM_OFFSET)
		code = from_offset(job, pg, err);
	else if (!code && job->task == REPLAY_FROM_HEIGHT)
		code = from_height(job, pg, err);
	else if (!code)
		code = replay_read(job, pg, err);
	pg_pool_give(replay->gateway->pool, &pg);
	return code;
}

static void *work(void *arg)
{
	struct replay *replay = arg;
	for (;;) {
		pthread_mutex_lock(&replay->lock);
		while (!replay->first && !replay->closing)
			pthread_cond_wait(&replay->queued, &replay->lock);
		struct replay_job *job = replay->first;
		bool closing = replay->closing;
		if (job)
			replay->first = job->next;
		if (!replay->first)
			replay->last = NULL;
		pthread_mutex_unlock(&replay->lock);
		if (!job)
			return NULL;
		job->error = (struct error){ 0 };
		job->code = closing ? error_set(&job->error, WEIR_CANCELED, "shutting down") : answer(replay, job, &job->error);
		replay->done(job, replay->arg);
	}
}

int replay_open(struct gateway *gateway, unsigned threads, replay_done *done, void *arg, struct replay **ret, struct error *err)
{
	struct replay *replay = xmalloc(sizeof *replay);
	replay->gateway = gateway;
	replay->done = done;
	replay->arg = arg;
	pthread_mutex_init(&replay->lock, NULL);
	pthread_cond_init(&replay->queued, NULL);
	const unsigned most = sizeof replay->threads / sizeof replay->threads[0];
	*ret = replay;
	for (; replay->count < (threads < most ? threads : most); replay->count++)
		if (pthread_create(&replay->threads[replay->count], NULL, work, replay) != 0) {
			replay_close(ret);
			return error_set(err, WEIR_FULL, "cannot start a thread: the system's limit is reached");
		}
	return 0;
}

void replay_close(struct replay **replayp)
{
	struct replay *replay = *replayp;
	if (!replay)
		return;
	pthread_mutex_lock(&replay->lock);
	replay->closing = true;
	pthread_cond_broadcast(&replay->queued);
	pthread_mutex_unlock(&replay->lock);
	for (unsigned i = 0; i < replay->count; i++)
		pthread_join(replay->threads[i], NULL);
	pthread_cond_destroy(&replay->queued);
	pthread_mutex_destroy(&replay->lock);
	xfree(replayp);
}

void replay_submit(struct replay *replay, struct replay_job *job)
{
	job->next = NULL;
	pthread_mutex_lock(&replay->lock);
	*(replay->last ? &replay->last->next : &replay->first) = job;
	replay->last = job;
	pthread_cond_signal(&replay->queued);
	pthread_mutex_unlock(&replay->lock);
}

void replay_job_free(struct replay_job **jobp)
{
	struct replay_job *job = *jobp;
	if (!job)
		return;
	for (size_t i = 0; i < job->count; i++)
		tail_drop(&job->pushes[i].tail);
	xfree(&job->pushes);
	xfree(jobp);
}
