/* call_file.c - the dashboard's files over HTTP. They hold no secrets and need no key: what they show is asked for with one. */
#include "call/call.h"

#include "call/files.h"

#include <string.h>

/* Only from this server, no inline code or style, no frame, and text never becomes markup. */
#define PAGE_POLICY                                                                                                                     \
	"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "                \
	"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

bool call_file(struct call *call)
{
	const struct http_request *request = call->request;
	struct http_response *response = call->response;
	const struct file *file = strcmp(request->method, "GET") == 0 ? files_find(call->gateway->files, &request->target) : NULL;
	if (!file)
		return false;
	response->caching = file->lasting ? "public, max-age=31536000, immutable" : "no-cache";
	response->policy = PAGE_POLICY; /* also with 304: browsers take the new answer's headers for the page they have (RFC 9111 section 3.2) */
	document_give(&file->document, call);
	return true;
}
