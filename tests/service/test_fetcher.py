"""The fetcher as a process: real node, real Redis; the ledger's word is written by the test, and what arrives is read from the streams."""
import json
import os
import pathlib
import re
import sys
import threading
import time
import urllib.request

import pytest
import redis

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack"), str(pathlib.Path(__file__).parent)]

import stack  # noqa: E402
import wire  # noqa: E402

RAW_TIP, RAW_BACKFILL, CHAIN_HEAD, CHAIN_FORK = 1, 2, 4, 5
BLOCK, RECEIPTS, CALL_TRACES, FLAT_TRACES = 1, 2, 3, 4
EX_CONFIG = 78


class Ledger:
    """Stands where the reconciler will: says what it wants, takes what comes. Blocks count as applied in order of height."""

    def __init__(self, url, start=0, window_moves=True, parent=None):
        """parent: hash -> the parent's hash, as the node says (None: no such block); given, blocks must fit, and are asked for again."""
        self.parent, self.stuck = parent, time.monotonic()
        self.redis = redis.Redis(unix_socket_path=url.removeprefix("unix://"))
        self.start, self.watermark, self.epoch, self.moves = start, start - 1, 1, window_moves
        self.paused = False
        self.arrivals = []  # every (height, hash, reason, parts)
        self.blocks = {}    # height -> hash, as if applied
        self.forks, self.heads = [], []
        self.events = []    # ("fork", ancestor) and ("block", height) in order of arrival
        self.last = {}
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.ended.is_set():
            try:
                self.read()
                with self.lock:
                    self.ask_again()
                self.write()
            except redis.exceptions.ConnectionError:
                pass
            time.sleep(0.01)

    def write(self):
        with self.lock:
            known = self.blocks.get(self.watermark)
            state = {"watermark_height": self.watermark, "watermark_hash": "0x" + known.hex() if known else "", "next_height": self.watermark + 1,
                     "genesis_hash": "", "paused": int(self.paused), "epoch": self.epoch, "written_ms": int(time.time() * 1000)}
            hashes = {height: "0x" + value.hex() for height, value in self.blocks.items() if height <= self.watermark}
        with self.redis.pipeline(transaction=True) as at_once:  # the fetcher must not see the moment without hashes
            at_once.hset("weir:{dev}:state", mapping=state)
            at_once.delete("weir:{dev}:hashes")
            if hashes:
                at_once.hset("weir:{dev}:hashes", mapping=hashes)
            at_once.execute()

    def read(self):
        """All streams as of one moment, in the order of publishing: a fork is told before the branch, and after the blocks that it ends."""
        keys = [f"weir:{{dev}}:{lane}" for lane in ("blocks:critical", "blocks:normal", "raw:high", "raw:low")]
        with self.redis.pipeline(transaction=True) as at_once:
            for key in keys:
                at_once.xrange(key, min="(" + self.last[key] if key in self.last else "-", count=500)
            answers = at_once.execute()
        arrived = []
        for key, entries in zip(keys, answers):
            for entry, values in entries:
                self.last[key] = entry.decode()
                arrived.append(values[b"d"])
        with self.lock:
            for raw in sorted(arrived, key=wire.created_ms):
                self.take(*wire.frame(raw))

    def take(self, kind, _key, body):
        message = wire.fields(body)
        if kind in (RAW_TIP, RAW_BACKFILL):
            height, value = wire.one(message, 3), wire.one(message, 4)
            parts = {wire.one(wire.fields(p), 1): wire.fields(p) for p in message.get(9, [])}
            self.arrivals.append((height, value, wire.one(message, 5), parts, wire.one(message, 6)))
            self.events.append(("block", height))
            self.blocks[height] = value
        elif kind == CHAIN_FORK:
            ancestor = wire.one(wire.fields(wire.one(message, 2, b"")), 1)
            self.forks.append(ancestor)
            self.events.append(("fork", ancestor))
            for height in [h for h in self.blocks if h > ancestor]:
                del self.blocks[height]
            self.watermark = min(self.watermark, ancestor)
        elif kind == CHAIN_HEAD:
            self.heads.append({name: (wire.one(wire.fields(wire.one(message, n, b"")), 1), wire.one(wire.fields(wire.one(message, n, b"")), 2, b""))
                               for name, n in (("head", 2), ("safe", 3), ("finalized", 4))})
        while self.moves and self.watermark + 1 in self.blocks:
            following = self.blocks[self.watermark + 1]
            if self.parent and self.watermark in self.blocks and self.parent(following) != self.blocks[self.watermark]:
                del self.blocks[self.watermark + 1]  # of a dead branch, or the one below is
                break
            self.watermark += 1
            self.stuck = time.monotonic()

    def ask_again(self):
        """As the reconciler: what does not come, or does not fit, is asked for again, with the block below it, which may be the dead one."""
        if self.parent and time.monotonic() - self.stuck > 1 and any(a[0] > self.watermark for a in self.arrivals):
            self.stuck = time.monotonic()
            self.watermark = max(self.watermark - 1, -1)
            self.command(5, [(1, self.watermark + 1), (2, self.watermark + 2), (5, 1), (6, "missing")])

    def command(self, number, fields):
        """A Command, as an outbox would publish it: dense ids are the bus' business, so the test asks the bus' own function."""
        body = wire.encode([(1, "dev"), (2, "test"), (3, int(time.time() * 1000)), (4, os.urandom(8).hex()), (number, wire.encode(fields))])
        publish_command(self.redis, body)

    def stop(self):
        self.ended.set()
        self.thread.join()


