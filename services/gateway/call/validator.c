/* validator.c - computing and comparing ETags. */
#include "call/validator.h"

#include "call/cursor_keys.h"

#include "base/clock.h"
#include "base/version.h"

#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>

#define TAG_SIZE 22 /* characters, of 132 bits */
#define BODY_MAX ((size_t)4 << 20) /* larger ones are not worth their digest */

static const char revalidate[] = "private, no-cache", lasting[] = "private, max-age=86400, immutable", lasting_page[] = "private, max-age=3600, immutable";

static void print_tag(struct sha256_ctx *sha, char ret[ETAG_MAX])
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint8_t digest[SHA256_DIGEST_SIZE];
	sha256_digest(sha, sizeof digest, digest);
	char *p = ret;
	*p++ = '"';
	for (size_t i = 0; i < TAG_SIZE; i++)
		*p++ = alphabet[digest[i] & 63];
	*p++ = '"';
	*p = '\0';
}

/* A tag in a list: from its opening quote to its end; NULL: the list is over or is none. */
static const char *next_tag(const char **list, size_t *ret_size)
{
	const char *p = *list + strspn(*list, " \t,");
	if (strncmp(p, "W/", 2) == 0)
		p += 2;
	const char *end = *p == '"' ? strchr(p + 1, '"') : NULL;
	if (!end)
		return NULL;
	*ret_size = (size_t)(end + 1 - p);
	*list = end + 1;
	return p;
}

bool etag_matches(const char *if_none_match, const char *etag, char ret_match[ETAG_MAX])
{
	size_t size = 0, wanted = strlen(etag);
	if (!if_none_match || wanted < 3 || wanted >= ETAG_MAX)
		return false;
	snprintf(ret_match, ETAG_MAX, "%s", etag);
	if (strcmp(if_none_match, "*") == 0)
		return true;
	for (const char *list = if_none_match, *tag; (tag = next_tag(&list, &size)) != NULL;) {
		/* all but the closing quote is the same, and then comes that or a coding */
		bool same = size >= wanted && size < ETAG_MAX && memcmp(tag, etag, wanted - 1) == 0 && (size == wanted || tag[wanted - 1] == '-');
		if (same) {
			snprintf(ret_match, ETAG_MAX, "%.*s", (int)size, tag);
			return true;
		}
	}
	return false;
}

void etag_add_form(char etag[ETAG_MAX], const char *name)
{
	size_t n = strlen(etag);
	if (n >= 2 && n + strlen(name) + 2 <= ETAG_MAX)
		snprintf(etag + n - 1, ETAG_MAX - n + 1, "-%s\"", name);
}

bool validator_not_modified(struct call *call)
{
	struct http_response *response = call->response;
	char match[ETAG_MAX];
	if (!etag_matches(call->request->if_none_match, response->etag, match))
		return false;
	memcpy(response->etag, match, sizeof match);
	response->status = 304;
	buf_reset(&response->body);
	return true;
}

bool validator_is_final(const struct http_response *response)
{
	return response->status == 200 && response->caching == lasting;
}

static void add(struct sha256_ctx *sha, const void *data, size_t size)
{
	sha256_update(sha, size, data);
}

static void add_text(struct sha256_ctx *sha, const char *text)
{
	add(sha, text, strlen(text) + 1);
}

void validator_tag_block(struct call *call, const struct block_ref *block, bool list)
{
	struct sha256_ctx sha;
	struct cursor_ring ring;
	const struct target *target = &call->request->target;
	bool final = strcmp(block->finality, "finalized") == 0;
	sha256_init(&sha);
	add_text(&sha, weir_version);
	add_text(&sha, target->path);
	for (size_t i = 0; i < target->parameter_count; i++) {
		add_text(&sha, target->parameters[i].name);
		add_text(&sha, target->parameters[i].value);
	}
	add(&sha, block->hash, sizeof block->hash);
	add(&sha, &block->branch, sizeof block->branch);
	add_text(&sha, block->finality);
	if (list) { /* its cursors change with the hour and with the key */
		int64_t step = clock_wall_ms() / 1000 / CURSOR_STEP_S;
		cursor_keys_ring(call->gateway->cursor_keys, &ring);
		add(&sha, &step, sizeof step);
		add(&sha, ring.keys[0].id, sizeof ring.keys[0].id);
	}
	print_tag(&sha, call->response->etag);
	/* "latest" will be another block */
	call->response->caching = !final || strcmp(call->places[1] ? call->places[1] : "", "latest") == 0 ? revalidate : list ? lasting_page : lasting;
}

bool validator_of_block(struct call *call, const struct block_ref *block, bool list)
{
	validator_tag_block(call, block, list);
	return validator_not_modified(call);
}

void validator_of_body(struct call *call)
{
	struct sha256_ctx sha;
	struct http_response *response = call->response;
	if (strcmp(call->request->method, "GET") != 0 || response->status != 200 || response->etag[0] || response->body.size == 0 || response->body.size > BODY_MAX)
		return;
	sha256_init(&sha);
	add(&sha, response->body.data, response->body.size);
	print_tag(&sha, response->etag);
	response->caching = revalidate;
	validator_not_modified(call);
}
