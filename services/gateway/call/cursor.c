/* cursor.c - cursors to text and back. */
#include "call/cursor.h"

#include "wire/digest.h"

#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <stdio.h>
#include <string.h>

#define VERSION 2
#define HEAD_SIZE 14 /* version, kind, key id (4), issued (4), list (4) */
#define BODY_SIZE (HEAD_SIZE + 38) /* branch (2), ordinal (4), height (8), pinned (8), hash (8), as_of (8) */
#define MAC_SIZE 16
#define TEXT_SIZE_MAX 256 /* of texts within cursors */

static void big(uint8_t *p, uint64_t value, int bytes)
{
	for (int i = 0; i < bytes; i++)
		p[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

static uint64_t unbig(const uint8_t *p, int bytes)
{
	uint64_t value = 0;
	for (int i = 0; i < bytes; i++)
		value = value << 8 | p[i];
	return value;
}

/* ---- signatures ------------------------------------------------------------------------------------------------------------------------ */

struct cursor_key cursor_key_from(struct bytes secret)
{
	struct cursor_key key;
	struct hmac_sha256_ctx hmac;
	uint8_t id[SHA256_DIGEST_SIZE];
	static const char purpose[] = "weir cursor key", naming[] = "id";
	hmac_sha256_set_key(&hmac, secret.size, secret.data);
	hmac_sha256_update(&hmac, sizeof purpose - 1, (const uint8_t *)purpose);
	hmac_sha256_digest(&hmac, sizeof key.secret, key.secret);
	hmac_sha256_set_key(&hmac, sizeof key.secret, key.secret);
	hmac_sha256_update(&hmac, sizeof naming - 1, (const uint8_t *)naming);
	hmac_sha256_digest(&hmac, sizeof id, id);
	memcpy(key.id, id, sizeof key.id);
	return key;
}

static void sign(const struct cursor_key *key, const uint8_t *data, size_t size, uint8_t ret[MAC_SIZE])
{
	struct hmac_sha256_ctx hmac;
	hmac_sha256_set_key(&hmac, sizeof key->secret, key->secret);
	hmac_sha256_update(&hmac, size, data);
	hmac_sha256_digest(&hmac, MAC_SIZE, ret);
}

static const struct cursor_key *find_key(const struct cursor_ring *ring, const uint8_t id[4])
{
	for (size_t i = 0; i < ring->count; i++)
		if (memcmp(ring->keys[i].id, id, 4) == 0)
			return &ring->keys[i];
	return NULL;
}

static void put_head(uint8_t *b, enum cursor_kind kind, const struct cursor_scope *scope)
{
	b[0] = VERSION;
	b[1] = (uint8_t)kind;
	memcpy(b + 2, scope->ring->keys[0].id, 4);
	big(b + 6, (uint64_t)(scope->now_s - scope->now_s % CURSOR_STEP_S), 4);
	big(b + 10, scope->list, 4);
}

/* size: with the signature. */
static int check(const uint8_t *b, size_t size, enum cursor_kind expected, const struct cursor_scope *scope, struct error *err)
{
	uint8_t mac[MAC_SIZE];
	const struct cursor_key *key = size > HEAD_SIZE + MAC_SIZE && b[0] == VERSION ? find_key(scope->ring, b + 2) : NULL;
	if (key)
		sign(key, b, size - MAC_SIZE, mac);
	if (!key || !memeql_sec(mac, b + size - MAC_SIZE, MAC_SIZE))
		return error_set(err, WEIR_INVALID, "the cursor is not one that this server gave, or older than a day: list again from the start");
	if (b[1] != expected || unbig(b + 10, 4) != scope->list)
		return error_set(err, WEIR_INVALID, "the cursor belongs to another list: it goes with the path and filters that it was given for");
	int64_t age = scope->now_s - (int64_t)unbig(b + 6, 4);
	if (age > CURSOR_LIFE_S)
		return error_set(err, WEIR_TIMEOUT, "the cursor is older than a day: list again from the start");
	return 0;
}

/* ---- positions ------------------------------------------------------------------------------------------------------------------------- */

void cursor_print(const struct cursor *c, const struct cursor_scope *scope, char ret[CURSOR_TEXT_MAX])
{
	uint8_t b[BODY_SIZE + MAC_SIZE];
	put_head(b, c->kind, scope);
	big(b + HEAD_SIZE, (uint16_t)c->branch, 2);
	big(b + HEAD_SIZE + 2, (uint32_t)c->ordinal, 4);
	big(b + HEAD_SIZE + 6, (uint64_t)c->height, 8);
	big(b + HEAD_SIZE + 14, (uint64_t)c->pinned, 8);
	memcpy(b + HEAD_SIZE + 22, c->hash, 8);
	big(b + HEAD_SIZE + 30, (uint64_t)c->as_of, 8);
	sign(&scope->ring->keys[0], b, BODY_SIZE, b + BODY_SIZE);
	struct buf text = BUF_INIT(CURSOR_TEXT_MAX);
	base64url_write((struct bytes){ b, sizeof b }, &text);
	snprintf(ret, CURSOR_TEXT_MAX, "%s", buf_str(&text));
	buf_free(&text);
}

int cursor_parse(const char *text, enum cursor_kind expected, const struct cursor_scope *scope, struct cursor *ret, struct error *err)
{
	uint8_t b[BODY_SIZE + MAC_SIZE];
	size_t size = 0;
	if (!base64url_read(text, strlen(text), b, sizeof b, &size) || size != sizeof b)
		return error_set(err, WEIR_INVALID, "the cursor is not one that this server gave");
	int code = check(b, size, expected, scope, err);
	if (code)
		return code;
	*ret = (struct cursor){ .kind = expected,
				.branch = (int16_t)unbig(b + HEAD_SIZE, 2),
				.ordinal = (int32_t)unbig(b + HEAD_SIZE + 2, 4),
				.height = (int64_t)unbig(b + HEAD_SIZE + 6, 8),
				.pinned = (int64_t)unbig(b + HEAD_SIZE + 14, 8),
				.as_of = (int64_t)unbig(b + HEAD_SIZE + 30, 8) };
	memcpy(ret->hash, b + HEAD_SIZE + 22, 8);
	return 0;
}

/* ---- texts ----------------------------------------------------------------------------------------------------------------------------- */

void cursor_print_text(const char *text, const struct cursor_scope *scope, struct buf *out)
{
	uint8_t b[HEAD_SIZE + TEXT_SIZE_MAX + MAC_SIZE];
	size_t size = strlen(text);
	if (size == 0 || size > TEXT_SIZE_MAX)
		return;
	put_head(b, CURSOR_TEXT, scope);
	memcpy(b + HEAD_SIZE, text, size + 1); /* the signature comes over its end */
	sign(&scope->ring->keys[0], b, HEAD_SIZE + size, b + HEAD_SIZE + size);
	base64url_write((struct bytes){ b, HEAD_SIZE + size + MAC_SIZE }, out);
}

int cursor_parse_text(const char *text, const struct cursor_scope *scope, char *ret, size_t max, struct error *err)
{
	uint8_t b[HEAD_SIZE + TEXT_SIZE_MAX + MAC_SIZE];
	size_t size = 0;
	if (!base64url_read(text, strlen(text), b, sizeof b, &size))
		return error_set(err, WEIR_INVALID, "the cursor is not one that this server gave");
	int code = check(b, size, CURSOR_TEXT, scope, err);
	size_t length = size - HEAD_SIZE - MAC_SIZE;
	if (code)
		return code;
	if (length >= max || memchr(b + HEAD_SIZE, '\0', length))
		return error_set(err, WEIR_INVALID, "the cursor belongs to another list");
	snprintf(ret, max, "%.*s", (int)length, (const char *)b + HEAD_SIZE);
	return 0;
}
