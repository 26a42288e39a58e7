/* rest_batch.c - POST /v1/batch: several reads in one request, each answered as if it had been asked alone. */
#include "rest/rest.h"

void rest_batch(struct call *call)
{
	const struct value *paths = call_value(call, "paths");
	if (paths->count == 0) {
		call_problem(call, 400, "invalid_body", "paths is empty");
		return;
	}
	page_begin(call);
	for (size_t i = 0; i < paths->count && !call->out->overflow; i++) {
		struct http_response answer = { .type = "application/json", .body = BUF_INIT((size_t)16 << 20) };
		call_nested(call, paths->texts[i], &answer);
		put_object(call->out, NULL);
		put_text(call->out, "path", paths->texts[i]);
		put_i64(call->out, "status", answer.status);
		put_raw(call->out, "body", answer.body.overflow ? NULL : buf_str(http_body(&answer)));
		put_end(call->out, '}');
		call->out->overflow = call->out->overflow || answer.body.overflow;
		buf_free(&answer.body);
	}
	put_end(call->out, ']');
	put_end(call->out, '}');
}
