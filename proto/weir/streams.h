/* streams.h - every stream, group, key and field name that crosses a process, spelled once.
 *
 * All keys of one chain share the hash tag {chain}, so one script may touch any of them, also on Redis Cluster.
 * A topic has up to four streams, one per priority class.
 */
#ifndef WEIR_STREAMS_H
#define WEIR_STREAMS_H

#define STREAM_KEY_FORMAT "weir:{%s}:%s:%s"        /* chain, topic, class */
#define META_KEY_FORMAT "weir:{%s}:%s:meta"        /* chain, topic: hash of sequences and producers */
#define OWNER_KEY_FORMAT "weir:{%s}:%s:own:%s"     /* chain, topic, subscription: lease and floors */
#define DEAD_KEY_FORMAT "weir:{%s}:dlq:%s"         /* chain, subscription: stream of dead letters */
#define DEAD_INDEX_KEY_FORMAT "weir:{%s}:dlqi:%s"  /* chain, subscription: hash entry id -> letter id */
#define DEAD_NEWS_KEY_FORMAT "weir:{%s}:dlqe"      /* chain: stream of what became of dead letters, of all subscriptions */
#define PARKED_KEY_FORMAT "weir:{%s}:park:%s"      /* chain, subscription: hash <topic>/<key> -> letters waiting */
#define PARKED_HEAD_KEY_FORMAT "weir:{%s}:pkh:%s"  /* chain, subscription: hash <topic>/<key> -> <class>/<id> of its first letter */
#define SETTLED_KEY_FORMAT "weir:{%s}:rsl:%s"      /* chain, subscription: hash of entries settled out of turn */
#define PROBE_KEY_FORMAT "weir:{%s}:%s:probe:%s"   /* chain, topic, subscription: hash of crash evidence */
#define TELL_KEY_FORMAT "weir:{%s}:%s:tell:%s"     /* chain, topic, subscription: hash of the last word to its instances */
#define WAITED_KEY_FORMAT "weir:{%s}:waited:%s"     /* chain, subscription: written only so that replicas can be waited for */
#define WEIGHTS_KEY_FORMAT "weir:{%s}:%s:weights:%s" /* chain, topic, subscription: hash class -> weight, age_ms (lib/bus/weights.h) */
#define STATISTICS_KEY_FORMAT "weir:{%s}:%s:statistics:%s" /* chain, topic, subscription: hash type/error class/figure -> count (lib/bus/statistics.h) */
#define REPLAY_KEY_FORMAT "weir:{%s}:rpl:%s"       /* chain, subscription: sorted set of letter ids to try again */
#define RATE_CHAIN "gateway"                        /* stands for a chain where something belongs to none */
#define AUDIT_GATEWAY "gateway"                     /* … in AUDIT_KEY_FORMAT: keys and logins */
#define RATE_KEY_FORMAT "weir:{gateway}:rate:%s"   /* name of a limit and whom it counts: µs since 1970 at which all is paid off */
#define AUDIT_KEY_FORMAT "weir:{%s}:audit"         /* chain: stream of operators' actions */
#define STATE_KEY_FORMAT "weir:{%s}:state"         /* chain: hash, the ledger's word: see STATE_* */
#define HASHES_KEY_FORMAT "weir:{%s}:hashes"       /* chain: hash height -> canonical block hash (hex), the newest HASHES_KEEP */
#define BREAKERS_KEY_FORMAT "weir:{%s}:breakers"   /* chain: hash process -> JSON, its endpoints' breakers (lib/daemon/breakers.h) */
/* Shared by gateways, not a chain's; values that expire by themselves. */
#define IDEMPOTENCY_KEY_FORMAT "weir:{gateway}:idempotency:%s" /* digest of operator and Idempotency-Key: the answer, or who is at it */
#define INSTANCES_KEY "weir:{gateway}:instances"   /* hash: names of gateways */
#define INSTANCE_KEY_FORMAT "weir:{gateway}:instance:%s" /* name: JSON, what that gateway said last; kept for a few seconds */
#define SILENCES_KEY "weir:{gateway}:silences"     /* hash id -> JSON: alerts that nobody wants to hear for a while (lib/daemon/silence.h) */
#define CURSOR_KEY_FORMAT "weir:{gateway}:cursor:%lld" /* day since 1970: the secret, in hex, that cursors of that day are signed with */

#define TOPIC_RAW "raw"         /* RawBlock: fetcher -> normalizers, shared lane */
#define TOPIC_BLOCKS "blocks"   /* NormalizedBlock, ChainHead, ChainFork: -> reconciler, ordered lane */
#define TOPIC_LEDGER "ledger"   /* LedgerEvent: reconciler -> every gateway, tail */
#define TOPIC_CONTROL "control" /* Command: anyone -> fetcher, reconciler, each reading all */

#define SUBSCRIPTION_NORMALIZER "normalizer"
#define SUBSCRIPTION_RECONCILER "reconciler"
#define SUBSCRIPTION_FETCHER "fetcher"

#define CLASS_CRITICAL "critical"
#define CLASS_HIGH "high"
#define CLASS_NORMAL "normal"
#define CLASS_LOW "low"

#define FIELD_FRAME "d" /* of a stream entry: the frame, or several, one behind the other */
#define FIELD_COUNT "n" /* then: how many; the entry's id is the last one's */

/* Fields of STATE_KEY_FORMAT: the reconciler writes them after each commit and at least once a second; the fetcher reads them. */
#define STATE_WATERMARK_HEIGHT "watermark_height" /* decimal; "-1" before the first block */
#define STATE_WATERMARK_HASH "watermark_hash"     /* 0x… or empty */
#define STATE_NEXT_HEIGHT "next_height"           /* first height that the ledger wants */
#define STATE_GENESIS_HASH "genesis_hash"         /* 0x… once known: fetchers refuse endpoints that differ */
#define STATE_PAUSED "paused"                     /* "1" or "0" */
#define STATE_EPOCH "epoch"                       /* changes when blocks must be published again from next_height (rewind, Redis lost) */
#define STATE_WRITTEN_MS "written_ms"
#define HASHES_KEEP 4096

/* Message types: X(name, id, schema version, class). Ids are never reused. The class decides the stream. */
#define MESSAGE_TYPES(X)                                              \
	X(RAW_BLOCK_TIP, 1, 1, HIGH)       /* RawBlock at the head */  \
	X(RAW_BLOCK_BACKFILL, 2, 1, LOW)   /* RawBlock of history */   \
	X(NORMALIZED_BLOCK, 3, 1, NORMAL)  /* NormalizedBlock */       \
	X(CHAIN_HEAD, 4, 1, NORMAL)        /* ChainHead */             \
	X(CHAIN_FORK, 5, 1, CRITICAL)      /* ChainFork */             \
	X(LEDGER_EVENT, 6, 1, NORMAL)      /* LedgerEvent */           \
	X(COMMAND, 7, 1, HIGH)             /* Command */

enum message_type {
#define X(name, id, version, klass) MESSAGE_##name = (id),
	MESSAGE_TYPES(X)
#undef X
};

#endif
