/* idempotency.h - POST that may be repeated: Idempotency-Key (draft-ietf-httpapi-idempotency-key-header).
 *
 * The first request under a key is carried out and its answer kept in Redis for a day; the same request again, on any gateway, gets that answer
 * with "Idempotency-Replayed: true" and nothing is done. While the first is in hand others get 409 idempotency_in_flight, and another
 * request (method, path or body) under the key 422 idempotency_key_reused. Keys belong to the principal that
 * sent them, without credentials to the address. Nobody in particular gets answers of at most 64 KiB kept, and for a minute: what any number of addresses
 * may have kept must not fill Redis. (All that they may POST is a batch of reads.)
 *
 * Kept are answers that a repetition would not change: not those of requests that were malformed or not allowed (nothing was done), nor 429 and 5xx (a
 * repetition tries again). Of an answer with a secret only its status is kept: the repetition is not carried out, either, and gets 409 idempotency_not_kept.
 * Such requests may hold secrets, too: they are known again by an HMAC under a secret of the settings. A gateway that dies over a request holds its key for IDEMPOTENCY_HOLD_MS; what it did by then is not known.
 */
#ifndef WEIR_GATEWAY_IDEMPOTENCY_H
#define WEIR_GATEWAY_IDEMPOTENCY_H

#include "call/call.h"

#define IDEMPOTENCY_KEEP_MS ((int64_t)24 * 3600 * 1000)
#define IDEMPOTENCY_KEEP_NOBODYS_MS 60000
#define IDEMPOTENCY_HOLD_MS 120000
#define IDEMPOTENCY_KEY_BYTES 255

struct idempotency {
	bool held; /* by this request */
	char key[128], fingerprint[65];
};
/* True: carry the request out, then call idempotency_end. False: it is answered. Without the header nothing is kept. */
bool idempotency_begin(struct call *, struct idempotency *ret);
void idempotency_end(struct call *, const struct idempotency *);

#endif
