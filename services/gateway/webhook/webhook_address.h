/* webhook_address.h - where a webhook may go: what a URL may say, and which addresses its name may have.
 *
 * Who registers a webhook chooses where this server connects to, from inside the network that it stands in. So the URL is https on a
 * port of the list, without user, password or fragment, and every address of the name must be one of the public Internet: one that is
 * not refuses the whole name (a name with mixed answers is an attack or a mistake, never a receiver). Checked when a webhook is
 * registered, before each delivery, and once more on the very address that a socket is opened to: a name's answer may change.
 *
 * For development, gateway rules may allow loopback: then http and any port are allowed too, but only to loopback addresses.
 *
 * Ranges: IANA's special-purpose registries for IPv4 and IPv6 (RFC 6890 and updates); of IPv6 only 2000::/3 is handed out (RFC 4291). Addresses
 * that carry an IPv4 address inside (mapped, compatible, NAT64, 6to4, Teredo, ISATAP) are refused whatever they carry.
 */
#ifndef WEIR_GATEWAY_WEBHOOK_ADDRESS_H
#define WEIR_GATEWAY_WEBHOOK_ADDRESS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define WEBHOOK_URL_MAX 2048
#define WEBHOOK_HOST_MAX 255
#define WEBHOOK_PORTS_MAX 16
#define WEBHOOK_ADDRESSES_MAX 32 /* of one name; more are refused */

struct webhook_rules {
	bool loopback;
	uint16_t ports[WEBHOOK_PORTS_MAX];
	size_t port_count;
};
/* ports: "443, 8443". WEIR_INVALID. */
int webhook_rules_read(const char *ports, bool loopback, struct webhook_rules *ret, struct error *);

struct webhook_target {
	bool https;
	bool only_loopback; /* what the rules allow for loopback only */
	uint16_t port;
	char host[WEBHOOK_HOST_MAX + 1]; /* a name or a literal address, IPv6 without brackets */
};
/* WEIR_INVALID with words for whoever registers. Asks no name server. */
int webhook_target_read(const char *url, const struct webhook_rules *, struct webhook_target *ret, struct error *);

enum webhook_network { NETWORK_PUBLIC, NETWORK_LOOPBACK, NETWORK_REFUSED };
enum webhook_network webhook_network_of(const struct sockaddr *);

/* May weir connect there? */
bool webhook_address_allowed(const struct webhook_rules *, const struct webhook_target *, const struct sockaddr *);
/* All the addresses of the target's name: WEIR_PERMISSION unless each is allowed, WEIR_NOT_FOUND when there is none. */
int webhook_addresses_check(const struct webhook_rules *, const struct webhook_target *, const struct sockaddr_storage *, size_t n, struct error *);

#define WEBHOOK_ADDRESS_TEXT 64
const char *webhook_address_text(const struct sockaddr *, char ret[WEBHOOK_ADDRESS_TEXT]); /* without the port */

#endif
