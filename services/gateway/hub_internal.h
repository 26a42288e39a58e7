/* hub_internal.h - private to hub*.c: connections, queues, subscriptions. All of it belongs to the hub's thread. */
#ifndef WEIR_GATEWAY_HUB_INTERNAL_H
#define WEIR_GATEWAY_HUB_INTERNAL_H

#include "frames.h"
#include "hub.h"

#include "base/metrics.h"

#include <pthread.h>

#define SUBSCRIPTIONS_MAX 64  /* of one connection */
#define RING_EVENTS 1024      /* newest events kept per chain */
#define RING_BYTES ((size_t)32 << 20)
#define BUCKETS 8192
#define HEAD_MAX 184          /* frame header and the part of a push that is the subscription's own */
#define LIVE_ITEMS_MAX 2000   /* an event with more entries is streamed piecewise from the ledger */

struct conn;

enum sub_state {
	SUB_LOCATING, /* the ledger is asked where it begins; the client has no answer yet */
	SUB_READING,  /* a piece of the journal is being read */
	SUB_WAITING,  /* the next piece waits for room in the queue */
	SUB_RETRYING, /* the ledger did not answer; again at retry_ms */
	SUB_LIVE,
};

struct sub {
	uint32_t id;
	struct conn *conn; /* NULL: gone; freed when its job comes back */
	struct hub_chain *chain;
	enum topic topic;
	struct filter filter;
	enum sub_state state;
	struct offset offset; /* while not live; live: everything up to the chain's newest is given */
	uint64_t pushes;
	int64_t retry_ms;
	uint64_t mark; /* sequence of the event looked at last */
	char request_id[200];
	bool busy; /* a job is out */
	struct replay_job *piece; /* owned: read, and being given as the queue has room */
	size_t given;             /* pushes of it */
	struct sub *next_of_conn;
	struct sub *next_of_bucket, *next_of_chain, *previous_of_chain;
};

struct out { /* one frame, or a part of one, waiting to be written */
	struct tail *tail; /* NULL: everything is in head */
	uint8_t *owned;    /* instead of head, for what does not fit there */
	uint32_t size;     /* of head or owned */
	uint32_t sub;      /* 0: not a push */
	struct offset offset;
	uint8_t head[HEAD_MAX];
};

struct conn {
	struct hub *hub;
	int fd;
	struct http_socket *socket;
	struct frames *frames;
	char remote[64];
	struct out *queue; /* ring */
	size_t queue_first, queue_count, queue_capacity, queue_bytes;
	size_t written;    /* of the first */
	struct out sent;   /* what the push written last said: where to resume */
	struct sub *subs;
	size_t sub_count;
	uint32_t next_sub;
	bool dirty, blocked, closing, dead;
	int64_t heard_ms, progress_ms, pinged_ms, closing_ms;
	struct conn *next, *previous, *next_dirty;
};

struct hub_chain {
	const struct gateway_chain *chain;
	bool known;        /* the feed has said where the journal ends */
	uint64_t newest;   /* sequence of the newest event */
	struct event *ring[RING_EVENTS]; /* by sequence % RING_EVENTS */
	uint64_t oldest;   /* sequence of the oldest in the ring; newest + 1: empty */
	size_t ring_bytes;
	struct sub *subs;      /* all of the chain */
	struct sub **buckets;  /* those with an account, by it */
};

enum note_kind { NOTE_CONNECTION, NOTE_EVENT, NOTE_RESET, NOTE_REPLAYED };
struct note { /* from other threads */
	enum note_kind kind;
	struct note *next;
	struct conn *conn;
	uint8_t *early;
	size_t early_size;
	struct hub_chain *chain;
	struct event *event;
	uint64_t newest;
	struct replay_job *job;
};

struct hub {
	struct gateway *gateway;
	struct log log;
	size_t queue_max;
	int epoll, wake;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* guards notes and closing */
	struct note *notes, **notes_end;
	bool closing;
	_Atomic uint64_t connections, subscriptions;
	/* the thread's own */
	struct hub_chain *chains;
	struct conn *conns, *dirty;
	struct arena *arena; /* of the request at hand */
	struct buf text;
	int64_t ticked_ms;
	struct hub_metrics {
		struct metric *connections, *subscriptions, *pushes, *bytes, *replays, *latency;
	} metrics;
};

/* hub_conn.c */
void conn_send_text(struct conn *, const struct buf *text); /* an answer; copied */
void conn_push(struct conn *, struct sub *, struct tail *, uint64_t sequence, int64_t index); /* keeps the tail */
void conn_flush(struct conn *);
void conn_read(struct conn *);
void conn_close(struct conn *, uint16_t code, const char *reason);
void conn_tick(struct conn *, int64_t now_ms);
void conn_start(struct conn *, struct bytes early);
void conn_free(struct conn **);

/* hub_sub.c */
void sub_request(struct conn *, struct bytes message);
void sub_free_all(struct conn *);
void sub_replayed(struct hub *, struct replay_job *);
void sub_room(struct conn *); /* the queue has room again */
void sub_retry(struct conn *, int64_t now_ms);

/* hub_live.c */
void live_event(struct hub *, struct hub_chain *, struct event *);
void live_reset(struct hub *, struct hub_chain *, uint64_t newest);
/* Brings a subscription that stands at sub->offset on, from memory as far as that goes. Sets state to SUB_LIVE, or leaves it and returns
 * false: the ledger must be read. */
bool live_join(struct sub *);
void live_add(struct sub *);
void live_remove(struct sub *);
void live_free(struct hub_chain *);

#endif
