/* jwt.c - reading, checking and signing tokens. Keys are in jwt_keys.c. */
#include "identity/jwt.h"

#include "identity/denial.h"
#include "identity/jwt_internal.h"

#include "wire/digest.h"

#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <yyjson.h>

#define MEMBERS_MAX 64
#define ES256_SIZE 64
#define SECONDS_MAX 253402300799 /* end of the year 9999 */

const char *jwt_verdict_words(enum jwt_verdict verdict)
{
	static const char *const words[] = {
		[JWT_GOOD] = "the token is good",
		[JWT_MALFORMED] = "this is not a token that is understood here",
		[JWT_UNKNOWN_KEY] = "the token is signed with a key that is not known here",
		[JWT_FORGED] = "the token's signature is wrong",
		[JWT_EXPIRED] = "the token has expired: ask for a new one",
		[JWT_NOT_YET] = "the token is not valid yet",
		[JWT_WRONG_ISSUER] = "the token is of another issuer",
		[JWT_WRONG_AUDIENCE] = "the token is for somebody else",
	};
	return words[verdict];
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------------------------ */

bool jwt_members_once(yyjson_val *object)
{
	struct yyjson_obj_iter outer = yyjson_obj_iter_with(object);
	if (!yyjson_is_obj(object) || yyjson_obj_size(object) > MEMBERS_MAX)
		return false;
	for (yyjson_val *key; (key = yyjson_obj_iter_next(&outer));) {
		struct yyjson_obj_iter inner = outer;
		for (yyjson_val *other; (other = yyjson_obj_iter_next(&inner));)
			if (yyjson_equals_strn(other, yyjson_get_str(key), yyjson_get_len(key)))
				return false;
	}
	return true;
}

const char *jwt_member_text(yyjson_val *object, const char *name)
{
	yyjson_val *value = yyjson_obj_get(object, name);
	const char *text = yyjson_get_str(value);
	return text && strlen(text) == yyjson_get_len(value) ? text : NULL;
}

/* Absent: true and 0. */
static bool read_time(yyjson_val *claims, const char *name, int64_t *ret)
{
	yyjson_val *value = yyjson_obj_get(claims, name);
	double number = yyjson_get_num(value);
	*ret = 0;
	if (!value)
		return true;
	if (!yyjson_is_num(value) || !(number >= 0) || number > (double)SECONDS_MAX)
		return false;
	*ret = (int64_t)number;
	return true;
}

/* ---- the parts of a token -------------------------------------------------------------------------------------------------------------- */

struct token {
	struct bytes signed_part;
	enum jwt_alg alg;
	char kid[128]; /* empty: none */
	uint8_t signature[JWT_MAX];
	size_t signature_size;
	yyjson_doc *claims; /* owned */
};

static bool read_alg(const char *name, enum jwt_alg *ret)
{
	static const char *const names[] = { [JWT_HS256] = "HS256", [JWT_RS256] = "RS256", [JWT_ES256] = "ES256" };
	for (size_t i = 0; name && i < sizeof names / sizeof names[0]; i++)
		if (strcmp(name, names[i]) == 0) {
			*ret = (enum jwt_alg)i;
			return true;
		}
	return false;
}

static bool read_header(yyjson_val *header, struct token *ret)
{
	const char *type = jwt_member_text(header, "typ"), *kid = jwt_member_text(header, "kid");
	if (!jwt_members_once(header) || yyjson_obj_get(header, "crit") || !read_alg(jwt_member_text(header, "alg"), &ret->alg))
		return false;
	if (yyjson_obj_get(header, "typ") && (!type || (strcasecmp(type, "JWT") != 0 && strcasecmp(type, "at+jwt") != 0)))
		return false;
	if (yyjson_obj_get(header, "kid") && (!kid || !*kid || strlen(kid) >= sizeof ret->kid))
		return false;
	snprintf(ret->kid, sizeof ret->kid, "%s", kid ? kid : "");
	return true;
}

static yyjson_doc *read_object(const char *text, size_t size)
{
	uint8_t json[JWT_MAX];
	size_t n;
	union { /* yyjson changes nothing in the text without the in-situ flag; it is not const-correct */
		uint8_t *bytes;
		char *text;
	} u = { .bytes = json };
	return base64url_read(text, size, json, sizeof json, &n) ? yyjson_read_opts(u.text, n, 0, NULL, NULL) : NULL;
}

static bool take_apart(const char *text, struct token *ret)
{
	size_t size = strnlen(text, JWT_MAX + 1);
	const char *first = memchr(text, '.', size), *second = first ? memchr(first + 1, '.', size - (size_t)(first + 1 - text)) : NULL;
	if (size > JWT_MAX || !second || memchr(second + 1, '.', size - (size_t)(second + 1 - text)))
		return false;
	yyjson_doc *header = read_object(text, (size_t)(first - text));
	bool good = header && read_header(yyjson_doc_get_root(header), ret);
	yyjson_doc_free(header);
	ret->signed_part = (struct bytes){ (const uint8_t *)text, (size_t)(second - text) };
	good = good && base64url_read(second + 1, size - (size_t)(second + 1 - text), ret->signature, sizeof ret->signature, &ret->signature_size);
	ret->claims = good ? read_object(first + 1, (size_t)(second - first - 1)) : NULL;
	return ret->claims && jwt_members_once(yyjson_doc_get_root(ret->claims));
}

/* ---- signatures ------------------------------------------------------------------------------------------------------------------------ */

static void hmac(struct bytes secret, struct bytes data, uint8_t ret[SHA256_DIGEST_SIZE])
{
	struct hmac_sha256_ctx ctx;
	hmac_sha256_set_key(&ctx, secret.size, secret.data);
	hmac_sha256_update(&ctx, data.size, data.data);
	hmac_sha256_digest(&ctx, SHA256_DIGEST_SIZE, ret);
}

static bool verify_public(EVP_PKEY *key, const uint8_t *signature, size_t size, struct bytes data)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool good = ctx && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
		    EVP_DigestVerify(ctx, signature, size, data.data, data.size) == 1;
	EVP_MD_CTX_free(ctx);
	return good;
}

