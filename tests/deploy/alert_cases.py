"""When each alert must fire, and when it must not: input series in promtool's notation, one sample a minute.

CASES[alert] = (labels that tell which series fires, minute at which it must fire, series that make it fire, series that are well).
A series is name{labels}: values; "a+bxn" is a, a+b, … n more; "axn" is a and n more of it.
"""

I = 'instance="a:1"'
OWNER = f'weir_reconciler_owner{{{I}, chain="c"}}'
DAY = 420  # minutes: the slow windows are six hours


def ratio(bad, good, share, n=DAY):
    """Two counters of which one grows by the bad share (of 1000) a minute."""
    return {bad: f"0+{share}x{n}", good: f"0+{1000 - share}x{n}"}


def owned(name, values, owner="1x420"):
    return {f'{name}{{{I}, chain="c"}}': values, OWNER: owner}


def histogram(slow, n=DAY):
    name = "weir_gateway_announced_to_frame_seconds"
    return {f'{name}_bucket{{le="1"}}': f"0+{1000 - slow}x{n}", f"{name}_count": f"0+1000x{n}"}


BLOCKS = "weir_normalizer_blocks_total"
SKIPPED = "weir_reconciler_balances_skipped_total"
CHECKED = "weir_reconciler_balances_checked_total"
REQUESTS = "weir_gateway_requests_total"
LAG = "weir_reconciler_lag_seconds"
UNREAD = "weir_gateway_stream_oldest_unread_seconds"
ALL_FOUR = {f'weir_build_info{{process="{p}"}}': "1x60" for p in ("fetcher", "normalizer", "reconciler", "gateway")}
VERSIONS = {f'weir_build_info{{process="{p}", version="1"}}': "1x100" for p in ("fetcher", "gateway")}

PROVEN = lambda share: ratio(f'{BLOCKS}{{chain="c", result="unproven"}}', f'{BLOCKS}{{chain="c", result="proven"}}', share)  # noqa: E731
COVERED = lambda share: ratio(f'{SKIPPED}{{chain="c", reason="no_answer"}}', f'{CHECKED}{{chain="c"}}', share)  # noqa: E731
SERVED = lambda share: ratio(f'{REQUESTS}{{status="503"}}', f'{REQUESTS}{{status="200"}}', share)  # noqa: E731
LETTERS = lambda parked: {'weir_bus_dead_letters_total{chain="c"}': f"0+{parked}x{DAY}", 'weir_bus_read_total{chain="c"}': f"0+10000x{DAY}"}  # noqa: E731
UNREAD_RAW = lambda values: {f'{UNREAD}{{chain="c", topic="raw", class="high"}}': values}  # noqa: E731
STANDBY = {f'{LAG}{{instance="b:1", chain="c"}}': "900x420", 'weir_reconciler_owner{instance="b:1", chain="c"}': "0x420"}