def publish_command(client, body):
    raw = wire.framed(7, body, event_id=os.urandom(16), created_ms=int(time.time() * 1000))
    key = "weir:{dev}:control:high"
    last = client.xrevrange(key, count=1)
    generation, sequence = (map(int, last[0][0].decode().split("-"))) if last else (int(time.time() * 1000), 0)
    client.xadd(key, {"d": raw}, id=f"{generation}-{sequence + 1}")


class World:
    def __init__(self, folder, endpoints=None, chain=None, anvil=(), start=0, ledger=True, settings=None, proxies=0, strict=False, genesis=False):
        self.folder = folder
        self.node = stack.anvil(folder / "anvil.log", *anvil)
        self.proxies = [stack.Node("faultproxy", ["--upstream", self.node.rpc], folder / f"proxy{i}.log").start() for i in range(proxies)]
        self.redis = stack.Redis(folder / "redis").start()
        chain = chain or {}
        if genesis:
            chain = {**chain, "genesis_hash": "0x" + self.hash_at(0).hex()}
        self.chain = stack.dev_chain(self.node, endpoints=endpoints(self) if endpoints else None, **chain)
        self.suite = stack.Suite(folder / "suite", self.redis.url, "host=/nowhere", [self.chain], stack.merge({"log": {"level": "debug"}}, settings or {}))
        self.ledger = Ledger(self.redis.url, start, parent=self.parent_of if strict else None) if ledger else None
        self.others = []

    def go(self, wait=True):
        if self.ledger:
            self.ledger.thread.start()
        self.suite.start(("fetcher",), wait=60 if wait else 0)
        return self

    @property
    def fetcher(self):
        return self.suite.processes["fetcher"]

    def mine(self, n=1):
        self.node.call("anvil_mine", hex(n))

    def send(self, n=1):
        """n transfers in the next block."""
        accounts = self.node.call("eth_accounts")
        for i in range(n):
            self.node.call("eth_sendTransaction", {"from": accounts[i % 10], "to": accounts[11], "value": hex(1000 + i), "gas": "0x5208"})
        self.mine()

    def hash_at(self, height):
        block = self.node.call("eth_getBlockByNumber", hex(height), False)
        return bytes.fromhex(block["hash"][2:]) if block else None

    def parent_of(self, value):
        block = self.node.call("eth_getBlockByHash", "0x" + value.hex(), False)
        return bytes.fromhex(block["parentHash"][2:]) if block else None

    def level(self):
        """The ledger holds the node's chain, every block of it."""
        top = self.node.height()
        with self.ledger.lock:
            mine = dict(self.ledger.blocks)
            watermark = self.ledger.watermark
        if watermark < top or mine.get(top) != self.hash_at(top):
            return False
        return all(mine[h] == self.hash_at(h) for h in range(self.ledger.start, top + 1))

    def settle(self, seconds=60):
        stack.wait_until(f"the node's blocks arrived ({self.folder})", seconds, self.level)

    def stop(self):
        status = self.suite.stop()
        for other in self.others:
            other.stop()
        if self.ledger and self.ledger.thread.is_alive():
            self.ledger.stop()
        for proxy in self.proxies:
            proxy.stop()
        self.redis.stop()
        self.node.stop()
        return status.get("fetcher")


