/* kafka_job_row.c - a replay job over Kafka as it is written: names and values, one behind the other. */
#include "bus/kafka/kafka_job.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#define ROW_MAX 8192

#define TEXT(name, member) { name, offsetof(struct kafka_job, member), sizeof(((struct kafka_job *)0)->member) }
#define NUMBER(name, member) { name, offsetof(struct kafka_job, member), 0 }
static const struct {
	const char *name;
	size_t offset, size; /* size 0: a number of 8 bytes */
} fields[] = {
	TEXT("id", job.id),
	TEXT("sub", job.subscription),
	TEXT("state", job.state),
	TEXT("who", job.who),
	TEXT("why", job.why),
	TEXT("note", job.note),
	TEXT("type", job.type),
	TEXT("reason", job.reason),
	TEXT("error_class", job.error_class),
	TEXT("key", job.key),
	TEXT("kind", job.kind),
	NUMBER("from", job.from_ms),
	NUMBER("to", job.to_ms),
	NUMBER("rate", job.rate),
	NUMBER("burst", job.burst),
	NUMBER("concurrency", job.concurrency),
	NUMBER("stop", job.stop_percent),
	NUMBER("total", job.total),
	NUMBER("ok", job.succeeded),
	NUMBER("failed", job.failed),
	NUMBER("gone", job.gone),
	NUMBER("out", job.out),
	NUMBER("ready", job.ready),
	NUMBER("created", job.created_ms),
	NUMBER("finished", job.finished_ms),
	TEXT("idempotency", idempotency),
	TEXT("order", order),
	TEXT("topics", topics),
	TEXT("at_id", at_id),
	NUMBER("at", at),
	NUMBER("exhausted", exhausted),
	NUMBER("tokens", tokens_milli),
	NUMBER("tokens_at", tokens_at_ms),
	NUMBER("base_ok", base_succeeded),
	NUMBER("base_failed", base_failed),
};
#define FIELDS (sizeof fields / sizeof fields[0])

static void read_field(const char *name, const char *value, struct kafka_job *ret)
{
	for (size_t i = 0; i < FIELDS; i++) {
		char *place = (char *)ret + fields[i].offset;
		if (strcmp(fields[i].name, name) != 0)
			continue;
		if (fields[i].size > 0) {
			snprintf(place, fields[i].size, "%s", value);
		} else {
			int64_t n = strtoll(value, NULL, 10);
			memcpy(place, &n, sizeof n);
		}
	}
	if (strcmp(name, "named") == 0)
		ret->job.named = strcmp(value, "1") == 0;
}

bool kafka_job_read(const char *chain, const struct kafka_row *row, struct kafka_job *ret)
{
	memset(ret, 0, sizeof *ret);
	snprintf(ret->job.chain, sizeof ret->job.chain, "%s", chain);
	const char *text = (const char *)row->value.data, *end = text + row->value.size;
	while (text < end) {
		const char *value = memchr(text, 0, (size_t)(end - text));
		const char *next = value ? memchr(value + 1, 0, (size_t)(end - value - 1)) : NULL;
		if (!next)
			break;
		read_field(text, value + 1, ret);
		text = next + 1;
	}
	return strncmp(row->key, "j/", 2) == 0 && strcmp(row->key + 2, ret->job.id) == 0;
}

int kafka_job_write(struct kafka_table *t, const struct kafka_job *j, bool as_owner, struct error *err)
{
	struct buf row = BUF_INIT(ROW_MAX);
	char key[64];
	snprintf(key, sizeof key, "j/%s", j->job.id);
	for (size_t i = 0; i < FIELDS; i++) {
		const char *place = (const char *)j + fields[i].offset;
		int64_t n;
		buf_add(&row, fields[i].name, strlen(fields[i].name) + 1);
		if (fields[i].size > 0) {
			buf_add_str(&row, place);
		} else {
			memcpy(&n, place, sizeof n);
			buf_printf(&row, "%" PRId64, n);
		}
		buf_add_byte(&row, 0);
	}
	buf_add(&row, "named", sizeof "named");
	buf_add(&row, j->job.named ? "1" : "0", 2);
	const struct kafka_row *old = kafka_table_find(t, key);
	const bool same = old && old->value.size == row.size && memcmp(old->value.data, row.data, row.size) == 0;
	int r = row.overflow ? error_set(err, WEIR_LIMIT, "replay job %s is too large", j->job.id)
		: same       ? 0
			     : kafka_table_put(t, key, (struct bytes){ row.data, row.size }, as_owner, err);
	buf_free(&row);
	return r;
}

static const char *or_null(const char *text)
{
	return *text ? text : NULL;
}

void kafka_job_filter(const struct kafka_job *j, struct dead_letter_filter *ret)
{
	*ret = (struct dead_letter_filter){ .type = or_null(j->job.type),
					    .reason = or_null(j->job.reason),
					    .error_class = or_null(j->job.error_class),
					    .key = or_null(j->job.key),
					    .kind = or_null(j->job.kind),
					    .from_ms = j->job.from_ms,
					    .to_ms = j->job.to_ms };
}
