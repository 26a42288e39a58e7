/* kafka_table.c - a partition of a compacted topic, read into rows and written to. */
#include "bus/kafka/kafka_table.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define POLL_BATCH 256
#define KEY_LIMIT 512
#define MARK_SIZE 16    /* writer, epoch (little-endian) */
#define MARK_PIECES 32  /* and of a row in pieces their number, and the value's size */
#define PIECE_FORMAT "p/%016" PRIx64 "/%06u"
#define EPOCHS_KEPT 100 /* a record that late cannot be under way any more */
#define NOTHING ((struct bytes){ NULL, 0 })

/* -- rows -------------------------------------------------------------------------------------------------------------------------- */

size_t kafka_table_at(const struct kafka_table *t, const char *key)
{
	size_t low = 0, high = t->count;
	if (high > 0 && strcmp(t->rows[high - 1].key, key) < 0)
		return high; /* most are put at the end */
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strcmp(t->rows[middle].key, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct kafka_row *kafka_table_find(const struct kafka_table *t, const char *key)
{
	size_t at = kafka_table_at(t, key);
	return at < t->count && strcmp(t->rows[at].key, key) == 0 ? &t->rows[at] : NULL;
}

static bool has_room(const struct kafka_table *t, struct bytes value)
{
	return t->count < KAFKA_TABLE_ROWS && t->bytes + value.size < KAFKA_TABLE_BYTES;
}

static void set(struct kafka_table *t, const char *key, struct bytes value, struct kafka_pieces pieces)
{
	size_t at = kafka_table_at(t, key);
	bool there = at < t->count && strcmp(t->rows[at].key, key) == 0;
	struct kafka_row *row;
	t->changes += there || value.data;
	if (!value.data) {
		if (!there)
			return;
		row = &t->rows[at];
		t->bytes -= row->value.size;
		free(row->key);
		free((void *)(uintptr_t)row->value.data);
		memmove(row, row + 1, (--t->count - at) * sizeof *row);
		return;
	}
	if (!there && t->count == t->capacity) {
		t->capacity = t->capacity ? t->capacity * 2 : 64;
		t->rows = xrealloc(t->rows, t->capacity, sizeof *t->rows);
	}
	row = &t->rows[at];
	if (there) {
		t->bytes -= row->value.size;
		free((void *)(uintptr_t)row->value.data);
	} else {
		memmove(row + 1, row, (t->count++ - at) * sizeof *row);
		row->key = xstrdup(key);
	}
	row->value = (struct bytes){ xmemdup(value.data, value.size + (value.size == 0)), value.size };
	row->pieces = pieces;
	t->bytes += value.size;
}

/* All of it is read again when it is needed next. */
static void forget(struct kafka_table *t)
{
	uint64_t random = random_u64() ^ (uint64_t)clock_wall_ns(); /* also after a fork, which inherits the former */
	if (t->queue) {
		(void)rdk.consume_stop(t->topic->read, t->partition);
		rdk.queue_destroy(t->queue);
	}
	t->queue = NULL;
	for (size_t i = 0; i < t->count; i++) {
		free(t->rows[i].key);
		free((void *)(uintptr_t)t->rows[i].value.data);
	}
	t->count = t->bytes = 0;
	t->next = 0;
	t->whole = false;
	t->epoch = 0;
	t->epoch_is_ours = false;
	t->changes++;
	memcpy(t->writer, &random, sizeof t->writer);
}

/* -- records ------------------------------------------------------------------------------------------------------------------------ */

static uint64_t number_of(const uint8_t *at)
{
	uint64_t n = 0;
	for (int i = 7; i >= 0; i--)
		n = n << 8 | at[i];
	return n;
}

static void write_number(uint64_t n, uint8_t ret[8])
{
	for (int i = 0; i < 8; i++)
		ret[i] = (uint8_t)(n >> (8 * i));
}

/* The value of a row whose pieces were read; they are put together, and no rows any more. NULL: they are not all there. */
static uint8_t *assemble(struct kafka_table *t, struct kafka_pieces *pieces, uint64_t size)
{
	char prefix[KEY_LIMIT], key[KEY_LIMIT];
	struct buf whole = BUF_INIT(KAFKA_TABLE_BYTES);
	snprintf(prefix, sizeof prefix, "p/%016" PRIx64 "/", pieces->number);
	for (size_t at; (at = kafka_table_at(t, prefix)) < t->count && strncmp(t->rows[at].key, prefix, strlen(prefix)) == 0; pieces->count++) {
		buf_add(&whole, t->rows[at].value.data, t->rows[at].value.size);
		snprintf(key, sizeof key, "%s", t->rows[at].key);
		set(t, key, NOTHING, (struct kafka_pieces){ 0 });
	}
	uint8_t *value = !whole.overflow && whole.size == size ? xmemdup(whole.data, whole.size + (whole.size == 0)) : NULL;
	buf_free(&whole);
	return value;
}

static void enter_epoch(struct kafka_table *t, const char *text, bool ours)
{
	uint64_t epoch = strtoull(text, NULL, 16);
	if (epoch <= t->epoch)
		return;
	t->epoch = epoch;
	t->epoch_is_ours = ours;
}

/* What is not one of our records (somebody else writes to the topic) is left out. */
static int take(struct kafka_table *t, const rd_kafka_message_t *m, struct error *err)
{
	rd_kafka_headers_t *headers;
	const void *mark;
	size_t size;
	char key[KEY_LIMIT];
	if (m->key_len == 0 || m->key_len >= sizeof key || memchr(m->key, 0, m->key_len) || rdk.message_headers(m, &headers) != 0 ||
	    rdk.header_get_last(headers, "weir", &mark, &size) != 0 || (size != MARK_SIZE && size != MARK_PIECES))
		return 0;
	memcpy(key, m->key, m->key_len);
	key[m->key_len] = 0;
	bool ours = memcmp(mark, t->writer, sizeof t->writer) == 0;
	uint64_t epoch = number_of((const uint8_t *)mark + 8);
	struct bytes value = { m->len ? m->payload : NULL, m->len };
	if (strncmp(key, "o/", 2) == 0) {
		if (value.data)
			enter_epoch(t, key + 2, ours);
		return 0;
	}
	if (ours || (epoch != 0 && epoch < t->epoch))
		return 0;
	if (value.data && !has_room(t, value))
		return error_set(err, WEIR_FULL, "Kafka topic %s, partition %d: more than %d rows or %zu MiB: replay or purge dead letters", t->topic->name,
				 (int)t->partition, KAFKA_TABLE_ROWS, KAFKA_TABLE_BYTES >> 20);
	struct kafka_pieces pieces = { 0 };
	uint8_t *whole = NULL;
	if (value.data && size == MARK_PIECES) {
		pieces.number = number_of((const uint8_t *)mark + MARK_SIZE);
		const uint64_t all = number_of((const uint8_t *)mark + MARK_SIZE + 8);
		whole = assemble(t, &pieces, all);
		value = (struct bytes){ whole, whole ? (size_t)all : 0 }; /* without them there is another record behind this one, or its removal */
	}
	set(t, key, value, pieces);
	free(whole);
	return 0;
}

/* Reads on, waiting at most timeout_ms for the first. *ret_n: what came. */
static int read_some(struct kafka_table *t, int timeout_ms, size_t *ret_n, struct error *err)
{
	rd_kafka_message_t *messages[POLL_BATCH];
	ssize_t n = rdk.consume_batch_queue(t->queue, timeout_ms, messages, POLL_BATCH);
	int r = 0;
	*ret_n = n > 0 ? (size_t)n : 0;
	for (size_t i = 0; i < *ret_n; i++) {
		rd_kafka_message_t *m = messages[i];
		if (m->err == 0 && r == 0 && (r = take(t, m, err)) == 0)
			t->next = m->offset + 1;
		else if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && m->offset > t->next)
			t->next = m->offset;
		else if (m->err != 0 && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF && r == 0)
			r = kafka_error(t->kafka, m->err, t->topic->name, err);
		t->whole = t->whole || m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
		rdk.message_destroy(m);
	}
	if (r == WEIR_FULL)
		forget(t); /* what was left out must not be missing for good */
	return r;
}

/* -- reading -------------------------------------------------------------------------------------------------------------------------- */

static int start(struct kafka_table *t, struct error *err)
{
	if (t->queue)
		return 0;
	t->queue = rdk.queue_new(t->kafka->reader);
	if (rdk.consume_start_queue(t->topic->read, t->partition, RD_KAFKA_OFFSET_BEGINNING, t->queue) == 0)
		return 0;
	rdk.queue_destroy(t->queue);
	t->queue = NULL;
	return error_set(err, WEIR_UNAVAILABLE, "Kafka %s: topic %s, partition %d cannot be read", t->kafka->hosts, t->topic->name, (int)t->partition);
}

int kafka_table_poll(struct kafka_table *t, struct error *err)
{
	size_t n = POLL_BATCH;
	int r = start(t, err);
	while (r == 0 && n == POLL_BATCH)
		r = read_some(t, 0, &n, err);
	return r;
}

static int read_until(struct kafka_table *t, int64_t end, int64_t deadline, struct error *err)
{
	while (t->next < end) {
		size_t n;
		int r = read_some(t, 50, &n, err);
		if (r != 0 && (!error_retriable(r) || r == WEIR_FULL))
			return r;
		if (t->next < end && clock_mono_ms() >= deadline)
			return error_set(err, WEIR_TIMEOUT, "Kafka %s: topic %s, partition %d: read to %" PRId64 " of %" PRId64, t->kafka->hosts, t->topic->name,
					 (int)t->partition, t->next, end);
		if (bus_canceled(t->kafka->bus))
			return error_set(err, WEIR_CANCELED, "stopping");
	}
	return 0;
}

int kafka_table_load(struct kafka_table *t, struct error *err)
{
	const int64_t deadline = kafka_deadline(t->kafka);
	int r = start(t, err);
	if (r != 0)
		return r;
	rd_kafka_topic_partition_list_t *list = rdk.topic_partition_list_new(1);
	const rd_kafka_topic_partition_t *end = rdk.topic_partition_list_add(list, t->topic->name, t->partition);
	r = kafka_offsets(t->kafka, t->kafka->reader, list, RD_KAFKA_OFFSET_END, deadline, err);
	if (r == 0)
		r = read_until(t, end->offset, deadline, err);
	rdk.topic_partition_list_destroy(list);
	return r;
}

int kafka_table(struct kafka *k, const char *topic, int32_t partition, struct kafka_table **ret, struct error *err)
{
	struct kafka_topic *found = NULL;
	struct kafka_table *t = k->tables;
	while (t && (t->partition != partition || strcmp(t->topic->name, topic) != 0))
		t = t->next_table;
	int r = t ? 0 : kafka_topic(k, topic, strstr(topic, ".state") ? KAFKA_STATE : KAFKA_TABLE, &found, err);
	if (r == 0 && !t && partition >= found->partitions)
		r = error_set(err, WEIR_CONFIG, "Kafka %s: topic %s has %d partitions; %d are needed", k->hosts, topic, (int)found->partitions,
			      (int)partition + 1);
	if (r != 0)
		return r;
	if (!t) {
		t = xmalloc(sizeof *t);
		t->kafka = k;
		t->topic = found;
		t->partition = partition;
		forget(t);
		t->sends = xmalloc(sizeof *t->sends);
		t->next_table = k->tables;
		k->tables = t;
	}
	*ret = t;
	return 0;
}

void kafka_tables_close(struct kafka *k)
{
	while (k->tables) {
		struct kafka_table *t = k->tables;
		k->tables = t->next_table;
		forget(t);
		free(t->rows);
		kafka_sends_leave(&t->sends);
		free(t);
	}
}

void kafka_tables_forget(struct kafka *k, const char *topic)
{
	for (struct kafka_table *t = k->tables; t; t = t->next_table)
		if (strcmp(t->topic->name, topic) == 0) {
			forget(t);
			kafka_sends_leave(&t->sends);
			t->sends = xmalloc(sizeof *t->sends);
		}
}

/* -- writing -------------------------------------------------------------------------------------------------------------------------- */

static int send_record(struct kafka_table *t, const char *key, struct bytes value, struct bytes mark, struct error *err)
{
	return kafka_send(t->kafka, t->topic, t->partition, (struct bytes){ (const uint8_t *)key, strlen(key) }, value, mark, t->sends,
			  kafka_deadline(t->kafka), err);
}

static int send_row(struct kafka_table *t, const char *key, struct bytes value, uint64_t epoch, struct error *err)
{
	uint8_t mark[MARK_SIZE];
	memcpy(mark, t->writer, sizeof t->writer);
	write_number(epoch, mark + 8);
	return send_record(t, key, value, (struct bytes){ mark, sizeof mark }, err);
}

/* The pieces, and behind them the row's record. */
static int send_in_pieces(struct kafka_table *t, const char *key, struct bytes value, uint64_t epoch, struct kafka_pieces *ret, struct error *err)
{
	uint8_t mark[MARK_PIECES];
	char name[KEY_LIMIT];
	int r = 0;
	*ret = (struct kafka_pieces){ random_u64() | 1, 0 };
	for (size_t at = 0; r == 0 && at < value.size; at += KAFKA_PIECE_SIZE) {
		const size_t left = value.size - at;
		snprintf(name, sizeof name, PIECE_FORMAT, ret->number, ret->count++);
		r = send_row(t, name, (struct bytes){ value.data + at, left < KAFKA_PIECE_SIZE ? left : KAFKA_PIECE_SIZE }, epoch, err);
	}
	memcpy(mark, t->writer, sizeof t->writer);
	write_number(epoch, mark + 8);
	write_number(ret->number, mark + MARK_SIZE);
	write_number(value.size, mark + MARK_SIZE + 8);
	return r ? r : send_record(t, key, (struct bytes){ (const uint8_t *)"1", 1 }, (struct bytes){ mark, sizeof mark }, err);
}

static int remove_pieces(struct kafka_table *t, struct kafka_pieces pieces, uint64_t epoch, struct error *err)
{
	char name[KEY_LIMIT];
	int r = 0;
	for (unsigned i = 0; i < pieces.count && r == 0; i++) {
		snprintf(name, sizeof name, PIECE_FORMAT, pieces.number, i);
		r = send_row(t, name, NOTHING, epoch, err);
	}
	return r;
}

int kafka_table_put(struct kafka_table *t, const char *key, struct bytes value, bool as_owner, struct error *err)
{
	const struct kafka_row *row = kafka_table_find(t, key);
	const struct kafka_pieces before = row ? row->pieces : (struct kafka_pieces){ 0 };
	const uint64_t epoch = as_owner ? t->epoch : 0;
	struct kafka_pieces now = { 0 };
	if (as_owner && !t->epoch_is_ours)
		return error_set(err, WEIR_FENCED, "Kafka topic %s, partition %d: another instance has taken over", t->topic->name, (int)t->partition);
	if (value.data && !has_room(t, value))
		return error_set(err, WEIR_FULL, "Kafka topic %s, partition %d has no room for another row: replay or purge dead letters", t->topic->name,
				 (int)t->partition);
	int r = value.size > KAFKA_PIECE_SIZE ? send_in_pieces(t, key, value, epoch, &now, err) : send_row(t, key, value, epoch, err);
	if (r != 0)
		return r;
	set(t, key, value, now);
	return remove_pieces(t, before, epoch, err);
}

/* Of writers that ended between them and the row's record. */
static int remove_orphans(struct kafka_table *t, struct error *err)
{
	int r = 0;
	for (size_t at; r == 0 && (at = kafka_table_at(t, "p/")) < t->count && strncmp(t->rows[at].key, "p/", 2) == 0;) {
		char key[KEY_LIMIT];
		snprintf(key, sizeof key, "%s", t->rows[at].key);
		r = kafka_table_put(t, key, NOTHING, true, err);
	}
	return r;
}

int kafka_table_flush(struct kafka_table *t, struct error *err)
{
	int r = kafka_sent(t->kafka, t->sends, kafka_deadline(t->kafka), err);
	if (r != 0 && r != WEIR_TIMEOUT && r != WEIR_UNAVAILABLE && r != WEIR_CANCELED)
		forget(t); /* some of what we put is not there */
	return r;
}

static void epoch_key(uint64_t epoch, char ret[32])
{
	snprintf(ret, 32, "o/%016" PRIx64, epoch);
}

int kafka_table_take_over(struct kafka_table *t, struct error *err)
{
	char key[32];
	int r = kafka_table_load(t, err);
	if (r != 0)
		return r;
	uint64_t wanted = t->epoch + 1;
	epoch_key(wanted, key);
	r = send_row(t, key, (struct bytes){ (const uint8_t *)"1", 1 }, wanted, err);
	if (r == 0 && wanted > EPOCHS_KEPT) {
		epoch_key(wanted - EPOCHS_KEPT, key);
		r = send_row(t, key, NOTHING, wanted, err);
	}
	if (r == 0)
		r = kafka_table_flush(t, err);
	if (r == 0)
		r = kafka_table_load(t, err); /* our record, and all before it */
	if (r == 0 && (t->epoch != wanted || !t->epoch_is_ours))
		r = error_set(err, WEIR_FENCED, "Kafka topic %s, partition %d: another instance took over at the same time", t->topic->name,
			      (int)t->partition);
	return r ? r : remove_orphans(t, err);
}
