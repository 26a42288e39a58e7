"""The demo: private Redis and PostgreSQL, a real EVM node with generated traffic, the four services, and a live view of every stage.

Environment: DEMO_SECONDS (stop by itself; the last line is JSON), WEIR_DATA_DIR (default data/demo), RPC and WS (follow a node of yours
instead), CHAIN (its name), CHAIN_ID, START_HEIGHT, JSON=1 (the view as JSON lines).
"""
import json
import os
import pathlib
import shutil
import signal
import sys
import threading
import time

import websocket

from stack import ADMIN_KEY, ROOT, CHAIN_LAB, Postgres, Process, Redis, Suite, anvil, dev_chain, http_json, wait_until

BAR = 24


class Latency(threading.Thread):
    """From the node's announcement of a block to the gateway's frame about it, by one clock: both are read here."""

    def __init__(self, node_ws, gateway_ws, chain):
        super().__init__(daemon=True)
        self.node_ws, self.gateway_ws, self.chain = node_ws, gateway_ws, chain
        self.announced, self.samples, self.reorgs, self.lock = {}, [], 0, threading.Lock()

    def run(self):
        threading.Thread(target=self._repeat, args=(self._node,), daemon=True).start()
        self._repeat(self._gateway)

    @staticmethod
    def _repeat(body):
        while True:
            try:
                body()
            except (OSError, websocket.WebSocketException, ValueError):
                time.sleep(0.5)

    def _node(self):
        ws = websocket.create_connection(self.node_ws, timeout=120)
        ws.send('{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}')
        while True:
            block = json.loads(ws.recv()).get("params", {}).get("result")
            if block:
                with self.lock:
                    self.announced[block["hash"]] = time.monotonic()

    def _gateway(self):
        ws = websocket.create_connection(self.gateway_ws, timeout=120)
        ws.send(json.dumps({"id": 1, "method": "subscribe", "params": {"topic": "blocks", "chain": self.chain}}))
        while True:
            event = json.loads(ws.recv()).get("event") or {}
            now = time.monotonic()
            block = event.get("block") or event
            if event.get("type") == "retracted":
                self.reorgs += 1
            with self.lock:
                seen = self.announced.pop(block.get("hash"), None)
            if seen:
                self.samples.append((now - seen) * 1000)

    def p99(self):
        samples = sorted(self.samples)
        return round(samples[min(len(samples) - 1, int(len(samples) * 0.99))], 1) if samples else None


