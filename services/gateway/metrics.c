/* metrics.c - what the gateway counts. */
#include "gateway.h"

const struct metric_def gateway_metrics[] = {
	{ "weir_gateway_requests_total", METRIC_COUNTER, "HTTP requests answered.", { "route", "method", "status" }, NULL },
	{ "weir_gateway_request_seconds", METRIC_HISTOGRAM, "From the request's first line to its answer.", { "route" }, NULL },
	{ "weir_gateway_websocket_connections", METRIC_GAUGE, "WebSocket connections open now.", { NULL }, NULL },
	{ "weir_gateway_websocket_closed_total", METRIC_COUNTER, "WebSocket connections closed by the gateway.", { "reason" }, NULL },
	{ "weir_gateway_websocket_bytes_total", METRIC_COUNTER, "Bytes written to WebSocket connections.", { NULL }, NULL },
	{ "weir_gateway_subscriptions", METRIC_GAUGE, "Subscriptions open now.", { NULL }, NULL },
	{ "weir_gateway_pushes_total", METRIC_COUNTER, "Messages pushed to subscriptions.", { NULL }, NULL },
	{ "weir_gateway_replay_jobs_total", METRIC_COUNTER, "Pieces of the journal read for subscriptions that are not at the live end.", { NULL }, NULL },
	{ "weir_gateway_feed_sequence", METRIC_GAUGE, "Newest event of the ledger's journal handed to subscriptions.", { "chain" }, NULL },
	{ "weir_gateway_feed_healed_total", METRIC_COUNTER, "Events taken from PostgreSQL because the stream did not have them.", { "chain" }, NULL },
	{ "weir_gateway_announced_to_hub_seconds", METRIC_HISTOGRAM, "From a node's announcement of a block to its arrival at the hub.", { NULL }, NULL },
};
const size_t gateway_metric_count = sizeof gateway_metrics / sizeof gateway_metrics[0];
