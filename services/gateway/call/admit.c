/* admit.c - charging requests and WebSocket handshakes. */
#include "call/admit.h"

#include "call/auth.h"
#include "call/negotiate.h"
#include "call/shed.h"

#include <stdio.h>
#include <string.h>

static const char *const payers[] = { [LIMIT_ADDRESS] = "address", [LIMIT_KEY] = "key" };

static struct limited payer_of(const struct call *call)
{
	struct limited payer = { .kind = call->who ? LIMIT_KEY : LIMIT_ADDRESS };
	if (call->who)
		snprintf(payer.name, sizeof payer.name, "%s", call->who->name);
	else
		client_address_limited(&call->request->address, payer.name);
	return payer;
}

static int64_t cost_of(const struct route *route)
{
	return route && route->cost > 0 ? route->cost : 1;
}

bool admit(struct call *call, struct admission *ret)
{
	const struct gateway *gateway = call->gateway;
	*ret = (struct admission){ .payer = payer_of(call) };
	if (client_ranges_have(&gateway->limit_exempt, &call->request->address))
		return true;
	int64_t cost = cost_of(call->route);
	struct limit_verdict verdict = limit_take(gateway->limits, &ret->payer, cost);
	ret->cost = cost;
	ret->verdict = verdict;
	if (verdict.allowed)
		return true;
	limit_tell(&verdict, ret->payer.kind, call->response);
	metric_inc(metrics_get(gateway->metrics, "weir_gateway_limited_total", payers[ret->payer.kind], NULL, NULL));
	return call_problem(call, 429, "rate_limited", "this %s has used up its limit of %lld per minute, and this request costs %lld: ask again in %lld s",
			    payers[ret->payer.kind], (long long)verdict.count, (long long)cost, (long long)verdict.wait_s);
}

static const struct route *stream_route(void)
{
	const struct route *route = client_routes;
	while (strcmp(route->path, "/v1/stream") != 0)
		route++;
	return route;
}

bool admit_message(struct gateway *gateway, const char *holder, const char *remote, bool subscribes, char words[ADMIT_WORDS])
{
	struct limited payer = { .kind = *holder ? LIMIT_KEY : LIMIT_ADDRESS };
	struct client_address address = { 0 };
	client_address_parse(remote, strlen(remote), &address);
	if (client_ranges_have(&gateway->limit_exempt, &address))
		return true;
	if (*holder)
		snprintf(payer.name, sizeof payer.name, "%s", holder);
	else
		client_address_limited(&address, payer.name);
	const int64_t cost = subscribes ? cost_of(stream_route()) : 1;
	const struct limit_verdict verdict = limit_take(gateway->limits, &payer, cost);
	if (verdict.allowed)
		return true;
	metric_inc(metrics_get(gateway->metrics, "weir_gateway_limited_total", payers[payer.kind], NULL, NULL));
	snprintf(words, ADMIT_WORDS, "this %s has used up its limit of %lld per minute, and this message costs %lld: send it again in %lld s", payers[payer.kind],
		 (long long)verdict.count, (long long)cost, (long long)verdict.wait_s);
	return false;
}

void admit_undo(struct call *call, const struct admission *admission)
{
	if (admission->verdict.limited && admission->verdict.allowed)
		limit_give_back(call->gateway->limits, &admission->payer, admission->cost);
}

void admit_settle(struct call *call, const struct admission *admission)
{
	struct limit_verdict verdict = admission->verdict;
	if (!verdict.limited || !verdict.allowed)
		return;
	if (call->response->status == 304 && !call->made) { /* else whoever says If-None-Match: * would have the ledger read for nothing */
		limit_give_back(call->gateway->limits, &admission->payer, admission->cost);
		verdict.remaining += admission->cost;
	}
	limit_tell(&verdict, admission->payer.kind, call->response);
}

bool admit_websocket(const struct http_request *request, struct http_response *response, void *gateway)
{
	struct call call = { .gateway = gateway, .request = request, .response = response, .out = &response->body, .hurried = true };
	struct admission admission;
	if (!cors_may_open(call.gateway->cors, request))
		return call_problem(&call, 403, "origin_not_allowed", "pages of this origin may not open a WebSocket here: gateway.cors_origins does not list it");
	/* A page of a browser cannot send credentials with this request: it shows them in its first messages (live/hub_auth.c). */
	const bool shown = auth_shows(request);
	return (!shown || auth_client(&call, SCOPE_STREAM)) && shed_admits(&call) && admit(&call, &admission);
}

/* No page of a browser can send the key that is needed, so one that opens a WebSocket here was not made for it. */
bool admit_operator_websocket(const struct http_request *request, struct http_response *response, void *gateway)
{
	struct call call = { .gateway = gateway, .request = request, .response = response, .out = &response->body, .hurried = true };
	struct admission admission;
	if (request->origin)
		return call_problem(&call, 403, "origin_not_allowed", "pages may not open a WebSocket here: they have /v1/stream");
	return auth_operator(&call, ROLE_VIEWER) && shed_admits(&call) && admit(&call, &admission);
}
