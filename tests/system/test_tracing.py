"""One block, one trace: from the node's answer through all four services to the client's frame, told to an OpenTelemetry collector by OTLP/HTTP.
The collector here is written from the specification and knows nothing of weir."""
import collections
import http.server
import json
import signal
import threading

import pytest
import redis as redis_client

import stack
import wire
from conftest import caught_up
from gateway_client import Stream
from stack import dev_chain

INTERNAL, CLIENT, PRODUCER, CONSUMER = 1, 3, 4, 5


class Collector:
    """Takes POST /v1/traces as OTLP's JSON mapping says: ids in hexadecimal, 64-bit numbers as text."""

    def __init__(self):
        self.spans, self.requests, self.status = [], 0, 200
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):  # noqa: N802
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                collector.requests += 1
                right = self.path == "/v1/traces" and self.headers["content-type"] == "application/json"
                status = collector.status if right else 400
                if status == 200:
                    collector.take(body)
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def take(self, body):
        for resource in body["resourceSpans"]:
            about = attributes(resource["resource"])
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    assert len(span["traceId"]) == 32 and len(span["spanId"]) == 16 and int(span["endTimeUnixNano"]) >= int(span["startTimeUnixNano"])
                    self.spans.append(span | {"service": about["service.name"], "about": attributes(span)})

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def traces(self):
        traces = collections.defaultdict(list)
        for span in list(self.spans):
            traces[span["traceId"]].append(span)
        return traces

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def attributes(of):
    def value(v):
        return v["stringValue"] if "stringValue" in v else int(v["intValue"])

    return {a["key"]: value(a["value"]) for a in of["attributes"]}


def only(spans, service, name):
    found = [s for s in spans if s["service"] == f"test-{service}" and s["name"] == name]
    assert len(found) == 1, (service, name, [(s["service"], s["name"]) for s in spans])
    return found[0]


CHAIN_OF_SPANS = (  # service, span, kind, its parent
    ("fetcher", "fetch block", INTERNAL, None),
    ("fetcher", "publish raw", PRODUCER, "fetch block"),
    ("normalizer", "process raw", CONSUMER, "publish raw"),
    ("normalizer", "publish blocks", PRODUCER, "process raw"),
    ("reconciler", "process blocks", CONSUMER, "publish blocks"),
    ("reconciler", "publish ledger", PRODUCER, "process blocks"),
    ("gateway", "process ledger", CONSUMER, "publish ledger"),
)


def whole(spans):
    names = {(s["service"], s["name"]) for s in spans}
    return all((f"test-{service}", name) in names for service, name, _, _ in CHAIN_OF_SPANS)


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.stop()


def test_traces(world, collector):
    """The parts share a suite: starting one is most of what they take."""
    node = world.anvil()
    suite = world.suite([dev_chain(node)], {"otel": {"endpoint": collector.url, "service_name": "test"}}).start()
    caught_up(suite, node)
    one_trace_from_the_node_to_the_client(suite, node, collector)
    many_blocks_in_a_transaction_have_links(suite, node, collector)
    a_dead_letter_keeps_its_trace(suite, world, collector)


def one_trace_from_the_node_to_the_client(suite, node, collector):
    client = Stream(suite.api)
    client.subscribe(topic="blocks", chain="dev")

    # One block at a time: the reconciler applies each in a transaction of its own, most often.
    def seen():
        node.call("evm_mine")
        height = node.height()
        stack.wait_until(f"block {height}", 120, lambda: any(p["type"] == "block" and p["height"] == height for p in [client.push(60)["event"]]))
        return next((spans for spans in collector.traces().values() if whole(spans) and
                     only(spans, "gateway", "process ledger")["about"]["weir.pushes"] > 0 and "links" not in only(spans, "reconciler", "process blocks")), None)

    spans = stack.wait_until("a whole trace", 180, seen, 0.2)
    ids = {}
    for service, name, kind, parent in CHAIN_OF_SPANS:
        span = only(spans, service, name)
        ids[name] = span["spanId"]
        assert span["kind"] == kind and span.get("parentSpanId") == (ids[parent] if parent else None), (name, span)
        assert "status" not in span
    height = only(spans, "fetcher", "fetch block")["about"]["weir.height"]
    assert only(spans, "reconciler", "process blocks")["about"]["weir.height"] == height
    last = only(spans, "gateway", "process ledger")["about"]
    assert last["weir.height"] == height and last["weir.bytes"] > 0  # it ends when the frame is on its way, not when it waits for that
    calls = [s for s in spans if s["kind"] == CLIENT]
    assert {"eth_getBlockByNumber", "eth_getBlockByHash"} & {s["name"] for s in calls}
    assert all(s["parentSpanId"] == ids["fetch block"] and s["about"]["rpc.system"] == "jsonrpc" and s["about"]["weir.endpoint"] == "a" for s in calls)
    messaging = only(spans, "normalizer", "process raw")["about"]
    assert messaging["messaging.system"] == "redis" and messaging["messaging.operation.type"] == "process"
    assert messaging["messaging.destination.name"] == "dev.raw" and messaging["messaging.consumer.group.name"] == "normalizer"
    times = [int(only(spans, service, name)["startTimeUnixNano"]) for service, name, _, _ in CHAIN_OF_SPANS]
    assert times == sorted(times)


