/* clock.c - monotonic and wall time, back-off with full jitter, per-thread randomness. */
#include "base/clock.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t mono(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

static int64_t wall(void)
{
	return read_clock(CLOCK_REALTIME);
}

int64_t (*clock_mono_ns)(void) = mono;
int64_t (*clock_wall_ns)(void) = wall;

int64_t clock_mono_ms(void)
{
	return clock_mono_ns() / 1000000;
}

int64_t clock_wall_ms(void)
{
	return clock_wall_ns() / 1000000;
}

static void nap(int64_t ms)
{
	if (ms <= 0)
		return;
	struct timespec t = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };
	nanosleep(&t, NULL);
}

void (*clock_sleep_ms)(int64_t) = nap;

int64_t backoff_next_ms(struct backoff *b)
{
	int64_t limit = b->base_ms > 0 ? b->base_ms : 1;
	for (unsigned i = 0; i < b->attempts && limit < b->max_ms; i++)
		limit = limit > INT64_MAX / 2 ? b->max_ms : limit * 2;
	if (b->max_ms > 0 && limit > b->max_ms)
		limit = b->max_ms;
	if (b->attempts < 63)
		b->attempts++;
	return 1 + (int64_t)(random_u64() % (uint64_t)limit);
}

void backoff_reset(struct backoff *b)
{
	b->attempts = 0;
}

static uint64_t kernel_seeded(void)
{
	/* splitmix64, seeded once per thread from the kernel: for jitter and identifiers, not for secrets. */
	static _Thread_local uint64_t state;
	if (state == 0 && getrandom(&state, sizeof state, 0) != (ssize_t)sizeof state)
		state = (uint64_t)mono();
	uint64_t z = (state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t (*random_u64)(void) = kernel_seeded;
