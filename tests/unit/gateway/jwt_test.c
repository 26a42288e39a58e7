/* jwt_test.c - tokens as RFC 8725 wants them read: what is good, and everything that looks nearly like it. */
#include "services/gateway/identity/jwt.h"

#include "support/jwt_tokens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/evp.h>

#define NOW 1700000000
#define SECRET "0123456789abcdef0123456789abcdef"
#define GOOD_CLAIMS "\"iss\":\"https://issuer.example\",\"aud\":\"weir\",\"sub\":\"bob\",\"exp\":1700000100"

static const struct jwt_expected expected = { "https://issuer.example", "weir", NOW, 30 };
static const struct bytes secret = { (const uint8_t *)SECRET, sizeof SECRET - 1 };

static struct jwt_keys public_keys(void)
{
	struct jwt_keys keys = { .count = 0 };
	assert_true(jwt_keys_add_set(&keys, (struct bytes){ (const uint8_t *)KEY_SET, sizeof KEY_SET - 1 }));
	assert_int_equal(keys.count, 2);
	return keys;
}

static struct jwt_keys all_keys(void)
{
	struct jwt_keys keys = public_keys();
	assert_true(jwt_keys_add_secret(&keys, "", secret));
	return keys;
}

static enum jwt_verdict check(const char *token, const struct jwt_keys *keys)
{
	struct jwt_claims claims;
	return jwt_verify(token, keys, &expected, &claims);
}

static void add_part(struct buf *out, const char *json)
{
	char text[2 * JWT_MAX];
	int n = EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)json, (int)strlen(json));
	while (n > 0 && text[n - 1] == '=')
		n--;
	for (int i = 0; i < n; i++)
		buf_add_byte(out, text[i] == '+' ? '-' : text[i] == '/' ? '_' : (uint8_t)text[i]);
}

/* Any header, any claims, a signature that HS256 with the secret would make. */
static enum jwt_verdict check_made(const char *header, const char *claims, struct jwt_claims *ret)
{
	struct jwt_keys keys = all_keys();
	struct buf token = BUF_INIT(4 * JWT_MAX);
	uint8_t mac[32];
	size_t size = sizeof mac;
	char text[64];
	add_part(&token, header);
	buf_add_byte(&token, '.');
	add_part(&token, claims);
	assert_non_null(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, SECRET, sizeof SECRET - 1, token.data, token.size, mac, sizeof mac, &size));
	buf_add_byte(&token, '.');
	int n = EVP_EncodeBlock((unsigned char *)text, mac, sizeof mac) - 1;
	for (int i = 0; i < n; i++)
		buf_add_byte(&token, text[i] == '+' ? '-' : text[i] == '/' ? '_' : (uint8_t)text[i]);
	enum jwt_verdict verdict = jwt_verify(buf_str(&token), &keys, &expected, ret);
	buf_free(&token);
	jwt_keys_free(&keys);
	return verdict;
}

#define HS "{\"alg\":\"HS256\"}"

static void tokens_of_another_program_are_good(void **state)
{
	(void)state;
	static const char *const tokens[] = { RS_TOKEN, ES_TOKEN, RS_TOKEN_WITHOUT_KID };
	struct jwt_keys keys = all_keys();
	for (size_t i = 0; i < 3; i++) {
		struct jwt_claims claims;
		assert_int_equal(jwt_verify(tokens[i], &keys, &expected, &claims), JWT_GOOD);
		assert_string_equal(claims.subject, "alice");
		assert_string_equal(claims.scopes, "read stream");
		assert_int_equal(claims.expires_s, 2000000000);
	}
	jwt_keys_free(&keys);
}

static void what_is_signed_here_is_good(void **state)
{
	(void)state;
	struct jwt_keys keys = all_keys();
	struct buf token = BUF_INIT(JWT_MAX);
	jwt_sign(secret, "{" GOOD_CLAIMS "}", &token);
	assert_int_equal(check(buf_str(&token), &keys), JWT_GOOD);
	jwt_keys_free(&keys);
	keys = public_keys();
	assert_int_equal(check(buf_str(&token), &keys), JWT_UNKNOWN_KEY);
	buf_free(&token);
	jwt_keys_free(&keys);
}

