/* webhook_schedule.c - when a webhook is tried again. */
#include "webhook/webhook_schedule.h"

#include <stdlib.h>
#include <string.h>

#define DAY_MS INT64_C(86400000)

static int64_t unit_of(const char **text)
{
	static const struct {
		const char *name;
		int64_t ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		size_t n = strlen(units[i].name);
		if (strncmp(*text, units[i].name, n) == 0 && !strchr("abcdefghijklmnopqrstuvwxyz", (*text)[n] ? (*text)[n] : '?')) {
			*text += n;
			return units[i].ms;
		}
	}
	return 0;
}

int webhook_schedule_read(const char *text, struct webhook_schedule *ret, struct error *err)
{
	const char *p = text;
	*ret = (struct webhook_schedule){ 0 };
	while (*p) {
		char *end;
		if (*p < '0' || *p > '9' || ret->count == WEBHOOK_WAITS_MAX)
			return error_set(err, WEIR_INVALID, "not a list of at most %d waits such as \"5s, 5m, 2h\"", WEBHOOK_WAITS_MAX);
		unsigned long long number = strtoull(p, &end, 10);
		const char *rest = end;
		int64_t unit = end - p <= 9 ? unit_of(&rest) : 0;
		if (unit == 0 || (int64_t)number > 7 * DAY_MS / unit)
			return error_set(err, WEIR_INVALID, "a wait is a number and ms, s, m or h, at most 7 days");
		ret->waits_ms[ret->count++] = (int64_t)number * unit;
		p = rest + strspn(rest, " ");
		if (*p == ',' && p[1 + strspn(p + 1, " ")])
			p += 1 + strspn(p + 1, " ");
		else if (*p)
			return error_set(err, WEIR_INVALID, "waits are apart by commas");
	}
	return ret->count > 0 ? 0 : error_set(err, WEIR_INVALID, "at least one wait is needed");
}

int64_t webhook_wait_ms(const struct webhook_schedule *schedule, unsigned tries, int64_t retry_after_ms, uint64_t random)
{
	if (tries == 0 || tries > schedule->count)
		return -1;
	int64_t wait = schedule->waits_ms[tries - 1];
	wait += (int64_t)(random % (uint64_t)(wait / 5 + 1));
	if (retry_after_ms > DAY_MS)
		retry_after_ms = DAY_MS;
	return wait < retry_after_ms ? retry_after_ms : wait;
}

enum webhook_verdict webhook_verdict_of(long status)
{
	if (status >= 200 && status < 300)
		return VERDICT_DELIVERED;
	return status == 410 ? VERDICT_GONE : VERDICT_AGAIN;
}
