"""The audit of delivery: several gateways, many clients on every carrier, and everything that goes wrong. In the end each client holds exactly
what the ledger holds, was given nothing twice, and nothing was taken back from it that it did not have."""
import http.client
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
import websocket

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack"), str(pathlib.Path(__file__).parent)]
import stack  # noqa: E402
from gateway_client import Books, EventStream, Packed, Poll, Stream  # noqa: E402
from test_gateway import C, World  # noqa: E402

FULL = os.environ.get("WEIR_SIZE") == "full"
CLIENTS, BLOCKS, REORGS, FAULTS, CROWD = map(int, os.environ.get("WEIR_AUDIT", "100 400 40 40 1000" if FULL else "8 20 4 5 40").split())
AUDITOR = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin")).parent / "tests" / "actors" / "live_audit"
AWAY = ("unavailable", "503", "draining")


def slow(base, document):
    return Stream(base, document, 10, 4096)


class Client(Books):
    """Comes back wherever somebody answers; asserts as Books does."""

    def __init__(self, *arguments, naps=0.0, **rest):
        super().__init__(*arguments, **rest)
        self.naps, self.failure, self.wanted = naps, None, None

    def connect(self):
        deadline = time.monotonic() + 120
        while True:
            try:
                super().connect()
                return
            except (OSError, websocket.WebSocketException, http.client.HTTPException) as error:
                last = error
            except AssertionError as error:
                if not any(word in str(error) for word in AWAY):
                    raise
                last = error
            assert time.monotonic() < deadline, f"no gateway for two minutes: {last}"
            time.sleep(0.1 + self.rng.random() * 0.2)

    def one(self):
        """Takes a push, or comes back. False: silence."""
        if self.naps and self.rng.random() < self.naps:
            time.sleep(1.5)
        try:
            self.take(0.5)
        except websocket.WebSocketTimeoutException:
            return False
        except (OSError, websocket.WebSocketException, http.client.HTTPException):
            self.connect()
        return True

    def run(self, over):
        """Until it holds what it should once all is over, or nothing has come for two minutes."""
        try:
            self.connect()
            while not over.is_set():
                if self.rng.random() < self.odds:
                    self.connect()
                self.one()
            self.naps = 0 # slow while things go wrong; what is left then it takes as fast as it can
            given, deadline = self.given, time.monotonic() + 120
            wanted = self.wanted(self)
            while self.held.keys() != wanted and time.monotonic() < deadline:
                self.one()
                if self.given != given:
                    given, deadline = self.given, time.monotonic() + 120
            while self.one(): # nothing more comes
                pass
        except BaseException as error:  # noqa: BLE001
            self.failure = error


class Faults:
    """What goes wrong, one at a time; everything is put right before the next."""

    def __init__(self, world, gateways, seed):
        self.world, self.gateways, self.rng, self.done = world, gateways, random.Random(seed), []

    def kill(self):
        gateway = self.rng.choice(self.gateways)
        gateway.kill()
        gateway.start()

    def drain(self):
        gateway = self.rng.choice(self.gateways)
        assert gateway.stop(30) == 0, gateway.tail()
        gateway.start()

    def redis(self):
        self.world.redis.kill()
        time.sleep(self.rng.random())
        self.world.redis.start()

    def freeze(self):
        gateway = self.rng.choice(self.gateways)
        gateway.send(signal.SIGSTOP)
        time.sleep(1)
        gateway.send(signal.SIGCONT)

    def postgres(self):
        self.world.postgres.restart(signal.SIGINT)

    def all(self):
        kinds = [self.kill, self.drain, self.redis, self.freeze, self.postgres]
        for i in range(FAULTS):
            fault = kinds[i] if i < len(kinds) else self.rng.choice(kinds)
            fault()
            self.done.append(fault.__name__)
            time.sleep(1 + self.rng.random())


class Crowd:
    """WebSocket clients by the hundred, in a process of their own (tests/actors/live_audit.c), which keep the same books."""

    def __init__(self, bases, account):
        assert AUDITOR.exists(), "make actor-bins builds it"
        addresses = [base.split("//")[1] for base in bases]
        self.child = subprocess.Popen([AUDITOR, str(CROWD), "dev", account, *addresses], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end(self, folder, wanted):
        """Tells them what they should hold; what they say then."""
        for name, ids in wanted.items():
            (folder / name).write_text("\n".join(ids))
        said, _ = self.child.communicate("".join(f"{name} {folder / name}\n" for name in wanted), timeout=400 if not FULL else 3000)
        return json.loads(said)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path, {"gateway": {"websocket_queue": "256KiB"}})
    yield made
    made.stop()


def test_nothing_is_lost_and_nothing_comes_twice(world):
    bases = [world.suite.api, world.second_gateway(), world.second_gateway()]
    gateways = [world.suite.processes["gateway"], *world.others]
    account, begin = "0x" + "f39fd6e51aad88f6f4ce6ab8827279cfffb92266", {"from": {"height": 0}}
    kinds = [dict(topic="entries"), dict(topic="blocks"), dict(topic="entries", account=account), dict(topic="entries", finality=True)]
    carriers = [Stream, EventStream, Poll, Packed, slow]
    clients = []
    for i in range(CLIENTS):
        carrier, kind = carriers[i % 5], dict(kinds[i % 4])
        if "finality" in kind and carrier in (EventStream, Poll):
            kind["finality"] = "true"
        if carrier is slow:
            kind["laggard"] = "resume"
        clients.append(Client(bases, i, None, odds=0.003, carrier=carrier, naps=0.02 if carrier is slow else 0, chain="dev", **kind, **begin))
    over = threading.Event()
    busy = world.workload("--seed", "77", "--blocks", str(BLOCKS), "--reorgs", str(REORGS), "--pace-ms", "200", wait=False)
    threads = [threading.Thread(target=client.run, args=(over,)) for client in clients]
    for thread in threads:
        thread.start()
    crowd = Crowd(bases, account)
    faults = Faults(world, gateways, 7)
    faults.all()
    assert busy.child.wait(900) == 0, busy.tail()
    stack.wait_until("everything answers again", 60, lambda: all(stack.http_json(base + C)[0] == 200 for base in bases))
    world.settle()
    api = world.api()
    ledger = world.ledger_ids(api)
    wanted = {"blocks": {b["id"] for b in api.items(f"{C}/blocks", 1000)}, "entries": set(ledger),
              account: {k for k, e in ledger.items() if e["account"] == account}}
    for client in clients:
        client.wanted = lambda c: wanted[c.subscription.get("account") or c.subscription["topic"]]
    over.set()
    said = crowd.end(world.folder, {"blocks": wanted["blocks"], "entries": wanted["entries"], "account": wanted[account]})
    assert crowd.child.returncode == 0 and said["clients"] == CROWD and said["lacking"] == said["faults"] == 0, json.dumps(said)
    for thread in threads:
        thread.join(400 if not FULL else 3000)
    for client in clients:
        if client.failure:
            raise client.failure
        want = client.wanted(client)
        assert set(client.held) == want, f"{client.subscription} over {client.carrier.__name__}: {len(want - set(client.held))} lost, {len(set(client.held) - want)} too many"
    assert len(set(faults.done)) == 5 and sum(c.retractions for c in clients) > 0
    print({"clients": len(clients), "given": sum(c.given for c in clients), "reconnects": sum(c.reconnects for c in clients),
           "retractions": sum(c.retractions for c in clients), "faults": faults.done, "crowd": said, "lost": 0, "twice": 0})
