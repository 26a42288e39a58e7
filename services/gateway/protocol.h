/* protocol.h - what clients say over the WebSocket, read strictly and without any effect. Documented in openapi.json (/v1/ws). */
#ifndef WEIR_GATEWAY_PROTOCOL_H
#define WEIR_GATEWAY_PROTOCOL_H

#include "base/error.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

enum topic { TOPIC_OF_BLOCKS, TOPIC_OF_ENTRIES, TOPIC_OF_ACCOUNTS, TOPIC_OF_STATUS };

/* Where a subscription stands: everything up to `sequence` was given; of event `sequence` itself, if index >= 0, only up to that item.
 * given_after and min_height belong to the subscription's begin and travel with the offset, so that a retraction after a reconnect
 * names exactly what was given: blocks applied at or before given_after, or below min_height, never were.
 * As text: sequence[.index][~given_after[~min_height]]. */
struct offset {
	uint64_t sequence;
	int64_t index; /* -1: the whole event */
	uint64_t given_after;
	int64_t min_height;
};
#define OFFSET_TEXT_MAX 100
size_t offset_print(const struct offset *, char ret[OFFSET_TEXT_MAX]);
int offset_parse(const char *text, struct offset *ret, struct error *);

enum ws_method { WS_SUBSCRIBE, WS_UNSUBSCRIBE, WS_PING };
enum ws_from { WS_FROM_LIVE, WS_FROM_OFFSET, WS_FROM_HEIGHT };

struct ws_request {
	char id[200]; /* as JSON text: a number or a string; "null" when it could not be read */
	enum ws_method method;
	enum topic topic;
	const char *chain, *account, *asset; /* in the arena; NULL: not given */
	enum ws_from from;
	struct offset offset;
	int64_t height;
	uint32_t subscription;
};
/* WEIR_INVALID with words for the client; ret->id is set whenever it could be read. */
int ws_request_read(struct bytes text, struct arena *, struct ws_request *ret, struct error *);

#endif
