/* client_address.h - who a client is by address: behind trusted proxies, in ranges, and what limits count it under. Pure.
 *
 * IPv4 is kept as an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2), so that both spellings are the same client. A subscriber's IPv6
 * network is a /64 at least (RFC 6177): limits count by it, otherwise one client has 2^64 of them.
 */
#ifndef WEIR_GATEWAY_CLIENT_ADDRESS_H
#define WEIR_GATEWAY_CLIENT_ADDRESS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client_address {
	uint8_t bytes[16];
};

#define CLIENT_ADDRESS_TEXT 64
struct sockaddr;
struct client_address client_address_of(const struct sockaddr *); /* of a peer; "::" when it is neither IPv4 nor IPv6, or NULL */
bool client_address_parse(const char *text, size_t size, struct client_address *ret); /* no port, no brackets, no zone */
void client_address_print(const struct client_address *, char ret[CLIENT_ADDRESS_TEXT]);
/* What limits count it under: "192.0.2.1", "2001:db8:1:2::/64". */
void client_address_limited(const struct client_address *, char ret[CLIENT_ADDRESS_TEXT]);

#define CLIENT_RANGES_MAX 64
struct client_ranges {
	struct client_range {
		struct client_address base;
		unsigned bits; /* 0..128 of the mapped form */
	} items[CLIENT_RANGES_MAX];
	size_t count;
};
/* "10.0.0.0/8, ::1" by commas or blanks; empty: none. WEIR_CONFIG with words for what is no range, has bits set behind its length, or is one too many. */
int client_ranges_parse(const char *text, struct client_ranges *ret, struct error *);
bool client_ranges_have(const struct client_ranges *, const struct client_address *);

/* The client behind trusted proxies. forwarded: the values of X-Forwarded-For in order, joined by commas, or NULL. It is read from the
 * right, where the nearest proxy wrote, and only while the hop that wrote it is trusted; what an untrusted one says counts for nothing.
 * An entry that is no address ends the reading: the hop that wrote it is the client then. */
struct client_address client_address_behind(const struct client_address *peer, const char *forwarded, const struct client_ranges *trusted);

#endif
