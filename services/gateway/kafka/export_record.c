/* export_record.c - pushes of TOPIC_OF_LEDGER as records of Kafka. */
#include "kafka/export_record.h"

#include "wire/json.h"

#include <string.h>

#define BATCH_MAX ((size_t)256 << 20) /* a piece of replay has a few thousand pushes of at most some 100 kB */

static void add_value(struct buf *out, int64_t epoch, const struct push *push)
{
	char offset[OFFSET_TEXT_MAX];
	offset_print(&push->at, offset);
	buf_add_byte(out, '{');
	put_i64(out, "epoch", epoch);
	put_u64(out, "sequence", push->at.sequence);
	put_i64(out, "index", push->place);
	put_text(out, "offset", offset);
	buf_add(out, push->tail->text, push->tail->size);
}

int export_batch_make(const struct chain *chain, int64_t epoch, const struct push *pushes, size_t n, struct export_batch *ret, struct error *err)
{
	*ret = (struct export_batch){ .text = BUF_INIT(BATCH_MAX), .records = xcalloc(n ? n : 1, sizeof *ret->records), .count = n };
	for (size_t i = 0; i < n; i++) {
		const struct push *push = &pushes[i];
		char account[80];
		size_t begin = ret->text.size;
		account_text(chain, (struct bytes){ push->account, push->account_size }, account);
		buf_add_str(&ret->text, push->account_size ? account : chain->name);
		ret->records[i].key.size = ret->text.size - begin;
		begin = ret->text.size;
		add_value(&ret->text, epoch, push);
		ret->records[i].value.size = ret->text.size - begin;
	}
	if (ret->text.overflow) {
		export_batch_free(ret);
		return error_set(err, WEIR_LIMIT, "%zu records are larger than %zu bytes together", n, BATCH_MAX);
	}
	const uint8_t *at = ret->text.data; /* which stays where it is now */
	for (size_t i = 0; i < n; i++) {
		ret->records[i].key.data = at;
		at += ret->records[i].key.size;
		ret->records[i].value.data = at;
		at += ret->records[i].value.size;
	}
	return 0;
}

void export_batch_free(struct export_batch *batch)
{
	buf_free(&batch->text);
	xfree(&batch->records);
	batch->count = 0;
}

bool export_place_read(struct bytes value, struct export_place *ret)
{
	static const char *const names[] = { "epoch", "sequence", "index", "offset", NULL };
	struct json_schema schema;
	yyjson_val *found[4];
	union { /* yyjson changes nothing without its in-situ flag */
		const uint8_t *in;
		char *out;
	} text = { .in = value.data };
	*ret = (struct export_place){ 0 };
	yyjson_doc *doc = value.size > 0 ? yyjson_read_opts(text.out, value.size, 0, NULL, NULL) : NULL;
	json_schema_init(&schema, names);
	bool ours = doc && json_read(&schema, yyjson_doc_get_root(doc), found) && yyjson_is_int(found[0]) && yyjson_is_uint(found[1]) && yyjson_is_int(found[2]);
	struct text offset = ours ? json_text(found[3]) : (struct text){ NULL, 0 };
	ours = offset.s && offset.n < sizeof ret->offset;
	if (ours) {
		ret->epoch = yyjson_get_sint(found[0]);
		ret->sequence = yyjson_get_uint(found[1]);
		ret->index = yyjson_get_sint(found[2]);
		memcpy(ret->offset, offset.s, offset.n);
	}
	yyjson_doc_free(doc);
	return ours;
}

bool export_place_above(const struct export_place *a, const struct export_place *b)
{
	if (a->epoch != b->epoch)
		return a->epoch > b->epoch;
	return a->sequence != b->sequence ? a->sequence > b->sequence : a->index > b->index;
}
