/* webhook_sign_test.c - signatures against the specification's own example and RFC 8032's keys; secrets in text and at rest; the schedule. */
#include "services/gateway/webhook/webhook_schedule.h"
#include "services/gateway/webhook/webhook_sign.h"

#include "wire/digest.h"
#include "wire/hex.h"

#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct bytes text_bytes(const char *text)
{
	return (struct bytes){ (const uint8_t *)text, strlen(text) };
}

/* From the specification's reference libraries. */
static void test_v1_is_the_specifications(void **state)
{
	struct webhook_secret secret;
	struct error err;
	struct buf out = BUF_INIT(1024);
	(void)state;
	assert_int_equal(webhook_secret_read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &secret, &err), 0);
	assert_int_equal(secret.size, 24);
	assert_int_equal(webhook_sign(&secret, 1, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, text_bytes("{\"test\": 2432232314}"), &out, &err), 0);
	assert_string_equal(buf_str(&out), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
	buf_free(&out);
}

static void test_several_secrets_sign_side_by_side(void **state)
{
	struct webhook_secret secrets[3];
	struct error err;
	struct buf out = BUF_INIT(1024), alone = BUF_INIT(1024), joined = BUF_INIT(1024);
	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(webhook_secret_make(i == 1 ? WEBHOOK_V1A : WEBHOOK_V1, &secrets[i], &err), 0);
		assert_int_equal(webhook_sign(&secrets[i], 1, "a", 7, text_bytes("body"), &alone, &err), 0);
		buf_printf(&joined, "%s%s", i > 0 ? " " : "", buf_str(&alone));
		buf_reset(&alone);
	}
	assert_int_equal(webhook_sign(secrets, 3, "a", 7, text_bytes("body"), &out, &err), 0);
	assert_string_equal(buf_str(&out), buf_str(&joined));
	assert_non_null(strstr(buf_str(&out), " v1a,"));
	assert_memory_not_equal(secrets[0].key, secrets[2].key, WEBHOOK_SECRET_MADE);
	buf_free(&out);
	buf_free(&alone);
	buf_free(&joined);
}

/* RFC 8032, section 7.1, test 1: the public half of a known key; and a signature that this half proves. */
static void test_v1a_is_ed25519(void **state)
{
	static const char seed[] = "0x9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
	static const char expected[] = "0xd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
	struct webhook_secret secret = { .algorithm = WEBHOOK_V1A, .size = 32 };
	struct error err;
	struct buf out = BUF_INIT(1024), signature = BUF_INIT(128), public_key = BUF_INIT(64);
	uint8_t wanted[32];
	char shown[WEBHOOK_SECRET_TEXT];
	(void)state;
	assert_int_equal(hex_to_bytes(seed, strlen(seed), secret.key, 32), 0);
	assert_int_equal(hex_to_bytes(expected, strlen(expected), wanted, 32), 0);
	assert_int_equal(webhook_receiver_key(&secret, shown, &err), 0);
	assert_memory_equal(shown, "whpk_", 5);
	assert_true(base64_read(shown + 5, strlen(shown) - 5, &public_key));
	assert_int_equal(public_key.size, 32);
	if (memcmp(public_key.data, wanted, 32) != 0)
		fail_msg("%s", shown);
	assert_int_equal(webhook_sign(&secret, 1, "id", 5, text_bytes("x"), &out, &err), 0);
	assert_memory_equal(buf_str(&out), "v1a,", 4);
	assert_true(base64_read(buf_str(&out) + 4, out.size - 4, &signature));
	EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key.data, 32);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key), 1);
	assert_int_equal(EVP_DigestVerify(ctx, signature.data, signature.size, (const uint8_t *)"id.5.x", 6), 1);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	buf_free(&out);
	buf_free(&signature);
	buf_free(&public_key);
}

static void test_secrets_as_text(void **state)
{
	static const char *const bad[] = { "", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
					   "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw " };
	struct webhook_secret secret, again;
	struct error err;
	char text[WEBHOOK_SECRET_TEXT], longest[200] = "whsec_";
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (webhook_secret_read(bad[i], &secret, &err) != WEIR_INVALID)
			fail_msg("%s was taken", bad[i]);
	for (size_t size = 0; size <= 90; size += 3) {
		memset(longest + 6, 'A', size / 3 * 4);
		longest[6 + size / 3 * 4] = '\0';
		int code = webhook_secret_read(longest, &secret, &err);
		assert_int_equal(code == 0, size >= WEBHOOK_SECRET_MIN && size <= WEBHOOK_SECRET_MAX);
	}
	for (int i = 0; i < 50; i++) {
		assert_int_equal(webhook_secret_make(WEBHOOK_V1, &secret, &err), 0);
		assert_int_equal(webhook_receiver_key(&secret, text, &err), 0);
		assert_int_equal(webhook_secret_read(text, &again, &err), 0);
		assert_memory_equal(&secret, &again, sizeof secret);
	}
	webhook_secret_wipe(&secret);
	assert_int_equal(secret.size, 0);
}

