/* fetcher.h - the service's one private header: types with field notes, functions under the file that owns them. */
#ifndef WEIR_FETCHER_H
#define WEIR_FETCHER_H

#include "base/span.h"
#include "bus/bus.h"
#include "chains/chain.h"
#include "daemon/breakers.h"
#include "daemon/daemon.h"
#include "net/rpc.h"
#include "wire/compress.h"

#include <pthread.h>

#define JOBS_MAX 128       /* blocks in flight per chain */
#define READY_MAX 256      /* blocks waiting to be published */
#define KNOWN_MAX 16384    /* heights whose hash is remembered: more than HASHES_KEEP and any window in use at the tip */

/* -- window.c: which heights are under way or published, and which hashes are known ------------------------------------------ */

enum height_state { HEIGHT_WANTED, HEIGHT_IN_FLIGHT, HEIGHT_PUBLISHED };
struct height { /* slot of a height in a ring; height tells whose it is */
	uint64_t height;
	bool used;
	enum height_state state;
	bool known; /* hash and parent are set */
	uint8_t hash[32], parent_hash[32];
};
struct fetch_window {
	struct height *slots;
	size_t mask;
	uint64_t highest_known; /* of known slots; 0 when none */
	bool any_known;
};
void fetch_window_init(struct fetch_window *, size_t window);
void fetch_window_free(struct fetch_window *);
struct height *fetch_window_at(struct fetch_window *, uint64_t height);         /* claims the slot for this height */
struct height *fetch_window_find(const struct fetch_window *, uint64_t height); /* NULL when the slot is another's */
uint64_t fetch_window_lowest_known(const struct fetch_window *);                /* UINT64_MAX when none */
void fetch_window_learn(struct fetch_window *, uint64_t height, const uint8_t hash[32], const uint8_t *parent_hash); /* parent may be NULL */
void fetch_window_forget_above(struct fetch_window *, uint64_t height);         /* states and hashes */
void fetch_window_forget_published(struct fetch_window *);                      /* states only */
bool fetch_window_other_parent_above(const struct fetch_window *, uint64_t height, const uint8_t hash[32]); /* is another parent known for the block above? */

/* -- what the ledger says (ledger.c) ------------------------------------------------------------------------------------------ */

struct ledger_state {
	bool known;
	int64_t watermark; /* -1: none */
	uint64_t next_height, epoch, written_ms;
	bool paused;
	char watermark_hash[67], genesis_hash[67];
};

/* -- opinion.c: do the endpoints follow the same chain? ------------------------------------------------------------------------ */

struct opinion_told { /* by one endpoint, in this round */
	bool has, level; /* has the block; keeps up with the head */
	uint8_t hash[32];
};
struct opinion {
	int64_t due_ms;
	uint64_t asked_head; /* the head at the last question */
	size_t next, waiting; /* endpoint asked last; questions in flight */
	bool looking, alarmed; /* all are asked about `height`; and it was told that they differ */
	uint64_t height, level; /* level: who has no block there lags */
	unsigned rounds; /* in which they said the same as before, and not one thing */
	struct opinion_told told[CONFIG_ENDPOINTS_MAX], before[CONFIG_ENDPOINTS_MAX];
};

struct job;

struct follower { /* one chain: its thread's whole state */
	struct fetcher *fetcher;
	const struct chain_config *config;
	struct chain chain;
	struct log log;
	pthread_t thread;
	bool running;
	int result;
	struct error error;

	struct bus *bus;
	struct bus_owner *lease; /* topic control: ownership and commands */
	struct bus_publisher *raw, *blocks;
	struct endpoints *endpoints;
	struct rpc *rpc;
	struct rpc_socket *sockets[CONFIG_ENDPOINTS_MAX];
	struct compressor *zstd;
	struct arena *arena;    /* of the question being put */
	struct arena *identity; /* params of the identity questions: as long as rpc */
	uint8_t genesis[32];
	bool has_genesis;
	char genesis_teller[64]; /* the endpoint whose word it is; empty: known from the settings or the ledger */

	bool owning, paused;
	struct ledger_state ledger;
	struct fetch_window window;
	uint64_t fork_height;  /* first height above the newest fork's ancestor … */
	int64_t fork_until_ms; /* … which counts until then, whatever the ledger's state says */
	int64_t state_due_ms, head_due_ms, command_due_ms, tags_due_ms, acquire_due_ms, breakers_due_ms;

	struct chain_block_ref safe, finalized; /* the tags as told; hash all zero: none */
	bool head_asked, head_dirty;
	int64_t head_told_ms;
	struct chain_block_ref told[CONFIG_ENDPOINTS_MAX]; /* each endpoint's own word about the head */
	bool has_told[CONFIG_ENDPOINTS_MAX];
	struct chain_block_ref seen_head; /* the highest of them that is still claimed */
	bool has_seen, head_news;
	int64_t unclaimed_ms; /* since when nobody claims seen_head; now, while somebody does */
	int64_t announced_ms; /* when seen_head was announced */

	struct opinion opinion;

