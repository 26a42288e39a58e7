/* denial.h - tokens of issuers that were revoked before their end (weir_identity.token_denials), in memory. Bounded: a denial ends when the tokens do that it is about, and there
 * are DENIALS_MAX at most. Loaded by the keyring's thread, so that one counts on every gateway as soon as a revoked key does. Thread-safe. */
#ifndef WEIR_GATEWAY_DENIAL_H
#define WEIR_GATEWAY_DENIAL_H

#include "base/error.h"
#include "store/pg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DENIALS_MAX 10000

uint64_t denial_mark(char kind, const char *text, size_t size); /* of 'j', a jti, or 's', a subject: 64 bits of a digest. Never 0 */

struct denials;
struct denials *denials_new(void);
void denials_free(struct denials **);
/* Is a token with this jti (its mark; 0: none), of this subject and issued at this time (0: it does not say) among them? */
bool denials_have(struct denials *, uint64_t jti, const char *subject, int64_t issued_s);
/* Reads all of them when the number of weir_identity.changes is another one than last time. ret_changed: something may be denied now that was not. */
int denials_load(struct denials *, struct pg *, int64_t number, bool *ret_changed, struct error *);

#endif