@pytest.fixture
def make(tmp_path):
    worlds = []

    def build(**options):
        worlds.append(World(tmp_path, **options))
        return worlds[-1]

    yield build
    for world in worlds:
        world.stop()


def lie(proxy, **what):
    request = urllib.request.Request(proxy.facts["control"] + "/lie", json.dumps(what).encode(), method="POST")
    urllib.request.urlopen(request, timeout=60).read()


def control(proxy, method, path, body=None):
    request = urllib.request.Request(proxy.facts["control"] + path, json.dumps(body or {}).encode() if method == "POST" else None, method=method)
    return urllib.request.urlopen(request, timeout=60).read()


def two_proxies(world):
    return [{"name": name, "url": proxy.rpc, "ws_url": proxy.ws} for name, proxy in zip("ab", world.proxies)]


def polled(world):
    return [{"name": "a", "url": world.node.rpc}]


# ---- the ordinary life --------------------------------------------------------------------------------------------------------------


def test_backfill_publishes_every_height_once_and_whole(make):
    world = make(chain={"window": 64})
    world.mine(40)
    for n in (1, 3, 0, 12):
        world.send(n)
    world.mine(300)
    world.go()
    world.settle()
    heights = sorted(a[0] for a in world.ledger.arrivals)
    assert heights == list(range(world.node.height() + 1))
    for height, _, _, parts, attempt in world.ledger.arrivals:
        assert attempt == 0
        assert {BLOCK, RECEIPTS} <= set(parts), f"block {height}"
        assert height == 0 or FLAT_TRACES in parts
        for part in parts.values():
            assert wire.one(part, 5) == b"a" and wire.one(part, 3, b"") and 6 not in part
    assert world.ledger.forks == []
    stack.wait_until("all of them counted", 60, lambda: world.suite.metric("fetcher", "weir_fetcher_blocks_total") == len(heights))
    assert world.stop() == 0


def test_backpressure_stops_at_the_window(make):
    world = make(chain={"window": 16})
    world.ledger.moves = False
    world.mine(200)
    world.go()
    stack.wait_until("the window is full", 60, lambda: len(world.ledger.arrivals) >= 16)
    time.sleep(1)
    assert sorted(a[0] for a in world.ledger.arrivals) == list(range(16))
    world.ledger.moves = True
    world.mine()
    with world.ledger.lock:
        world.ledger.watermark = 15
    world.settle()


@pytest.mark.parametrize("endpoints", [None, polled], ids=["websocket", "polling"])
def test_heads_are_followed(make, endpoints):
    world = make(endpoints=endpoints, anvil=("--slots", "2"))
    world.mine(5)
    world.go()
    world.settle()
    for _ in range(10):
        world.send(2)
        world.settle()
    top = world.node.height()
    expected = {"head": (top, world.hash_at(top)), "safe": (top - 2, world.hash_at(top - 2)), "finalized": (top - 4, world.hash_at(top - 4))}
    stack.wait_until("the head and both tags", 60, lambda: world.ledger.heads[-1] == expected)
    tips = [a for a in world.ledger.arrivals if a[0] > 5]
    assert len(tips) == 10 and all(a[2] == 2 for a in tips)


def test_finality_depth_is_a_floor(make):
    world = make(chain={"finality_depth": 10}, anvil=("--slots", "1"))
    world.mine(30)
    world.go()
    world.settle()
    stack.wait_until("finalized by depth", 60, lambda: world.ledger.heads and world.ledger.heads[-1]["finalized"][0] == 20)


def test_a_later_start_height(make):
    world = make(start=25)
    world.mine(60)
    world.go()
    world.settle()
    assert min(world.ledger.blocks) == 25


def test_waits_for_the_ledgers_word(make):
    world = make(ledger=False)
    world.mine(10)
    world.go(wait=False)
    address = f"http://127.0.0.1:{world.suite.ops['fetcher']}/readyz"
    body = stack.wait_until("it says what it waits for", 60, lambda: (b := stack.http_json(address)[1]) and "reconciler" in json.dumps(b) and b)
    assert "ledger dev" in json.dumps(body)
    world.ledger = Ledger(world.redis.url)
    world.ledger.thread.start()
    world.settle()
    stack.wait_until("ready", 60, lambda: world.suite.ready("fetcher"))


