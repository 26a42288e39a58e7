/* publish.h - private to publishing: the publisher, and what both ways of sending a chunk share. */
#ifndef WEIR_BUS_PUBLISH_H
#define WEIR_BUS_PUBLISH_H

#include "bus/core/core.h"

struct bus_publisher {
	struct bus *bus;
	char *chain, *topic, *producer;
	char anchor[KEY_MAX];
	struct bus_durability durability;
	char epoch[32]; /* empty: must be opened */
	uint64_t next;  /* the producer's number of the next message */
	char known[32]; /* the epoch under which acknowledged was reached: Redis must know of it when another one is opened */
	uint64_t acknowledged;
	uint64_t restart_at;
	char restart[17]; /* its name: a repetition whose answer was lost must not begin once more */
	/* A call that failed half way: what it was, to know its repetition, and how far it had certainly come. */
	uint64_t unfinished;
	size_t unfinished_count, unfinished_done;
	void *own; /* a transport's (transport.h): what is on its way; owned by it */
	size_t pack; /* so many messages in one entry */
	struct buf wire;
	struct direct {            /* publish_direct.c: what the stream is thought to be */
		uint64_t connects; /* of the bus when the account's permissions were tried */
		bool permitted, known;
		int klass;
		char generation[32];
		uint64_t sequence;
		size_t chunk;   /* so many messages in a transaction */
		unsigned avoid; /* so many times the script goes first: somebody else publishes, too, or it was refused */
	} direct;
};

/* How many of the frames go into one chunk: those that keep Redis about 2 ms; with appendfsync always one fsync is for so many. */
#define CHUNK_ENTRIES 1024
size_t bus_chunk_size(const struct frame *frames, size_t n, size_t most);
int bus_publish_class(const struct frame *);
void bus_published(struct bus_publisher *, uint64_t added, size_t n);
/* Sends what it can, adds it to *done. Never fails: what it leaves goes through the script. */
void bus_publish_direct(struct bus_publisher *, const struct frame *frames, size_t n, size_t *done);

#endif
