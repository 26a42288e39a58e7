/* webhook_sign.c - secrets and signatures of the Standard Webhooks specification. */
#include "webhook/webhook_sign.h"

#include "wire/digest.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#define NONCE_SIZE 12
#define TAG_SIZE 16
#define SEAL_VERSION 1

/* ---- secrets ------------------------------------------------------------------------------------------------------------------------ */

int webhook_secret_make(enum webhook_algorithm algorithm, struct webhook_secret *ret, struct error *err)
{
	*ret = (struct webhook_secret){ .algorithm = algorithm, .size = WEBHOOK_SECRET_MADE };
	return RAND_bytes(ret->key, WEBHOOK_SECRET_MADE) == 1 ? 0 : error_set(err, WEIR_INTERNAL, "the system gives no random bytes");
}

int webhook_secret_read(const char *text, struct webhook_secret *ret, struct error *err)
{
	struct buf key = BUF_INIT(256);
	*ret = (struct webhook_secret){ .algorithm = WEBHOOK_V1 };
	bool read = strncmp(text, "whsec_", 6) == 0 && !strpbrk(text, " \t\r\n\v\f") && base64_read(text + 6, strlen(text) - 6, &key) && !key.overflow;
	if (read && key.size >= WEBHOOK_SECRET_MIN && key.size <= WEBHOOK_SECRET_MAX) {
		memcpy(ret->key, key.data, key.size);
		ret->size = key.size;
	}
	OPENSSL_cleanse(key.data, key.size);
	buf_free(&key);
	return ret->size > 0 ? 0 : error_set(err, WEIR_INVALID, "a secret is whsec_ and the base64 of %d to %d bytes", WEBHOOK_SECRET_MIN, WEBHOOK_SECRET_MAX);
}

void webhook_secret_wipe(struct webhook_secret *secret)
{
	OPENSSL_cleanse(secret, sizeof *secret);
}

static EVP_PKEY *ed25519_of(const struct webhook_secret *secret)
{
	return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret->key, secret->size);
}

int webhook_receiver_key(const struct webhook_secret *secret, char ret[WEBHOOK_SECRET_TEXT], struct error *err)
{
	struct buf text = BUF_INIT(256);
	uint8_t public_key[32];
	size_t size = sizeof public_key;
	struct bytes shown = { secret->key, secret->size };
	if (secret->algorithm == WEBHOOK_V1A) {
		EVP_PKEY *pair = ed25519_of(secret);
		bool made = pair && EVP_PKEY_get_raw_public_key(pair, public_key, &size) == 1;
		EVP_PKEY_free(pair);
		if (!made)
			return error_set(err, WEIR_INTERNAL, "an ed25519 key cannot be used");
		shown = (struct bytes){ public_key, size };
	}
	buf_add_str(&text, secret->algorithm == WEBHOOK_V1A ? "whpk_" : "whsec_");
	base64_write(shown, &text);
	snprintf(ret, WEBHOOK_SECRET_TEXT, "%s", buf_str(&text));
	OPENSSL_cleanse(text.data, text.size);
	buf_free(&text);
	return 0;
}

/* ---- signatures ----------------------------------------------------------------------------------------------------------------------- */

static bool sign_v1(const struct webhook_secret *secret, const struct buf *signed_text, uint8_t ret[64], size_t *ret_size)
{
	unsigned size = 0;
	if (!HMAC(EVP_sha256(), secret->key, (int)secret->size, signed_text->data, signed_text->size, ret, &size))
		return false;
	*ret_size = size;
	return true;
}

static bool sign_v1a(const struct webhook_secret *secret, const struct buf *signed_text, uint8_t ret[64], size_t *ret_size)
{
	EVP_PKEY *pair = ed25519_of(secret);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	*ret_size = 64;
	bool made = pair && ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, pair) == 1 &&
		    EVP_DigestSign(ctx, ret, ret_size, signed_text->data, signed_text->size) == 1;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(pair);
	return made;
}

int webhook_sign(const struct webhook_secret *secrets, size_t n, const char *id, int64_t timestamp, struct bytes body, struct buf *out, struct error *err)
{
	struct buf signed_text = BUF_INIT(body.size + 256);
	int code = 0;
	buf_printf(&signed_text, "%s.%" PRId64 ".", id, timestamp);
	buf_add(&signed_text, body.data, body.size);
	if (signed_text.overflow)
		code = error_set(err, WEIR_LIMIT, "an id of %zu bytes is too long to sign", strlen(id));
	for (size_t i = 0; !code && i < n; i++) {
		uint8_t signature[64];
		size_t size = 0;
		bool asymmetric = secrets[i].algorithm == WEBHOOK_V1A;
		if (!(asymmetric ? sign_v1a : sign_v1)(&secrets[i], &signed_text, signature, &size)) {
			code = error_set(err, WEIR_INTERNAL, "a webhook cannot be signed");
			break;
		}
		buf_add_str(out, i > 0 ? " " : "");
		buf_add_str(out, asymmetric ? "v1a," : "v1,");
		base64_write((struct bytes){ signature, size }, out);
	}
	buf_free(&signed_text);
	return code;
}