# ---- reorgs --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoints", [None, polled], ids=["websocket", "polling"])
@pytest.mark.parametrize("depth", [1, 5, 12])
def test_P4_a_reorg_is_told_before_its_branch(make, depth, endpoints):
    world = make(endpoints=endpoints)
    world.mine(30)
    world.go()
    world.settle()
    top = world.node.height()
    world.node.call("anvil_reorg", depth, [])
    world.settle()
    with world.ledger.lock:
        assert min(world.ledger.forks) == top - depth
        fork_at = max(i for i, e in enumerate(world.ledger.events) if e[0] == "fork")
        assert all(h > top - depth for kind, h in world.ledger.events[fork_at:] if kind == "block")
    world.send(3)
    world.settle()
    stack.wait_until("each fork counted", 60, lambda: world.suite.metric("fetcher", "weir_fetcher_forks_total") == len(world.ledger.forks))


@pytest.mark.parametrize("lowest", ["in its turn", "last"])
def test_P4_a_reorg_while_it_was_away(make, lowest):
    """Where its lowest block comes last, those above fit nothing that is known and are published: the one that joins it to ours tells of the fork."""
    world = make(proxies=1, endpoints=lambda w: two_proxies(w)[:1])
    world.mine(40)
    world.go()
    world.settle()
    world.fetcher.stop()
    world.node.call("anvil_reorg", 7, [])
    world.mine(3)
    if lowest == "last":
        lie(world.proxies[0], name="block-null", height=41, count=3)
    world.fetcher.start()
    world.settle()
    assert world.ledger.forks == [33]
    if lowest == "last":
        assert [a[0] for a in world.ledger.arrivals[41:]][:2] == [42, 43]  # or the test does not show it


def test_P4_a_shorter_chain_is_a_reorg_when_its_block_differs(make):
    world = make()
    world.mine(20)
    snapshot = world.node.call("evm_snapshot")
    world.mine(6)
    world.go()
    world.settle()
    world.node.call("evm_revert", snapshot)
    time.sleep(1)
    assert world.ledger.forks == []  # gone back only: the same blocks may come again
    world.node.call("evm_increaseTime", 1000)
    world.mine(2)
    world.settle()
    assert world.ledger.forks == [20]
    assert world.node.height() == 22


def test_P4_a_node_that_lags_is_no_reorg(make):
    world = make(proxies=2, endpoints=two_proxies)
    world.mine(30)
    world.go()
    world.settle()
    lie(world.proxies[0], name="head-stale")
    lie(world.proxies[0], name="notice-dropped")
    for _ in range(10):
        world.send(1)
        world.settle()
    assert world.ledger.forks == []
    assert sorted(a[0] for a in world.ledger.arrivals) == list(range(world.node.height() + 1))


def test_P4_many_reorgs_in_a_row(make):
    world = make(chain={"window": 64}, strict=True)
    world.mine(20)
    world.go()
    world.settle()
    for i in range(12):
        world.send(2)
        if i % 4 == 0:
            world.settle()  # a fork that nobody has seen a block of is none
        world.node.call("anvil_reorg", 1 + i % 6, [])
        world.mine(1 + i % 3)
    world.settle()
    assert len(world.ledger.forks) >= 3


def test_a_block_that_takes_its_node_long_comes_at_last(make):
    world = make(proxies=1, endpoints=lambda w: two_proxies(w)[:1], chain={"request_timeout": "700ms"})
    world.mine(2)
    world.go()
    world.settle()
    control(world.proxies[0], "POST", "/latency", {"ms": 2500, "method": "trace_block"})
    world.mine(2)
    world.settle(60)
    control(world.proxies[0], "POST", "/latency", {"ms": 0})


# ---- commands and the ledger ------------------------------------------------------------------------------------------------------------


def test_refetch_asks_somebody_else(make):
    world = make(proxies=2, endpoints=two_proxies)
    world.mine(10)
    world.go()
    world.settle()
    first = {a[0]: wire.one(a[3][BLOCK], 5).decode() for a in world.ledger.arrivals}
    for attempt, height in enumerate((3, 5, 7), 1):
        world.ledger.command(5, [(1, height), (2, height), (4, first[height]), (5, attempt), (6, "missing")])
    stack.wait_until("the blocks came again", 60, lambda: len(world.ledger.arrivals) >= 14)
    again = {a[0]: a for a in world.ledger.arrivals[11:]}
    assert set(again) == {3, 5, 7}
    for attempt, height in enumerate((3, 5, 7), 1):
        assert wire.one(again[height][3][BLOCK], 5).decode() != first[height]
        assert again[height][2] == 3 and again[height][4] == attempt