class View:
    """One look at every stage, from each process' /metrics."""

    def __init__(self, suite, chain):
        self.suite, self.chain, self.last, self.height_of = suite, chain, None, {}
        self.terminal = sys.stdout.isatty() and not os.environ.get("JSON")
        self.lines = 0

    def read(self):
        def metric(service, name, **labels):
            try:
                return self.suite.metric(service, name, **labels)
            except OSError:
                return 0.0

        now = time.monotonic()
        facts = {
            "head": int(metric("fetcher", "weir_fetcher_head_height")),
            "fetched": int(metric("fetcher", "weir_fetcher_blocks_total")),
            "normalized": int(metric("normalizer", "weir_normalizer_blocks_total")),
            "verified": int(metric("normalizer", "weir_normalizer_blocks_total", result="proven")),
            "watermark": int(metric("reconciler", "weir_reconciler_watermark_height")),
            "applied": int(metric("reconciler", "weir_reconciler_blocks_applied_total")),
            "entries": int(metric("reconciler", "weir_reconciler_entries_applied_total")),
            "reconciled": int(metric("reconciler", "weir_reconciler_balances_checked_total")),
            "mismatches": int(metric("reconciler", "weir_reconciler_incidents_open")),
            "gaps": int(metric("reconciler", "weir_reconciler_gaps_open")),
            "reorgs": int(metric("fetcher", "weir_fetcher_forks_total")),
            "dead_letters": int(sum(metric(s, "weir_bus_dead_letters_total") for s in ("normalizer", "reconciler", "fetcher"))),
        }
        facts["lag"] = max(0, facts["head"] - facts["watermark"])
        before, then = self.last or (facts, now - 1)
        for name in ("fetched", "normalized", "applied", "entries", "reconciled"):
            facts[f"{name}_per_s"] = round((facts[name] - before[name]) / max(now - then, 0.001), 1)
        self.last = (facts, now)
        return facts

    def show(self, facts, left):
        if os.environ.get("JSON"):
            print(json.dumps(facts), flush=True)
            return
        done = 1.0 if facts["head"] <= 0 else min(1.0, max(0, facts["watermark"]) / facts["head"])
        rate, lag = facts["applied_per_s"], facts["lag"]
        eta = f"{lag / rate:.0f} s" if rate > 0 and lag > 0 else "-"
        ending = f", stops in {left:.0f} s" if left is not None else ""
        if not self.terminal:
            print(f"head {facts['head']} ledger {facts['watermark']} (lag {lag}, eta {eta}) fetched {facts['fetched_per_s']}/s normalized "
                  f"{facts['normalized_per_s']}/s applied {rate}/s entries {facts['entries']} verified {facts['verified']} reconciled "
                  f"{facts['reconciled']} mismatches {facts['mismatches']} reorgs {facts['reorgs']} gaps {facts['gaps']} dead letters "
                  f"{facts['dead_letters']}{ending}", flush=True)
            return
        bar = "█" * int(done * BAR) + "░" * (BAR - int(done * BAR))
        bad = lambda n: f"\033[31m{n}\033[0m" if n else f"\033[32m{n}\033[0m"
        rows = [
            f"\033[1m{self.chain}\033[0m  {bar} {done * 100:5.1f} %   lag {lag} blocks, eta {eta}{ending}",
            f"  fetcher     head {facts['head']:>8}   {facts['fetched']:>9} blocks   {facts['fetched_per_s']:>8} /s   reorgs {facts['reorgs']}",
            f"  normalizer                  {facts['normalized']:>9} blocks   {facts['normalized_per_s']:>8} /s   verified {facts['verified']}",
            f"  reconciler  at   {facts['watermark']:>8}   {facts['entries']:>9} entries  {facts['entries_per_s']:>8} /s   gaps {bad(facts['gaps'])}",
            f"  proof                       {facts['reconciled']:>9} balances {facts['reconciled_per_s']:>8} /s   mismatches {bad(facts['mismatches'])}",
            f"  dead letters {bad(facts['dead_letters'])}",
        ]
        sys.stdout.write((f"\033[{self.lines}F" if self.lines else "") + "".join(f"\033[K{row}\n" for row in rows))
        sys.stdout.flush()
        self.lines = len(rows)


def summary(suite, postgres, latency, chain):
    """What the ledger itself says, asked by SQL: independent of the gateway; and the dead letters that wait for a person."""
    one = lambda sql: postgres.query(sql)[0][0]
    where = f"chain = (select id from weir.chains where name = '{chain}')"
    blocks = int(one(f"select count(*) from weir.blocks where canonical and {where}"))
    expected = int(one(f"select watermark_height - start_height + 1 from weir.chains where name = '{chain}'"))
    return {
        "blocks": blocks,
        "entries": int(one(f"select count(*) from weir.entries where not superseded and {where}")),
        "accounts_checked": int(one(f"select count(distinct account) from weir.balances where reconciled_height is not null and {where}")),
        "missing": expected - blocks,
        "mismatches": int(one(f"select count(*) from weir.incidents where kind = 'mismatch' and coalesce(resolution, '') not in "
                              f"('non_conserving', 'superseded', 'healed') and {where}")),
        "reorgs": int(one(f"select count(distinct superseded_at) from weir.blocks where not canonical and {where}")),
        "dead_letters": len(suite.operate("GET", "/admin/v1/dlq")[1]["items"]),
        "p99_ms_head_to_client": latency.p99(),
    }