static void test_secrets_at_rest(void **state)
{
	uint8_t key[WEBHOOK_KEY_SIZE] = { 1, 2, 3 }, other[WEBHOOK_KEY_SIZE] = { 1, 2, 4 };
	struct webhook_secret secret, opened;
	struct error err;
	(void)state;
	for (int i = 0; i < 8; i++) {
		struct buf sealed = BUF_INIT(256), twice = BUF_INIT(256);
		assert_int_equal(webhook_secret_make(i % 2 ? WEBHOOK_V1A : WEBHOOK_V1, &secret, &err), 0);
		secret.size = i % 2 ? 32 : (size_t)24 + (size_t)i;
		memset(secret.key + secret.size, 0, sizeof secret.key - secret.size);
		assert_int_equal(webhook_secret_seal(key, "endpoint 7", &secret, &sealed, &err), 0);
		assert_int_equal(webhook_secret_seal(key, "endpoint 7", &secret, &twice, &err), 0);
		assert_memory_not_equal(sealed.data, twice.data, sealed.size);
		assert_int_equal(webhook_secret_open(key, "endpoint 7", (struct bytes){ sealed.data, sealed.size }, &opened, &err), 0);
		assert_memory_equal(&opened, &secret, sizeof secret);
		assert_int_equal(webhook_secret_open(key, "endpoint 8", (struct bytes){ sealed.data, sealed.size }, &opened, &err), WEIR_INVALID);
		assert_int_equal(webhook_secret_open(other, "endpoint 7", (struct bytes){ sealed.data, sealed.size }, &opened, &err), WEIR_INVALID);
		for (size_t n = 0; n < sealed.size; n++)
			assert_int_equal(webhook_secret_open(key, "endpoint 7", (struct bytes){ sealed.data, n }, &opened, &err), WEIR_INVALID);
		for (size_t at = 0; at < sealed.size * 8; at++) {
			sealed.data[at / 8] ^= (uint8_t)(1 << at % 8);
			assert_int_equal(webhook_secret_open(key, "endpoint 7", (struct bytes){ sealed.data, sealed.size }, &opened, &err), WEIR_INVALID);
			sealed.data[at / 8] ^= (uint8_t)(1 << at % 8);
		}
		buf_free(&sealed);
		buf_free(&twice);
	}
	assert_int_equal(webhook_key_read("AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", other, &err), 0);
	assert_memory_equal(key, other, sizeof key);
	assert_int_equal(webhook_key_read("AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==", other, &err), WEIR_INVALID);
	assert_int_equal(webhook_key_read("secret", other, &err), WEIR_INVALID);
	assert_int_equal(webhook_key_read("", other, &err), WEIR_INVALID);
}

static void test_the_schedule(void **state)
{
	static const int64_t waits_s[] = { 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400 };
	static const char *const bad[] = { "", "5", "5 s", "s", "5s,", ",5s", "5s;5m", "5d", "169h", "1000000000ms", "-5s", "5ss", "5s 5m" };
	struct webhook_schedule schedule;
	struct error err;
	(void)state;
	assert_int_equal(webhook_schedule_read(WEBHOOK_SCHEDULE_TEXT, &schedule, &err), 0);
	assert_int_equal(schedule.count, 9);
	for (unsigned tries = 1; tries <= 9; tries++) {
		int64_t wait = waits_s[tries - 1] * 1000;
		int64_t most = 0;
		assert_int_equal(webhook_wait_ms(&schedule, tries, 0, 0), wait);
		for (uint64_t random = 0; random < 100000; random += 7)
			if (webhook_wait_ms(&schedule, tries, 0, random * 104729) > most)
				most = webhook_wait_ms(&schedule, tries, 0, random * 104729);
		assert_true(most > wait + wait / 6 && most <= wait + wait / 5);
	}
	assert_int_equal(webhook_wait_ms(&schedule, 10, 5000, 1), -1);
	assert_int_equal(webhook_wait_ms(&schedule, 1, 90000, 1), 90000);
	assert_int_equal(webhook_wait_ms(&schedule, 1, INT64_MAX, 1), 86400000);
	assert_int_equal(webhook_wait_ms(&schedule, 2, 1000, 0), 300000);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (webhook_schedule_read(bad[i], &schedule, &err) != WEIR_INVALID)
			fail_msg("%s was taken", bad[i]);
	assert_int_equal(webhook_schedule_read("0s,1ms , 2m", &schedule, &err), 0);
	assert_true(schedule.count == 3 && schedule.waits_ms[0] == 0 && schedule.waits_ms[1] == 1 && schedule.waits_ms[2] == 120000);
	assert_int_equal(webhook_wait_ms(&schedule, 1, 0, UINT64_MAX), 0);
}

static void test_answers(void **state)
{
	(void)state;
	for (long status = 0; status < 1000; status++) {
		enum webhook_verdict wanted = status >= 200 && status <= 299 ? VERDICT_DELIVERED : status == 410 ? VERDICT_GONE : VERDICT_AGAIN;
		assert_int_equal(webhook_verdict_of(status), wanted);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v1_is_the_specifications),
		cmocka_unit_test(test_several_secrets_sign_side_by_side),
		cmocka_unit_test(test_v1a_is_ed25519),
		cmocka_unit_test(test_secrets_as_text),
		cmocka_unit_test(test_secrets_at_rest),
		cmocka_unit_test(test_the_schedule),
		cmocka_unit_test(test_answers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