/* RFC 7518 section 3.4: r and s, 32 bytes each; OpenSSL wants DER. */
static bool verify_es256(const struct jwt_key *key, const struct token *token)
{
	if (token->signature_size != ES256_SIZE)
		return false;
	uint8_t *der = NULL;
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(token->signature, 32, NULL), *s = BN_bin2bn(token->signature + 32, 32, NULL);
	bool good = sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1; /* they are sig's then */
	if (!good) {
		BN_free(r);
		BN_free(s);
	}
	int size = good ? i2d_ECDSA_SIG(sig, &der) : 0;
	good = size > 0 && verify_public(key->public, der, (size_t)size, token->signed_part);
	OPENSSL_free(der);
	ECDSA_SIG_free(sig);
	return good;
}

static bool verify(const struct jwt_key *key, const struct token *token)
{
	uint8_t mac[SHA256_DIGEST_SIZE];
	switch (key->alg) {
	case JWT_HS256:
		hmac((struct bytes){ key->secret, key->secret_size }, token->signed_part, mac);
		return token->signature_size == sizeof mac && memeql_sec(mac, token->signature, sizeof mac);
	case JWT_RS256:
		return token->signature_size == (size_t)EVP_PKEY_get_size(key->public) &&
		       verify_public(key->public, token->signature, token->signature_size, token->signed_part);
	case JWT_ES256:
		return verify_es256(key, token);
	}
	return false;
}

static enum jwt_verdict check_signature(const struct token *token, const struct jwt_keys *keys)
{
	size_t of_alg = 0, tried = 0;
	for (size_t i = 0; i < keys->count; i++)
		of_alg += keys->items[i].alg == token->alg;
	for (size_t i = 0; i < keys->count; i++) {
		const struct jwt_key *key = &keys->items[i];
		bool candidate = *token->kid ? strcmp(key->kid, token->kid) == 0 : !*key->kid || of_alg == 1;
		if (key->alg != token->alg || !candidate)
			continue;
		tried++;
		if (verify(key, token))
			return JWT_GOOD;
	}
	return tried ? JWT_FORGED : JWT_UNKNOWN_KEY;
}

/* ---- claims ---------------------------------------------------------------------------------------------------------------------------- */

static bool is_for(yyjson_val *audience, const char *me)
{
	size_t i, n;
	yyjson_val *element;
	bool found = yyjson_equals_str(audience, me);
	if (yyjson_is_arr(audience))
		yyjson_arr_foreach(audience, i, n, element) found = found || yyjson_equals_str(element, me);
	return found;
}

