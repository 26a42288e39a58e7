/* transport.h - private to lib/bus: what a transport that is no Redis does in place of the parts here. Chosen when a bus is opened (open.c),
 * kept in struct bus; a Redis has none. All of it belongs to the bus' thread. Returns are as bus.h and dead_letter.h say of the same call;
 * what is not here such a transport does not have, and bus_run refuses it.
 */
#ifndef WEIR_BUS_TRANSPORT_H
#define WEIR_BUS_TRANSPORT_H

#include "bus/core/core.h"
#include "bus/records.h"

struct bus_tally;

struct bus_transport {
	const char *name;   /* in words for people */
	const char *system; /* messaging.system of spans (trace.h) */
	size_t places;    /* of a class, at most, that several instances may own at the same time: its partitions */

	void (*drop)(struct bus *);  /* ends what reads, as if the connection had broken */
	void (*close)(struct bus *); /* frees transport_state */
	int (*ping)(struct bus *, struct error *);
	int (*audit)(struct bus *, const char *chain, const char *who, const char *action, const char *detail, struct error *);

	int (*hash_write)(struct bus *, const char *key, const struct bus_field *, size_t n, struct error *);
	int (*hash_read)(struct bus *, const char *key, void (*on_field)(const char *name, const char *value, void *arg), void *arg, struct error *);
	int (*hash_delete)(struct bus *, const char *key, const char *const *names, size_t n, struct error *);
	int (*info)(struct bus *, const char *chain, const char *topic, const char *subscription, struct bus_stream_info ret[4], struct error *);

	/* Publishing (lane/publish.h). identity: what makes a call the same call when it is repeated. */
	int (*publish)(struct bus_publisher *, const struct frame *, size_t n, uint64_t identity, struct error *);
	void (*publisher_close)(struct bus_publisher *);

	/* Plain records (records.h); NULL: the transport has none. */
	int (*records_write)(struct bus_records *, const struct bus_record *, size_t n, struct error *);
	int (*records_newest)(struct bus_records *, bus_record_fn *, void *arg, struct error *);
	void (*records_drop)(struct bus_records *);

	/* The ordered lane: an owner is the transport's own. */
	void *(*owner_open)(struct bus_tally *, int64_t lease_ms); /* of the lane that the tally is of (lane/tally.h) */
	void (*owner_close)(void *owner);
	int (*owner_acquire)(void *owner, struct error *);
	int (*owner_renew)(void *owner, struct error *);
	int (*owner_read)(void *owner, size_t max, int64_t timeout_ms, struct bus_message **ret, size_t *ret_n, struct error *);
	int (*owner_commit)(void *owner, uint8_t klass, uint64_t generation, uint64_t sequence, struct error *);
	int (*owner_park)(void *owner, const struct bus_message *, struct bytes history, const struct error *why, struct error *);
	bool (*owner_parked)(const void *owner, struct bytes key);
	int (*owner_resolve)(void *owner, const struct bus_message *const *, size_t n, struct error *);
	const char *(*owner_token)(const void *owner);
	void (*owner_token_of)(const void *owner, const struct bus_message *, char ret[96]);
	bool (*owner_rolled_back)(void *owner); /* and forgets it */

	/* The shared lane (lane/worker.h, lane/step.h). */
	void (*worker_open)(struct bus_worker *);
	void (*worker_close)(struct bus_worker *);
	int (*worker_read)(struct bus_worker *, size_t max, int64_t timeout_ms, struct bus_message **ret, size_t *ret_n, struct error *);
	int (*step_commit)(struct bus_step *, struct error *);

	int (*letter_list)(struct bus *, const char *chain, const char *subscription, const struct dead_letter_filter *, const char *cursor, size_t limit,
			   dead_letter_fn *, void *arg, struct error *);
	int (*letter_show)(struct bus *, const char *chain, const char *subscription, const char *id, dead_letter_fn *, void *arg, struct error *);
	int (*letter_count)(struct bus *, const char *chain, const char *subscription, const struct dead_letter_filter *, uint64_t *ret,
			    struct error *); /* no filter: all */
	int (*letter_counts)(struct bus *, const char *chain, const char *subscription, dead_letter_counts_fn *, void *arg, struct error *);
	int (*letter_replay)(struct bus *, const char *chain, const char *subscription, const struct dead_letter_filter *, const char *const *ids,
			     size_t n, const char *who, uint64_t *ret_n, struct error *);
	int (*letter_purge)(struct bus *, const char *chain, const char *subscription, const struct dead_letter_filter *, const char *const *ids,
			    size_t n, const char *who, const char *why, uint64_t *ret_n, struct error *);
	int (*letter_edit)(struct bus *, const char *chain, const char *subscription, const char *id, const struct dead_letter_edit *, char *ret_sha256,
			   struct error *);
	int (*letter_skip)(struct bus *, const char *chain, const char *subscription, const char *id, const char *who, const char *why, struct error *);
	/* ret NULL: only how many letters there are (a dry run). */
	int (*job_start)(struct bus *, const char *chain, const char *subscription, const struct dead_letter_order *, uint64_t *ret_total,
			 struct dead_letter_job *ret, struct error *);
	int (*job_show)(struct bus *, const char *chain, const char *id, struct dead_letter_job *ret, struct error *);
	int (*job_list)(struct bus *, const char *chain, const char *subscription, size_t limit, dead_letter_job_fn *, void *arg, struct error *);
	int (*job_control)(struct bus *, const char *chain, const char *id, enum dead_letter_job_action, const char *who, const char *why,
			   struct dead_letter_job *ret, struct error *);
};

/* WEIR_UNSUPPORTED, for what only a Redis does. */
int bus_refuse(const struct bus *, const char *operation, struct error *);

#endif
