"""Draws docs/trace.svg: the spans of one block as the four services told them, from the node's answer to the clients' queues, each below what caused it.

    /usr/bin/python3 tools/stack/trace_picture.py docs/trace.svg        starts a whole weir with a node, takes one block's trace, draws, stops
"""
import html
import http.server
import json
import pathlib
import sys
import tempfile
import threading

import websocket

from stack import SERVICES, Postgres, Redis, Suite, anvil, dev_chain, wait_until

COLOURS = {"weir-fetcher": "#2f6f9f", "weir-normalizer": "#7a5aa6", "weir-reconciler": "#a8642a", "weir-gateway": "#3c7d4e"}
LEFT, WIDTH, ROW, TOP = 330, 640, 26, 58


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes OTLP/HTTP in JSON."""

    spans = []

    def do_POST(self):
        for resource in json.loads(self.rfile.read(int(self.headers["content-length"])))["resourceSpans"]:
            service = next(a["value"]["stringValue"] for a in resource["resource"]["attributes"] if a["key"] == "service.name")
            self.spans.extend({**span, "service": service} for scope in resource["scopeSpans"] for span in scope["spans"])
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def whole():
    """The newest trace that all four services have a part in."""
    traces = {}
    for span in list(Collector.spans):
        traces.setdefault(span["traceId"], []).append(span)
    made = [spans for spans in traces.values() if {s["service"] for s in spans} == {f"weir-{name}" for name in SERVICES}]
    return max(made, key=lambda spans: min(int(s["startTimeUnixNano"]) for s in spans), default=None)


def ordered(spans):
    """(depth, span): a span's children follow it, in the order of their start."""
    ids, by_parent = {span["spanId"] for span in spans}, {}
    for span in sorted(spans, key=lambda s: int(s["startTimeUnixNano"])):
        by_parent.setdefault(span.get("parentSpanId") if span.get("parentSpanId") in ids else None, []).append(span)

    def below(parent, depth):
        for span in by_parent.get(parent, []):
            yield depth, span
            yield from below(span["spanId"], depth + 1)

    return list(below(None, 0))


def drawn(spans):
    begin = min(int(s["startTimeUnixNano"]) for s in spans)
    length = max(int(s["endTimeUnixNano"]) for s in spans) - begin
    reached = max(int(s["endTimeUnixNano"]) for s in spans if s["service"] == "weir-gateway") - begin
    rows = ordered(spans)
    height = TOP + len(rows) * ROW + 14

    def x(nanoseconds):
        return LEFT + WIDTH * (nanoseconds - begin) / length

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 90}" height="{height}" font-family="sans-serif" font-size="13">',
           f'<rect width="100%" height="100%" fill="#fff"/><text x="14" y="22" font-size="15" fill="#222">One block, one trace of {len(rows)} spans: '
           f'{reached / 1e6:.1f} ms from asking the node to the clients\' queues</text>']
    for tenth in range(0, 11, 2):
        at = LEFT + WIDTH * tenth / 10
        out.append(f'<line x1="{at:.1f}" y1="{TOP - 8}" x2="{at:.1f}" y2="{height - 10}" stroke="#ddd"/>'
                   f'<text x="{at:.1f}" y="{TOP - 12}" fill="#666" text-anchor="middle" font-size="11">{length * tenth / 10 / 1e6:.1f} ms</text>')
    for i, (depth, span) in enumerate(rows):
        start, end, y = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"]), TOP + i * ROW
        colour, wide = COLOURS[span["service"]], max(2.0, x(end) - x(start))
        out.append(f'<text x="{14 + depth * 14}" y="{y + 15}" fill="{colour}">{html.escape(span["name"])}</text>'
                   f'<text x="{LEFT - 8}" y="{y + 15}" fill="#888" font-size="11" text-anchor="end">{span["service"].removeprefix("weir-")}</text>'
                   f'<rect x="{x(start):.1f}" y="{y + 3}" width="{wide:.1f}" height="15" rx="2" fill="{colour}"/>'
                   f'<text x="{x(start) + wide + 5:.1f}" y="{y + 15}" fill="#444" font-size="11">{(end - start) / 1e6:.2f}</text>')
    return "\n".join([*out, "</svg>", ""])


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-trace-"))
    folder.chmod(0o755)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    parts = []
    try:
        parts.append(redis := Redis(folder / "redis").start())
        parts.append(postgres := Postgres(folder / "postgres").start())
        parts.append(node := anvil(folder / "anvil.log"))
        settings = {"otel": {"endpoint": f"http://127.0.0.1:{server.server_port}"}}
        parts.append(suite := Suite(folder / "suite", redis.url, postgres.url, [dev_chain(node)], settings).start())
        client = websocket.create_connection(suite.api.replace("http", "ws") + "/v1/ws", timeout=60)
        client.send(json.dumps({"id": 1, "method": "subscribe", "params": {"topic": "blocks", "chain": "dev"}}))
        for height in range(1, 31):
            node.call("anvil_mine", "0x1")
            wait_until("the block", 60, lambda h=height: suite.chain("dev")["watermark"]["height"] >= h)
        spans = wait_until("a whole trace", 60, whole, 0.5)
    finally:
        for part in reversed(parts):
            part.stop()
        server.shutdown()
    pathlib.Path(sys.argv[1]).write_text(drawn(spans))


main()