	struct job *jobs[JOBS_MAX];
	size_t job_count;
	struct job *ready[READY_MAX];
	size_t ready_count;
	double limit; /* adaptive: jobs in flight */
	double block_bytes; /* of a block's answers: the largest lately; 0: none yet */
	uint64_t generation; /* grows with each fork or restart: results of older jobs are dropped */
	bool fork_suspected;
	size_t fork_endpoint; /* who told what contradicts: it has to show its branch … */
	bool fork_by_block;   /* … and was it a block (its header proven), or only a head? */
	uint64_t fork_from;   /* the height at which it contradicts */
	uint64_t event_number;
};

struct fetcher {
	struct daemon_ctx *ctx;
	struct follower *followers;
	size_t count;
};

/* -- fetcher.c ------------------------------------------------------------------------------------------------------------------ */
extern const struct metric_def fetcher_metrics[];
extern const size_t fetcher_metric_count;
int fetcher_init(struct daemon_ctx *, void *, struct error *);
int fetcher_run(struct daemon_ctx *, void *, struct error *);
void fetcher_deinit(struct daemon_ctx *, void *);
void fetcher_count(struct follower *, const char *name, const char *label, uint64_t n); /* series {chain, label} */
void fetcher_gauge(struct follower *, const char *name, double value);

/* -- check.c: --check -------------------------------------------------------------------------------------------------------------- */
int fetcher_check(struct daemon_ctx *, void *, struct error *); /* does every endpoint answer, and serve the chain it is for? */

/* -- follow.c: the loop ----------------------------------------------------------------------------------------------------------- */
void *follower_main(void *follower);
int follower_open_rpc(struct follower *, struct error *);
void follower_not_asked_yet(struct follower *); /* it is not ready before it has looked */

/* -- ledger.c --------------------------------------------------------------------------------------------------------------------- */
int ledger_read(struct follower *, struct error *);
int ledger_read_hashes(struct follower *, struct error *);
int commands_read(struct follower *, struct error *);

/* -- head.c ------------------------------------------------------------------------------------------------------------------------ */
int head_open(struct follower *, struct error *);
void head_poll(struct follower *);
int head_publish(struct follower *, struct error *);

/* -- opinion.c --------------------------------------------------------------------------------------------------------------------- */
void opinion_open(struct follower *); /* once there are endpoints */
void opinion_poll(struct follower *);

/* -- suspect.c --------------------------------------------------------------------------------------------------------------------- */
/* Does this block contradict what we know? */
bool fork_contradicts(const struct follower *, const struct chain_block_ref *);
void fork_suspect(struct follower *, size_t endpoint, const struct chain_block_ref *, bool by_block);

/* -- fork.c ------------------------------------------------------------------------------------------------------------------------ */
/* What is being fetched may not be what is wanted any more: it is asked for again. */
void fork_drop_fetched(struct follower *);
/* Finds the ancestor and publishes ChainFork. 0 also when it turned out to be none. */
int fork_resolve(struct follower *, struct error *);

/* -- job.c ------------------------------------------------------------------------------------------------------------------------- */
struct job_request {
	uint64_t height;
	const uint8_t *hash; /* or NULL: canonical at that height */
	Weir__V1__FetchReason reason;
	uint32_t attempt;
	uint64_t exclude; /* endpoint bits */
	int64_t announced_ms;
};
bool job_under_way(const struct follower *, uint64_t height); /* is it being asked for, or will be again? */
bool job_start(struct follower *, const struct job_request *); /* false: too many */
void jobs_schedule(struct follower *);                          /* starts what the window allows */
/* How many blocks may be under way: no more than the nodes take (limit), nor, beyond the eight that always may, than 24 MiB of answers as large as
 * the last ones (0: none yet). */
size_t jobs_room(double limit, double block_bytes);
void job_free(struct job **);
/* What was ready cannot go out as it is: asked again, later, and of somebody else. False: too many under way, it stays as it is. */
bool job_again(struct job *, int code, size_t endpoint, const char *why);
void job_tell(struct job *); /* its span: the block is published */

/* -- publish.c ---------------------------------------------------------------------------------------------------------------------- */
struct job_part {
	Weir__V1__PartKind kind;
	bool optional, done, missing;
	bool empty;        /* the answer is a list of nothing */
	struct buf body;   /* zstd */
	uint64_t size;     /* decoded */
	size_t endpoint;
	char why[200];     /* missing: why */
	enum chain_belongs belongs; /* what its first item names … */
	uint8_t owner[32];          /* … and which */
};
struct job {
	struct follower *f;
	uint64_t generation;
	struct job_request request;
	uint8_t wanted_hash[32];
	struct chain_block_ref block; /* once peeked */
	bool has_block, failed;
	int code;
	char why[400];
	size_t failed_endpoint;
	int64_t not_before_ms; /* waiting for the next try */
	unsigned tries, timeouts;
	struct span span; /* the block's trace begins with it */
	struct job_part parts[CHAIN_PARTS_MAX];
	size_t part_count, pending;
	bool asked_instead; /* for what stands in for flat traces that cannot be had */
	/* receipts one by one, where eth_getBlockReceipts is missing */
	uint8_t *transactions;
	size_t transaction_count, receipts_left;
	struct buf *receipts;
	size_t receipts_endpoint; /* whom they are asked of: all of one, so that its word can be told from others' */
};
int publish_ready(struct follower *, struct error *);
int publish_message(struct follower *, struct bus_publisher *, uint16_t type, uint64_t height, const void *packed, size_t size, struct error *);

#endif
