/* admin_connections.c - GET /admin/v1/connections: who is connected to this gateway, what they follow, and how far behind they are; and which
 * gateways there are, with their newest connections. */
#include "admin/admin.h"

#include "live/hub.h"
#include "registry.h"

void admin_connections(struct call *call)
{
	struct hub_counts counts = hub_counts(call->gateway->hub);
	put_object(call->out, NULL);
	hub_list(call->gateway->hub, call->out, (size_t)call_number(call, "limit", LIMIT_DEFAULT));
	put_u64(call->out, "connections", counts.connections);
	put_u64(call->out, "subscriptions", counts.subscriptions);
	registry_put(call->gateway->registry, call->out);
	put_end(call->out, '}');
}
