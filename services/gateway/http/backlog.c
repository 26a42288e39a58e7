/* backlog.c - see backlog.h. */
#include "http/backlog.h"

#define MS INT64_C(1000000)

static int64_t get(const _Atomic int64_t *value)
{
	return atomic_load_explicit(value, memory_order_relaxed);
}

static void set(_Atomic int64_t *value, int64_t to)
{
	atomic_store_explicit(value, to, memory_order_relaxed);
}

static int64_t since(int64_t then_ns, int64_t now_ns)
{
	return now_ns > then_ns ? now_ns - then_ns : 0;
}

void backlog_enter(struct backlog *b, int64_t now_ns)
{
	int64_t waiting = get(&b->waiting);
	if (waiting == 0) {
		set(&b->left_ns, now_ns);
		set(&b->since_ns, now_ns);
	}
	set(&b->waiting, waiting + 1);
}

void backlog_leave(struct backlog *b, int64_t now_ns)
{
	int64_t apart = get(&b->apart_ns), last = since(get(&b->left_ns), now_ns);
	set(&b->apart_ns, apart + (last - apart) / BACKLOG_MEAN);
	set(&b->left_ns, now_ns);
	set(&b->waiting, get(&b->waiting) - 1);
}

int64_t backlog_wait_ns(const struct backlog *b, int64_t now_ns)
{
	int64_t waiting = get(&b->waiting), as_before = waiting * get(&b->apart_ns), stood_still = since(get(&b->left_ns), now_ns);
	return waiting <= 0 ? 0 : as_before > stood_still ? as_before : stood_still;
}

bool backlog_is_burst(const struct backlog *b, int64_t now_ns)
{
	int64_t turned = get(&b->turned_ns);
	bool stands = get(&b->waiting) > 0 && since(get(&b->since_ns), now_ns) >= BACKLOG_STANDS_MS * MS;
	return !stands && (turned == 0 || since(turned, now_ns) >= BACKLOG_CALM_MS * MS);
}

void backlog_turned_away(struct backlog *b, int64_t now_ns)
{
	set(&b->turned_ns, now_ns);
}
