/* jwt_fuzz.c - tokens and key sets of strangers. Nothing but what was signed here is good, whatever the bytes. */
#include "services/gateway/identity/jwt.h"

#include "support/jwt_tokens.h"

#include <stdlib.h>
#include <string.h>

#define SECRET "0123456789abcdef0123456789abcdef"

static struct jwt_keys keys;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct jwt_expected expected = { "https://issuer.example", "weir", 1700000000, 30 };
	static const struct bytes secret = { (const uint8_t *)SECRET, sizeof SECRET - 1 };
	struct jwt_claims claims;
	struct jwt_keys set = { .count = 0 };
	struct buf token = BUF_INIT(1 << 20);
	if (keys.count == 0) {
		jwt_keys_add_set(&keys, (struct bytes){ (const uint8_t *)KEY_SET, sizeof KEY_SET - 1 });
		jwt_keys_add_secret(&keys, "", secret);
	}
	char *text = xstrndup((const char *)data, size);
	/* As a token: only the two that are in the corpus can be good. */
	if (jwt_verify(text, &keys, &expected, &claims) == JWT_GOOD && strcmp(claims.subject, "alice") != 0)
		abort();
	/* As claims that somebody signed who may: nothing that is let through breaks its promises. */
	jwt_sign(secret, text, &token);
	if (jwt_verify(buf_str(&token), &keys, &expected, &claims) == JWT_GOOD &&
	    (strlen(claims.subject) == 0 || strchr(claims.subject, '#') || claims.expires_s + 30 <= expected.now_s))
		abort();
	/* As a key set. */
	jwt_keys_add_set(&set, (struct bytes){ data, size });
	jwt_keys_free(&set);
	buf_free(&token);
	free(text);
	return 0;
}
