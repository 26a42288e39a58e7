/* hub_queue.c - room for what waits to be sent. A connection has some only while something waits; what it gives back the next one takes, still warm: an
 * event for thousands would else ask the allocator for thousands of pieces and the kernel for their pages, each time anew. */
#include "live/hub_internal.h"

#include <string.h>

#define LEAST 4 /* room at first; doubles */
#define SPARE_BYTES ((size_t)4 << 20)

static size_t class_of(size_t capacity)
{
	size_t class = 0;
	while ((size_t)LEAST << class < capacity)
		class++;
	return class;
}

static struct out *take(struct hub *hub, size_t capacity)
{
	size_t class = class_of(capacity), bytes = capacity * sizeof(struct out);
	struct spare_queue *spare = class < QUEUE_CLASSES ? hub->spare[class] : NULL;
	if (!spare)
		return xcalloc(capacity, sizeof(struct out));
	hub->spare[class] = spare->next;
	hub->spare_bytes -= bytes;
	return (struct out *)spare;
}

static void give(struct hub *hub, struct out *queue, size_t capacity)
{
	size_t class = class_of(capacity), bytes = capacity * sizeof *queue;
	struct spare_queue *spare = (struct spare_queue *)queue;
	if (!queue)
		return;
	if (class >= QUEUE_CLASSES || hub->spare_bytes + bytes > SPARE_BYTES) {
		free(queue);
		return;
	}
	spare->next = hub->spare[class];
	hub->spare[class] = spare;
	hub->spare_bytes += bytes;
}

void queue_grow(struct conn *conn)
{
	size_t capacity = conn->queue_capacity ? conn->queue_capacity * 2 : LEAST;
	struct out *queue = take(conn->hub, capacity);
	for (size_t i = 0; i < conn->queue_count && conn->queue_capacity > 0; i++)
		queue[i] = conn->queue[(conn->queue_first + i) % conn->queue_capacity];
	give(conn->hub, conn->queue, conn->queue_capacity);
	conn->queue = queue;
	conn->queue_first = 0;
	conn->queue_capacity = capacity;
}

void queue_rest(struct conn *conn)
{
	give(conn->hub, conn->queue, conn->queue_capacity);
	conn->queue = NULL;
	conn->queue_capacity = conn->queue_first = 0;
}

void queue_free_spare(struct hub *hub)
{
	for (size_t i = 0; i < QUEUE_CLASSES; i++)
		while (hub->spare[i]) {
			struct spare_queue *spare = hub->spare[i];
			hub->spare[i] = spare->next;
			free(spare);
		}
	hub->spare_bytes = 0;
}
