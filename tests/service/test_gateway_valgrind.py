"""The gateway under Valgrind's memcheck while everything is asked of it at once: no read of what is not there or not set, and nothing lost. make torture:
a run takes minutes, because the gateway is some twenty times slower then."""
import collections
import http.client
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest
import websocket

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack"), str(ROOT / "tests" / "conformance"), str(pathlib.Path(__file__).parent)]

import http1  # noqa: E402
import stack  # noqa: E402
from gateway_alone import Stores  # noqa: E402
from gateway_client import Deflated, EventStream, Packed, Poll, Stream  # noqa: E402

SECONDS = int(os.environ.get("WEIR_SOAK_SECONDS", "600"))
BIN = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin"))
EVENTS = BIN.parent / "tests" / "bench" / "ledger_events"
KEY = {"Authorization": f"Bearer {stack.ADMIN_KEY}"}
ACCOUNT = "0x" + "00" * 19 + "01"
pytestmark = [pytest.mark.skipif(os.environ.get("WEIR_SIZE") != "full", reason="make torture"),
              pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed")]
GONE = (OSError, ValueError, AssertionError, websocket.WebSocketException, http.client.HTTPException)


class Soak:
    def __init__(self, gateway, stores):
        self.gateway, self.stores, self.over, self.done, self.failure = gateway, stores, threading.Event(), collections.Counter(), None
        self.hosts = [(base.split("//")[1].split(":")[0], int(base.rsplit(":", 1)[1])) for base in (gateway.api, gateway.admin)]

    def repeat(self, part, seed):
        rng = random.Random(seed)
        while not self.over.is_set():
            try:
                part(rng)
                self.done[part.__name__] += 1
            except GONE: # a client that is cut off, or late: what it was told is others' to judge
                self.done[part.__name__ + ", cut off"] += 1
            except BaseException as error:  # noqa: BLE001
                self.failure = error
                return

    def reads(self, rng):
        connection = http.client.HTTPConnection(*self.hosts[0], timeout=60)
        for _ in range(20):
            chain = "/v1/chains/" + rng.choice(["dev", "dev", "dev", "none"])
            path = rng.choice(["/openapi.json", "/v1/chains", chain, chain + "/blocks?limit=5", chain + "/blocks/latest", chain + "/blocks/0/entries", chain + "/blocks/x",
                               chain + f"/accounts/{ACCOUNT}/balances", chain + f"/accounts/{ACCOUNT}/entries?kind=transfer", chain + "/statistics", "/nothing",
                               chain + "/assets/native", chain + "/transactions/0x" + "11" * 32, chain + "/blocks?cursor=x", "/v1/chains?x=1"])
            headers = rng.choice([{}, {"Accept-Encoding": "gzip"}, {"Accept-Encoding": "zstd"}, {"Accept": "application/msgpack"}, {"X-Api-Key": "wrong"},
                                  {"Origin": "https://a.example"}, {"X-Forwarded-For": "192.0.2.1"}, KEY])
            connection.request("GET", path, headers=headers)
            tag = (answer := connection.getresponse()).getheader("ETag")
            answer.read()
            if tag:
                connection.request("GET", path, headers=headers | {"If-None-Match": tag})
                connection.getresponse().read()
        connection.close()

    def batches(self, rng):
        paths = ["/v1/chains/dev/blocks/latest", "/v1/chains", "/openapi.json", "/v1/stream", "x"]
        status = stack.http_json(self.gateway.api + "/v1/batch", "POST", {"paths": rng.sample(paths, 3)}, timeout=60)[0]
        assert status == 200

    def conformance(self, rng):
        cases = rng.sample(http1.CASES, 40)
        _, wrong = http1.run(self.hosts[0], cases, cuts=1)
        assert not wrong, wrong[:3]

    def websockets(self, rng):
        stream = rng.choice([Stream, Deflated, Packed])(self.gateway.api, seconds=60)
        for _ in range(rng.randrange(1, 4)):
            more = rng.choice([{}, {"from": {"offset": "0"}}, {"from": {"height": 0}}, {"laggard": "conflate"}, {"finality": True}])
            stream.ask("subscribe", {"chain": "dev", "topic": rng.choice(["blocks", "entries", "status"]), **more})
        for _ in range(rng.randrange(30)):
            stream.push(5)
        stream.ask("unsubscribe", {"subscription": "1"})
        if rng.random() < 0.5:
            stream.close()
        else:
            (stream.socket if isinstance(stream, Deflated) else stream.ws.sock).close() # without a word

    def streams(self, rng):
        stream = rng.choice([EventStream, Poll])(self.gateway.api, seconds=30)
        stream.subscribe(chain="dev", topic="blocks", **{"from": {"height": 0}})
        for _ in range(rng.randrange(20)):
            stream.push(5)
        stream.close()

    def operators(self, rng):
        for path in ("status", "settings", "dlq", "dlq?chain=dev&subscription=normalizer", "audit?chain=dev", "connections", "keys", "users", "webhooks", "gaps", "alerts", "session"):
            self.gateway.operate("GET", path)
        status, key, _ = self.gateway.operate("POST", "keys", {"name": f"k{rng.randrange(10 ** 9)}", "scopes": ["read", "stream"]})
        assert status in (200, 201), key
        stack.http_json(self.gateway.api + "/v1/chains", headers={"X-Api-Key": key["key"]}, timeout=60)
        self.gateway.operate("POST", f"keys/{key['id']}/revoke", {"why": "soak"})
        self.gateway.operate("POST", "chains/dev/refetch", {"from_height": 0}, Idempotency_Key=f"a{rng.randrange(50)}")
        self.gateway.operate("POST", "dlq/replay", {"chain": "dev", "subscription": "normalizer"})

    def watch_lists(self, rng):
        def ask(method, path, body=None):
            status, answer, _ = stack.http_json(self.gateway.api + path, method, body, KEY, 60)
            assert status in (200, 201), answer
            return answer
        mine = ask("POST", "/v1/watchlists", {"chain": "dev", "name": f"w{rng.randrange(10 ** 9)}"})["id"]
        addresses = [f"0x{rng.randrange(1000):040d}" for _ in range(200)]
        ask("POST", f"/v1/watchlists/{mine}/addresses", {"addresses": addresses})
        ask("GET", f"/v1/watchlists/{mine}/addresses?limit=10")
        ask("POST", f"/v1/watchlists/{mine}/addresses/remove", {"addresses": addresses[:50]})
        ask("POST", f"/v1/watchlists/{mine}/delete", {})

    def half_said(self, rng):
        """The fuzzer's seeds, cut anywhere, and gone without a word."""
        seed = rng.choice(sorted((ROOT / "tests" / "fuzz" / "corpus" / "gateway").iterdir())).read_bytes()
        with socket.create_connection(self.hosts[seed[0] & 1], timeout=60) as s:
            s.sendall(seed[2:rng.randrange(2, len(seed) + 1)])
            if rng.random() < 0.5:
                s.settimeout(2)
                s.recv(100)
            else:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))

    def run(self):
        parts = [self.reads, self.batches, self.conformance, self.websockets, self.websockets, self.streams, self.operators, self.watch_lists, self.half_said]
        threads = [threading.Thread(target=self.repeat, args=(part, i)) for i, part in enumerate(parts)]
        for thread in threads:
            thread.start()
        until, first = time.monotonic() + SECONDS, itertools.count(1, 200)
        while time.monotonic() < until:
            assert self.gateway.process.alive(), self.gateway.process.tail()
            if EVENTS.exists():
                subprocess.run([EVENTS, self.stores.redis.url, "dev", str(next(first)), "200", "100", "5", "50"], check=False, capture_output=True)
            time.sleep(1)
        self.over.set()
        for thread in threads:
            thread.join(200)
        if self.failure:
            raise self.failure