/* RFC 7515 appendix A.1. */
static void the_example_of_the_rfc(void **state)
{
	(void)state;
	static const uint8_t k[] = { 3,   35,  53,  75,  43,  15,  165, 188, 131, 126, 6,   101, 119, 123, 166, 143, 90,  179, 40,  230, 240, 84,
				     201, 40,  169, 15,  132, 178, 210, 80,  46,  191, 211, 251, 90,  146, 210, 6,   71,  239, 150, 138, 180, 195,
				     119, 98,  61,  34,  61,  46,  33,  114, 5,   46,  79,  8,   192, 205, 154, 245, 103, 208, 128, 163 };
	static const char token[] = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
				    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
	struct jwt_keys keys = { .count = 0 };
	assert_true(jwt_keys_add_secret(&keys, "", (struct bytes){ k, sizeof k }));
	assert_int_equal(check(token, &keys), JWT_MALFORMED); /* the signature is right: it lacks aud and sub */
	char forged[sizeof token];
	memcpy(forged, token, sizeof token);
	forged[sizeof token - 3] ^= 1;
	assert_int_equal(check(forged, &keys), JWT_FORGED);
	jwt_keys_free(&keys);
}

static void no_changed_character_gets_through(void **state)
{
	(void)state;
	static const char *const tokens[] = { ES_TOKEN, RS_TOKEN };
	struct jwt_keys keys = all_keys();
	char changed[JWT_MAX + 1];
	for (size_t t = 0; t < 2; t++)
		for (size_t at = 0; tokens[t][at]; at++) {
			snprintf(changed, sizeof changed, "%s", tokens[t]);
			for (const char *c = "A_."; *c; c++) {
				changed[at] = *c;
				if (*c != tokens[t][at])
					assert_int_not_equal(check(changed, &keys), JWT_GOOD);
			}
			snprintf(changed, at + 1, "%s", tokens[t]);
			assert_int_not_equal(check(changed, &keys), JWT_GOOD);
		}
	jwt_keys_free(&keys);
}

static void forms_that_are_no_token(void **state)
{
	(void)state;
	static const char *const forms[] = { "",		 ".",			 "..",			 "...",			  "a.b.c",
					     RS_TOKEN ".",	 RS_TOKEN "=",		 RS_TOKEN " ",		 " " RS_TOKEN,		  RS_TOKEN ".x",
					     "e30.e30.",	 "eyJhbGciOiJIUzI1NiJ9..", "eyJhbGciOiJIUzI1NiJ9.e30", "bnVsbA.bnVsbA.", "W10.W10." };
	struct jwt_keys keys = all_keys();
	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
		assert_int_equal(check(forms[i], &keys), JWT_MALFORMED);
	char *large = xmalloc(JWT_MAX + 100);
	memset(large, 'A', JWT_MAX + 99);
	memcpy(large, RS_TOKEN, sizeof RS_TOKEN - 1);
	assert_int_equal(check(large, &keys), JWT_MALFORMED);
	free(large);
	jwt_keys_free(&keys);
}

static void headers(void **state)
{
	(void)state;
	static const struct {
		const char *header;
		enum jwt_verdict verdict;
	} rows[] = {
		{ HS, JWT_GOOD },
		{ "{\"typ\":\"JWT\",\"alg\":\"HS256\"}", JWT_GOOD },
		{ "{\"typ\":\"at+jwt\",\"alg\":\"HS256\"}", JWT_GOOD },
		{ "{\"alg\":\"HS256\",\"jku\":\"https://evil.example/keys\",\"x5u\":\"file:///etc/passwd\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AA\"}}", JWT_GOOD },
		{ "{\"alg\":\"none\"}", JWT_MALFORMED },
		{ "{\"alg\":\"None\"}", JWT_MALFORMED },
		{ "{\"alg\":\"\"}", JWT_MALFORMED },
		{ "{\"alg\":\"hs256\"}", JWT_MALFORMED },
		{ "{\"alg\":\"HS384\"}", JWT_MALFORMED },
		{ "{\"alg\":\"HS256\\u0000\"}", JWT_MALFORMED },
		{ "{\"alg\":[\"HS256\"]}", JWT_MALFORMED },
		{ "{\"alg\":\"HS256\",\"alg\":\"none\"}", JWT_MALFORMED },
		{ "{\"alg\":\"HS256\",\"\\u0061lg\":\"HS256\"}", JWT_MALFORMED },
		{ "{\"alg\":\"HS256\",\"crit\":[]}", JWT_MALFORMED },
		{ "{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", JWT_MALFORMED },
		{ "{\"alg\":\"HS256\",\"typ\":\"JOSE\"}", JWT_MALFORMED },
		{ "{\"alg\":\"HS256\",\"typ\":1}", JWT_MALFORMED },
		{ "{\"alg\":\"HS256\",\"kid\":\"\"}", JWT_MALFORMED },
		{ "{\"alg\":\"HS256\",\"kid\":7}", JWT_MALFORMED },
		{ "{\"alg\":\"HS256\",\"kid\":\"../../dev/null\"}", JWT_UNKNOWN_KEY },
		{ "{\"alg\":\"HS256\",\"kid\":\"' or 1=1 --\"}", JWT_UNKNOWN_KEY },
		{ "{\"alg\":\"HS256\",\"kid\":\"r1\"}", JWT_UNKNOWN_KEY }, /* that one is for RS256 */
		{ "{\"alg\":\"RS256\",\"kid\":\"r1\"}", JWT_FORGED },
		{ "{\"alg\":\"ES256\",\"kid\":\"e1\"}", JWT_FORGED },
		{ "{\"alg\":\"ES256\",\"kid\":\"r1\"}", JWT_UNKNOWN_KEY },
		{ "{}", JWT_MALFORMED },
		{ "[]", JWT_MALFORMED },
		{ "{\"alg\":\"HS256\"} ", JWT_GOOD },
		{ "{\"alg\":\"HS256\"}{}", JWT_MALFORMED },
		{ "{\"alg\":\"HS256\",}", JWT_MALFORMED },
		{ "\xef\xbb\xbf{\"alg\":\"HS256\"}", JWT_MALFORMED },
	};
	struct jwt_claims claims;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		enum jwt_verdict verdict = check_made(rows[i].header, "{" GOOD_CLAIMS "}", &claims);
		if (verdict != rows[i].verdict)
			print_message("%s\n", rows[i].header);
		assert_int_equal(verdict, rows[i].verdict);
	}
}

