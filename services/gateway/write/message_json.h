/* message_json.h - any protobuf message as JSON for a person to read: bounded, so long lists, texts and bytes are cut and say so. */
#ifndef WEIR_GATEWAY_MESSAGE_JSON_H
#define WEIR_GATEWAY_MESSAGE_JSON_H

#include "write/writer.h"

#include <protobuf-c/protobuf-c.h>

/* The kind of message that frames of this type carry (weir/streams.h); NULL: unknown. */
const ProtobufCMessageDescriptor *message_kind(uint16_t frame_type);
void put_message(struct buf *, const char *key, const ProtobufCMessage *);

#endif
