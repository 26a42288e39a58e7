/* admin_kafka.c - the export to Kafka in the status, and POST /admin/v1/chains/{chain}/kafka/restart. */
#include "admin/admin.h"

#include "kafka/export.h"

#include <stdio.h>

void admin_put_export(struct buf *out, const struct gateway *gateway, const struct gateway_chain *chain)
{
	struct export_status status;
	if (!exports_on(gateway->exports))
		return;
	exports_status(gateway->exports, chain, &status);
	if (!status.known)
		return;
	put_object(out, "kafka");
	put_text(out, "topic", status.topic);
	put_text(out, "state", export_state_name(status.row.state));
	put_text(out, "reason", status.row.reason);
	put_i64(out, "state_seconds", status.row.state_seconds);
	put_i64(out, "epoch", status.row.epoch);
	put_text(out, "offset", *status.row.position ? status.row.position : NULL);
	put_u64(out, "lag", status.lag);
	put_i64(out, "records", status.row.records);
	put_text(out, "gateway", status.row.owner);
	put_end(out, '}');
}

void admin_kafka_restart(struct call *call)
{
	struct error err = { 0 };
	char detail[300];
	int64_t epoch = 0, from = call_number(call, "from_height", -1);
	if (!call_chain(call))
		return;
	if (!exports_on(call->gateway->exports)) {
		call_problem(call, 409, "kafka_off", "nothing is sent to Kafka here: set kafka.url for all gateways");
		return;
	}
	if (from >= 0)
		snprintf(detail, sizeof detail, "from height %lld: %s", (long long)from, call_text(call, "why"));
	else
		snprintf(detail, sizeof detail, "as kafka.start says: %s", call_text(call, "why"));
	if (!admin_audit(call, "kafka_restart", detail)) /* first: nothing happens that is not written down */
		return;
	if (exports_restart(call->gateway->exports, call->chain, from, &epoch, &err)) {
		call_failed(call, &err);
		return;
	}
	put_object(call->out, NULL);
	put_text(call->out, "chain", call->chain->chain.name);
	put_i64(call->out, "epoch", epoch);
	put_end(call->out, '}');
}
