/* shed.c - see shed.h. */
#include "call/shed.h"

#include "call/final.h"

#include "base/clock.h"

#include <string.h>

#define DETAIL "this server has more to do than it can: ask again after the seconds of Retry-After, or another one"

static const struct {
	const char *name;
	int64_t patience; /* times gateway.shed_after; 0: without end */
} classes[SHED_CLASSES] = {
	[SHED_ANONYMOUS] = { "anonymous", 1 }, [SHED_READ] = { "read", 2 }, [SHED_WRITE] = { "write", 4 }, [SHED_ADMIN] = { "admin", 8 }, [SHED_HEALTH] = { "health", 0 },
};

const char *shed_class_name(enum shed_class class)
{
	return classes[class].name;
}

bool shed_allows(enum shed_class class, const struct http_load *load, int64_t after_ms)
{
	const int64_t most = classes[class].patience * after_ms * (load->burst ? SHED_BURST : 1);
	return most == 0 || load->wait_ms < most;
}

static enum shed_class class_of(const struct call *call, bool known)
{
	if (call->operators)
		return SHED_ADMIN;
	if (!known)
		return SHED_ANONYMOUS;
	/* A batch is reads by another method. */
	bool writes = call->route && strcmp(call->request->method, "POST") == 0 && call->route->watches;
	return writes ? SHED_WRITE : SHED_READ;
}

enum shed_class shed_class_of(const struct call *call)
{
	return class_of(call, call->who != NULL);
}

static bool refuse(struct call *call, enum shed_class class)
{
	metric_inc(call->gateway->shed->by_class[class]);
	call->response->retry_after = 1 + (int)(random_u64() % 5); /* not all at once */
	return call_problem(call, 503, "overloaded", "%s", DETAIL);
}

bool shed_admits(struct call *call)
{
	const struct http_request *request = call->request;
	const enum shed_class class = shed_class_of(call);
	const int64_t after_ms = call->gateway->config->gateway.shed_after_ms;
	bool in_vain = request->left && after_ms > 0 && request->load.wait_ms >= after_ms;
	return (!in_vain && shed_allows(class, &request->load, after_ms)) || refuse(call, class);
}

bool shed_lets_in(struct call *call)
{
	const struct http_request *request = call->request;
	const enum shed_class class = class_of(call, request->authorization || request->api_key);
	return shed_allows(class, &request->load, call->gateway->config->gateway.shed_after_ms) || refuse(call, class);
}

bool shed_turns_away(const struct http_arrival *request, const struct http_load *load, void *gateway_)
{
	const struct gateway *gateway = gateway_;
	const enum shed_class class = request->credentials ? SHED_READ : SHED_ANONYMOUS;
	if (shed_allows(class, load, gateway->config->gateway.shed_after_ms))
		return false;
	if (!request->query && final_has(gateway->final, request->path, request->path_size))
		return false;
	metric_inc(gateway->shed->by_class[class]);
	metric_inc(gateway->shed->answered);
	return true;
}

void shed_turned_away(struct http_response *response, const char *instance, const char *request_id, void *gateway)
{
	call_refuse(response, 503, "overloaded", DETAIL, instance, request_id, gateway);
}

struct shed_counts *shed_counts_new(struct metrics *metrics)
{
	struct shed_counts *counts = xmalloc(sizeof *counts);
	for (int class = 0; class < SHED_CLASSES; class++)
		counts->by_class[class] = metrics_get(metrics, "weir_gateway_shed_total", classes[class].name, NULL, NULL);
	counts->answered = metrics_get(metrics, "weir_gateway_requests_total", "refused", "GET", "503");
	return counts;
}
