/* password.c - hashing with 19 MiB, two passes, one lane: what OWASP's Password Storage Cheat Sheet asks for at least. */
#include "identity/password.h"

#include <argon2.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define PASSES 2
#define KIBIBYTES 19456
#define LANES 1
#define HASH 32
#define SALT 16

void password_hash(const char *password, char ret[PASSWORD_ENCODED])
{
	uint8_t salt[SALT];
	ssize_t n;
	do
		n = getrandom(salt, sizeof salt, 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof salt || argon2id_hash_encoded(PASSES, KIBIBYTES, LANES, password, strlen(password), salt, sizeof salt, HASH, ret, PASSWORD_ENCODED) != ARGON2_OK)
		abort(); /* no memory, or no random numbers: nothing can be promised about a hash made without them */
}

bool password_check(const char *password, const char *encoded)
{
	/* Of a password that nobody has. */
	static const char nobody[] = "$argon2id$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
	bool good = argon2id_verify(encoded ? encoded : nobody, password, strlen(password)) == ARGON2_OK;
	return good && encoded;
}