def test_refetch_of_a_range_and_of_a_hash(make):
    world = make()
    world.mine(60)
    world.go()
    world.settle()
    n = len(world.ledger.arrivals)
    world.ledger.command(5, [(1, 10), (2, 49), (5, 1), (6, "missing")])
    stack.wait_until("forty blocks came again", 60, lambda: len(world.ledger.arrivals) == n + 40)
    assert sorted(a[0] for a in world.ledger.arrivals[n:]) == list(range(10, 50))
    world.ledger.command(5, [(1, 20), (2, 20), (3, world.hash_at(20)), (5, 2), (6, "mismatch")])
    stack.wait_until("the block came by its hash", 60, lambda: len(world.ledger.arrivals) == n + 41)
    assert world.ledger.arrivals[-1][:2] == (20, world.hash_at(20))


def test_pause_and_resume(make):
    world = make()
    world.mine(10)
    world.go()
    world.settle()
    world.ledger.command(6, [(1, "for the test")])
    world.ledger.paused = True
    stack.wait_until("paused", 60, lambda: "event=paused" in world.fetcher.log.read_text())
    world.mine(5)
    time.sleep(1)
    assert world.ledger.watermark == 10
    world.ledger.command(7, [])
    world.ledger.paused = False
    world.settle()


def test_a_new_epoch_publishes_again(make):
    world = make()
    world.mine(30)
    world.go()
    world.settle()
    with world.ledger.lock:
        world.ledger.epoch += 1
        world.ledger.watermark = 9
        for height in range(10, 31):
            del world.ledger.blocks[height]
    world.settle()
    assert sorted(a[0] for a in world.ledger.arrivals[31:]) == list(range(10, 31))


def test_P6_redis_flushed_and_killed(make):
    world = make()
    world.mine(30)
    world.go()
    world.settle()
    for fault in (lambda: world.redis.command("FLUSHALL"), lambda: (world.redis.kill(), world.redis.start())):
        fault()
        with world.ledger.lock:
            world.ledger.last = {}
            world.ledger.epoch += 1
        world.send(2)
        world.settle()
        world.mine(5)
        world.settle()
    assert world.ledger.forks == []


def test_P5_a_second_instance_stands_by_and_takes_over(make):
    world = make(settings={"bus": {"lease": "1s"}})
    world.mine(10)
    world.go()
    world.settle()
    other_config = world.suite.folder / "other.yaml"
    other_config.write_text(world.suite.config.read_text().replace(f"127.0.0.1:{world.suite.ops['fetcher']}", "127.0.0.1:0"))
    other = stack.Process("other", [world.suite.bin / "weir-fetcher", "--config", other_config], world.suite.folder / "other.log").start()
    world.others.append(other)
    stack.wait_until("the other is up", 60, lambda: "event=started" in other.log.read_text())
    world.mine(5)
    world.settle()
    assert "event=owning" not in other.log.read_text()
    world.fetcher.kill()
    stack.wait_until("taken over", 60, lambda: "event=owning" in other.log.read_text())
    world.mine(5)
    world.settle()
    assert world.ledger.forks == []


# ---- endpoints -------------------------------------------------------------------------------------------------------------------------


def test_P10_an_endpoint_dies_and_comes_back(make):
    world = make(proxies=2, endpoints=two_proxies)
    world.mine(20)
    world.go()
    world.settle()
    for proxy in world.proxies:
        control(proxy, "POST", "/down")
        for _ in range(8):
            world.send(1)
            world.settle()
        control(proxy, "DELETE", "/down")
        stack.wait_until("it is used again", 60, lambda: all(
            v == 0 for k, v in world.suite.metrics("fetcher").items() if k.startswith("weir_rpc_breaker_state")))
    assert world.ledger.forks == []


def test_endpoints_that_differ_about_an_unknown_genesis_are_named_with_the_setting_that_decides(make):
    world = make(proxies=2, endpoints=two_proxies)
    world.mine(5)
    lie(world.proxies[0], name="genesis")
    world.go(wait=False)
    stack.wait_until("named", 60, lambda: "set genesis_hash" in world.fetcher.log.read_text())
    assert re.search(r"endpoint ([ab]) has another genesis block than endpoint (?!\1)[ab] told", world.fetcher.log.read_text())


