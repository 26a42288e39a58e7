/* idempotency.c - answers kept by key. A value is "<fingerprint> <nonce>" while the request is in hand, then
 * "<fingerprint> <status>" and, behind a line feed, the body. */
#include "call/idempotency.h"

#include "control.h"

#include "base/clock.h"
#include "bus/kept.h"
#include "wire/hex.h"

#include "weir/streams.h"

#include <nettle/hmac.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX ((size_t)1 << 20)
#define NOBODYS_ANSWER_MAX ((size_t)64 << 10)
#define DIGITS 64 /* of a digest in hex */

static void print_digest(struct sha256_ctx *sha, char ret[DIGITS + 1])
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	char hex[DIGITS + 3];
	sha256_digest(sha, sizeof digest, digest);
	hex_from_bytes(digest, sizeof digest, hex);
	memcpy(ret, hex + 2, DIGITS + 1);
}

static void add_text(struct sha256_ctx *sha, const char *text)
{
	sha256_update(sha, strlen(text) + 1, (const uint8_t *)text);
}

/* One of the settings' secrets, which are in no store; NULL: none is set. */
static const char *settings_secret(const struct config *config)
{
	const char *const secrets[] = { config->gateway.session_secret, config->gateway.key_pepper, config->webhooks.encryption_key };
	for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++)
		if (secrets[i] && *secrets[i])
			return secrets[i];
	return NULL;
}

/* A password must not be guessed from its digest in Redis. */
static void add_secret(struct sha256_ctx *sha, const struct call *call)
{
	static const char purpose[] = "weir idempotency";
	const char *secret = settings_secret(call->gateway->config);
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct hmac_sha256_ctx hmac;
	hmac_sha256_set_key(&hmac, strlen(secret), (const uint8_t *)secret);
	hmac_sha256_update(&hmac, sizeof purpose, (const uint8_t *)purpose);
	hmac_sha256_update(&hmac, call->request->body.size, call->request->body.data);
	hmac_sha256_digest(&hmac, sizeof digest, digest);
	sha256_update(sha, sizeof digest, digest);
}

/* What clients send never becomes a part of a key of Redis: only its digest does. */
static void name(const struct call *call, struct idempotency *ret)
{
	struct sha256_ctx sha;
	char digest[DIGITS + 1];
	sha256_init(&sha);
	add_text(&sha, call->who ? call->who->name : "");
	if (!call->who) {
		char address[CLIENT_ADDRESS_TEXT];
		client_address_limited(&call->request->address, address);
		add_text(&sha, address);
	}
	add_text(&sha, call->request->idempotency_key);
	print_digest(&sha, digest);
	snprintf(ret->key, sizeof ret->key, IDEMPOTENCY_KEY_FORMAT, digest);
	sha256_init(&sha);
	add_text(&sha, call->request->method);
	add_text(&sha, call->request->target.path);
	if (call->route->secret)
		add_secret(&sha, call);
	else
		sha256_update(&sha, call->request->body.size, call->request->body.data);
	print_digest(&sha, ret->fingerprint);
}

static bool is_key(const char *key)
{
	size_t n = 0;
	for (; key[n]; n++)
		if ((unsigned char)key[n] <= 0x20 || (unsigned char)key[n] >= 0x7f)
			return false;
	return n >= 1 && n <= IDEMPOTENCY_KEY_BYTES;
}

/* The answer kept under the key. Always false: the call is answered. */
static bool replay(struct call *call, const struct idempotency *mine, const char *kept, size_t size)
{
	const char *body = memchr(kept, '\n', size);
	long status = size > DIGITS ? strtol(kept + DIGITS, NULL, 10) : 0;
	if (size < DIGITS || memcmp(kept, mine->fingerprint, DIGITS) != 0)
		return call_problem(call, 422, "idempotency_key_reused", "another request was sent under this Idempotency-Key: use a new key for a new request");
	if (!body || status < 200 || status > 599) {
		call->response->retry_after = 1;
		return call_problem(call, 409, "idempotency_in_flight", "the first request under this Idempotency-Key is still in hand: ask again in a moment");
	}
	if (call->route->secret && status < 400)
		return call_problem(call, 409, "idempotency_not_kept",
				    "this was carried out (%ld); its answer had a secret, which is kept nowhere: look at what there is, and make another if the first answer was lost", status);
	call->response->status = (unsigned)status;
	call->response->replayed = true;
	if (status >= 400)
		call->response->type = "application/problem+json";
	buf_add(call->out, body + 1, size - (size_t)(body + 1 - kept));
	return false;
}

bool idempotency_begin(struct call *call, struct idempotency *ret)
{
	struct error err = { 0 };
	struct buf kept = BUF_INIT(ANSWER_MAX + 256);
	char mine[128];
	*ret = (struct idempotency){ 0 };
	if (!call->request->idempotency_key || strcmp(call->request->method, "POST") != 0)
		return true;
	if (!is_key(call->request->idempotency_key))
		return call_problem(call, 400, "bad_idempotency_key", "Idempotency-Key is 1 to %d visible ASCII characters", IDEMPOTENCY_KEY_BYTES);
	if (call->route->secret && !settings_secret(call->gateway->config))
		return call_problem(call, 409, "idempotency_not_kept", "nothing was done: to know a request with a secret again takes gateway.session_secret or gateway.key_pepper, and none "
								       "is set: send no Idempotency-Key");
	name(call, ret);
	int n = snprintf(mine, sizeof mine, "%s %016llx", ret->fingerprint, (unsigned long long)random_u64());
	struct bus *bus = control_take(call->gateway->control);
	int code = bus_keep_first(bus, ret->key, (struct bytes){ (const uint8_t *)mine, (size_t)n }, IDEMPOTENCY_HOLD_MS, &kept, &err);
	control_give(call->gateway->control);
	ret->held = !code && kept.size == (size_t)n && memcmp(kept.data, mine, (size_t)n) == 0;
	if (code)
		call_failed(call, &err);
	else if (!ret->held)
		replay(call, ret, buf_str(&kept), kept.size);
	buf_free(&kept);
	return ret->held;
}

void idempotency_end(struct call *call, const struct idempotency *held)
{
	struct error err = { 0 };
	struct buf value = BUF_INIT(ANSWER_MAX + 256);
	const struct http_response *response = call->response;
	if (!held->held)
		return;
	buf_printf(&value, "%s %u\n", held->fingerprint, response->status);
	if (!call->route->secret || response->status >= 400)
		buf_add(&value, response->body.data, response->body.size);
	bool lasting = response->status < 500 && response->status != 429 && !value.overflow && !response->body.overflow && (call->who || value.size <= NOBODYS_ANSWER_MAX);
	struct bus *bus = control_take(call->gateway->control);
	int code = lasting ? bus_keep(bus, held->key, (struct bytes){ value.data, value.size }, call->who ? IDEMPOTENCY_KEEP_MS : IDEMPOTENCY_KEEP_NOBODYS_MS, &err) : bus_forget(bus, held->key, &err);
	control_give(call->gateway->control);
	if (code)
		log_warn(&call->gateway->log, "idempotency_lost", "the answer to a request with Idempotency-Key could not be kept: a repetition is refused for a moment, then carried out again",
			 LOG_ERR(&err), LOG_S("request_id", call->request->id));
	buf_free(&value);
}
