/* memory_link.h - private to lib/bus: a connection to a memory_engine as hiredis sees one: a pair of buffers instead of a socket. Who executes what stands in
 * `in`, and when, is the user's. */
#ifndef WEIR_BUS_MEMORY_LINK_H
#define WEIR_BUS_MEMORY_LINK_H

#include "bus/memory/memory_engine.h"

#include <hiredis/hiredis.h>

struct memory_link {
	struct memory_engine *engine;
	int id;
	struct buf in, out; /* from the client; to it */
	size_t taken;       /* of out */
};

/* A context whose funcs are those, and whose privdata is given to them. */
redisContext *memory_link_open(struct memory_link *, struct memory_engine *, int id, redisContextFuncs *, void *privdata);
void memory_link_close(struct memory_link *, redisContext *);
ssize_t memory_link_read(struct memory_link *, char *data, size_t room); /* bytes of out; 0: there are none */
void memory_link_done(struct memory_link *, size_t size);                /* the first bytes of in were executed */
static inline bool memory_link_has_answer(const struct memory_link *l)
{
	return l->out.size > l->taken;
}

#endif