static void claims_of_all_kinds(void **state)
{
	(void)state;
#define WITH(iss, aud, sub, exp) "{\"iss\":" iss ",\"aud\":" aud ",\"sub\":" sub ",\"exp\":" exp "}"
#define ISS "\"https://issuer.example\""
#define AUD "\"weir\""
#define SUB "\"bob\""
#define EXP "1700000100"
	static const struct {
		const char *claims;
		enum jwt_verdict verdict;
	} rows[] = {
		{ WITH(ISS, AUD, SUB, EXP), JWT_GOOD },
		{ WITH(ISS, "[\"weir\"]", SUB, EXP), JWT_GOOD },
		{ WITH(ISS, "[\"a\",\"weir\",7]", SUB, EXP), JWT_GOOD },
		{ WITH(ISS, AUD, SUB, "1699999971"), JWT_GOOD }, /* within the skew */
		{ WITH(ISS, AUD, SUB, "1699999970"), JWT_EXPIRED },
		{ WITH(ISS, AUD, SUB, "0"), JWT_EXPIRED },
		{ WITH(ISS, AUD, SUB, "1700000100.5"), JWT_GOOD },
		{ WITH(ISS, AUD, SUB, "-1"), JWT_MALFORMED },
		{ WITH(ISS, AUD, SUB, "1e300"), JWT_MALFORMED },
		{ WITH(ISS, AUD, SUB, "99999999999999999999"), JWT_MALFORMED },
		{ WITH(ISS, AUD, SUB, "\"1700000100\""), JWT_MALFORMED },
		{ WITH(ISS, AUD, SUB, "null"), JWT_MALFORMED },
		{ WITH(ISS, AUD, SUB, "true"), JWT_MALFORMED },
		{ WITH(ISS, "\"other\"", SUB, EXP), JWT_WRONG_AUDIENCE },
		{ WITH(ISS, "\"weir\\u0000\"", SUB, EXP), JWT_WRONG_AUDIENCE },
		{ WITH(ISS, "\"weirs\"", SUB, EXP), JWT_WRONG_AUDIENCE },
		{ WITH(ISS, "[]", SUB, EXP), JWT_WRONG_AUDIENCE },
		{ WITH(ISS, "[[\"weir\"]]", SUB, EXP), JWT_WRONG_AUDIENCE },
		{ WITH(ISS, "{\"weir\":1}", SUB, EXP), JWT_MALFORMED },
		{ WITH(ISS, "null", SUB, EXP), JWT_MALFORMED },
		{ WITH("\"https://issuer.example/\"", AUD, SUB, EXP), JWT_WRONG_ISSUER },
		{ WITH("\"https://issuer.example\\u0000.evil\"", AUD, SUB, EXP), JWT_WRONG_ISSUER },
		{ WITH("[\"https://issuer.example\"]", AUD, SUB, EXP), JWT_MALFORMED },
		{ WITH(ISS, AUD, "\"\"", EXP), JWT_MALFORMED },
		{ WITH(ISS, AUD, "7", EXP), JWT_MALFORMED },
		{ WITH(ISS, AUD, "\"a#b\"", EXP), JWT_MALFORMED },
		{ WITH(ISS, AUD, "\"a b\"", EXP), JWT_MALFORMED },
		{ WITH(ISS, AUD, "\"a\\nb\"", EXP), JWT_MALFORMED },
		{ WITH(ISS, AUD, "\"a\\u0000b\"", EXP), JWT_MALFORMED },
		{ "{" GOOD_CLAIMS ",\"exp\":9999999999}", JWT_MALFORMED },
		{ "{" GOOD_CLAIMS ",\"is\\u0073\":\"x\"}", JWT_MALFORMED },
		{ "{" GOOD_CLAIMS ",\"x\":1,\"x\":1}", JWT_MALFORMED },
		{ "{" GOOD_CLAIMS ",\"nbf\":1700000030}", JWT_GOOD },
		{ "{" GOOD_CLAIMS ",\"nbf\":1700000031}", JWT_NOT_YET },
		{ "{" GOOD_CLAIMS ",\"iat\":1700000031}", JWT_NOT_YET },
		{ "{" GOOD_CLAIMS ",\"nbf\":\"1\"}", JWT_MALFORMED },
		{ "{" GOOD_CLAIMS ",\"scope\":7}", JWT_MALFORMED },
		{ "{" GOOD_CLAIMS ",\"scope\":[\"read\",7]}", JWT_MALFORMED },
		{ "{" GOOD_CLAIMS ",\"scope\":\"read\\u0000\"}", JWT_MALFORMED },
		{ "{\"iss\":" ISS ",\"aud\":" AUD ",\"sub\":" SUB "}", JWT_MALFORMED },
		{ "{\"iss\":" ISS ",\"aud\":" AUD ",\"exp\":" EXP "}", JWT_MALFORMED },
		{ "{\"iss\":" ISS ",\"sub\":" SUB ",\"exp\":" EXP "}", JWT_MALFORMED },
		{ "{\"aud\":" AUD ",\"sub\":" SUB ",\"exp\":" EXP "}", JWT_MALFORMED },
		{ "[]", JWT_MALFORMED },
		{ "{}", JWT_MALFORMED },
	};
	struct jwt_claims claims;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		enum jwt_verdict verdict = check_made(HS, rows[i].claims, &claims);
		if (verdict != rows[i].verdict)
			print_message("%s\n", rows[i].claims);
		assert_int_equal(verdict, rows[i].verdict);
	}
	assert_int_equal(check_made(HS, "{" GOOD_CLAIMS ",\"scope\":\"read\",\"scp\":[\"stream\"],\"roles\":[\"viewer\",\"x\"]}", &claims), JWT_GOOD);
	assert_string_equal(claims.scopes, "read stream viewer x");
}

