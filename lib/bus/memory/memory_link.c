/* memory_link.c - see memory_link.h. */
#include "bus/memory/memory_link.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define LINK_BYTES ((size_t)1 << 30)

redisContext *memory_link_open(struct memory_link *l, struct memory_engine *engine, int id, redisContextFuncs *funcs, void *privdata)
{
	redisContext *c = redisConnectFd(open("/dev/null", O_RDWR | O_CLOEXEC)); /* hiredis wants one */
	*l = (struct memory_link){ .engine = engine, .id = id, .in = BUF_INIT(LINK_BYTES), .out = BUF_INIT(LINK_BYTES) };
	if (!c || c->err)
		return c;
	memory_engine_connect(engine, id);
	c->flags &= ~REDIS_BLOCK;
	c->funcs = funcs;
	c->privdata = privdata;
	return c;
}

void memory_link_close(struct memory_link *l, redisContext *c)
{
	memory_engine_disconnect(l->engine, l->id);
	buf_free(&l->in);
	buf_free(&l->out);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

ssize_t memory_link_read(struct memory_link *l, char *data, size_t room)
{
	size_t size = l->out.size - l->taken;
	size = size < room ? size : room;
	if (size == 0)
		return 0;
	memcpy(data, l->out.data + l->taken, size);
	l->taken += size;
	if (l->taken == l->out.size) {
		buf_reset(&l->out);
		l->taken = 0;
	}
	return (ssize_t)size;
}

void memory_link_done(struct memory_link *l, size_t size)
{
	memmove(l->in.data, l->in.data + size, l->in.size - size);
	l->in.size -= size;
}