/* ---- at rest ------------------------------------------------------------------------------------------------------------------------------ */

int webhook_key_read(const char *base64, uint8_t ret[WEBHOOK_KEY_SIZE], struct error *err)
{
	struct buf key = BUF_INIT(256);
	bool read = base64_read(base64, strlen(base64), &key) && key.size == WEBHOOK_KEY_SIZE;
	if (read)
		memcpy(ret, key.data, WEBHOOK_KEY_SIZE);
	OPENSSL_cleanse(key.data, key.size);
	buf_free(&key);
	return read ? 0 : error_set(err, WEIR_INVALID, "not the base64 of %d bytes (openssl rand -base64 %d makes some)", WEBHOOK_KEY_SIZE, WEBHOOK_KEY_SIZE);
}

/* version, nonce, ciphertext of (algorithm, key), tag */
int webhook_secret_seal(const uint8_t key[WEBHOOK_KEY_SIZE], const char *context, const struct webhook_secret *secret, struct buf *out, struct error *err)
{
	uint8_t plain[1 + WEBHOOK_SECRET_MAX], sealed[1 + NONCE_SIZE + sizeof plain + TAG_SIZE] = { SEAL_VERSION };
	int size = (int)secret->size + 1, made = 0, rest = 0;
	plain[0] = (uint8_t)secret->algorithm;
	memcpy(plain + 1, secret->key, secret->size);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	bool done = ctx && RAND_bytes(sealed + 1, NONCE_SIZE) == 1 && EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, sealed + 1) == 1 &&
		    EVP_EncryptUpdate(ctx, NULL, &made, (const uint8_t *)context, (int)strlen(context)) == 1 &&
		    EVP_EncryptUpdate(ctx, sealed + 1 + NONCE_SIZE, &made, plain, size) == 1 &&
		    EVP_EncryptFinal_ex(ctx, sealed + 1 + NONCE_SIZE + made, &rest) == 1 &&
		    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, sealed + 1 + NONCE_SIZE + size) == 1;
	EVP_CIPHER_CTX_free(ctx);
	OPENSSL_cleanse(plain, sizeof plain);
	if (!done)
		return error_set(err, WEIR_INTERNAL, "a secret cannot be sealed");
	buf_add(out, sealed, 1 + NONCE_SIZE + (size_t)size + TAG_SIZE);
	return 0;
}

int webhook_secret_open(const uint8_t key[WEBHOOK_KEY_SIZE], const char *context, struct bytes sealed, struct webhook_secret *ret, struct error *err)
{
	uint8_t plain[1 + WEBHOOK_SECRET_MAX], tag[TAG_SIZE];
	int made = 0, rest = 0;
	size_t around = 1 + NONCE_SIZE + TAG_SIZE;
	*ret = (struct webhook_secret){ 0 };
	if (sealed.size < around + 2 || sealed.size > around + sizeof plain || sealed.data[0] != SEAL_VERSION)
		return error_set(err, WEIR_INVALID, "a sealed secret of %zu bytes is not one of this version", sealed.size);
	int size = (int)(sealed.size - around);
	memcpy(tag, sealed.data + sealed.size - TAG_SIZE, TAG_SIZE);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	bool opened = ctx && EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, sealed.data + 1) == 1 &&
		      EVP_DecryptUpdate(ctx, NULL, &made, (const uint8_t *)context, (int)strlen(context)) == 1 &&
		      EVP_DecryptUpdate(ctx, plain, &made, sealed.data + 1 + NONCE_SIZE, size) == 1 &&
		      EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) == 1 && EVP_DecryptFinal_ex(ctx, plain + made, &rest) == 1 &&
		      (plain[0] == WEBHOOK_V1 || plain[0] == WEBHOOK_V1A);
	EVP_CIPHER_CTX_free(ctx);
	if (opened) {
		ret->algorithm = (enum webhook_algorithm)plain[0];
		ret->size = (size_t)size - 1;
		memcpy(ret->key, plain + 1, ret->size);
	}
	OPENSSL_cleanse(plain, sizeof plain);
	return opened ? 0 : error_set(err, WEIR_INVALID, "a secret does not open: webhooks.encryption_key is not the one that it was stored with");
}