static bool read_subject(yyjson_val *claims, char ret[JWT_TEXT_MAX + 1])
{
	const char *subject = jwt_member_text(claims, "sub");
	if (!subject || !*subject || strlen(subject) > JWT_TEXT_MAX)
		return false;
	for (const char *p = subject; *p; p++)
		if (*p < 0x21 || *p > 0x7e || *p == '#')
			return false;
	snprintf(ret, JWT_TEXT_MAX + 1, "%s", subject);
	return true;
}

static bool add_scope(const char *text, size_t size, char ret[512])
{
	size_t used = strlen(ret);
	if (memchr(text, '\0', size) || used + size + 2 > 512)
		return false;
	snprintf(ret + used, 512 - used, "%s%.*s", used ? " " : "", (int)size, text);
	return true;
}

/* Absent is none; anything but texts is no token. */
static bool read_scopes(yyjson_val *claims, char ret[512])
{
	static const char *const names[] = { "scope", "scp", "roles" };
	ret[0] = '\0';
	for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
		size_t i, n;
		yyjson_val *element, *value = yyjson_obj_get(claims, names[k]);
		if (!value)
			continue;
		if (yyjson_is_str(value) && !add_scope(yyjson_get_str(value), yyjson_get_len(value), ret))
			return false;
		if (!yyjson_is_str(value) && !yyjson_is_arr(value))
			return false;
		if (yyjson_is_arr(value))
			yyjson_arr_foreach(value, i, n, element) if (!yyjson_is_str(element) || !add_scope(yyjson_get_str(element), yyjson_get_len(element), ret)) return false;
	}
	return true;
}

static uint64_t read_id(yyjson_val *claims)
{
	yyjson_val *id = yyjson_obj_get(claims, "jti");
	return yyjson_is_str(id) ? denial_mark('j', yyjson_get_str(id), yyjson_get_len(id)) : 0;
}

static enum jwt_verdict check_claims(yyjson_val *claims, const struct jwt_expected *expected, struct jwt_claims *ret)
{
	int64_t not_before;
	yyjson_val *issuer = yyjson_obj_get(claims, "iss"), *audience = yyjson_obj_get(claims, "aud");
	if (!yyjson_is_str(issuer) || !(yyjson_is_str(audience) || yyjson_is_arr(audience)) || !yyjson_obj_get(claims, "exp"))
		return JWT_MALFORMED;
	if (!read_time(claims, "exp", &ret->expires_s) || !read_time(claims, "nbf", &not_before) || !read_time(claims, "iat", &ret->issued_s) ||
	    !read_subject(claims, ret->subject) || !read_scopes(claims, ret->scopes))
		return JWT_MALFORMED;
	if (!yyjson_equals_str(issuer, expected->issuer))
		return JWT_WRONG_ISSUER;
	if (!is_for(audience, expected->audience))
		return JWT_WRONG_AUDIENCE;
	if (ret->expires_s + expected->skew_s <= expected->now_s)
		return JWT_EXPIRED;
	ret->id = read_id(claims);
	return not_before > expected->now_s + expected->skew_s || ret->issued_s > expected->now_s + expected->skew_s ? JWT_NOT_YET : JWT_GOOD;
}

enum jwt_verdict jwt_verify(const char *text, const struct jwt_keys *keys, const struct jwt_expected *expected, struct jwt_claims *ret)
{
	struct token token = { .claims = NULL };
	enum jwt_verdict verdict = JWT_MALFORMED;
	*ret = (struct jwt_claims){ .expires_s = 0 };
	if (take_apart(text, &token))
		verdict = check_signature(&token, keys);
	if (verdict == JWT_GOOD) /* nothing is believed before */
		verdict = check_claims(yyjson_doc_get_root(token.claims), expected, ret);
	yyjson_doc_free(token.claims);
	return verdict;
}

void jwt_sign(struct bytes secret, const char *claims, struct buf *out)
{
	static const char header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
	uint8_t mac[SHA256_DIGEST_SIZE];
	size_t begin = out->size;
	base64url_write((struct bytes){ (const uint8_t *)header, sizeof header - 1 }, out);
	buf_add_byte(out, '.');
	base64url_write((struct bytes){ (const uint8_t *)claims, strlen(claims) }, out);
	hmac(secret, (struct bytes){ out->data + begin, out->size - begin }, mac);
	buf_add_byte(out, '.');
	base64url_write((struct bytes){ mac, sizeof mac }, out);
}