def test_P10_all_endpoints_die_and_come_back(make):
    world = make(proxies=2, endpoints=two_proxies)
    world.mine(20)
    world.go()
    world.settle()
    for proxy in world.proxies:
        control(proxy, "POST", "/down")
    stack.wait_until("not ready", 60, lambda: not world.suite.ready("fetcher"))
    stack.wait_until("alert", 60, lambda: 'alert="endpoints dev"' in world.fetcher.log.read_text())
    world.mine(5)
    assert world.fetcher.alive()
    for proxy in world.proxies:
        control(proxy, "DELETE", "/down")
    world.settle(60)
    stack.wait_until("ready", 60, lambda: world.suite.ready("fetcher"))


@pytest.mark.parametrize("name", ["http-429", "http-500", "http-503", "reset", "hang", "json-truncated", "json-cut", "json-invalid", "json-deep",
                                  "body-empty", "result-missing", "rpc-error", "rpc-limit", "rpc-unsupported", "id-wrong", "batch-partial", "batch-swapped",
                                  "batch-object", "block-null", "block-number", "block-other-height", "block-other-fork", "receipts-null",
                                  "receipts-empty", "receipt-null-inside", "receipt-dropped", "receipts-reordered", "receipt-foreign", "receipts-other-block",
                                  "traces-null", "traces-empty", "traces-other-block", "head-ahead", "head-null", "finalized-null", "notice-forked",
                                  "absurd-number", "absurd-type", "absurd-short-hash"])
def test_P2_lies_of_one_endpoint_heal_on_the_other(make, name):
    # Where nothing tells the right genesis the first endpoint's word counts: a lie about it cannot be told from the truth.
    world = make(proxies=2, endpoints=two_proxies, chain={"window": 32}, genesis=True)
    for n in (2, 1, 3):
        world.send(n)
    world.mine(20)
    lie(world.proxies[0], name=name)
    world.go()
    world.settle(60)
    for _ in range(4):
        world.send(2)
        world.settle(60)
    assert world.ledger.forks == []
    assert world.fetcher.alive()
    for _, _, _, parts, _ in world.ledger.arrivals:
        assert all(6 not in part for part in parts.values())  # nothing left out

def second_endpoint_for_questions_only(world):
    """One endpoint tells the heads, the other is asked for what it is asked for."""
    return [{"name": "a", "url": world.proxies[0].rpc, "ws_url": world.proxies[0].ws}, {"name": "b", "url": world.node.rpc, "head": False}]


def differing(world):
    return {name for name in "ab" if world.suite.metric("fetcher", "weir_fetcher_endpoint_differs", endpoint=name)}


def test_P2_a_whole_false_chain_of_the_one_that_tells_heads_is_named_by_a_second_opinion(make):
    """Nothing of it contradicts itself, so it is followed; the other endpoint's word is told, and that it is over."""
    world = make(proxies=1, endpoints=second_endpoint_for_questions_only)
    world.mine(30)
    world.go()
    world.settle()
    true = world.hash_at(30)
    lie(world.proxies[0], name="head-forked-whole", height=31)

    def told():
        world.mine()
        return differing(world) == {"b"}  # the ledger has what `a` tells
    stack.wait_until("the endpoints to be told apart", 60, told, every=0.1)
    alerts = [line for line in world.fetcher.log.read_text().splitlines() if "endpoints differ dev" in line]
    assert len(alerts) == 1 and "event=alert_firing" in alerts[0], alerts
    height = int(re.search(r"at block (\d+): a (0x[0-9a-f]{64}) \(the ledger's\), b (0x[0-9a-f]{64})", alerts[0]).group(1))
    assert height > 30 and "0x" + world.hash_at(height).hex() in alerts[0]
    assert world.ledger.blocks[30] == true
    control(world.proxies[0], "DELETE", "/lie")
    world.mine()
    stack.wait_until("the endpoints to agree", 60, lambda: differing(world) == set())
    stack.wait_until("and that to be told", 60, lambda: "endpoints tell the same block" in world.fetcher.log.read_text())
    world.mine()
    world.settle()


