/* api_key.h - keys that gateways make: their form, and what is kept of them. Pure.
 *
 *	weir_<id>_<secret>_<checksum>    id 12, secret 40, checksum 8 lower-case hex digits
 *
 * The id is public: lists and logs have it. The secret is 160 random bits. The checksum is the CRC-32C of everything before it, so that a scanner for
 * leaked secrets can tell a key from noise, and a mistyped one is refused without a look anywhere. Kept is HMAC-SHA-256 of the whole key under a
 * pepper that the database does not have: 160 random bits need no slow hash, and who can write to the database but not to the settings cannot
 * make a key.
 */
#ifndef WEIR_GATEWAY_API_KEY_H
#define WEIR_GATEWAY_API_KEY_H

#include <stdbool.h>
#include <stdint.h>

#define API_KEY_TEXT 68 /* with NUL */
#define API_KEY_ID 13
#define API_KEY_HASH 32

void api_key_make(char ret[API_KEY_TEXT], char ret_id[API_KEY_ID]); /* from the kernel's random numbers */
bool api_key_parse(const char *text, char ret_id[API_KEY_ID]); /* false: not of this form, or the checksum is wrong */
void api_key_hash(const char *key, const char *pepper, uint8_t ret[API_KEY_HASH]);

#endif
