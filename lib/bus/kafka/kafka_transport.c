/* kafka_transport.c - what the rest of the bus calls, told to the parts here. */
#include "bus/kafka/kafka_transport.h"

#include "bus/core/transport.h"
#include "bus/kafka/kafka_change.h"
#include "bus/kafka/kafka_dead_letter.h"
#include "bus/kafka/kafka_job.h"
#include "bus/kafka/kafka_ordered.h"
#include "bus/kafka/kafka_publish.h"
#include "bus/kafka/kafka_records.h"
#include "bus/kafka/kafka_shared.h"
#include "bus/kafka/kafka_state.h"

#include <stdio.h>

static void drop(struct bus *bus)
{
	kafka_drop(kafka_of(bus));
}

static int ping(struct bus *bus, struct error *err)
{
	return kafka_ping(kafka_of(bus), err);
}

/* There is no chain of hashes: the log has it. */
static int audit(struct bus *bus, const char *chain, const char *who, const char *action, const char *detail, struct error *err)
{
	(void)err;
	log_info(&bus->log, "bus_audit", detail, LOG_S("chain", chain), LOG_S("who", who), LOG_S("action", action));
	return 0;
}

static int hash_write(struct bus *bus, const char *key, const struct bus_field *fields, size_t n, struct error *err)
{
	return kafka_hash_write(kafka_of(bus), key, fields, n, err);
}

static int hash_read(struct bus *bus, const char *key, void (*on_field)(const char *, const char *, void *), void *arg, struct error *err)
{
	return kafka_hash_read(kafka_of(bus), key, on_field, arg, err);
}

static int hash_delete(struct bus *bus, const char *key, const char *const *names, size_t n, struct error *err)
{
	return kafka_hash_delete(kafka_of(bus), key, names, n, err);
}

static int info(struct bus *bus, const char *chain, const char *topic, const char *subscription, struct bus_stream_info ret[4], struct error *err)
{
	return kafka_info(kafka_of(bus), chain, topic, subscription, ret, err);
}

/* -- an owner is a lane ------------------------------------------------------------------------------------------------------ */

static void *owner_open(struct bus_tally *tally, int64_t lease_ms)
{
	return kafka_lane_open(tally, lease_ms);
}

static void owner_close(void *owner)
{
	struct kafka_lane *l = owner;
	kafka_lane_close(&l);
}

static int owner_acquire(void *owner, struct error *err)
{
	return kafka_lane_acquire(owner, err);
}

static int owner_renew(void *owner, struct error *err)
{
	return kafka_owner_renew(owner, err);
}

static int owner_read(void *owner, size_t max, int64_t timeout_ms, struct bus_message **ret, size_t *ret_n, struct error *err)
{
	return kafka_owner_read(owner, max, timeout_ms, ret, ret_n, err);
}

static int owner_commit(void *owner, uint8_t klass, uint64_t generation, uint64_t sequence, struct error *err)
{
	return kafka_owner_commit(owner, klass, generation, sequence, err);
}

static int owner_park(void *owner, const struct bus_message *m, struct bytes history, const struct error *why, struct error *err)
{
	return kafka_owner_park(owner, m, history, why, err);
}

static bool owner_parked(const void *owner, struct bytes key)
{
	return kafka_owner_parked(owner, key);
}

static int owner_resolve(void *owner, const struct bus_message *const *replayed, size_t n, struct error *err)
{
	return kafka_owner_resolve(owner, replayed, n, err);
}

static const char *owner_token(const void *owner)
{
	const struct kafka_lane *l = owner;
	return l->token;
}

static void owner_token_of(const void *owner, const struct bus_message *m, char ret[96])
{
	kafka_lane_token(owner, m, ret);
}

static bool owner_rolled_back(void *owner)
{
	struct kafka_lane *l = owner;
	bool was = l->rolled_back;
	l->rolled_back = false;
	return was;
}

static const struct bus_transport transport = {
	.name = "Kafka",
	.system = "kafka",
	.places = KAFKA_PARTITIONS_MAX,
	.drop = drop,
	.close = kafka_close,
	.ping = ping,
	.audit = audit,
	.hash_write = hash_write,
	.hash_read = hash_read,
	.hash_delete = hash_delete,
	.info = info,
	.publish = kafka_publish,
	.publisher_close = kafka_publisher_close,
	.records_write = kafka_records_write,
	.records_newest = kafka_records_newest,
	.records_drop = kafka_records_drop,
	.owner_open = owner_open,
	.owner_close = owner_close,
	.owner_acquire = owner_acquire,
	.owner_renew = owner_renew,
	.owner_read = owner_read,
	.owner_commit = owner_commit,
	.owner_park = owner_park,
	.owner_parked = owner_parked,
	.owner_resolve = owner_resolve,
	.owner_token = owner_token,
	.owner_token_of = owner_token_of,
	.owner_rolled_back = owner_rolled_back,
	.worker_open = kafka_shared_open,
	.worker_close = kafka_shared_close,
	.worker_read = kafka_worker_read,
	.step_commit = kafka_step_commit,
	.letter_list = kafka_dead_list,
	.letter_show = kafka_dead_show,
	.letter_count = kafka_dead_count,
	.letter_counts = kafka_dead_counts,
	.letter_replay = kafka_dead_replay,
	.letter_purge = kafka_dead_purge,
	.letter_edit = kafka_dead_edit,
	.letter_skip = kafka_dead_skip,
	.job_start = kafka_job_start,
	.job_show = kafka_job_show,
	.job_list = kafka_job_list,
	.job_control = kafka_job_control,
};

int bus_kafka_open(struct bus *bus, struct error *err)
{
	int r = kafka_open(bus, err);
	if (r == 0)
		bus->transport = &transport;
	return r;
}