def test_honest_reorgs_and_an_endpoint_that_lags_raise_no_second_opinion(make):
    world = make(proxies=2, endpoints=two_proxies, strict=True)
    world.mine(30)
    world.go()
    world.settle()
    lie(world.proxies[1], name="head-stale")
    asked = lambda: json.loads(control(world.proxies[1], "GET", "/stats"))["methods"].get("eth_getBlockByNumber", 0)  # noqa: E731
    for _ in range(6):
        before = asked()
        world.node.call("anvil_reorg", 9, [])
        world.mine(3)
        stack.wait_until("the endpoint that lags to be asked", 60, lambda mark=before: (world.mine(), asked() > mark + 2)[1], every=0.1)
    world.settle()
    assert len(world.ledger.forks) > 0
    assert differing(world) == set()
    assert "endpoints differ" not in world.fetcher.log.read_text()


def test_an_endpoint_that_stands_still_on_another_branch_raises_no_second_opinion(make):
    """It builds no other chain: it was left behind. Nor is it told of while the chain has not gone on from where they part."""
    born = ("--timestamp", "1700000000")

    def with_another_node(world):
        other = stack.anvil(world.folder / "other.log", *born)
        other.call("anvil_setCoinbase", "0x" + 40 * "2")
        other.call("anvil_mine", hex(40))
        world.proxies.append(stack.Node("faultproxy", ["--upstream", other.rpc], world.folder / "proxy.log").start())
        world.left_behind = other
        return [{"name": "a", "url": world.node.rpc}, {"name": "b", "url": world.proxies[0].rpc, "head": False, "backfill": False}]

    world = make(anvil=born, endpoints=with_another_node)
    world.others = [world.left_behind]
    asked = lambda: json.loads(control(world.proxies[0], "GET", "/stats"))["methods"].get("eth_getBlockByNumber", 0)  # noqa: E731
    world.mine(8)
    world.go()
    world.settle()
    before = asked()
    stack.wait_until("the other endpoint to be asked", 60, lambda: asked() > before or world.mine(), every=1.5)
    before = asked()
    stack.wait_until("it to be asked where they part, again and again", 60, lambda: asked() >= before + 6)
    assert differing(world) == set()
    world.mine(50)
    world.settle()
    before = asked()
    stack.wait_until("it to be asked about newer blocks", 60, lambda: (world.mine(), asked() >= before + 6)[1], every=0.3)
    assert differing(world) == set()
    assert "endpoints differ" not in world.fetcher.log.read_text()


@pytest.mark.parametrize("name, kinds", [("receipts-empty", {RECEIPTS}), ("traces-empty", {CALL_TRACES, FLAT_TRACES})])
def test_an_empty_list_for_a_block_with_transactions_is_asked_again(make, name, kinds):
    """So a node answers that is dropping the block, or has not indexed it yet. One that keeps saying so is left to the proof."""
    world = make(proxies=1, endpoints=lambda w: [{"name": "a", "url": w.proxies[0].rpc}])
    world.go()
    world.settle()

    def told(height):
        parts = next(parts for at, _, _, parts, _ in reversed(world.ledger.arrivals) if at == height)
        return [wire.one(parts[kind], 4) for kind in kinds & set(parts)]

    lie(world.proxies[0], name=name, count=2)
    world.send(3)
    world.settle()
    assert min(told(1)) > len("[]")
    assert world.suite.metric("fetcher", "weir_fetcher_job_failures_total", code="not_found") == 2

    lie(world.proxies[0], name=name)
    world.send(3)
    world.settle()
    assert told(2) == [len("[]")]


@pytest.mark.parametrize("missing", ["eth_getBlockReceipts", "trace_block", "trace_block debug_traceBlockByHash debug_traceBlockByNumber"])
def test_missing_methods_are_learnt(make, missing):
    def chained(world):  # a proxy refuses one method: as many in a row as methods are missing
        url = world.node.rpc
        for method in missing.split():
            proxy = stack.Node("faultproxy", ["--upstream", url], world.folder / f"{method}.log").start()
            lie(proxy, name="rpc-unsupported", method=method)
            world.proxies.append(proxy)
            url = proxy.rpc
        return [{"name": "a", "url": url}]

    world = make(endpoints=chained)
    for n in (2, 0, 70, 1):
        world.send(n)
    world.go()
    world.settle()
    world.send(2)
    world.settle()
    for height, _, _, parts, _ in world.ledger.arrivals:
        assert {BLOCK, RECEIPTS} <= set(parts) and 6 not in parts[RECEIPTS]
        if height == 0:
            continue
        if missing == "trace_block":
            assert 6 not in parts[CALL_TRACES]
        elif "debug" in missing:
            assert any(6 in part for kind, part in parts.items() if kind in (CALL_TRACES, FLAT_TRACES))
        else:
            assert 6 not in parts[FLAT_TRACES]


