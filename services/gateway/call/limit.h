/* limit.h - rate limits of clients: so many units of cost per minute for an address and for a key, shared by all gateways.
 *
 * A call decides at once from what this process knows (GCRA, see gcra.h) and never waits. What was spent is told to Redis within LIMIT_TICK_MS,
 * for all clients in one script call, and what others spent comes back with the answer: several gateways together let through at most what
 * each lets through in one tick beyond the limit, and the client pays that off afterwards. While Redis is away each gateway's own limits
 * hold. At most LIMIT_CLIENTS_MAX clients are known at a time; further ones share one place per kind until others are forgotten.
 *
 * Thread-safe.
 */
#ifndef WEIR_GATEWAY_LIMIT_H
#define WEIR_GATEWAY_LIMIT_H

#include "http/http.h"

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct gateway;

#define LIMIT_TICK_MS 20
#define LIMIT_CLIENTS_MAX 65536

enum limit_kind {
	LIMIT_ADDRESS, /* gateway.address_limit */
	LIMIT_KEY,     /* gateway.key_limit */
	LIMIT_LOGIN_ADDRESS, /* attempts to sign in: 10 per 15 minutes */
	LIMIT_LOGIN_USER,    /* … 30 */
	LIMIT_KINDS,
};

struct limits;
int limit_open(const struct gateway *, struct limits **ret, struct error *);
void limit_close(struct limits **);

/* Who is charged: "192.0.2.1", or a key's name. */
struct limited {
	enum limit_kind kind;
	char name[112];
};

struct limit_verdict {
	bool limited; /* false: no limit counts for this client */
	bool allowed;
	int64_t count, remaining, window_s;
	int64_t reset_s; /* until everything is paid off */
	int64_t wait_s;  /* not allowed: until this may be asked again */
};
struct limit_verdict limit_take(struct limits *, const struct limited *, int64_t cost);
void limit_give_back(struct limits *, const struct limited *, int64_t cost);

/* RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10), X-RateLimit-Limit, -Remaining and -Reset (seconds), and, when it is
 * not allowed, Retry-After. */
void limit_tell(const struct limit_verdict *, enum limit_kind, struct http_response *);

#endif
