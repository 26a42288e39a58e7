/* hub_internal.h - private to hub*.c: connections, queues, subscriptions. All of it belongs to the hub's thread. */
#ifndef WEIR_GATEWAY_HUB_INTERNAL_H
#define WEIR_GATEWAY_HUB_INTERNAL_H

#include "http/deflate.h"
#include "live/frames.h"
#include "live/hub.h"
#include "live/wheel.h"

#include "base/metrics.h"
#include "base/seldom.h"

#include <pthread.h>

#define SUBSCRIPTIONS_MAX 64  /* of one connection, those counted that it gave up while they were read for */
#define RING_EVENTS 1024      /* newest events kept per chain */
#define RING_BYTES ((size_t)32 << 20)
#define BUCKETS 8192
#define HEAD_MAX 360          /* what comes before a push's tail: the frame's header and what is the subscription's own */
#define QUEUE_CLASSES 8
#define TOGETHER_SIZE 65536    /* of what one write puts together */
#define LIVE_ITEMS_MAX 2000   /* an event with more entries is streamed piecewise from the ledger */
#define TICK_MS 250

struct conn;

enum sub_state {
	SUB_LOCATING, /* the ledger is asked where it begins; the client has no answer yet */
	SUB_READING,  /* a piece of the journal is being read */
	SUB_WAITING,  /* the next piece waits for room in the queue */
	SUB_RETRYING, /* the ledger did not answer; again at retry_ms */
	SUB_LAGGING,  /* was at the live end; waits for room, and then for what its policy says */
	SUB_LIVE,
};

struct hub_list { /* a watch-list that subscriptions of a chain follow (hub_watchlist.c) */
	struct watchlist *list;
	int64_t id;
	uint64_t given;   /* everything up to it was matched for those at the live end */
	uint32_t print;   /* of the event there */
	struct sub *subs; /* by next_of_bucket */
	uint64_t looked;  /* verdicts are of the event with this sequence; 0: of none */
	uint8_t verdicts[LIVE_ITEMS_MAX]; /* enum watchlist_verdict of its items */
	bool any, ask;    /* is one of them YES, is one ASK? */
	struct hub_list *next;
};

enum sub_kind {
	SUB_EVERY,            /* is asked about every event */
	SUB_INDEXED,          /* about those that name its account or asset */
	SUB_INDEXED_FINALITY, /* and about promotions */
	SUB_LISTED,           /* by its watch-list */
	SUB_LETTERS,          /* never: the bus is asked for it (letters.h) */
	SUB_KINDS,
};

struct sub {
	uint32_t id;
	struct conn *conn; /* NULL: given up; freed when its job comes back */
	struct conn *was_of; /* given up: whose it was, among whose `given_up` it is; NULL: that is gone, too */
	struct hub_chain *chain;
	enum topic topic;
	struct filter filter;
	struct hub_list *list; /* of topic watchlist */
	enum laggard laggard;
	bool finality;
	enum sub_state state;
	struct offset offset; /* while not live; live: everything up to the chain's newest is given */
	uint64_t pushes;
	int64_t retry_ms;
	uint64_t mark; /* sequence of the event looked at last */
	char request_id[200];
	bool told;     /* the client has its answer */
	bool was_live; /* what it misses since then is its policy's */
	struct replay_job *job; /* that is out; NULL: none is */
	struct replay_job *piece; /* owned: read, and being given as the queue has room */
	size_t given;             /* pushes of it */
	struct sub *next_of_conn;
	struct sub *next_of_bucket, *next_of_chain, *previous_of_chain;
};

struct out { /* something to be written, as small as can be: many clients may have many of them. A push's head is printed when it is sent. */
	struct tail *tail; /* of a push; NULL: it is none */
	union {
		uint8_t *owned;  /* without tail: the bytes */
		uint64_t number; /* of the push in its subscription */
	};
	struct offset offset;
	uint32_t sub;       /* 0: not a push */
	uint32_t size : 31; /* of owned */
	bool deflated : 1;  /* the tail is */
};

struct mark { /* where to resume */
	uint32_t sub; /* 0: nowhere yet */
	struct offset offset;
};

