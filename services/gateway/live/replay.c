/* replay.c - the threads that read the journal for subscriptions. What a journal row means for a topic is in replay_read.c. */
#include "live/replay_internal.h"

#include "live/letters.h"

#include "watchlist/watchlist.h"

#include "base/clock.h"

#include <pthread.h>
#include <string.h>

#define POOL_WAIT_MS 2000
#define ANCESTORS "4096" /* blocks below one that was taken back which are looked at */

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

int replay_print(const struct replay_job *job, struct bytes body, uint32_t *ret, struct error *err)
{
	struct event *event = NULL;
	int code = event_read(&job->chain->chain, body, &event, err);
	*ret = code ? 0 : event->print;
	event_drop(&event);
	return code;
}

/* Of the event with this sequence; 0: the journal has none. */
static int print_at(const struct replay_job *job, struct pg *pg, uint64_t sequence, uint32_t *ret, struct error *err)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	*ret = 0;
	pg_i32(&p[0], atomic_load(&job->chain->id));
	pg_i64(&p[1], (int64_t)sequence);
	int code = pg_prepared(pg, "journal_at", "select body from weir_api.journal where chain = $1 and sequence = $2", p, 2, &r, err);
	if (!code && pg_rows(r) == 1)
		code = replay_print(job, pg_get_bytes(r, 0, 0), ret, err);
	pg_result_free(&r);
	return code;
}

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

/* Is what the offset stands behind what this ledger has there? In one that was restored from a backup or made anew, events that others were given are
 * gone, and their sequences are given out again. */
static int check_print(struct replay_job *job, struct pg *pg, struct error *err)
{
	uint32_t print = 0;
	int code = print_at(job, pg, job->offset.sequence, &print, err);
	if (code)
		return code;
	if (!job->offset.print && job->trusts)
		job->offset.print = print;
	else if (!job->offset.print)
		return error_set(err, WEIR_NOT_FOUND, "the offset does not say which ledger it is of: it comes from weir 0.1; subscribe from a height, or with a snapshot");
	if (job->offset.print != print)
		return error_set(err, WEIR_NOT_FOUND, "the ledger was restored or made anew since the offset was given, and has something else there: subscribe from a height, or with a snapshot");
	return 0;
}

static int from_offset(struct replay_job *job, struct pg *pg, struct error *err)
{
	uint64_t newest = 0;
	int64_t start = 0;
	int code = journal_end(job, pg, &newest, &start, err);
	if (!code && job->offset.sequence > newest)
		code = error_set(err, WEIR_NOT_FOUND, "the offset is beyond the end of the ledger's journal: it is of another ledger; subscribe from a height, or with a snapshot");
	else if (!code && job->offset.sequence > 0)
		code = check_print(job, pg, err);
#ifdef WEIR_MUTANT_RESUME_OFF_BY_ONE
	job->offset.sequence++;
#endif
	return code;
}

/* The newest canonical block that the client's block stands on, as far as the ledger ever had it: superseded blocks stay. */
static int find_ancestor(struct replay_job *job, struct pg *pg, struct error *err)
{
	struct pg_param p[3];
	struct pg_result *r = NULL;
	pg_i32(&p[0], atomic_load(&job->chain->id));
	pg_i64(&p[1], job->height);
	pg_bytea(&p[2], (struct bytes){ job->hash, sizeof job->hash });
	int code = pg_prepared(pg, "journal_ancestor",
			       "with recursive up as (select b.height, b.hash, b.parent_hash, b.canonical from weir_api.blocks b"
			       "  where b.chain = $1 and b.height = $2 and b.hash = $3"
			       " union select b.height, b.hash, b.parent_hash, b.canonical from up u join weir_api.blocks b on b.chain = $1 and b.height = u.height - 1"
			       "  and b.hash = u.parent_hash where not u.canonical and u.height > $2 - " ANCESTORS ")"
			       " select height, hash from up where canonical order by height desc limit 1",
			       p, 3, &r, err);
	job->ancestor.known = !code && pg_rows(r) == 1;
	if (job->ancestor.known) {
		job->ancestor.height = pg_get_i64(r, 0, 0);
		memcpy(job->ancestor.hash, pg_get_bytes(r, 0, 1).data, sizeof job->ancestor.hash);
	}
	pg_result_free(&r);
	return code;
}

