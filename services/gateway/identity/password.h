/* password.h - operators' passwords: argon2id (RFC 9106) by libargon2, encoded with parameters and salt. */
#ifndef WEIR_GATEWAY_PASSWORD_H
#define WEIR_GATEWAY_PASSWORD_H

#include <stdbool.h>

#define PASSWORD_MIN 12
#define PASSWORD_MAX 256
#define PASSWORD_ENCODED 128

void password_hash(const char *password, char ret[PASSWORD_ENCODED]);
/* encoded NULL: nobody has that name; takes as long as a wrong password and is false. */
bool password_check(const char *password, const char *encoded);

#endif