static void secrets_in_turn(void **state)
{
	(void)state;
	static const char other[] = "ffffffffffffffffffffffffffffffff";
	struct jwt_keys keys = { .count = 0 };
	struct buf token = BUF_INIT(JWT_MAX);
	assert_false(jwt_keys_add_secret(&keys, "", (struct bytes){ (const uint8_t *)"short", 5 }));
	assert_true(jwt_keys_add_secret(&keys, "", (struct bytes){ (const uint8_t *)other, 32 }));
	jwt_sign(secret, "{" GOOD_CLAIMS "}", &token);
	assert_int_equal(check(buf_str(&token), &keys), JWT_FORGED);
	assert_true(jwt_keys_add_secret(&keys, "", secret));
	assert_int_equal(check(buf_str(&token), &keys), JWT_GOOD);
	buf_free(&token);
	jwt_keys_free(&keys);
}

static void sets_that_have_nothing_to_use(void **state)
{
	(void)state;
	static const char *const sets[] = {
		"", "x", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[]}", "{\"keys\":[1,null,\"x\",[]]}", SMALL_KEY_SET,
		"{\"keys\":[{\"kty\":\"oct\",\"k\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"}]}",
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}",
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"AA\",\"y\":\"AA\"}]}",
	};
	for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
		struct jwt_keys keys = { .count = 0 };
		assert_false(jwt_keys_add_set(&keys, (struct bytes){ (const uint8_t *)sets[i], strlen(sets[i]) }));
		jwt_keys_free(&keys);
	}
	/* The same set again adds nothing: its kids are taken. */
	struct jwt_keys keys = public_keys();
	assert_false(jwt_keys_add_set(&keys, (struct bytes){ (const uint8_t *)KEY_SET, sizeof KEY_SET - 1 }));
	assert_int_equal(keys.count, 2);
	jwt_keys_free(&keys);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokens_of_another_program_are_good), cmocka_unit_test(what_is_signed_here_is_good), cmocka_unit_test(the_example_of_the_rfc),
		cmocka_unit_test(no_changed_character_gets_through),  cmocka_unit_test(forms_that_are_no_token),     cmocka_unit_test(headers),
		cmocka_unit_test(claims_of_all_kinds),		      cmocka_unit_test(secrets_in_turn),	     cmocka_unit_test(sets_that_have_nothing_to_use),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
