/* registry.h - which gateways there are: each tells Redis every second that it lives and who is connected to it, kept for REGISTRY_TTL_MS.
 *
 * One that was killed is gone when its word is over; one that stops takes it back. INSTANCES_KEY has their names, so that nobody need search:
 * a name without a word is removed by whoever finds it. Without Redis a gateway knows only itself. For the process's own thread, but for what
 * says otherwise.
 */
#ifndef WEIR_GATEWAY_REGISTRY_H
#define WEIR_GATEWAY_REGISTRY_H

#include "gateway.h"

#define REGISTRY_TTL_MS 10000
#define REGISTRY_INSTANCES_MAX 1000 /* told of */
#define REGISTRY_CONNECTIONS 50     /* each tells of so many, the newest */

struct registry;
void registry_open(struct gateway *, struct registry **ret);
void registry_turn(struct registry *);    /* now and then; does what is due */
void registry_leave(struct registry *);   /* before the hub stops */
void registry_close(struct registry **);

/* Any thread: what this gateway is called, by nobody else. */
const char *registry_name(const struct registry *);
/* Any thread: "instances":[…], this one among them. */
void registry_put(struct registry *, struct buf *out);

#endif
