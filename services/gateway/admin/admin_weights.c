/* admin_weights.c - /admin/v1/weights: how the readers of a subscription share their time among the classes, shown and changed while they run. */
#include "admin/admin.h"

#include "control.h"

#include "weir/streams.h"

#include <string.h>

const struct admin_lane admin_lanes[ADMIN_LANES] = {
	{ TOPIC_RAW, SUBSCRIPTION_NORMALIZER },
	{ TOPIC_BLOCKS, SUBSCRIPTION_RECONCILER },
	{ TOPIC_CONTROL, SUBSCRIPTION_RECONCILER },
	{ TOPIC_CONTROL, SUBSCRIPTION_FETCHER },
};
static const char *const classes[] = { CLASS_CRITICAL, CLASS_HIGH, CLASS_NORMAL, CLASS_LOW };

static void put_weights(struct buf *out, const char *chain, const char *topic, const char *subscription, const struct bus_weights *w)
{
	bool initial = w->age_ms == BUS_WEIGHTS_DEFAULT.age_ms;
	put_object(out, NULL);
	put_text(out, "chain", chain);
	put_text(out, "topic", topic);
	put_text(out, "subscription", subscription);
	for (int c = 0; c < 4; c++) {
		put_i64(out, classes[c], w->of[c]);
		initial = initial && w->of[c] == BUS_WEIGHTS_DEFAULT.of[c];
	}
	put_i64(out, "age_ms", w->age_ms);
	put_bool(out, "changed", !initial);
	put_end(out, '}');
}

static int put_lanes(struct bus *bus, const char *chain, const char *subscription, struct buf *out, struct error *err)
{
	int code = 0;
	for (size_t i = 0; i < ADMIN_LANES && code == 0; i++) {
		struct bus_weights w;
		if (strcmp(admin_lanes[i].subscription, subscription) != 0)
			continue;
		code = bus_weights_get(bus, chain, admin_lanes[i].topic, subscription, &w, err);
		if (code == 0)
			put_weights(out, chain, admin_lanes[i].topic, subscription, &w);
	}
	return code;
}

void admin_weights(struct call *call)
{
	admin_items_of_all(call, put_lanes);
}

static bool is_lane(struct call *call, const char *topic, const char *subscription)
{
	for (size_t i = 0; i < ADMIN_LANES; i++)
		if (strcmp(admin_lanes[i].topic, topic) == 0 && strcmp(admin_lanes[i].subscription, subscription) == 0)
			return true;
	return call_problem(call, 404, "subscription_unknown", "no subscription %s reads topic %s: GET /admin/v1/weights lists those that there are",
			    subscription, topic);
}

/* What is not given stays. False: nothing was given, which is answered. */
static bool take_weights(struct call *call, struct bus_weights *w)
{
	bool given = call_value(call, "age_ms")->given;
	for (int c = 0; c < 4; c++) {
		given = given || call_value(call, classes[c])->given;
		w->of[c] = (uint32_t)call_number(call, classes[c], w->of[c]);
	}
	w->age_ms = call_number(call, "age_ms", w->age_ms);
	return given || call_problem(call, 400, "invalid_body", "none of critical, high, normal, low and age_ms is given: there is nothing to change");
}

void admin_weights_set(struct call *call)
{
	const char *chain = admin_one_chain(call), *topic = call_text(call, "topic"), *subscription = call_text(call, "subscription");
	struct bus_weights w = BUS_WEIGHTS_DEFAULT;
	struct error err = { 0 };
	if (!chain || !is_lane(call, topic, subscription) || !take_weights(call, &(struct bus_weights){ 0 }))
		return;
	struct bus *bus = control_take(call->gateway->control);
	int code = bus_weights_get(bus, chain, topic, subscription, &w, &err);
	if (code == 0 && take_weights(call, &w))
		code = bus_weights_set(bus, chain, topic, subscription, &w, call->who->name, &err);
	control_give(call->gateway->control);
	if (code) {
		call_failed(call, &err);
		return;
	}
	log_info(&call->gateway->log, "operator_action", "", LOG_S("action", "weights"), LOG_S("who", call->who->name), LOG_S("chain", chain),
		 LOG_S("topic", topic), LOG_S("subscription", subscription), LOG_S("request_id", call->request->id));
	put_weights(call->out, chain, topic, subscription, &w);
}
