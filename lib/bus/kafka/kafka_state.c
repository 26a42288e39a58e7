/* kafka_state.c - over Kafka: small shared hashes, in a table of the chain, and what a topic looks like to a subscription. */
#include "bus/kafka/kafka_state.h"

#include "bus/kafka/kafka_table.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FIELD_KEY_MAX 480

/* -- hashes: a row for each field, "<key>\n<name>" ----------------------------------------------------------------------------------- */

/* The table of the chain that a key of streams.h is of: weir:{chain}:… */
static int table_of(struct kafka *k, const char *key, struct kafka_table **ret, struct error *err)
{
	char topic[KEY_MAX], chain[64];
	const char *open = strchr(key, '{'), *end = open ? strchr(open, '}') : NULL;
	*ret = NULL;
	if (!end || (size_t)(end - open) > sizeof chain) {
		(void)error_set(err, WEIR_INVALID, "%s is no key of a chain", key);
		return WEIR_INVALID;
	}
	snprintf(chain, sizeof chain, "%.*s", (int)(end - open - 1), open + 1);
	int r = kafka_names(k, (const char *const[]){ chain }, 1, err);
	snprintf(topic, sizeof topic, "weir.%s.state", chain);
	return r ? r : kafka_table(k, topic, 0, ret, err);
}

static int put(struct kafka_table *t, const char *key, const char *name, struct bytes value, struct error *err)
{
	char row[FIELD_KEY_MAX];
	if ((size_t)snprintf(row, sizeof row, "%s\n%s", key, name) >= sizeof row)
		return error_set(err, WEIR_LIMIT, "%s: the name of a field is too long", key);
	return kafka_table_put(t, row, value, false, err);
}

int kafka_hash_write(struct kafka *k, const char *key, const struct bus_field *fields, size_t n, struct error *err)
{
	struct kafka_table *t;
	int r = table_of(k, key, &t, err);
	for (size_t i = 0; i < n && r == 0; i++) /* with its end: a value may be empty, an empty record removes */
		r = put(t, key, fields[i].name, (struct bytes){ (const uint8_t *)fields[i].value, strlen(fields[i].value) + 1 }, err);
	return r ? r : kafka_table_flush(t, err);
}

int kafka_hash_delete(struct kafka *k, const char *key, const char *const *names, size_t n, struct error *err)
{
	struct kafka_table *t;
	int r = table_of(k, key, &t, err);
	for (size_t i = 0; i < n && r == 0; i++)
		r = put(t, key, names[i], (struct bytes){ NULL, 0 }, err);
	return r ? r : kafka_table_flush(t, err);
}

int kafka_hash_read(struct kafka *k, const char *key, void (*on_field)(const char *, const char *, void *), void *arg, struct error *err)
{
	struct kafka_table *t;
	char prefix[FIELD_KEY_MAX];
	size_t size = (size_t)snprintf(prefix, sizeof prefix, "%s\n", key), found = 0;
	int r = table_of(k, key, &t, err);
	if (r == 0)
		r = kafka_table_load(t, err);
	if (r != 0)
		return r;
	for (size_t at = kafka_table_at(t, prefix); at < t->count && strncmp(t->rows[at].key, prefix, size) == 0; at++, found++) {
		struct bytes value = t->rows[at].value;
		if (value.size > 0 && value.data[value.size - 1] == 0)
			on_field(t->rows[at].key + size, (const char *)value.data, arg);
	}
	return found ? 0 : error_set(err, WEIR_NOT_FOUND, "Kafka %s has no key %s", k->hosts, key);
}

/* -- figures --------------------------------------------------------------------------------------------------------------------------- */

/* The group's places, asked for by a client that does not join it. */
static int ask_committed(struct kafka *k, const char *group, rd_kafka_topic_partition_list_t *list, struct error *err)
{
	const struct kafka_setting settings[] = { { "group.id", group }, { "enable.auto.commit", "false" } };
	rd_kafka_t *client;
	int r = kafka_client(k, RD_KAFKA_CONSUMER, settings, sizeof settings / sizeof settings[0], NULL, k, &client, err);
	if (r != 0)
		return r;
	rd_kafka_resp_err_t e = rdk.committed(client, list, (int)k->bus->options.command_timeout_ms);
	rdk.destroy_flags(client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	return e ? kafka_error(k, e, group, err) : 0;
}

static int add_class(struct kafka *k, const char *group, const char *name, int32_t partitions, struct bus_stream_info *info, struct error *err)
{
	rd_kafka_topic_partition_list_t *list = rdk.topic_partition_list_new(partitions);
	for (int32_t p = 0; p < partitions; p++)
		(void)rdk.topic_partition_list_add(list, name, p);
	struct kafka_ends ends;
	/* Committed first: the end asked for afterwards does not lie before it. */
	int r = *group ? ask_committed(k, group, list, err) : 0;
	int r_ends = kafka_ends(k, k->reader, list, &ends, r ? NULL : err);
	r = r ? r : r_ends;
	for (int32_t p = 0; p < partitions && r == 0; p++) {
		const int64_t low = ends.lows->elems[p].offset, high = ends.highs->elems[p].offset, at = list->elems[p].offset;
		info->length += (uint64_t)(high - low);
		if (*group)
			info->lag += (uint64_t)(high - (at > low ? at : low));
	}
	rdk.topic_partition_list_destroy(list);
	kafka_ends_free(&ends);
	return r;
}

int kafka_info(struct kafka *k, const char *chain, const char *topic, const char *subscription, struct bus_stream_info ret[4], struct error *err)
{
	char group[KEY_MAX] = "", name[KEY_MAX];
	int r = kafka_names(k, (const char *const[]){ chain, topic, subscription ? subscription : "none" }, 3, err);
	if (subscription)
		snprintf(group, sizeof group, "weir.%s.%s.%s", chain, topic, subscription);
	for (int c = 0; c < CLASSES && r == 0; c++) {
		struct kafka_topic *t;
		kafka_topic_name(chain, topic, c, name);
		r = kafka_topic(k, name, KAFKA_MESSAGES, &t, err);
		if (r == 0)
			r = add_class(k, group, name, t->partitions, &ret[c], err);
		ret[c].topic = topic;
		ret[c].klass = bus_classes[c];
	}
	if (r == 0 && subscription)
		r = dead_letter_count(k->bus, chain, subscription, &ret[0].dead, err);
	return r;
}
