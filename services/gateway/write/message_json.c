/* message_json.c - walking protobuf-c's descriptors. */
#include "write/message_json.h"

#include "wire/hex.h"

#include "weir/streams.h"
#include "weir/v1/block.pb-c.h"
#include "weir/v1/control.pb-c.h"
#include "weir/v1/ledger.pb-c.h"
#include "weir/v1/raw.pb-c.h"

#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 12
#define ITEMS_MAX 40   /* of a list */
#define TEXT_MAX 2000  /* bytes of a text */
#define BYTES_MAX 96   /* shown of a byte string */

const ProtobufCMessageDescriptor *message_kind(uint16_t frame_type)
{
	switch (frame_type) {
	case MESSAGE_RAW_BLOCK_TIP:
	case MESSAGE_RAW_BLOCK_BACKFILL:
		return &weir__v1__raw_block__descriptor;
	case MESSAGE_NORMALIZED_BLOCK:
		return &weir__v1__normalized_block__descriptor;
	case MESSAGE_CHAIN_HEAD:
		return &weir__v1__chain_head__descriptor;
	case MESSAGE_CHAIN_FORK:
		return &weir__v1__chain_fork__descriptor;
	case MESSAGE_LEDGER_EVENT:
		return &weir__v1__ledger_event__descriptor;
	case MESSAGE_COMMAND:
		return &weir__v1__command__descriptor;
	default:
		return NULL;
	}
}

static void put_bytes(struct buf *out, const char *key, const ProtobufCBinaryData *bytes)
{
	char hex[2 * BYTES_MAX + 3], text[2 * BYTES_MAX + 64];
	size_t shown = bytes->len > BYTES_MAX ? BYTES_MAX : bytes->len;
	if (shown == 0) {
		put_text(out, key, "0x");
		return;
	}
	for (size_t i = 0; i < shown; i++)
		snprintf(hex + 2 * i, 3, "%02x", bytes->data[i]);
	if (shown < bytes->len)
		snprintf(text, sizeof text, "0x%s… (%zu bytes)", hex, bytes->len);
	else
		snprintf(text, sizeof text, "0x%s", hex);
	put_text(out, key, text);
}

static void put_words(struct buf *out, const char *key, const char *text)
{
	char cut[TEXT_MAX + 40];
	size_t n = strlen(text);
	if (n <= TEXT_MAX) {
		put_text(out, key, text);
		return;
	}
	snprintf(cut, sizeof cut, "%.*s… (%zu bytes)", TEXT_MAX, text, n);
	put_text(out, key, cut);
}

static void put_fields(struct buf *out, const ProtobufCMessage *message, size_t depth);

/* member: where the value lies. */
static void put_value(struct buf *out, const char *key, const ProtobufCFieldDescriptor *field, const void *member, size_t depth)
{
	int32_t i32;
	uint32_t u32;
	int64_t i64;
	uint64_t u64;
	float f32;
	double f64;
	protobuf_c_boolean on;
	const char *text;
	ProtobufCBinaryData bytes;
	const ProtobufCMessage *inner;
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		memcpy(&i32, member, sizeof i32);
		put_i64(out, key, i32);
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		memcpy(&u32, member, sizeof u32);
		put_u64(out, key, u32);
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		memcpy(&i64, member, sizeof i64);
		put_i64(out, key, i64);
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		memcpy(&u64, member, sizeof u64);
		put_u64(out, key, u64);
		break;
	case PROTOBUF_C_TYPE_FLOAT:
		memcpy(&f32, member, sizeof f32);
		put_f64(out, key, (double)f32);
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		memcpy(&f64, member, sizeof f64);
		put_f64(out, key, f64);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		memcpy(&on, member, sizeof on);
		put_bool(out, key, on);
		break;
	case PROTOBUF_C_TYPE_ENUM: {
		memcpy(&i32, member, sizeof i32);
		const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(field->descriptor, i32);
		if (value)
			put_text(out, key, value->name);
		else
			put_i64(out, key, i32);
		break;
	}
	case PROTOBUF_C_TYPE_STRING:
		memcpy(&text, member, sizeof text);
		put_words(out, key, text ? text : "");
		break;
	case PROTOBUF_C_TYPE_BYTES:
		memcpy(&bytes, member, sizeof bytes);
		put_bytes(out, key, &bytes);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		memcpy(&inner, member, sizeof inner);
		if (!inner || depth == DEPTH_MAX) {
			put_null(out, key);
			break;
		}
		put_object(out, key);
		put_fields(out, inner, depth + 1);
		put_end(out, '}');
		break;
	}
}

static size_t size_of(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return 4;
	}
}

static void put_list(struct buf *out, const ProtobufCFieldDescriptor *field, const char *base, size_t depth)
{
	char more[48];
	size_t n;
	const char *items;
	memcpy(&n, base + field->quantifier_offset, sizeof n);
	memcpy(&items, base + field->offset, sizeof items);
	put_array(out, field->name);
	for (size_t i = 0; i < n && i < ITEMS_MAX; i++)
		put_value(out, NULL, field, items + i * size_of(field->type), depth);
	if (n > ITEMS_MAX) {
		snprintf(more, sizeof more, "… %zu more", n - ITEMS_MAX);
		put_text(out, NULL, more);
	}
	put_end(out, ']');
}

static void put_fields(struct buf *out, const ProtobufCMessage *message, size_t depth)
{
	const char *base = (const char *)message;
	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
		if (field->label == PROTOBUF_C_LABEL_REPEATED) {
			put_list(out, field, base, depth);
			continue;
		}
		if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) { /* the quantifier is the case */
			uint32_t which;
			memcpy(&which, base + field->quantifier_offset, sizeof which);
			if (which != field->id)
				continue;
		}
		put_value(out, field->name, field, base + field->offset, depth);
	}
}

void put_message(struct buf *out, const char *key, const ProtobufCMessage *message)
{
	put_object(out, key);
	put_fields(out, message, 0);
	put_end(out, '}');
}
