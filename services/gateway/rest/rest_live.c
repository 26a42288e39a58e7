/* rest_live.c - GET /v1/stream and /v1/poll: a subscription read from a query and handed to the hub, which answers. */
#include "rest/rest.h"

#include "live/hub.h"

#include <stdio.h>
#include <string.h>

#define WAIT_DEFAULT_S 25

static bool copy(char *to, size_t size, const char *text, const char **ret)
{
	*ret = text ? to : NULL;
	return !text || (size_t)snprintf(to, size, "%s", text) < size;
}

static int read_subscription(struct call *call, struct hub_request *r, struct error *err)
{
	const char *topic = call_text(call, "topic"), *offset = call_text(call, "offset");
	struct subscribe *s = &r->subscribe;
	if (call->request->last_event_id && call->request->last_event_id[0]) /* a browser comes back with the first request's query */
		offset = call->request->last_event_id;
	int code = topic_parse((struct text){ topic, strlen(topic) }, &s->topic, err);
	if (code)
		return code;
	if (!copy(r->chain, sizeof r->chain, call_text(call, "chain"), &s->chain) || !copy(r->account, sizeof r->account, call_text(call, "account"), &s->account) ||
	    !copy(r->asset, sizeof r->asset, call_text(call, "asset"), &s->asset) ||
	    !copy(r->kind, sizeof r->kind, call_text(call, "kind"), &s->kind))
		return error_set(err, WEIR_INVALID, "a parameter is too long");
	if (offset) {
		s->from = FROM_OFFSET;
		code = offset_parse(offset, &s->offset, err);
	} else if (call_number(call, "snapshot", 0)) {
		s->from = FROM_SNAPSHOT;
	} else if (call_value(call, "height")->given) {
		s->from = FROM_HEIGHT;
		s->height = call_number(call, "height", 0);
		const char *hash = call_text(call, "hash");
		if (hash)
			code = block_hash_parse((struct text){ hash, strlen(hash) }, s, err);
	}
	if (!code && call_text(call, "hash") && !call_value(call, "height")->given)
		code = error_set(err, WEIR_INVALID, "hash goes with height");
	const char *watchlist = call_text(call, "watchlist");
	if (!code && watchlist)
		code = watchlist_parse((struct text){ watchlist, strlen(watchlist) }, &s->watchlist, err);
	s->finality = call_number(call, "finality", 0) != 0;
	const char *laggard = call_text(call, "laggard");
	if (!code && laggard)
		code = laggard_parse((struct text){ laggard, strlen(laggard) }, &s->laggard, err);
	return code ? code : subscribe_check(s, err);
}

static void serve(struct call *call, enum carrier carrier, const char *type)
{
	struct error err = { 0 };
	struct hub_request *r = xmalloc(sizeof *r);
	r->gateway = call->gateway;
	r->carrier = carrier;
	r->operators = call->operators;
	r->wait_ms = 1000 * call_number(call, "wait", WAIT_DEFAULT_S);
	r->limit = (size_t)call_number(call, "limit", LIMIT_DEFAULT);
	call->response->type = type;
	if (read_subscription(call, r, &err)) {
		call_problem(call, 400, "invalid_parameter", "%s", err.text);
	} else if (call_chain_named(call, r->subscribe.chain) && !call->request->head) {
		if (hub_has_room(call->gateway)) {
			call->response->take = hub_take;
			call->response->taking = r;
			return;
		}
		call->response->retry_after = 5;
		call_problem(call, 503, "too_many_clients", "this server has as many clients at its live end as it may: try another one, or later");
	}
	free(r);
}

void rest_stream(struct call *call)
{
	serve(call, CARRIER_STREAM, "text/event-stream");
}

void rest_poll(struct call *call)
{
	serve(call, CARRIER_POLL, "application/json");
}
