/* bucket.c - tokens by elapsed time, and the pauses that an endpoint asks for. */
#include "base/bucket.h"

void bucket_init(struct bucket *b, int64_t per_second, int64_t now_ms)
{
	*b = (struct bucket){ .per_second = per_second, .tokens = (double)per_second, .updated_ms = now_ms };
}

static void refill(struct bucket *b, int64_t now_ms)
{
	if (now_ms <= b->updated_ms)
		return;
	b->tokens += (double)(now_ms - b->updated_ms) * (double)b->per_second / 1000;
	if (b->tokens > (double)b->per_second)
		b->tokens = (double)b->per_second;
	b->updated_ms = now_ms;
}

int64_t bucket_available(struct bucket *b, int64_t want, int64_t now_ms)
{
	if (now_ms < b->blocked_until_ms)
		return 0;
	if (b->per_second == 0)
		return want;
	refill(b, now_ms);
	int64_t have = (int64_t)b->tokens;
	return have < want ? have : want;
}

void bucket_take(struct bucket *b, int64_t calls)
{
	if (b->per_second > 0)
		b->tokens -= (double)calls;
}

int64_t bucket_wait_ms(struct bucket *b, int64_t now_ms)
{
	if (now_ms < b->blocked_until_ms)
		return b->blocked_until_ms - now_ms;
	if (b->per_second == 0)
		return 0;
	refill(b, now_ms);
	if (b->tokens >= 1)
		return 0;
	return 1 + (int64_t)((1 - b->tokens) * 1000 / (double)b->per_second);
}

void bucket_refused(struct bucket *b, int64_t retry_after_ms, int64_t now_ms)
{
	int64_t pause = retry_after_ms;
	if (pause <= 0) {
		pause = BUCKET_PAUSE_MS;
		for (unsigned i = 0; i < b->refusals && pause < BUCKET_PAUSE_MAX_MS; i++)
			pause *= 2;
	}
	if (pause > BUCKET_PAUSE_MAX_MS)
		pause = BUCKET_PAUSE_MAX_MS;
	if (b->refusals < 32)
		b->refusals++;
	if (now_ms + pause > b->blocked_until_ms)
		b->blocked_until_ms = now_ms + pause;
}

void bucket_success(struct bucket *b)
{
	b->refusals = 0;
}
