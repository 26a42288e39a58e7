/* give_way.c - half of the time at most, and never long at once. */
#include "give_way.h"

bool give_way(struct give_way *way, bool awaited, int64_t now_ms)
{
	if (way->since_ms != 0 && (!awaited || now_ms - way->since_ms >= GIVE_WAY_MS)) {
		way->until_ms = now_ms + (now_ms - way->since_ms);
		way->since_ms = 0;
	}
	if (!awaited || now_ms < way->until_ms)
		return false;
	if (way->since_ms == 0)
		way->since_ms = now_ms;
	return true;
}
