/* admin_connections.c - GET /admin/v1/connections: who is connected to this gateway, what they follow, and how far behind they are; and which
 * gateways there are, with their newest connections. */
#include "admin/admin.h"

#include "live/hub.h"
#include "registry.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Places are "number gateway": another gateway has other connections under the same numbers. False: answered. */
static bool place_of(struct call *call, uint64_t *ret_before)
{
	char place[256], *end = NULL;
	*ret_before = 0;
	if (!page_cursor_text(call, place, sizeof place))
		return false;
	if (!*place)
		return true;
	*ret_before = strtoull(place, &end, 10);
	return (*end == ' ' && strcmp(end + 1, registry_name(call->gateway->registry)) == 0) ||
	       call_problem(call, 400, "invalid_cursor", "this list was begun at another gateway: begin again");
}

void admin_connections(struct call *call)
{
	struct hub_search search = { .limit = (size_t)call_number(call, "limit", LIMIT_DEFAULT), .find = call_text(call, "find") };
	const struct hub_counts counts = hub_counts(call->gateway->hub);
	char place[256];
	if (!place_of(call, &search.before))
		return;
	put_object(call->out, NULL);
	put_u64(call->out, "connections", counts.connections);
	put_u64(call->out, "subscriptions", counts.subscriptions);
	registry_put(call->gateway->registry, call->out);
	const uint64_t next = hub_list(call->gateway->hub, call->out, &search);
	snprintf(place, sizeof place, "%" PRIu64 " %s", next, registry_name(call->gateway->registry));
	page_put_cursor_behind(call, next ? place : NULL);
	put_end(call->out, '}');
}