struct conn {
	struct hub *hub;
	enum carrier carrier;
	int fd;
	struct channel *io;         /* of the socket */
	struct http_socket *socket; /* NULL: the poll is answered */
	struct frames *frames;      /* of a WebSocket */
	struct plain *plain;        /* of a stream or poll */
	char remote[64];
	struct out *queue; /* ring */
	size_t queue_first, queue_count, queue_capacity, queue_bytes;
	size_t written;    /* of the first */
	struct mark sent;  /* what the push written last said */
	struct sub *subs;
	size_t sub_count;
	struct sub *given_up; /* while their jobs are out; by next_of_conn */
	size_t given_up_count;
	uint32_t next_sub;
	bool deflates, packs, dirty, blocked, closing, dead;
	bool lingers; /* closing: until the client has closed, too, or the drain is over. Closed before, what it has not read is lost when it sends something */
	bool operators; /* on their listener */
	bool barred;    /* its newest credentials do not allow subscriptions */
	bool unproven;  /* nobody in particular may be here: it has to show credentials (hub_auth.c) */
	uint8_t refusals; /* of what it showed while nobody in particular held it */
	int64_t prove_by_ms; /* unproven: until then */
	int64_t heard_ms, progress_ms, pinged_ms, closing_ms;
	int64_t ping_free_ms; /* from then on a request `ping` costs nothing */
	int64_t notice_at_ms; /* unix time at which the client is told that its credentials end; 0: no more */
	uint64_t holder_seen; /* the keyring's generation + 1 when its holder was looked for last */
	bool in_room;
	uint64_t room; /* whom it counts for */
	uint64_t number; /* ascends with time */
	struct conn *next_of_room, *previous_of_room;
	struct conn *next, *previous, *next_dirty, *next_dying;
	struct wheel_entry due; /* when it is looked at: conn_tick */
};

struct hub_chain {
	const struct gateway_chain *chain;
	bool known;        /* the feed has said where the journal ends */
	uint64_t newest;   /* sequence of the newest event */
	struct event *ring[RING_EVENTS]; /* by sequence % RING_EVENTS */
	uint64_t oldest;   /* sequence of the oldest in the ring; newest + 1: empty */
	uint32_t before;   /* print of the event before the oldest */
	size_t ring_bytes;
	struct sub *subs[SUB_KINDS];      /* all of the chain */
	struct sub **accounts, **assets;  /* those that are indexed, by account or else by asset */
	struct hub_list *lists;
};

enum note_kind { NOTE_CONNECTION, NOTE_REQUEST, NOTE_EVENT, NOTE_RESET, NOTE_WATCHED, NOTE_REPLAYED, NOTE_LISTING };
struct note { /* from other threads */
	enum note_kind kind;
	struct note *next;
	struct conn *conn;
	uint8_t *early;
	size_t early_size;
	struct hub_request *request;
	struct hub_chain *chain;
	struct event *event;
	uint64_t newest;
	uint32_t print;
	struct replay_job *job;
	struct hub_listing *listing;
};

struct hub_listing { /* somebody waits for it */
	struct buf *out;
	const char *find; /* see struct hub_search */
	size_t left;      /* to be written */
	uint64_t before;  /* where it goes on */
	uint64_t last;    /* number of the one written last */
	bool more;        /* one that could not be written any more */
	bool end;         /* all were looked at */
	bool done;        /* this part; guarded by the hub's lock */
};

struct hub {
	struct gateway *gateway;
	struct log log;
	size_t queue_max;
	int epoll, wake;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* guards notes and closing */
	pthread_cond_t listed;
	struct note *notes, **notes_end;
	bool closing;
	_Atomic uint64_t connections, subscriptions;
	/* the thread's own */
	size_t jobs; /* that are out, at most gateway.max_replays */
	size_t unproven; /* connections that are */
	struct seldom refused; /* credentials */
	struct conn **rooms; /* connections by client; NULL: none was counted yet */
	uint64_t room_seed;
	struct hub_chain *chains;
	struct conn *conns, *dirty, *dying; /* conns: the newest first */
	uint64_t last_number; /* of a connection */
	struct arena *arena; /* of the request at hand */
	struct buf text;
	struct deflate *deflate;
	struct buf packed;     /* what it made, and what MessagePack is made of and into */
	uint8_t *together;     /* TOGETHER_SIZE bytes: what goes out in one write */
	struct spare_queue {
		struct spare_queue *next;
	} *spare[QUEUE_CLASSES]; /* hub_queue.c */
	size_t spare_bytes;
	struct arena *scratch; /* of one push */
	int64_t ticked_ms, turned_ms; /* turned: when the turn at hand began */
	struct wheel wheel;    /* of connections, by ticks */
	struct hub_traces *traces; /* of the events of the turn at hand */
	uint64_t holders_seen; /* the keyring's generation + 1 when everybody was looked at last */
	struct hub_metrics {
		struct metric *connections, *subscriptions, *pushes, *bytes, *replays, *latency, *lagged[4], *authenticated, *refused;
	} metrics;
};

/* hub.c */
void hub_leave(struct hub *, const struct note *); /* any thread; copied */

/* hub_list.c */
void hub_list_write(struct hub *, struct hub_listing *);

/* hub_plain.c: what hub_conn.c and hub_sub.c do, for streams and polls */
void plain_start(struct conn *, const struct hub_request *);
void plain_subscribed(struct sub *);
void plain_refuse(struct conn *, const char *code, const char *message);
void plain_push(struct conn *, struct sub *, struct tail *, const struct offset *);
size_t plain_head(const struct out *, uint8_t ret[HEAD_MAX]); /* of a stream: what comes before the tail; "\n\n" comes behind it */
void plain_flush(struct conn *); /* a poll with something to say is answered */
void plain_close(struct conn *, uint16_t code, const char *reason);
void plain_tick(struct conn *, int64_t now_ms);
int64_t plain_due_ms(const struct conn *, int64_t now_ms); /* see conn_due_ms */
void plain_free(struct conn *);

