/* kafka_api.h - private to lib/bus: librdkafka 2.x, loaded when a bus of "kafka://" is first opened. Nothing links it: who uses another
 * transport needs none of what it brings along. Its own header says what the functions do.
 */
#ifndef WEIR_BUS_KAFKA_API_H
#define WEIR_BUS_KAFKA_API_H

#include "base/error.h"

#include <librdkafka/rdkafka.h>

/* X(name without rd_kafka_) */
#define KAFKA_FUNCTIONS(X) \
	X(abort_transaction) X(assign) X(begin_transaction) X(commit_queue) X(commit_transaction) X(committed) X(conf_destroy) X(conf_new) X(conf_set) X(conf_set_dr_msg_cb) \
	X(conf_set_error_cb) X(conf_set_log_cb) X(conf_set_opaque) X(conf_set_rebalance_cb) X(consume_batch_queue) \
	X(consume_start_queue) X(consume_stop) X(consumer_close) X(consumer_group_metadata) X(consumer_group_metadata_destroy) X(consumer_poll) X(destroy) X(destroy_flags) X(err2str) \
	X(error_code) X(error_destroy) X(error_is_fatal) X(error_is_retriable) X(error_txn_requires_abort) X(event_destroy) X(event_error) X(fatal_error) X(flush) X(header_get_last) X(init_transactions) X(message_destroy) X(message_headers) \
	X(metadata) X(metadata_destroy) X(new) X(offsets_for_times) X(outq_len) X(poll) X(poll_set_consumer) X(produceva) X(purge) \
	X(queue_destroy) X(queue_forward) X(queue_get_consumer) X(queue_get_partition) \
	X(queue_io_event_enable) X(queue_new) X(queue_poll) X(seek_partitions) X(send_offsets_to_transaction) X(subscribe) X(topic_destroy) X(topic_name) X(topic_new) \
	X(topic_partition_list_add) X(topic_partition_list_copy) X(topic_partition_list_destroy) X(topic_partition_list_new)

struct kafka_api {
#define X(name) __typeof__(rd_kafka_##name) *name;
	KAFKA_FUNCTIONS(X)
#undef X
};
extern struct kafka_api rdk;
/* WEIR_UNSUPPORTED: it cannot be loaded, and what to install. */
int kafka_api_load(struct error *);

#endif
