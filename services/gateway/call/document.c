/* document.c - making documents and giving them. */
#include "call/document.h"

#include "call/call.h"
#include "call/validator.h"

#include "wire/hex.h"

#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>

#define TAG_BYTES 16

static void tag(struct document *document)
{
	struct sha256_ctx sha;
	uint8_t sum[TAG_BYTES];
	char hex[2 * TAG_BYTES + 3];
	sha256_init(&sha);
	sha256_update(&sha, document->body.size, document->body.data);
	sha256_digest(&sha, sizeof sum, sum);
	hex_from_bytes(sum, sizeof sum, hex);
	snprintf(document->etag, sizeof document->etag, "\"%s\"", hex + 2);
}

void document_make(struct document *document, const char *type, struct bytes body, bool best)
{
	*document = (struct document){ .type = type, .body = BUF_INIT(body.size + 1) };
	buf_add(&document->body, body.data, body.size);
	tag(document);
	for (enum coding c = CODING_GZIP; c < CODINGS; c++) {
		document->coded[c] = (struct buf)BUF_INIT(body.size + 1);
		if (coding_fits(type, body.size))
			coding_encode(c, body, best, &document->coded[c]);
	}
}

void document_free(struct document *document)
{
	buf_free(&document->body);
	for (enum coding c = CODING_GZIP; c < CODINGS; c++)
		buf_free(&document->coded[c]);
}

void document_give(const struct document *document, struct call *call)
{
	struct http_response *response = call->response;
	char match[ETAG_MAX];
	memcpy(response->etag, document->etag, sizeof document->etag);
	response->coded = true;
	http_add_text(response, "Vary", "Accept-Encoding");
	if (etag_matches(call->request->if_none_match, document->etag, match)) {
		memcpy(response->etag, match, sizeof match);
		response->status = 304;
		return;
	}
	response->status = 200;
	response->type = document->type;
	enum coding coding = coding_choose(call->request->accept_encoding);
	const struct buf *given = coding == CODING_NONE || document->coded[coding].size == 0 ? &document->body : &document->coded[coding];
	if (given != &document->body) {
		http_add_text(response, "Content-Encoding", coding_name(coding));
		etag_add_form(response->etag, coding_name(coding));
	}
	response->lasting = given;
}
