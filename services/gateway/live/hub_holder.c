/* hub_holder.c - whether who opened a connection may still hold it: its key may be revoked, its session ended, and tokens end. */
#include "live/hub_internal.h"

#include "identity/keyring.h"

#include "base/clock.h"

#define CLOSE_EXPIRED 3000 /* "Unauthorized" of IANA's registry of close codes */
#define CLOSE_REVOKED 1008

bool conn_ends(const struct conn *conn)
{
	int64_t until_ms = 0;
	if (conn->socket)
		http_holder(conn->socket, &until_ms);
	return until_ms > 0;
}

uint16_t conn_outstays(struct conn *conn, const char **ret_why)
{
	int64_t until_ms = 0;
	struct keyring *ring = conn->hub->gateway->keyring;
	const char *holder = conn->socket ? http_holder(conn->socket, &until_ms) : "";
	uint64_t generation = keyring_generation(ring) + 1;
	if (!*holder)
		return 0;
	if (until_ms && until_ms <= clock_wall_ms()) {
		*ret_why = "the credentials of this connection have ended: come back with new ones";
		return CLOSE_EXPIRED;
	}
	const char *session = http_session(conn->socket);
	if (*session && !keyring_session_stands(ring, session)) {
		*ret_why = "the session of this connection has ended";
		return CLOSE_REVOKED;
	}
	if (generation == conn->holder_seen)
		return 0;
	conn->holder_seen = generation;
	*ret_why = "the credentials of this connection were revoked";
	const struct http_token token = http_token_of(conn->socket);
	const bool denied = token.is && keyring_denies(ring, token.id, holder + sizeof PRINCIPAL_TOKEN - 1, token.issued_s);
	return keyring_holds(ring, holder) && !denied ? 0 : CLOSE_REVOKED;
}