/* Is the canonical block, r's row, the one that the client knows? */
static int check_hash(struct replay_job *job, struct pg *pg, const struct pg_result *r, struct error *err)
{
	if (pg_rows(r) > 0 && memcmp(pg_get_bytes(r, 0, 1).data, job->hash, sizeof job->hash) == 0)
		return 0;
	int code = find_ancestor(job, pg, err);
	if (code)
		return code;
	if (pg_rows(r) == 0 && !job->ancestor.known)
		return error_set(err, WEIR_GAP, "the ledger has no block %lld to compare the hash with: it is not there yet, or began later", (long long)job->height);
	if (!job->ancestor.known)
		return error_set(err, WEIR_MISMATCH, "block %lld is another one, and the ledger never had the one with this hash: subscribe from a lower height",
				 (long long)job->height);
	return error_set(err, WEIR_MISMATCH, "block %lld was taken back in a reorg: what is above block %lld is no longer so; take it back and subscribe from there",
			 (long long)job->height, (long long)job->ancestor.height);
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
	if (job->height <= (start > 0 ? start - 1 : 0) && !job->has_hash) /* the whole ledger, openings included */
		return 0;
	pg_i32(&p[0], atomic_load(&job->chain->id));
	pg_i64(&p[1], job->height);
	code = pg_prepared(pg, "journal_of_height",
			   "select j.sequence, b.hash from weir_api.blocks b join weir_api.journal j on j.chain = b.chain and j.height = b.height"
			   " and j.branch = b.branch and j.kind = 4 where b.chain = $1 and b.height = $2 and b.canonical",
			   p, 2, &r, err);
	if (!code && job->has_hash)
		code = check_hash(job, pg, r, err);
	if (!code) /* not reached yet: from now on */
		job->offset.sequence = pg_rows(r) > 0 ? (uint64_t)pg_get_i64(r, 0, 0) - 1 : newest;
	job->offset.given_after = job->offset.sequence;
	pg_result_free(&r);
	return code ? code : print_at(job, pg, job->offset.sequence, &job->offset.print, err);
}

static int from_now(struct replay_job *job, struct pg *pg, struct error *err)
{
	int64_t start = 0;
	job->offset = (struct offset){ .index = -1 };
	int code = journal_end(job, pg, &job->offset.sequence, &start, err);
	job->offset.given_after = job->offset.sequence;
	return code ? code : print_at(job, pg, job->offset.sequence, &job->offset.print, err);
}

static int check_watchlist(const struct replay_job *job, struct pg *pg, struct error *err)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_i64(&p[0], job->filter.watchlist);
	pg_text(&p[1], job->chain->chain.name);
	int code = pg_prepared(pg, "replay_watchlist", "select owner from weir_watch.lists where id = $1 and chain = $2 and deleted_at is null", p, 2, &r, err);
	if (!code && (pg_rows(r) == 0 || (job->holder[0] && strcmp(pg_get_text(r, 0, 0), job->holder) != 0)))
		code = error_set(err, WEIR_PERMISSION, "there is no such watch-list of yours on this chain");
	pg_result_free(&r);
	return code;
}

int replay_answer(struct gateway *gateway, struct replay_job *job, struct error *err)
{
	if (job->topic == TOPIC_OF_LETTERS)
		return letters_answer(gateway, job, err);
	struct pg *pg = pg_pool_take(gateway->pool, POOL_WAIT_MS, err);
	if (!pg)
		return err->code;
	int code = pg_begin(pg, err);
	if (!code && job->filter.watchlist)
		code = watchlists_fence(pg, err);
	if (!code && job->filter.watchlist && job->task != REPLAY_READ)
		code = check_watchlist(job, pg, err);
	if (!code && job->task == REPLAY_FROM_NOW)
		code = from_now(job, pg, err);
	else if (!code && job->task == REPLAY_FROM_OFFSET)
		code = from_offset(job, pg, err);
	else if (!code && job->task == REPLAY_FROM_HEIGHT)
		code = from_height(job, pg, err);
	else if (!code && job->task == REPLAY_SNAPSHOT)
		code = replay_snapshot(job, pg, err);
	else if (!code)
		code = replay_read(job, pg, err);
	pg_pool_give(gateway->pool, &pg);
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
		if (closing || atomic_load(&job->unwanted))
			job->code = error_set(&job->error, WEIR_CANCELED, closing ? "shutting down" : "nobody waits for it any more");
		else
			job->code = replay_answer(replay->gateway, job, &job->error);
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
