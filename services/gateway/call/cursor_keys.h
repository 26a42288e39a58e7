/* cursor_keys.h - the keys that cursors are signed with: from the settings, or made by gateways and shared through Redis.
 *
 * gateway.cursor_key signs, gateway.cursor_key_previous still verifies. Without them each day has a random key in Redis
 * (CURSOR_KEY_FORMAT), made by whoever needs it first, so that any gateway takes what another one gave; it expires with the last cursor
 * that it signed. While Redis is away a gateway goes on with keys of its own, and puts back what Redis lost.
 */
#ifndef WEIR_GATEWAY_CURSOR_KEYS_H
#define WEIR_GATEWAY_CURSOR_KEYS_H

#include "call/cursor.h"
#include "gateway.h"

struct cursor_keys;
/* Asks Redis once; without it the keys are this process's own for the time being. */
void cursor_keys_open(const struct gateway *, struct cursor_keys **ret);
void cursor_keys_close(struct cursor_keys **);
void cursor_keys_turn(struct cursor_keys *); /* about once a second: new days, what others made */
void cursor_keys_ring(struct cursor_keys *, struct cursor_ring *ret); /* any thread */

#endif
