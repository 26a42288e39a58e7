/* final.c - a table of answers in the order that they came in, under one lock. */
#include "call/final.h"

#include "base/hash.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 32768

struct kept {
	struct final_answer answer;
	struct kept *next_of_bucket;
	struct kept *newer;
	size_t path_size, body_size;
	char text[]; /* path, NUL, body */
};

struct final_answers {
	size_t max_bytes;
	struct metric *bytes_now, *given;
	pthread_mutex_t lock; /* guards everything below */
	size_t bytes;
	uint64_t turn;
	struct kept *oldest, **newest;
	struct kept *buckets[BUCKETS];
};

static struct kept **find(struct final_answers *all, const char *path, size_t size)
{
	uint64_t hash = hash_bytes(HASH_BASIS, path, size);
	struct kept **place = &all->buckets[(hash ^ hash >> 32) % BUCKETS];
	while (*place && ((*place)->path_size != size || memcmp((*place)->text, path, size) != 0))
		place = &(*place)->next_of_bucket;
	return place;
}

static struct kept **place_of(struct final_answers *all, const char *path)
{
	return find(all, path, strlen(path));
}

static size_t size_of(const struct kept *kept)
{
	return sizeof *kept + kept->path_size + 1 + kept->body_size;
}

static void drop_oldest(struct final_answers *all)
{
	struct kept *kept = all->oldest, **place = place_of(all, kept->text);
	*place = kept->next_of_bucket;
	all->oldest = kept->newer;
	if (!all->oldest)
		all->newest = &all->oldest;
	all->bytes -= size_of(kept);
	free(kept);
}

static void note_bytes(struct final_answers *all)
{
	if (all->bytes_now)
		metric_set(all->bytes_now, (double)all->bytes);
}

struct final_answers *final_new(size_t max_bytes, struct metric *bytes, struct metric *given)
{
	struct final_answers *all = xmalloc(sizeof *all);
	all->max_bytes = max_bytes;
	all->bytes_now = bytes;
	all->given = given;
	all->newest = &all->oldest;
	pthread_mutex_init(&all->lock, NULL);
	return all;
}

void final_free(struct final_answers **allp)
{
	struct final_answers *all = *allp;
	if (!all)
		return;
	while (all->oldest)
		drop_oldest(all);
	pthread_mutex_destroy(&all->lock);
	xfree(allp);
}

bool final_has(struct final_answers *all, const char *path, size_t size)
{
	pthread_mutex_lock(&all->lock);
	bool has = *find(all, path, size) != NULL;
	pthread_mutex_unlock(&all->lock);
	return has;
}

bool final_find(struct final_answers *all, const char *path, struct final_answer *ret, struct buf *ret_body)
{
	pthread_mutex_lock(&all->lock);
	const struct kept *kept = *place_of(all, path);
	if (kept) {
		*ret = kept->answer;
		buf_add(ret_body, kept->text + kept->path_size + 1, kept->body_size);
	}
	pthread_mutex_unlock(&all->lock);
	if (kept && all->given)
		metric_inc(all->given);
	return kept;
}

uint64_t final_turn(struct final_answers *all)
{
	pthread_mutex_lock(&all->lock);
	uint64_t turn = all->turn;
	pthread_mutex_unlock(&all->lock);
	return turn;
}

void final_keep(struct final_answers *all, uint64_t turn, const char *path, const struct final_answer *answer, struct bytes body)
{
	size_t path_size = strlen(path);
	struct kept *kept = xmalloc(sizeof *kept + path_size + 1 + body.size);
	kept->answer = *answer;
	kept->path_size = path_size;
	kept->body_size = body.size;
	memcpy(kept->text, path, path_size + 1);
	if (body.size > 0)
		memcpy(kept->text + path_size + 1, body.data, body.size);
	pthread_mutex_lock(&all->lock);
	bool wanted = turn == all->turn && body.size <= FINAL_ANSWER_MAX && size_of(kept) <= all->max_bytes && !*place_of(all, path);
	while (wanted && all->oldest && all->bytes + size_of(kept) > all->max_bytes)
		drop_oldest(all);
	if (wanted) {
		*place_of(all, path) = kept;
		*all->newest = kept;
		all->newest = &kept->newer;
		all->bytes += size_of(kept);
		note_bytes(all);
	}
	pthread_mutex_unlock(&all->lock);
	if (!wanted)
		free(kept);
}

void final_forget(struct final_answers *all)
{
	pthread_mutex_lock(&all->lock);
	all->turn++;
	while (all->oldest)
		drop_oldest(all);
	note_bytes(all);
	pthread_mutex_unlock(&all->lock);
}
