/* webhook_resolve.h - names to addresses, on a few threads, because the C library's resolver blocks. */
#ifndef WEIR_GATEWAY_WEBHOOK_RESOLVE_H
#define WEIR_GATEWAY_WEBHOOK_RESOLVE_H

#include "webhook/webhook_address.h"

/* Up to WEBHOOK_ADDRESSES_MAX addresses of a name, ports unset. WEIR_NOT_FOUND, WEIR_UNAVAILABLE, WEIR_LIMIT. Any thread; blocks. */
typedef int webhook_lookup(const char *host, struct sockaddr_storage ret[WEBHOOK_ADDRESSES_MAX], size_t *ret_n, struct error *);
int webhook_lookup_system(const char *host, struct sockaddr_storage ret[WEBHOOK_ADDRESSES_MAX], size_t *ret_n, struct error *); /* getaddrinfo */

struct webhook_answer {
	uint64_t ticket; /* the asker's */
	int code;
	struct error error;
	struct sockaddr_storage addresses[WEBHOOK_ADDRESSES_MAX];
	size_t count;
	struct webhook_answer *next;
};

struct webhook_resolver;
/* wake is called on a resolver's thread when an answer is there. */
int webhook_resolver_open(webhook_lookup *, void (*wake)(void *arg), void *arg, struct webhook_resolver **ret, struct error *);
void webhook_resolver_close(struct webhook_resolver **); /* waits for questions that are being asked, which the C library bounds */
/* WEIR_FULL when too many wait. */
int webhook_resolver_ask(struct webhook_resolver *, uint64_t ticket, const char *host, struct error *);
struct webhook_answer *webhook_resolver_take(struct webhook_resolver *); /* the caller's to free; NULL: none */

#endif