CASES = {
    # ---- objectives: a short wobble is silent, a lasting one is not --------------------------------------------------------------------
    "WeirTipLagBurnFast": ({"chain": "c"}, 60, owned(LAG, "120x420"), {**owned(LAG, "5x420"), **STANDBY}),
    "WeirTipLagBurnSlow": ({"chain": "c"}, 400, owned(LAG, "120x420"), owned(LAG, "5x300 60x3 5x100")),
    "WeirBusLagBurnFast": ({"chain": "c", "topic": "raw"}, 60, UNREAD_RAW("300x420"),
                           {f'{UNREAD}{{chain="c", topic="raw", class="low"}}': "300x420", f'{UNREAD}{{chain="c", topic="raw", class="high"}}': "1x420"}),
    "WeirBusLagBurnSlow": ({"chain": "c", "topic": "raw"}, 400, UNREAD_RAW("300x420"), UNREAD_RAW("1x300 300x5 1x100")),
    "WeirHeadToClientBurnFast": ({}, 60, histogram(200), histogram(100)),
    "WeirHeadToClientBurnSlow": ({}, 400, histogram(100), histogram(50)),
    "WeirVerifiedBurnFast": ({"chain": "c"}, 60, PROVEN(20), PROVEN(10)),
    "WeirVerifiedBurnSlow": ({"chain": "c"}, 400, PROVEN(10), PROVEN(5)),
    "WeirReconcileCoverageBurnFast": ({"chain": "c"}, 60, COVERED(800), COVERED(600)),
    "WeirReconcileCoverageBurnSlow": ({"chain": "c"}, 400, COVERED(400), {**COVERED(200), f'{SKIPPED}{{chain="c", reason="in_backfill"}}': "0+9000x420"}),
    "WeirDeadLettersBurnFast": ({"chain": "c"}, 60, LETTERS(20), LETTERS(10)),
    "WeirDeadLettersBurnSlow": ({"chain": "c"}, 400, LETTERS(10), LETTERS(5)),
    "WeirApiErrorsBurnFast": ({}, 60, SERVED(20), SERVED(10)),
    "WeirApiErrorsBurnSlow": ({}, 400, SERVED(10), SERVED(5)),
    # ---- processes -------------------------------------------------------------------------------------------------------------------
    "WeirTargetDown": ({"instance": "a:1"}, 5, {f'up{{app="weir", {I}}}': "1 0x60"}, {f'up{{app="weir", {I}}}': "1 0 1x60", 'up{app="other"}': "0x60"}),
    "WeirProcessMissing": ({"process": "gateway"}, 10, {k: v for k, v in ALL_FOUR.items() if "gateway" not in k}, ALL_FOUR),
    "WeirRestarting": ({"instance": "a:1"}, 20, {f"weir_process_start_time_seconds{{{I}}}": "1x3 2x3 3x3 4x30"},
                       {f"weir_process_start_time_seconds{{{I}}}": "1x3 2x3 3x50"}),
    "WeirMemoryHigh": ({"instance": "a:1"}, 20, {f"weir_process_resident_memory_bytes{{{I}}}": "2000000000x60"},
                       {f"weir_process_resident_memory_bytes{{{I}}}": "900000000x60"}),
    "WeirFilesHigh": ({"instance": "a:1"}, 20, {f"weir_process_open_fds{{{I}}}": "9000x60"}, {f"weir_process_open_fds{{{I}}}": "200x60"}),
    "WeirVersionSkew": ({}, 90, {**VERSIONS, 'weir_build_info{process="normalizer", version="2"}': "1x100"}, VERSIONS),
    "WeirMetricsDropped": ({"instance": "a:1"}, 20, {f"weir_metrics_series_dropped_total{{{I}}}": "0+1x60"},
                           {f"weir_metrics_series_dropped_total{{{I}}}": "0x60"}),
    "WeirAlertPostsFailing": ({"result": "failed"}, 10, {'weir_alert_posts_total{result="failed"}': "0x4 1x60"},
                              {'weir_alert_posts_total{result="sent"}': "0+1x60", 'weir_alert_posts_total{result="failed"}': "3x60",
                               'weir_alert_posts_total{result="silenced"}': "0+1x60"}),
    "WeirSpansLost": ({"instance": "a:1"}, 40, {f'weir_otel_spans_total{{{I}, result="refused"}}': "0+5x60"},
                      {f'weir_otel_spans_total{{{I}, result="exported"}}': "0+50x60", f'weir_otel_spans_total{{{I}, result="dropped"}}': "7x60"}),
    # ---- chain -----------------------------------------------------------------------------------------------------------------------
    "WeirNoFetcher": ({"chain": "c"}, 5, {f'weir_fetcher_active{{{I}, chain="c"}}': "0x60"},
                      {f'weir_fetcher_active{{{I}, chain="c"}}': "0x60", 'weir_fetcher_active{instance="b:1", chain="c"}': "1x60"}),
    "WeirNoLedgerOwner": ({"chain": "c"}, 5, {OWNER: "0x60"}, {OWNER: "0x60", 'weir_reconciler_owner{instance="b:1", chain="c"}': "1x60"}),
    "WeirNoEndpoint": ({"chain": "c"}, 5, {f'weir_rpc_breaker_state{{{I}, chain="c", endpoint="{e}"}}': v for e, v in (("x", "2x60"), ("y", "1x60"))},
                       {f'weir_rpc_breaker_state{{{I}, chain="c", endpoint="{e}"}}': v for e, v in (("x", "2x60"), ("y", "0x60"))}),
    "WeirEndpointDown": ({"endpoint": "x"}, 20, {'weir_rpc_breaker_state{chain="c", endpoint="x"}': "2x60"},
                         {'weir_rpc_breaker_state{chain="c", endpoint="x"}': "0x5 2x5 0x60"}),
    "WeirEndpointRateLimited": ({"endpoint": "x"}, 40, {'weir_rpc_errors_total{chain="c", endpoint="x", kind="rate_limited"}': "0+60x60"},
                                {'weir_rpc_errors_total{chain="c", endpoint="x", kind="rate_limited"}': "0+1x60",
                                 'weir_rpc_errors_total{chain="c", endpoint="x", kind="timeout"}': "0+60x60"}),
    "WeirHeadStuck": ({"chain": "c"}, 25, {f'weir_fetcher_head_height{{{I}, chain="c"}}': "7x60", f'weir_fetcher_active{{{I}, chain="c"}}': "1x60"},
                      {f'weir_fetcher_head_height{{{I}, chain="c"}}': "7+1x60", f'weir_fetcher_active{{{I}, chain="c"}}': "1x60",
                       'weir_fetcher_head_height{instance="b:1", chain="c"}': "7x60", 'weir_fetcher_active{instance="b:1", chain="c"}': "0x60"}),
    "WeirLedgerStuck": ({"chain": "c"}, 20, {**owned("weir_reconciler_head_height", "10+5x60"), **owned("weir_reconciler_watermark_height", "9x60")},
                        {**owned("weir_reconciler_head_height", "9x60"), **owned("weir_reconciler_watermark_height", "9x60")}),
    "WeirGap": ({"chain": "c"}, 20, owned("weir_reconciler_gaps_open", "1x60"), owned("weir_reconciler_gaps_open", "0x5 1x10 0x60")),
    "WeirMismatch": ({"chain": "c"}, 15, owned("weir_reconciler_incidents_open", "1x60"), owned("weir_reconciler_incidents_open", "0x2 1x5 0x60")),
    "WeirFinalityViolation": ({"instance": "a:1"}, 10, {f'weir_alerts_total{{{I}, state="firing", runbook="finality"}}': "_x6 1x60"},
                              {f'weir_alerts_total{{{I}, state="firing", runbook="gap"}}': "0+1x60"}),
    "WeirDeepReorg": ({"chain": "c"}, 10, {'weir_fetcher_fork_depth{chain="c"}': "1x4 25x60", 'weir_fetcher_forks_total{chain="c"}': "1x4 2x60"},
                      {'weir_fetcher_fork_depth{chain="c"}': "25x60", 'weir_fetcher_forks_total{chain="c"}': "2x60"}),
    "WeirEndpointLies": ({"endpoint": "x", "check": "receipts_root"}, 20,
                         {'weir_normalizer_checks_failed_total{chain="c", check="receipts_root", endpoint="x"}': "0+1x60"},
                         {'weir_normalizer_checks_failed_total{chain="c", check="receipts_root", endpoint="x"}': "0x5 1x60"}),
    "WeirEndpointsDiffer": ({"chain": "c", "endpoint": "x"}, 10, {'weir_fetcher_endpoint_differs{chain="c", endpoint="x"}': "0x2 1x60"},
                            {'weir_fetcher_endpoint_differs{chain="c", endpoint="x"}': "0x2 1x3 0x60"}),
    "WeirReconcileQueueFull": ({"chain": "c"}, 40, {f'{SKIPPED}{{chain="c", reason="queue_full"}}': "0+5x60"},
                               {f'{SKIPPED}{{chain="c", reason="superseded"}}': "0+5x60"}),
    "WeirOpeningsUnknown": ({"chain": "c"}, 20, {'weir_reconciler_openings_unknown_total{chain="c"}': "0+1x60"},
                            {'weir_reconciler_openings_unknown_total{chain="c"}': "4x60"}),
    # ---- bus -------------------------------------------------------------------------------------------------------------------------
    "WeirBusDown": ({}, 5, {f"weir_gateway_bus_up{{{I}}}": "1 0x60"}, {f"weir_gateway_bus_up{{{I}}}": "0x60", 'weir_gateway_bus_up{instance="b:1"}': "1x60"}),
    "WeirHandlerPaused": ({"handler": "h"}, 15, {'weir_bus_breaker_state{chain="c", subscription="s", handler="h"}': "2x3 1 2x60"},
                          {'weir_bus_breaker_state{chain="c", subscription="s", handler="h"}': "0 2x5 1 0x60"}),
    "WeirBusLost": ({"topic": "blocks"}, 10, {'weir_bus_loss_suspected_total{chain="c", topic="blocks"}': "0x4 1x60"},
                    {'weir_bus_loss_suspected_total{chain="c", topic="blocks"}': "1x60", 'weir_bus_gaps_total{chain="c", topic="raw"}': "2x60"}),
    "WeirBackpressure": ({"topic": "raw"}, 50, {'weir_bus_full_total{chain="c", topic="raw"}': "0+60x60"},
                         {'weir_bus_full_total{chain="c", topic="raw"}': "0+1x60"}),
    "WeirDeadLetters": ({"subscription": "reconciler"}, 15, {'weir_gateway_dead_letters{chain="c", subscription="reconciler"}': "2x60"},
                        {'weir_gateway_dead_letters{chain="c", subscription="reconciler"}': "0x5 2x5 0x60"}),
    "WeirDeadLetterStorm": ({"subscription": "normalizer"}, 8, {'weir_gateway_dead_letters{chain="c", subscription="normalizer"}': "0+20x60"},
                            {'weir_gateway_dead_letters{chain="c", subscription="normalizer"}': "500x60"}),
    "WeirEventsUnpublished": ({"chain": "c"}, 10, owned("weir_reconciler_events_unpublished", "5000x60"), owned("weir_reconciler_events_unpublished", "10x60")),
    # ---- gateway ---------------------------------------------------------------------------------------------------------------------
    "WeirFeedHealing": ({"chain": "c"}, 50, {'weir_gateway_feed_healed_total{chain="c"}': "0+9x60"}, {'weir_gateway_feed_healed_total{chain="c"}': "0x20 9x60"}),
    "WeirSlowClients": ({}, 40, {'weir_gateway_websocket_closed_total{reason="slow"}': "0+60x60"},
                        {'weir_gateway_websocket_closed_total{reason="slow"}': "0+1x60", 'weir_gateway_websocket_closed_total{reason="silent"}': "0+60x60"}),
    "WeirApiSlow": ({"route": "/v1/chains"}, 40,
                    {'weir_gateway_request_seconds_bucket{route="/v1/chains", le="2.5"}': "0+10x60",
                     'weir_gateway_request_seconds_bucket{route="/v1/chains", le="5"}': "0+60x60",
                     'weir_gateway_request_seconds_bucket{route="/v1/chains", le="+Inf"}': "0+60x60",
                     'weir_gateway_request_seconds_count{route="/v1/chains"}': "0+60x60"},
                    {'weir_gateway_request_seconds_bucket{route="/v1/chains", le="1"}': "0+60x60",
                     'weir_gateway_request_seconds_bucket{route="/v1/chains", le="+Inf"}': "0+60x60",
                     'weir_gateway_request_seconds_count{route="/v1/chains"}': "0+60x60"}),
    "WeirShedding": ({"kind": "anonymous"}, 20, {'weir_gateway_shed_total{kind="anonymous"}': "0+60x60"}, {'weir_gateway_shed_total{kind="anonymous"}': "0+1x60"}),
    "WeirSheddingKeys": ({}, 20, {'weir_gateway_shed_total{kind="read"}': "0+60x60"},
                         {'weir_gateway_shed_total{kind="read"}': "0+1x60", 'weir_gateway_shed_total{kind="anonymous"}': "0+600x60"}),
    "WeirLimitsNotShared": ({"instance": "a:1"}, 20, {f"weir_gateway_limits_shared{{{I}}}": "1 0x60"}, {f"weir_gateway_limits_shared{{{I}}}": "1x5 0x5 1x60"}),
    "WeirKeyLimited": ({}, 50, {'weir_gateway_limited_total{kind="key"}': "0+120x60"},
                       {'weir_gateway_limited_total{kind="key"}': "0+6x60", 'weir_gateway_limited_total{kind="address"}': "0+6000x60"}),
    "WeirTokenKeysFailing": ({"instance": "a:1"}, 30, {f'weir_gateway_token_keys_total{{{I}, result="{r}"}}': v for r, v in (("failed", "0+1x60"), ("read", "4x60"))},
                             {f'weir_gateway_token_keys_total{{{I}, result="{r}"}}': v for r, v in (("failed", "0x9 1x60"), ("read", "0+1x60"))}),
    "WeirLoginsGuessed": ({}, 20, {'weir_gateway_requests_total{route="/admin/v1/login", status="401"}': "0+5x60"},
                          {'weir_gateway_requests_total{route="/admin/v1/login", status="401"}': "0x5 3x60",
                           'weir_gateway_requests_total{route="/admin/v1/login", status="200"}': "0+5x60"}),
    "WeirCredentialsRefused": ({}, 40, {'weir_gateway_requests_total{route="/v1/chains", status="401"}': "0+120x60"},
                               {'weir_gateway_requests_total{route="/v1/chains", status="401"}': "0+6x60",
                                'weir_gateway_requests_total{route="/admin/v1/login", status="401"}': "0+600x60"}),
    "WeirWebhooksWait": ({}, 30, {f"weir_webhook_pending{{{I}}}": "5000x60"}, {f"weir_webhook_pending{{{I}}}": "0x5 5000x5 3x60"}),
    "WeirWebhooksGivenUp": ({}, 20, {'weir_webhook_posts_total{outcome="failed"}': "_x6 1x60"},
                            {'weir_webhook_posts_total{outcome="delivered"}': "0+50x60", 'weir_webhook_posts_total{outcome="retried"}': "0+5x60"}),
    "WeirKafkaWaits": ({"chain": "c"}, 10, {f'weir_kafka_waiting_seconds{{chain="c", {I}}}': "0+60x60", 'weir_kafka_waiting_seconds{chain="c", instance="b:1"}': "0+60x60"},
                       {f'weir_kafka_waiting_seconds{{chain="c", {I}}}': "0x5 60 90 0x60"}),
    "WeirKafkaBehind": ({"chain": "c"}, 30, {f'weir_kafka_lag_events{{chain="c", {I}}}': "9000x60"},
                        {f'weir_kafka_lag_events{{chain="c", {I}}}': "9000x10 20x60", 'weir_kafka_lag_events{chain="d"}': "100x60"}),
    # time() is the minute of the test.
    "WeirCertificateEnds": ({"listener": "clients"}, 20, {'weir_gateway_tls_certificate_end_seconds{listener="clients"}': "400000x60"},
                            {'weir_gateway_tls_certificate_end_seconds{listener="clients"}': "9000000x60",
                             'weir_gateway_tls_certificate_end_seconds{listener="admin"}': "0x60"}),
    "WeirCertificateEnded": ({"listener": "clients"}, 20, {'weir_gateway_tls_certificate_end_seconds{listener="clients"}': "10000x60"},
                             {'weir_gateway_tls_certificate_end_seconds{listener="clients"}': "400000x60"}),
}

# Two more about the tip: a backfill that gets closer is no breach; one that falls behind is.
MORE = [
    ("WeirTipLagBurnFast", None, [50, 100], {**owned(LAG, "9000x420"), **owned("weir_reconciler_head_height", "100000x420"),
                                       **owned("weir_reconciler_watermark_height", "0+100x420")}),
    ("WeirTipLagBurnFast", {"chain": "c"}, [100], {**owned(LAG, "9000x420"), **owned("weir_reconciler_head_height", "100000+50x420"),
                                                 **owned("weir_reconciler_watermark_height", "0+10x420")}),
]
