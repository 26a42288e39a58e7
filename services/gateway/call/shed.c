/* shed.c - see shed.h. */
#include "call/shed.h"

#include "base/clock.h"

#include <string.h>

static const struct {
	const char *name;
	int64_t patience; /* times gateway.shed_after; 0: without end */
} classes[SHED_CLASSES] = {
	[SHED_ANONYMOUS] = { "anonymous", 1 }, [SHED_READ] = { "read", 10 }, [SHED_WRITE] = { "write", 20 }, [SHED_ADMIN] = { "admin", 40 }, [SHED_HEALTH] = { "health", 0 },
};

const char *shed_class_name(enum shed_class class)
{
	return classes[class].name;
}

bool shed_allows(enum shed_class class, int64_t waited_ms, int64_t lag_ms, int64_t after_ms)
{
	const int64_t most = classes[class].patience * after_ms;
	const int64_t lag = lag_ms > INT64_MAX / SHED_LAG_WEIGHT ? INT64_MAX : lag_ms * SHED_LAG_WEIGHT;
	return most == 0 || (waited_ms < most && lag < most);
}

enum shed_class shed_class_of(const struct call *call)
{
	if (call->operators)
		return SHED_ADMIN;
	if (!call->who)
		return SHED_ANONYMOUS;
	/* A batch is reads by another method. */
	bool writes = call->route && strcmp(call->request->method, "POST") == 0 && call->route->watches;
	return writes ? SHED_WRITE : SHED_READ;
}

bool shed_admits(struct call *call)
{
	const struct http_request *request = call->request;
	const enum shed_class class = shed_class_of(call);
	if (shed_allows(class, request->waited_ms, request->lag_ms, call->gateway->config->gateway.shed_after_ms))
		return true;
	metric_inc(metrics_get(call->gateway->metrics, "weir_gateway_shed_total", shed_class_name(class), NULL, NULL));
	call->response->retry_after = 1 + (int)(random_u64() % 5); /* not all at once */
	return call_problem(call, 503, "overloaded", "this server has more to do than it can: ask again in %d s, or another one", call->response->retry_after);
}
