/* admin_statistics.c - GET /admin/v1/statistics: attempts, retries and dead letters of each subscription, by message type and error class. */
#include "admin/admin.h"

#include "bus/statistics.h"

#include <string.h>

struct rows {
	struct buf *out;
	const char *chain;
	const struct admin_lane *lane;
};

static void put_row(const struct bus_statistics *row, void *arg)
{
	const struct rows *rows = arg;
	put_object(rows->out, NULL);
	put_text(rows->out, "chain", rows->chain);
	put_text(rows->out, "topic", rows->lane->topic);
	put_text(rows->out, "subscription", rows->lane->subscription);
	put_text(rows->out, "type", row->type);
	put_text(rows->out, "error_class", row->error_class);
	put_u64(rows->out, "attempts", row->attempts);
	put_u64(rows->out, "retried", row->retried);
	put_u64(rows->out, "recovered", row->recovered);
	put_u64(rows->out, "parked", row->parked);
	put_end(rows->out, '}');
}

static int put_statistics(struct bus *bus, const char *chain, const char *subscription, struct buf *out, struct error *err)
{
	int code = 0;
	for (size_t i = 0; i < ADMIN_LANES && code == 0; i++) {
		struct rows rows = { out, chain, &admin_lanes[i] };
		if (strcmp(admin_lanes[i].subscription, subscription) == 0)
			code = bus_statistics_read(bus, chain, admin_lanes[i].topic, subscription, put_row, &rows, err);
	}
	return code;
}

void admin_statistics(struct call *call)
{
	admin_items_of_all(call, put_statistics);
}
