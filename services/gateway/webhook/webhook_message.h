/* webhook_message.h - what WebSocket clients are pushed, as messages of webhooks.
 *
 * The body is {"type": …, "timestamp": …, "data": {…}} as the Standard Webhooks specification has it; data is the very event of the push, ids
 * included. webhook-id names the message, not the thing that it tells of: a block that was taken back and came again is two messages.
 */
#ifndef WEIR_GATEWAY_WEBHOOK_MESSAGE_H
#define WEIR_GATEWAY_WEBHOOK_MESSAGE_H

#include "live/protocol.h"

#include "base/mem.h"

#define WEBHOOK_ID_SIZE 37 /* "msg_" and 32 hex digits, NUL */

/* What an endpoint wants, as registered. */
struct webhook_want {
	const char *chain, *account, *asset; /* account, asset: "" for all */
	enum topic topic;
	int64_t endpoint;
	int64_t journal; /* grows when the ledger was made anew: its sequence numbers begin again */
};
const char *webhook_topic_name(enum topic);
bool webhook_topic_read(const char *name, enum topic *ret);

struct webhook_message {
	char id[WEBHOOK_ID_SIZE];
	char type[32];
	char lane[96];
	bool barrier; /* lane means nothing: after everything before it, before everything behind it */
};
/* tail: ,"event":{…}} as rendered for pushes. Appends the body. WEIR_INVALID: it is not that. */
int webhook_message_make(const struct webhook_want *, uint64_t sequence, int64_t index, struct bytes tail, int64_t unix_ms, struct webhook_message *ret,
			 struct buf *body, struct error *);
/* One that tells of nothing, to try a receiver. */
void webhook_message_test(int64_t endpoint, uint64_t random, int64_t unix_ms, struct webhook_message *ret, struct buf *body);

#endif
