/* document.h - bytes that stay as they are for the life of the process, made once in every coding, with their tag: to be given without a copy.
 *
 * For the dashboard's files and the API's document. Read-only after document_make; any thread.
 */
#ifndef WEIR_GATEWAY_DOCUMENT_H
#define WEIR_GATEWAY_DOCUMENT_H

#include "http/coding.h"

#include "base/mem.h"

struct call;

struct document {
	const char *type; /* of the content, static */
	char etag[80];    /* a digest of the body, with quotes; a coding's name comes behind it */
	struct buf body;
	struct buf coded[CODINGS]; /* empty where that is no smaller */
};

/* type: static. best: codes slowly, and smaller. */
void document_make(struct document *, const char *type, struct bytes body, bool best);
void document_free(struct document *);

/* Answers the call with it (which the listener must not outlive), in the coding that the client likes best, or with 304 where the client has it. Caching and policy are the caller's. */
void document_give(const struct document *, struct call *);

#endif
