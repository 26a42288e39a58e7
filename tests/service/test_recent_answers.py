"""Answers that are given again for a while: never beyond the ledger's next event, not after a reorg, within their memory; equal reads in flight are made once."""
import pathlib
import sys
import threading
import time
import urllib.request

import psycopg2
import pytest
import websocket

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "stack"), str(pathlib.Path(__file__).parent)]
import stack  # noqa: E402
from gateway_alone import Stores  # noqa: E402
from gateway_client import Stream  # noqa: E402
from test_gateway import C, own_world  # noqa: E402, F401


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    stores = Stores(tmp_path_factory.mktemp("recent"))
    yield stores
    stores.stop()


def counted(gateway, result):
    with urllib.request.urlopen(gateway.ops + "/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    for line in lines:
        if line.startswith("weir_gateway_recent_total") and f'"{result}"' in line:
            return float(line.split()[-1])
    return 0.0


def test_the_same_read_is_answered_again_with_its_tag(stores):
    gateway = stores.gateway()
    before = counted(gateway, "hit")
    status, first, headers = gateway.get(f"{C}/statistics")
    assert status == 200
    again = gateway.get(f"{C}/statistics")
    assert (again[0], again[1], again[2]["etag"], again[2]["cache-control"]) == (200, first, headers["etag"], headers["cache-control"])
    assert gateway.get(f"{C}/statistics", If_None_Match=headers["etag"])[0] == 304
    stack.wait_until("hits are counted", 60, lambda: counted(gateway, "hit") >= before + 2)
    assert gateway.get(f"{C}/statistics?blocks=x")[0] == 400, "what is wrong is never looked for"
    assert gateway.get(f"{C}/transactions/0x{'1' * 64}")[0] == gateway.get(f"{C}/transactions/0x{'1' * 64}")[0] == 404, "what is not there is not kept"
    gateway.stop()


def test_equal_reads_in_flight_are_made_once(stores):
    gateway = stores.gateway()
    answers, lock = [], psycopg2.connect(stores.postgres.url)
    try: # the ledger answers nobody until this is over
        lock.cursor().execute("lock table weir.assets, weir.blocks in access exclusive mode")
        threads = [threading.Thread(target=lambda: answers.append(gateway.get(f"{C}/statistics")[:2])) for _ in range(6)]
        for thread in threads:
            thread.start()
        stack.wait_until("one asks the ledger", 60, lambda: stores.sql("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")[0][0] >= 1)
    finally:
        lock.close()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 6 and all(answer == answers[0] for answer in answers) and answers[0][0] == 200
    stack.wait_until("the others joined or came later", 60, lambda: counted(gateway, "joined") + counted(gateway, "hit") >= 1)
    gateway.stop()


def test_statistics_over_time_are_of_so_many_blocks(stores):
    """The newest, unless it is said from where: then too many are refused. The same sums are given again, as those of the newest blocks are."""
    stores.sql("insert into weir.blocks (chain, height, branch, hash, parent_hash, timestamp, canonical, transaction_count, entry_count, gas_used, endpoints) "
               "select id, n, 0, sha256(n::text::bytea), sha256((n - 1)::text::bytea), n * 60, true, 0, 0, 1, '{}' from weir.chains, generate_series(1, 10100) n")
    stores.sql("update weir.chains set watermark_height = 10100")
    gateway = stores.gateway()
    before = counted(gateway, "hit")
    path = f"{C}/statistics/history"
    for _ in range(2):
        items = gateway.get(path)[1]["items"]
        assert (sum(i["blocks"] for i in items), items[0]["from_height"], items[-1]["to_height"]) == (10000, 101, 10100)
    assert all(i["timestamp"] % 3600 == 0 and i["gas_used"] == str(i["blocks"]) for i in items) and {i["blocks"] for i in items[1:-1]} == {60}
    stack.wait_until("a hit is counted", 60, lambda: counted(gateway, "hit") > before)
    for query in ("from=100", "since=0", "from=0&to=10000"):
        status, body, _ = gateway.get(f"{path}?{query}")
        assert (status, body["code"]) == (400, "range_too_large"), query
    assert gateway.get(f"{path}?from=101")[0] == gateway.get(f"{path}?from=1&to=10000")[0] == 200
    gateway.stop()


def test_nothing_is_kept_without_memory(stores):
    gateway = stores.gateway({"gateway": {"recent_answers": 0}})
    for _ in range(3):
        assert gateway.get(f"{C}/statistics")[0] == 200
    assert counted(gateway, "hit") == counted(gateway, "miss") == 0
    gateway.stop()


def test_who_was_told_of_an_event_reads_nothing_older(own_world):
    """A client follows the blocks and at each event reads what the event is about, while others keep the same answers warm: no answer is of before the event,
    above all not after a reorg."""
    world = own_world()
    ended = threading.Event()

    def warm():
        while not ended.is_set():
            for path in (C, f"{C}/blocks/latest", f"{C}/blocks?limit=5"):
                stack.http_json(world.suite.api + path)
            time.sleep(0.005)

    keepers = [threading.Thread(target=warm) for _ in range(2)]
    stream = Stream(world.suite.api, seconds=60)
    stream.subscribe(topic="blocks", chain="dev", **{"from": {"height": 0}})
    for keeper in keepers:
        keeper.start()
    busy = world.workload("--seed", "61", "--blocks", "20", "--reorgs", "2", "--pace-ms", "40", wait=False)
    heights, gone, looked, deadline = {}, set(), 0, time.monotonic() + 240
    try:
        while busy.child.poll() is None or looked < 10 or not gone:
            assert time.monotonic() < deadline, f"{looked} events, {len(gone)} blocks taken back"
            try:
                event = stream.push(5)["event"]
            except websocket.WebSocketTimeoutException:
                continue
            if event["type"] == "block":
                heights[event["height"]] = event["hash"]
                gone.discard(event["hash"])
            elif event["type"] == "retracted":
                gone.add(event["block_hash"])
                heights.pop(event["height"], None)
            else:
                continue
            looked += 1
            page = stack.http_json(f"{world.suite.api}{C}/blocks?limit=5")[1]["items"]
            assert page[0]["height"] >= max(heights, default=0) or gone, "no older than the event"
            latest = stack.http_json(f"{world.suite.api}{C}/blocks/latest")[1]
            if event["type"] == "retracted":
                assert event["block_hash"] not in [b["hash"] for b in page] and latest["hash"] != event["block_hash"], "what was taken back is not shown"
    finally:
        ended.set()
        for keeper in keepers:
            keeper.join(60)
    assert busy.child.wait() == 0 and gone
    assert world.suite.metric("gateway", "weir_gateway_recent_total", result="hit") > 0
    stream.close()