def many_blocks_in_a_transaction_have_links(suite, node, collector):
    """It links to each of them, and they to it."""
    before = suite.metric("normalizer", "weir_normalizer_blocks_total", chain="dev")
    suite.processes["reconciler"].send(signal.SIGSTOP)
    node.call("anvil_mine", hex(40))
    stack.wait_until("blocks normalized", 120, lambda: suite.metric("normalizer", "weir_normalizer_blocks_total", chain="dev") >= before + 20)
    suite.processes["reconciler"].send(signal.SIGCONT)
    caught_up(suite, node)

    def transaction():
        return next((s for s in list(collector.spans) if s["name"] == "process blocks (transaction)" and len(s["links"]) > 1), None)

    batch = stack.wait_until("a transaction of several blocks", 120, transaction)
    assert "parentSpanId" not in batch and batch["about"]["messaging.batch.message_count"] >= len(batch["links"])
    linked = {(link["traceId"], link["spanId"]) for link in batch["links"]}
    blocks = stack.wait_until("its blocks", 120, lambda: (found := [s for s in list(collector.spans) if (s["traceId"], s["spanId"]) in linked]) and
                              len(found) == len(linked) and found)
    assert all(s["name"] == "process blocks" and s["links"][0]["spanId"] == batch["spanId"] for s in blocks)


def a_dead_letter_keeps_its_trace(suite, world, collector):
    redis = redis_client.Redis(unix_socket_path=str(world.redis.socket))
    trace, parent = bytes(range(1, 17)), bytes(range(1, 9))
    frame = bytearray(wire.framed(2, wire.encode([(1, "elsewhere"), (2, 1000)]), b"k"))
    frame[10], frame[32:48], frame[48:56] = 1, trace, parent
    frame[-4:] = wire.crc32c(bytes(frame[:-4])).to_bytes(4, "little")
    generation = int(redis.hget("weir:{dev}:raw:meta", "gen"))
    sequence = redis.hincrby("weir:{dev}:raw:meta", "hw:low", 1)
    redis.xadd("weir:{dev}:raw:low", {"d": bytes(frame)}, id=f"{generation}-{sequence}")

    def letters():
        return suite.operate("GET", "/admin/v1/dlq?subscription=normalizer")[1]["items"]

    letter = stack.wait_until("the dead letter", 120, letters)[0]
    tries = lambda: [s for s in collector.traces().get(trace.hex(), []) if s["name"] == "process raw"]  # noqa: E731
    stack.wait_until("its first try", 120, tries)
    assert suite.operate("POST", "/admin/v1/dlq/replay", {"subscription": "normalizer", "ids": [letter["id"]]})[0] in (200, 202)
    stack.wait_until("its second try", 120, lambda: len(tries()) == 2)
    first, second = tries()
    assert first["parentSpanId"] == second["parentSpanId"] == parent.hex()
    assert "weir.letter" not in first["about"] and second["about"]["weir.letter"] == letter["id"]
    assert first["about"]["error.type"] == second["about"]["error.type"] and first["status"]["code"] == 2


def test_a_collector_that_is_away_stops_nothing(world, collector):
    node = world.anvil()
    collector.status = 503
    suite = world.suite([dev_chain(node)], {"otel": {"endpoint": collector.url, "service_name": "test"}}).start()
    node.call("anvil_mine", hex(50))
    caught_up(suite, node)
    stack.wait_until("a refused request", 90, lambda: collector.requests > 0)
    collector.status = 200

    def exported():
        node.call("evm_mine")  # what waited for longer than its tries is gone: there must be news
        return collector.spans and suite.metric("fetcher", "weir_otel_spans_total", result="exported") > 0

    stack.wait_until("spans again", 120, exported, 0.5)
    assert {s["service"] for s in collector.spans} <= {f"test-{name}" for name in stack.SERVICES}