def test_a_block_whose_flat_traces_are_refused_is_traced_otherwise(make):
    """Only this block's, so the endpoint is not one that lacks them: what would be asked for without them is asked for instead."""
    world = make(proxies=1, endpoints=lambda w: [{"name": "a", "url": w.proxies[0].rpc}])
    lie(world.proxies[0], name="rpc-limit", method="trace_block")
    world.send(2)
    world.go()
    world.settle()
    parts = next(parts for at, _, _, parts, _ in world.ledger.arrivals if at == 1)
    assert 6 in parts[FLAT_TRACES] and 6 not in parts[CALL_TRACES]


def test_receipts_asked_one_by_one_are_of_one_endpoint_and_credited_to_it(make):
    """Nobody has eth_getBlockReceipts: if one of the receipts is false, it is the word of who told it, and of nobody else."""
    world = make(proxies=2, endpoints=two_proxies)
    for proxy in world.proxies:
        lie(proxy, name="rpc-unsupported", method="eth_getBlockReceipts")
    world.send(70)
    world.go()
    world.settle()
    parts = next(parts for at, _, _, parts, _ in world.ledger.arrivals if at == 1)
    asked = {name for name, proxy in zip((b"a", b"b"), world.proxies)
             if json.loads(control(proxy, "GET", "/stats"))["methods"].get("eth_getTransactionReceipt", 0) > 0}
    assert asked == {wire.one(parts[RECEIPTS], 5)}


@pytest.mark.parametrize("name", ["receipts-other-block", "traces-other-block"])
def test_parts_of_another_block_are_asked_again(make, name):
    """So an honest node answers when a reorg comes between two questions. One that keeps doing it is left to the proof."""
    world = make(proxies=1, endpoints=lambda w: [{"name": "a", "url": w.proxies[0].rpc}])
    world.go()
    world.send(2)
    world.settle()

    def failures():
        return world.suite.metric("fetcher", "weir_fetcher_job_failures_total", code="not_found")

    lie(world.proxies[0], name=name, count=2)
    world.send(3)
    world.settle()
    assert failures() == 2
    lie(world.proxies[0], name=name)
    world.send(3)
    world.settle()
    assert failures() == 2 + 3  # and then it went out as it is


def test_the_wrong_chain_among_others_is_excluded(make, tmp_path):
    other = stack.anvil(tmp_path / "wrong.log", "--chain-id", "5")
    try:
        world = make(endpoints=lambda w: [{"name": "wrong", "url": other.rpc, "weight": 1000}, {"name": "a", "url": w.node.rpc}])
        world.mine(20)
        world.go()
        world.settle()
        assert all(wire.one(part, 5) == b"a" for a in world.ledger.arrivals for part in a[3].values())
        stack.wait_until("alert", 60, lambda: 'alert="wrong chain dev wrong"' in world.fetcher.log.read_text())
    finally:
        other.stop()


def test_the_wrong_chain_alone_ends_it_with_its_status(make):
    world = make(chain={"chain_id": 1})
    world.go(wait=False)
    assert world.fetcher.wait(60) == EX_CONFIG
    text = world.fetcher.tail(3)
    assert "wrong_chain" in text and "serves chain id 31337" in text and "chain_id" in text


def test_another_genesis_ends_it_with_its_status(make):
    world = make(chain={"genesis_hash": "0x" + "11" * 32})
    world.go(wait=False)
    assert world.fetcher.wait(60) == EX_CONFIG
    assert "genesis" in world.fetcher.tail(3)


def test_nothing_listens_yet(make):
    port = stack.free_port()
    world = make(endpoints=lambda w: [{"name": "a", "url": f"http://127.0.0.1:{port}"}])
    world.go(wait=False)
    stack.wait_until("it names the endpoint", 60, lambda: f"127.0.0.1 port {port}" in world.fetcher.log.read_text())
    late = stack.anvil(world.folder / "late.log", "--port", str(port))
    world.node.stop()
    world.node = late
    world.mine(5)
    world.settle()


def test_sigterm_is_prompt(make):
    world = make()
    world.mine(500)
    world.go(wait=False)
    stack.wait_until("in the middle of it", 60, lambda: len(world.ledger.arrivals) > 20)
    assert world.fetcher.stop(20) == 0  # far below the drain's 30 s
