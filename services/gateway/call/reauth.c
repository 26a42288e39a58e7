/* reauth.c - see reauth.h. A request that is never sent anywhere carries the credentials through auth.h. */
#include "call/reauth.h"

#include "call/admit.h"
#include "call/auth.h"

#include "wire/json.h"

#include <stdio.h>
#include <string.h>

static void copy_text(yyjson_val *problem, const char *name, char *ret, size_t size)
{
	const struct text text = json_text(yyjson_obj_get(problem, name));
	snprintf(ret, size, "%.*s", (int)text.n, text.s ? text.s : "");
}

static void read_problem(const struct http_response *response, struct reauth *ret)
{
	yyjson_doc *doc = yyjson_read((const char *)response->body.data, response->body.size, 0);
	if (!doc) { /* we wrote it: never seen */
		snprintf(ret->code, sizeof ret->code, "unauthorized");
		return;
	}
	yyjson_val *problem = yyjson_doc_get_root(doc);
	copy_text(problem, "code", ret->code, sizeof ret->code);
	copy_text(problem, "detail", ret->words, sizeof ret->words);
	yyjson_doc_free(doc);
}

bool reauth(struct gateway *gateway, struct reauth *given, struct principal *ret)
{
	struct http_request *request = xmalloc(sizeof *request); /* large */
	struct http_response *response = xmalloc(sizeof *response);
	struct buf bearer = BUF_INIT((size_t)16 << 10);
	struct admission admission;
	/* What a connection that has a holder may do with those that there are is the hub's to say. */
	const enum scope any = (enum scope)(SCOPE_READ | SCOPE_STREAM | SCOPE_VIEWER | SCOPE_OPERATOR | SCOPE_ADMIN);
	struct call call = { .gateway = gateway, .request = request, .response = response, .out = &response->body, .hurried = true };
	union { /* nobody writes there */
		const char *in;
		char *out;
	} key = { .in = given->key };
	response->body = (struct buf)BUF_INIT(4096);
	request->method = "GET";
	client_address_parse(given->remote, strlen(given->remote), &request->address);
	snprintf(request->remote, sizeof request->remote, "%s", given->remote);
	if (given->token) {
		buf_printf(&bearer, "Bearer %s", given->token);
		request->authorization = (char *)bearer.data;
	}
	request->api_key = key.out;
	bool good = given->operators ? auth_operator(&call, ROLE_NONE) : auth_client(&call, given->first ? SCOPE_STREAM : any);
	if (good && given->first)
		good = admit(&call, &admission);
	if (good)
		*ret = *call.who;
	else
		read_problem(response, given);
	buf_free(&bearer);
	buf_free(&response->body);
	free(response->cookie);
	free(response);
	free(request);
	return good;
}