@pytest.fixture
def stores(tmp_path, monkeypatch):
    """Whose gateway is started by Valgrind."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "weir-gateway"
    script.write_text(f"#!/bin/sh\nexec valgrind --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --error-exitcode=99 --num-callers=30 "
                      f"--suppressions={ROOT}/tests/service/valgrind.supp --log-file={tmp_path}/valgrind.log {BIN.resolve()}/weir-gateway \"$@\"\n")
    script.chmod(0o755)
    monkeypatch.setenv("WEIR_BIN", str(tmp_path / "bin"))
    made = Stores(tmp_path)
    yield made
    made.stop()


def test_a_soak_finds_no_fault_and_no_leak(stores, tmp_path):
    gateway = stores.gateway({"log": {"level": "info"}, "gateway": {"request_timeout": "30s", "address_limit": 0, "key_limit": 0, "shed_after": "0s"}}, seconds=180)
    soak = Soak(gateway, stores)
    soak.run()
    assert gateway.get()[0] == 200
    status = gateway.process.stop(180)
    said = (tmp_path / "valgrind.log").read_text()
    print(json.dumps(soak.done), re.findall(r"(?:definitely lost|ERROR SUMMARY): [^\n]*", said))
    assert status == 0 and "ERROR SUMMARY: 0 errors" in said, said[-6000:]
    assert all(soak.done[part.__name__] > 0 for part in (soak.reads, soak.conformance, soak.websockets, soak.streams, soak.operators, soak.watch_lists, soak.half_said)), soak.done
