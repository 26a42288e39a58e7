"""Head to client at one block a second of 200 transactions, against the node's own time to answer for that very block.

BENCH_SECONDS: how long (60). For each block: from the node's announcement (newHeads) to the gateway's frame, both read here by one
clock. When the frame is here the node is asked for the same block as weir asked - block, receipts, traces, at once, on connections that
are open - and the slowest of the three is the node's own time: it answers now for what it has answered before, which favours the node.
"""
import http.client
import json
import os
import queue
import threading
import time
import urllib.parse

import websocket

from stack import CHAIN_LAB, Postgres, Process, Redis, Suite, anvil, dev_chain, wait_until

TRANSACTIONS = 200


class Asker(threading.Thread):
    """One kept connection; asks when told and says how long the whole answer took."""

    def __init__(self, rpc, method, *more):
        super().__init__(daemon=True)
        self.at, self.method, self.more, self.orders, self.answers = urllib.parse.urlparse(rpc), method, more, queue.Queue(), queue.Queue()
        self.start()

    def run(self):
        connection = http.client.HTTPConnection(self.at.hostname, self.at.port, timeout=30)
        while True:
            height = self.orders.get()
            body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": self.method, "params": [height, *self.more]})
            began = time.monotonic()
            connection.request("POST", self.at.path or "/", body, {"Content-Type": "application/json"})
            connection.getresponse().read()
            self.answers.put(time.monotonic() - began)


class Watch:
    """What the node announced and what the gateway said, each with its time."""

    def __init__(self, node, gateway, chain):
        self.announced, self.frames = {}, queue.Queue()
        self.node = websocket.create_connection(node, timeout=120)
        self.node.send('{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}')
        self.node.recv()
        self.gateway = websocket.create_connection(gateway, timeout=120)
        self.gateway.send(json.dumps({"id": 1, "method": "subscribe", "params": {"topic": "blocks", "chain": chain}}))
        self.gateway.recv()
        threading.Thread(target=self._heads, daemon=True).start()
        threading.Thread(target=self._frames, daemon=True).start()

    def _heads(self):
        try:
            while True:
                text, now = self.node.recv(), time.monotonic()
                block = json.loads(text).get("params", {}).get("result")
                if block:
                    self.announced[block["hash"]] = now
        except (OSError, ValueError, websocket.WebSocketException):
            pass  # the node has been stopped

    def _frames(self):
        try:
            while True:
                text, now = self.gateway.recv(), time.monotonic()
                event = json.loads(text).get("event") or {}
                block = event.get("block") or event
                if block.get("hash") in self.announced:
                    self.frames.put((block, now - self.announced.pop(block["hash"])))
        except (OSError, ValueError, websocket.WebSocketException):
            pass  # the gateway has been stopped


def at(values, share):
    values = sorted(values)
    return round(values[min(len(values) - 1, int(len(values) * share))] * 1000, 1) if values else None


def stages(suite):
    """Where the time went, on average: the services' own histograms, in ms."""
    out = {}
    for service, name in (("normalizer", "weir_normalizer_block_seconds"), ("reconciler", "weir_reconciler_batch_seconds"),
                          ("gateway", "weir_gateway_announced_to_frame_seconds")):
        count = suite.metric(service, f"{name}_count")
        out[name.replace("_seconds", "_ms")] = round(suite.metric(service, f"{name}_sum") / count * 1000, 1) if count else None
    return out


def measure(watch, askers, traffic):
    """[(head to client, node's own time)] in seconds, until the traffic has ended and the last frame is here."""
    samples = []
    while traffic.alive() or not watch.frames.empty():
        try:
            block, took = watch.frames.get(timeout=2)
        except queue.Empty:
            continue
        height = block["height"]
        for asker in askers:
            asker.orders.put(hex(int(height)))
        samples.append((took, max(asker.answers.get(timeout=30) for asker in askers)))
    return samples


def run(folder, build, say):
    seconds = int(os.environ.get("BENCH_SECONDS", 60))
    redis, postgres = Redis(folder / "redis").start(), Postgres(folder / "postgres").start()
    node = anvil(folder / "anvil.log")
    suite = Suite(folder / "suite", redis.url, postgres.url, [dev_chain(node)], bin_dir=build / "bin")
    traffic = None
    try:
        suite.start()
        wait_until("the ledger at the head", 30, lambda: (suite.chain("dev")["watermark"] or {"height": -1})["height"] >= node.height())
        watch = Watch(node.ws, suite.api.replace("http", "ws") + "/v1/ws", "dev")
        askers = [Asker(node.rpc, "eth_getBlockByNumber", True), Asker(node.rpc, "eth_getBlockReceipts"), Asker(node.rpc, "trace_block")]
        say(f"{seconds} blocks of {TRANSACTIONS} transactions, one a second")
        traffic = Process("rate", ["node", CHAIN_LAB / "workload.mjs", "--rpc", node.rpc, "--rate", "--blocks", str(seconds), "--txs-per-block",
                                   str(TRANSACTIONS), "--block-ms", "1000", "--out", folder / "journal.json"], folder / "workload.log").start()
        samples = measure(watch, askers, traffic)[2:]  # the first two blocks deploy and fund the token
        if not samples:
            return {"failed": f"no block was seen on both sides:\n{traffic.tail(3)}"}
        total, own = [s[0] for s in samples], [s[1] for s in samples]
        over = [a - b for a, b in samples]
        return {"blocks": len(samples), "head_to_client_p50_ms": at(total, 0.5), "head_to_client_p99_ms": at(total, 0.99), "node_p50_ms": at(own, 0.5),
                "node_p99_ms": at(own, 0.99), "over_node_p50_ms": at(over, 0.5), "over_node_p99_ms": at(over, 0.99),
                "stages_mean": stages(suite)}
    finally:
        if traffic:
            traffic.stop(10)
        suite.stop()
        node.stop()
        postgres.stop()
        redis.stop()
