/* jwt_keys.c - keys that verify tokens: shared secrets, and JWK Sets (RFC 7517, 7518 section 6). */
#include "identity/jwt.h"

#include "identity/jwt_internal.h"

#include "wire/digest.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <stdio.h>
#include <string.h>

#define RSA_MIN 2048
#define RSA_MAX 8192

void jwt_keys_free(struct jwt_keys *keys)
{
	for (size_t i = 0; i < keys->count; i++) {
		EVP_PKEY_free(keys->items[i].public);
		if (keys->items[i].secret)
			OPENSSL_cleanse(keys->items[i].secret, keys->items[i].secret_size);
		free(keys->items[i].secret);
	}
	*keys = (struct jwt_keys){ .count = 0 };
}

bool jwt_keys_add_secret(struct jwt_keys *keys, const char *kid, struct bytes secret)
{
	if (secret.size < JWT_SECRET_MIN || keys->count == JWT_KEYS_MAX)
		return false;
	struct jwt_key *key = &keys->items[keys->count++];
	*key = (struct jwt_key){ .alg = JWT_HS256, .secret = xmemdup(secret.data, secret.size), .secret_size = secret.size };
	snprintf(key->kid, sizeof key->kid, "%s", kid);
	return true;
}

static bool read_bytes(yyjson_val *jwk, const char *name, uint8_t *ret, size_t max, size_t *ret_size)
{
	const char *text = jwt_member_text(jwk, name);
	return text && base64url_read(text, strlen(text), ret, max, ret_size) && *ret_size > 0;
}

/* NULL when OpenSSL finds anything wrong with the numbers. */
static EVP_PKEY *make_public(const char *type, OSSL_PARAM_BLD *build)
{
	EVP_PKEY *key = NULL;
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
	EVP_PKEY_CTX *make = EVP_PKEY_CTX_new_from_name(NULL, type, NULL), *check = NULL;
	bool good = params && make && EVP_PKEY_fromdata_init(make) == 1 && EVP_PKEY_fromdata(make, &key, EVP_PKEY_PUBLIC_KEY, params) == 1;
	check = good ? EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL) : NULL;
	good = check && EVP_PKEY_public_check(check) == 1;
	EVP_PKEY_CTX_free(check);
	EVP_PKEY_CTX_free(make);
	OSSL_PARAM_free(params);
	if (good)
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

static EVP_PKEY *read_rsa(yyjson_val *jwk)
{
	uint8_t n[RSA_MAX / 8], e[8];
	size_t n_size, e_size;
	if (!read_bytes(jwk, "n", n, sizeof n, &n_size) || !read_bytes(jwk, "e", e, sizeof e, &e_size) || n_size < RSA_MIN / 8 || n[0] == 0)
		return NULL;
	EVP_PKEY *key = NULL;
	BIGNUM *modulus = BN_bin2bn(n, (int)n_size, NULL), *exponent = BN_bin2bn(e, (int)e_size, NULL);
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	if (build && modulus && exponent && BN_num_bits(modulus) >= RSA_MIN && BN_is_odd(exponent) && BN_num_bits(exponent) > 1 &&
	    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
		key = make_public("RSA", build);
	OSSL_PARAM_BLD_free(build);
	BN_free(modulus);
	BN_free(exponent);
	return key;
}

static EVP_PKEY *read_ec(yyjson_val *jwk)
{
	uint8_t point[65] = { 4 }; /* SEC 1: uncompressed */
	size_t x, y;
	const char *curve = jwt_member_text(jwk, "crv");
	if (!curve || strcmp(curve, "P-256") != 0 || !read_bytes(jwk, "x", point + 1, 32, &x) || x != 32 || !read_bytes(jwk, "y", point + 33, 32, &y) || y != 32)
		return NULL;
	EVP_PKEY *key = NULL;
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	if (build && OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) == 1 &&
	    OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) == 1)
		key = make_public("EC", build);
	OSSL_PARAM_BLD_free(build);
	return key;
}

static bool may_verify(yyjson_val *jwk)
{
	const char *use = jwt_member_text(jwk, "use");
	yyjson_val *operations = yyjson_obj_get(jwk, "key_ops"), *element;
	size_t i, n;
	bool verifies = !operations;
	if (yyjson_is_arr(operations))
		yyjson_arr_foreach(operations, i, n, element) verifies = verifies || yyjson_equals_str(element, "verify");
	return verifies && (!yyjson_obj_get(jwk, "use") || (use && strcmp(use, "sig") == 0));
}

static bool kid_taken(const struct jwt_keys *keys, enum jwt_alg alg, const char *kid)
{
	for (size_t i = 0; i < keys->count; i++)
		if (keys->items[i].alg == alg && strcmp(keys->items[i].kid, kid) == 0)
			return true;
	return false;
}

static bool add_key(struct jwt_keys *keys, yyjson_val *jwk)
{
	if (!jwt_members_once(jwk) || !may_verify(jwk) || keys->count == JWT_KEYS_MAX)
		return false;
	const char *type = jwt_member_text(jwk, "kty"), *alg = jwt_member_text(jwk, "alg"), *kid = jwt_member_text(jwk, "kid");
	bool rsa = type && strcmp(type, "RSA") == 0, ec = type && strcmp(type, "EC") == 0;
	if ((!rsa && !ec) || (yyjson_obj_get(jwk, "alg") && (!alg || strcmp(alg, rsa ? "RS256" : "ES256") != 0)))
		return false;
	if (yyjson_obj_get(jwk, "kid") && (!kid || strlen(kid) >= sizeof keys->items[0].kid))
		return false;
	struct jwt_key key = { .alg = rsa ? JWT_RS256 : JWT_ES256 };
	snprintf(key.kid, sizeof key.kid, "%s", kid ? kid : "");
	if (*key.kid && kid_taken(keys, key.alg, key.kid))
		return false;
	key.public = rsa ? read_rsa(jwk) : read_ec(jwk);
	if (key.public)
		keys->items[keys->count++] = key;
	return key.public != NULL;
}

bool jwt_keys_add_set(struct jwt_keys *keys, struct bytes json)
{
	union { /* see jwt.c */
		const uint8_t *in;
		char *out;
	} text = { .in = json.data };
	yyjson_doc *doc = json.size ? yyjson_read_opts(text.out, json.size, 0, NULL, NULL) : NULL;
	yyjson_val *root = yyjson_doc_get_root(doc), *set = yyjson_obj_get(root, "keys"), *jwk;
	size_t i, n, added = 0;
	if (jwt_members_once(root) && yyjson_is_arr(set))
		yyjson_arr_foreach(set, i, n, jwk) added += add_key(keys, jwk);
	yyjson_doc_free(doc);
	return added > 0;
}