def main():
    seconds = float(os.environ["DEMO_SECONDS"]) if os.environ.get("DEMO_SECONDS") else None
    folder = pathlib.Path(os.environ.get("WEIR_DATA_DIR", ROOT / "data" / "demo")).absolute()
    own_node = not os.environ.get("RPC")
    if own_node:
        shutil.rmtree(folder, ignore_errors=True)  # a development node begins anew each time, so the ledger must, too
    folder.mkdir(parents=True, exist_ok=True)
    started, stopping = [], threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    try:
        print(f"data, settings and logs: {folder}", flush=True)
        redis = Redis(folder / "redis").start()
        started.append(redis)
        postgres = Postgres(folder / "postgres").start()
        started.append(postgres)
        name = os.environ.get("CHAIN", "dev")
        if own_node:
            node = anvil(folder / "anvil.log", "--slots", "8")
            started.append(node)
            rpc, ws = node.rpc, node.ws
            chain = dev_chain(node, name)
        else:
            rpc, ws = os.environ["RPC"], os.environ.get("WS", "")
            status, body, _ = http_json(rpc, "POST", {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []})
            if status != 200 or "result" not in (body or {}):
                raise SystemExit(f"demo: {rpc} does not answer eth_chainId ({status}): is it an EVM node's JSON-RPC address?")
            chain_id = int(body["result"], 16)
            chain = {"name": name, "family": "evm", "profile": os.environ.get("PROFILE", "dev" if name == "dev" else "ethereum" if chain_id == 1 else "testnet"),
                     "chain_id": chain_id, "start_height": int(os.environ.get("START_HEIGHT", 0)), "poll_interval": "500ms",
                     "endpoints": [{"name": "a", "url": rpc, "ws_url": ws}]}
        suite = Suite(folder / "suite", redis.url, postgres.url, [chain], patient=False)
        started.append(suite)
        suite.start()
        latency = Latency(ws, suite.api.replace("http", "ws") + "/v1/ws", name)
        if ws:
            latency.start()
        if own_node:
            traffic = Process("workload", ["node", CHAIN_LAB / "workload.mjs", "--rpc", rpc, "--forever", "--block-ms", "1000",
                                           "--txs-per-block", "20", "--reorg-every", "25", "--seed", os.environ.get("SEED", "1")],
                              folder / "workload.log").start()
            started.append(traffic)
        print(f"dashboard  {suite.admin}/#key={ADMIN_KEY}\n"
              f"API        {suite.api}/v1/chains/{name}\nWebSocket  {suite.api.replace('http', 'ws')}/v1/ws\n"
              f"operators  {suite.admin}/admin/v1/status   (Authorization: Bearer {ADMIN_KEY})\n"
              f"operate    {ROOT}/build/bin/weirctl --admin {suite.admin} --api {suite.api} --key {ADMIN_KEY} status", flush=True)
        view, end = View(suite, name), time.monotonic() + seconds if seconds else None
        while not stopping.is_set() and (end is None or time.monotonic() < end):
            for service, process in suite.processes.items():
                if not process.alive():
                    raise SystemExit(f"demo: weir-{service} ended with status {process.child.returncode}:\n{process.tail()}")
            view.show(view.read(), end - time.monotonic() if end else None)
            stopping.wait(1.0 if view.terminal else 2.0)
        if own_node and not stopping.is_set():
            traffic.stop(20)
            # what is under way may arrive; then the ledger is compared with itself
            try:
                wait_until("the ledger at the head", 15, lambda: suite.chain(name)["watermark"]["height"] >= node.height())
            except (TimeoutError, TypeError, KeyError):
                pass
        print(json.dumps(summary(suite, postgres, latency, name)), flush=True)
    finally:
        for part in reversed(started):
            part.stop()


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, TimeoutError) as error:
        raise SystemExit(f"demo: {error}") from None
