/* denial.c - see denial.h: a sorted array of marks, replaced as a whole. */
#include "identity/denial.h"

#include "base/clock.h"
#include "base/mem.h"

#include <nettle/sha2.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct denial {
	uint64_t mark;
	int64_t issued_before_ms; /* INT64_MAX: whenever it was issued */
	int64_t until_ms;
};

struct denials {
	pthread_mutex_t lock; /* guards items and count */
	struct denial *items; /* by mark */
	size_t count;
	int64_t seen; /* the loading thread's own; -1: nothing */
};

uint64_t denial_mark(char kind, const char *text, size_t size)
{
	struct sha256_ctx sha;
	uint8_t digest[SHA256_DIGEST_SIZE];
	uint64_t mark;
	sha256_init(&sha);
	sha256_update(&sha, 1, (const uint8_t *)&kind);
	sha256_update(&sha, size, (const uint8_t *)text);
	sha256_digest(&sha, sizeof digest, digest);
	memcpy(&mark, digest, sizeof mark);
	return mark ? mark : 1;
}

struct denials *denials_new(void)
{
	struct denials *d = xmalloc(sizeof *d);
	pthread_mutex_init(&d->lock, NULL);
	d->seen = -1;
	return d;
}

void denials_free(struct denials **dp)
{
	struct denials *d = *dp;
	if (!d)
		return;
	free(d->items);
	pthread_mutex_destroy(&d->lock);
	xfree(dp);
}

static int by_mark(const void *a, const void *b)
{
	const struct denial *x = a, *y = b;
	return x->mark < y->mark ? -1 : x->mark > y->mark;
}

/* The first with this mark, or a later one. */
static size_t first_of(const struct denials *d, uint64_t mark)
{
	size_t low = 0, high = d->count;
	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		if (d->items[middle].mark < mark)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_denied(const struct denials *d, uint64_t mark, int64_t issued_s, int64_t now_ms)
{
	for (size_t i = first_of(d, mark); i < d->count && d->items[i].mark == mark; i++)
		if (d->items[i].until_ms > now_ms && issued_s * 1000 <= d->items[i].issued_before_ms)
			return true;
	return false;
}

bool denials_have(struct denials *d, uint64_t jti, const char *subject, int64_t issued_s)
{
	const int64_t now_ms = clock_wall_ms();
	pthread_mutex_lock(&d->lock);
	const bool have = d->count > 0 && ((jti && is_denied(d, jti, issued_s, now_ms)) || is_denied(d, denial_mark('s', subject, strlen(subject)), issued_s, now_ms));
	pthread_mutex_unlock(&d->lock);
	return have;
}

static void take_row(const struct pg_result *r, size_t row, struct denial *ret)
{
	const bool of_subject = pg_is_null(r, row, 0);
	const char *text = pg_get_text(r, row, of_subject ? 1 : 0);
	*ret = (struct denial){ .mark = denial_mark(of_subject ? 's' : 'j', text, strlen(text)),
				.issued_before_ms = of_subject ? pg_get_i64(r, row, 2) : INT64_MAX,
				.until_ms = pg_get_i64(r, row, 3) };
}

/* A database whose reconciler is older has no such table, and no denials. Those made at the same time may pass DENIALS_MAX by a few. */
static int read_all(struct pg *pg, struct pg_result **ret, struct error *err)
{
	struct pg_result *r = NULL;
	int code = pg_prepared(pg, "denials_there", "select to_regclass('weir_identity.token_denials') is not null", NULL, 0, &r, err);
	const bool there = !code && pg_get_bool(r, 0, 0);
	pg_result_free(&r);
	return !there ? code : pg_prepared(pg, "denials", "select jti, subject, (extract(epoch from issued_before) * 1000)::int8, (extract(epoch from until) * 1000)::int8"
							  " from weir_identity.token_denials where until > now() order by id desc limit 11000", NULL, 0, ret, err);
}

int denials_load(struct denials *d, struct pg *pg, int64_t number, bool *ret_changed, struct error *err)
{
	struct pg_result *r = NULL;
	*ret_changed = false;
	if (number == d->seen)
		return 0;
	int code = read_all(pg, &r, err);
	if (code)
		return code;
	const size_t count = r ? pg_rows(r) : 0;
	struct denial *items = xcalloc(count ? count : 1, sizeof *items);
	for (size_t i = 0; i < count; i++)
		take_row(r, i, &items[i]);
	qsort(items, count, sizeof *items, by_mark);
	pg_result_free(&r);
	pthread_mutex_lock(&d->lock);
	struct denial *old = d->items;
	d->items = items;
	d->count = count;
	pthread_mutex_unlock(&d->lock);
	free(old);
	d->seen = number;
	*ret_changed = count > 0;
	return 0;
}
