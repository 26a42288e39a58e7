/* rest_openapi.c - GET /openapi.json and /asyncapi.json: hundreds of kilobytes that stay as they are, so that nothing is left to do but to send them. */
#include "rest/openapi.h"

#include "rest/rest.h"

#include "call/document.h"
#include "call/negotiate.h"
#include "call/validator.h"

#include "wire/msgpack.h"

#include <string.h>

extern const char openapi_begin[], openapi_end[], asyncapi_begin[], asyncapi_end[]; /* api/openapi.c */

struct openapi {
	struct document json, packed, messages; /* packed: json in MessagePack; messages: asyncapi.json */
};

static void make_packed(struct openapi *openapi)
{
	const struct bytes json = { openapi->json.body.data, openapi->json.body.size };
	struct buf out = BUF_INIT(json.size + 16);
	struct arena *arena = arena_new(json.size * 16); /* yyjson asks for up to 12 times a text */
	struct error err;
	if (msgpack_from_json(json, arena, &out, &err) == 0) {
		document_make(&openapi->packed, MSGPACK_TYPE, (struct bytes){ out.data, out.size }, false);
		memcpy(openapi->packed.etag, openapi->json.etag, sizeof openapi->packed.etag);
		etag_add_form(openapi->packed.etag, "msgpack");
	}
	arena_free(&arena);
	buf_free(&out);
}

struct openapi *openapi_new(void)
{
	struct openapi *openapi = xmalloc(sizeof *openapi);
	document_make(&openapi->json, "application/json", (struct bytes){ (const uint8_t *)openapi_begin, (size_t)(openapi_end - openapi_begin) }, false);
	make_packed(openapi);
	document_make(&openapi->messages, "application/json", (struct bytes){ (const uint8_t *)asyncapi_begin, (size_t)(asyncapi_end - asyncapi_begin) }, false);
	return openapi;
}

void openapi_free(struct openapi **openapip)
{
	if (!*openapip)
		return;
	document_free(&(*openapip)->json);
	document_free(&(*openapip)->packed);
	document_free(&(*openapip)->messages);
	xfree(openapip);
}

void rest_openapi(struct call *call)
{
	const struct openapi *openapi = call->gateway->openapi;
	bool packed = openapi->packed.body.size > 0 && negotiate_likes_msgpack(call->request);
	call->response->caching = "private, no-cache";
	http_add_text(call->response, "Vary", "Accept");
	document_give(packed ? &openapi->packed : &openapi->json, call);
}

void rest_asyncapi(struct call *call)
{
	call->response->caching = "private, no-cache";
	document_give(&call->gateway->openapi->messages, call);
}
