/* webhook_message.c - pushes as messages of webhooks. */
#include "webhook/webhook_message.h"

#include "write/writer.h"

#include "wire/digest.h"
#include "wire/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const topics[] = { "blocks", "entries", "accounts", "chain_status", "watchlist" };

const char *webhook_topic_name(enum topic topic)
{
	return topics[topic];
}

bool webhook_topic_read(const char *name, enum topic *ret)
{
	for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++)
		if (strcmp(topics[i], name) == 0) {
			*ret = (enum topic)i;
			return true;
		}
	return false;
}

/* The same for the same push, however often the journal is read. */
static void make_id(const struct webhook_want *want, uint64_t sequence, int64_t index, bool retracted, char ret[WEBHOOK_ID_SIZE])
{
	struct buf text = BUF_INIT(1024);
	char digest[SHA256_TEXT];
	buf_printf(&text, "%s\n%s\n%s\n%s\n%" PRId64 "\n%" PRId64 "\n%" PRIu64 "\n%" PRId64 "\n%d", want->chain, topics[want->topic], want->account, want->asset,
		   want->endpoint, want->journal, sequence, index, retracted);
	sha256_text(text.data, text.size, digest);
	snprintf(ret, WEBHOOK_ID_SIZE, "msg_%.32s", digest);
	buf_free(&text);
}

static void put_body(struct buf *body, const char *type, int64_t unix_ms, const char *data, size_t size)
{
	buf_add_byte(body, '{');
	put_text(body, "type", type);
	put_milliseconds(body, "timestamp", unix_ms);
	buf_add_str(body, ",\"data\":");
	buf_add(body, data, size);
	buf_add_byte(body, '}');
}

static int read_event(const char *event, size_t size, struct webhook_message *ret)
{
	static const char *const names[] = { "type", "account", NULL };
	struct json_schema schema;
	yyjson_val *values[2];
	union { /* yyjson changes nothing without its in-situ flag */
		const char *in;
		char *out;
	} text = { .in = event };
	yyjson_doc *doc = yyjson_read_opts(text.out, size, 0, NULL, NULL);
	json_schema_init(&schema, names);
	int code = doc && json_read(&schema, yyjson_doc_get_root(doc), values) ? 0 : WEIR_INVALID;
	struct text type = code ? (struct text){ NULL, 0 } : json_text(values[0]), account = code ? type : json_text(values[1]);
	if (!type.s || type.n == 0 || type.n >= sizeof ret->type || account.n >= sizeof ret->lane)
		code = WEIR_INVALID;
	if (!code) {
		snprintf(ret->type, sizeof ret->type, "%s", type.s);
		snprintf(ret->lane, sizeof ret->lane, "%s", account.s ? account.s : "");
		ret->barrier = strcmp(ret->type, "retracted") == 0; /* it may speak of many accounts */
	}
	yyjson_doc_free(doc);
	return code;
}

int webhook_message_make(const struct webhook_want *want, uint64_t sequence, int64_t index, struct bytes tail, int64_t unix_ms,
			 struct webhook_message *ret, struct buf *body, struct error *err)
{
	static const char before[] = ",\"event\":";
	size_t skipped = sizeof before - 1;
	*ret = (struct webhook_message){ 0 };
	if (tail.size <= skipped + 1 || memcmp(tail.data, before, skipped) != 0 || tail.data[tail.size - 1] != '}')
		return error_set(err, WEIR_INVALID, "a push of %zu bytes is not one", tail.size);
	const char *event = (const char *)tail.data + skipped;
	size_t size = tail.size - skipped - 1;
	if (read_event(event, size, ret))
		return error_set(err, WEIR_INVALID, "a push of %zu bytes holds no event", tail.size);
	make_id(want, sequence, index, ret->barrier, ret->id);
	put_body(body, ret->type, unix_ms, event, size);
	return 0;
}

void webhook_message_test(int64_t endpoint, uint64_t random, int64_t unix_ms, struct webhook_message *ret, struct buf *body)
{
	char data[64];
	*ret = (struct webhook_message){ .type = "test" };
	snprintf(ret->id, sizeof ret->id, "msg_%016" PRIx64 "%016" PRIx64, (uint64_t)endpoint, random);
	int n = snprintf(data, sizeof data, "{\"type\":\"test\",\"endpoint\":%" PRId64 "}", endpoint);
	put_body(body, ret->type, unix_ms, data, (size_t)n);
}