/* hub_queue.c */
void queue_grow(struct conn *); /* twice the room */
void queue_rest(struct conn *); /* it is empty and needs none */
void queue_free_spare(struct hub *);

/* hub_conn.c */
void conn_add_bytes(struct conn *, const void *data, size_t size);
void conn_add_push(struct conn *, const struct sub *, struct tail *, const struct offset *, bool deflated); /* the subscription's pushes were counted on */
void conn_mark(struct conn *); /* is flushed at the end of the turn */
void conn_die(struct conn *);  /* is freed at the end of the turn */
void conn_send_text(struct conn *, const struct buf *text); /* an answer; copied */
void conn_push(struct conn *, struct sub *, struct tail *, const struct offset *at); /* keeps the tail; of `at` what does not belong to the subscription */
void conn_flush(struct conn *);
void conn_read(struct conn *);
void conn_close(struct conn *, uint16_t code, const char *reason);
void conn_tick(struct conn *, int64_t now_ms);
int64_t conn_due_ms(const struct conn *, int64_t now_ms); /* when something may have to be done about it, if nothing happens before */
void conn_soon(struct conn *); /* is looked at with the next tick */
void conn_start(struct conn *, struct bytes early);
void conn_free(struct conn **);

/* hub_room.c */
void conn_enter_room(struct conn *); /* may close it, or its client's oldest */
void conn_leave_room(struct conn *);

/* hub_holder.c */
/* 0: it may stay; else the code to close it with, and why. */
uint16_t conn_outstays(struct conn *, const char **ret_why);
bool conn_ends(const struct conn *); /* its credentials have an end */

/* hub_auth.c */
const char *conn_holder(const struct conn *); /* "": nobody in particular */
void conn_plan_notice(struct conn *);
void conn_tell_end(struct conn *); /* when its time has come */
void conn_authenticate(struct conn *, const struct ws_request *);
void conn_await_credentials(struct conn *); /* of one that has just come, where it needs some */
void conn_proven(struct conn *); /* or gone: it is not waited for any more */
bool conn_overdue(struct conn *, int64_t now_ms); /* none came in time: it is closed */
/* May it ask for this? False: answered. understood: the whole request could be read, not its id alone. */
bool conn_may_ask(struct conn *, const struct ws_request *, bool understood);

/* hub_sub.c */
/* An answer with the members of "result" or "error", written into hub->text between the two. */
void answer_begin(struct hub *, const char *request_id, const char *what);
void answer_end(struct conn *);
void answer_error(struct conn *, const char *request_id, const char *code, const char *message);
void sub_request(struct conn *, struct bytes message);
void sub_open(struct conn *, const struct subscribe *, const char *request_id);
struct offset sub_stands_at(const struct sub *); /* where to resume when everything queued was taken */
void sub_free_all(struct conn *);
void sub_replayed(struct hub *, struct replay_job *);
void sub_room(struct conn *); /* the queue has room again */
void sub_retry(struct conn *, int64_t now_ms);

/* Tells the client that this server goes, and from where to resume on another one. */
void sub_send_away(struct sub *, int64_t after_ms);
void sub_end(struct sub *, const char *reason); /* says so to the client, with where it stood */

/* hub_watchlist.c */
void lists_add(struct sub *);
void lists_remove(struct sub *);
/* verdicts, any and ask are those of the event afterwards, which has its items in memory. */
void lists_look(struct hub_list *, const struct event *);
void lists_known(struct hub *, struct hub_chain *, uint64_t sequence);

/* hub_live.c */
/* The newest event that is settled for the subscription when it is at the live end. */
uint64_t live_edge(const struct sub *);
uint32_t live_edge_print(const struct sub *);
bool live_may_concern(const struct hub_chain *, struct hub_list *, const struct event *); /* has it an entry of the list, as far as memory knows? */
void live_offer(struct sub *, struct event *); /* to a subscription at the live end; others need it not */
void live_event(struct hub *, struct hub_chain *, struct event *);
void live_reset(struct hub *, struct hub_chain *, uint64_t newest, uint32_t print);
uint32_t live_print(const struct hub_chain *, uint64_t sequence); /* of an event from the one before the oldest to the newest; 0: of others */
/* Brings a subscription that stands at sub->offset on, from memory as far as that goes. Sets state to SUB_LIVE, or leaves it and returns
 * false: the ledger must be read. */
bool live_join(struct sub *);
void live_add(struct sub *);
void live_remove(struct sub *);
void live_free(struct hub_chain *);
/* What a lagging subscription is given now that there is room. False: of what it missed memory has not all. */
bool live_catch_up(struct sub *);

#endif
