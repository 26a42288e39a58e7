/* hub_room.c - how many connections one client may hold: by its key, else by its address. Those that stay are counted: WebSockets and event streams. */
#include "live/hub_internal.h"

#include "base/clock.h"

#include <nettle/sha2.h>
#include <string.h>

#define ROOMS 4096

/* Whom it counts for; 64 bits of a digest that nobody outside can compute, so that nobody can share somebody else's room. */
static uint64_t room_of(const struct conn *conn, bool *ret_key)
{
	struct sha256_ctx sha;
	uint8_t digest[SHA256_DIGEST_SIZE];
	int64_t until_ms;
	uint64_t room;
	char address[CLIENT_ADDRESS_TEXT] = "";
	struct client_address a;
	const char *holder = conn->socket ? http_holder(conn->socket, &until_ms) : "";
	if (client_address_parse(conn->remote, strlen(conn->remote), &a))
		client_address_limited(&a, address);
	*ret_key = *holder != '\0';
	const char *name = *ret_key ? holder : address;
	sha256_init(&sha);
	sha256_update(&sha, sizeof conn->hub->room_seed, (const uint8_t *)&conn->hub->room_seed);
	sha256_update(&sha, 1, (const uint8_t *)(*ret_key ? "k" : "a"));
	sha256_update(&sha, strlen(name), (const uint8_t *)name);
	sha256_digest(&sha, sizeof digest, digest);
	memcpy(&room, digest, sizeof room);
	return room;
}

static bool is_exempt(const struct conn *conn)
{
	struct client_address a;
	return client_address_parse(conn->remote, strlen(conn->remote), &a) && client_ranges_have(&conn->hub->gateway->limit_exempt, &a);
}

static void refuse(struct conn *conn, const char *reason)
{
	metric_inc(metrics_get(conn->hub->gateway->metrics, "weir_gateway_websocket_closed_total", "limit", NULL, NULL));
	conn_close(conn, 1013, reason);
}

void conn_enter_room(struct conn *conn)
{
	bool by_key;
	struct hub *hub = conn->hub;
	const struct config *config = hub->gateway->config;
	if (conn->in_room || conn->carrier == CARRIER_POLL || conn->closing || conn->dead || is_exempt(conn))
		return;
	if (!hub->rooms) {
		hub->rooms = xcalloc(ROOMS, sizeof *hub->rooms);
		hub->room_seed = random_u64();
	}
	conn->room = room_of(conn, &by_key);
	struct conn **place = &hub->rooms[conn->room % ROOMS], *oldest = NULL;
	int64_t most = by_key ? config->gateway.connections_per_key : config->gateway.connections_per_address, others = 0;
	for (struct conn *other = *place; other; other = other->next_of_room)
		if (other->room == conn->room && !other->closing && !other->dead) {
			others++;
			oldest = other; /* new ones are put in front */
		}
	conn->in_room = true;
	conn->next_of_room = *place;
	if (*place)
		(*place)->previous_of_room = conn;
	*place = conn;
	if (most == 0 || others < most || !oldest)
		return;
	if (config->gateway.connections_oldest)
		refuse(oldest, "another connection of this client took its place: it holds as many as it may");
	else
		refuse(conn, "this client holds as many connections as it may");
}

void conn_leave_room(struct conn *conn)
{
	if (!conn->in_room)
		return;
	*(conn->previous_of_room ? &conn->previous_of_room->next_of_room : &conn->hub->rooms[conn->room % ROOMS]) = conn->next_of_room;
	if (conn->next_of_room)
		conn->next_of_room->previous_of_room = conn->previous_of_room;
	conn->next_of_room = conn->previous_of_room = NULL;
	conn->in_room = false;
}
