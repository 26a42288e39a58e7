"""The ledger to Kafka: what WebSocket clients get, all of it, in order for each key, whatever dies. Against librdkafka's mock cluster; there is no real broker here."""
import collections
import json
import pathlib
import random
import signal
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "stack"), str(pathlib.Path(__file__).parent)]
import stack  # noqa: E402
from gateway_client import ASYNC  # noqa: E402
from kafka_mock import Kafka, Reader  # noqa: E402
from test_gateway import World, reorg  # noqa: E402
from test_webhooks import pushes  # noqa: E402
from test_weirctl import Weirctl  # noqa: E402

TOPIC, PARTITIONS = "weir.dev.ledger", 4


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    kafka = Kafka()
    kafka.tell(f"forbid {TOPIC}")
    world = World(tmp_path_factory.mktemp("kafka"), {"kafka": {"url": kafka.url}, "bus": {"lease": "2s"}})
    world.kafka = kafka
    try:
        world.workload("--seed", "37", "--blocks", "18", "--reorgs", "2", "--txs-per-block", "5", "--pace-ms", "20")
        yield world
    finally:
        statuses = world.stop()
        if hasattr(world, "reader"):
            world.reader.close()
        kafka.close()
    assert statuses["gateway"] == 0


def export(world):
    return next(c for c in world.api().operate("GET", "/admin/v1/status")[1]["chains"] if c["name"] == "dev").get("kafka")


def level(world, seconds=60):
    """Everything that the journal has by now is with the brokers, and was read there."""
    newest = world.sql("select journal_sequence from weir.chains")[0][0]
    stack.wait_until(f"Kafka is level ({world.folder})", seconds, lambda: int(world.sql("select split_part(position, '-', 1) from weir_kafka.exports")[0][0] or 0) >= newest)
    sent = world.sql("select records from weir_kafka.exports")[0][0]
    stack.wait_until("all of it is read", seconds, lambda: len(world.reader.all()) >= sent)


def held(records):
    """Entries and blocks that were told of and not taken back; each taken back once, and only what was there."""
    entries, blocks = {}, {}
    for record in sorted(records, key=lambda r: r.order):
        event = record.event
        if event["type"] in ("entry", "block"):
            books = entries if event["type"] == "entry" else blocks
            assert event["id"] not in books
            books[event["id"]] = event
        elif event["type"] == "retracted":
            books = entries if "account" in event else blocks
            for id in event["ids"]:
                assert books.pop(id).get("account") == event.get("account")
    return entries, blocks


def traffic(world, rng, blocks):
    sender = world.node.call("eth_accounts")[0]
    for _ in range(blocks):
        world.node.call("eth_sendTransaction", {"from": sender, "to": f"0x{rng.getrandbits(160):040x}", "value": hex(rng.getrandbits(40))})
        world.node.call("anvil_mine", "0x1")


def newest(world):
    """Entries and blocks of the newest epoch, as far as they were read."""
    once = world.reader.once()
    return held(r for r in once if r.value["epoch"] == once[-1].value["epoch"])


def complete(world):
    """The ledger, as a reader of the topic has it that keeps to the rule; and what comes twice is the same."""
    world.settle()
    level(world)
    # What gateways that were killed sent twice is read, too, and not counted as sent: how many were read does not say that the last ones were.
    ids = set(world.ledger_ids(world.api()))
    stack.wait_until("all of it is read, and is the ledger", 60, lambda: set(newest(world)[0]) == ids)
    by_offset = {}
    for record in world.reader.all():
        known = by_offset.setdefault((record.value["epoch"], record.offset), record)
        assert (known.key, known.value) == (record.key, record.value), "a repetition says the same, in the same partition"
        assert known.partition == record.partition
    once = world.reader.once()
    assert {r.order for r in once} == {r.order for r in world.reader.all()}, "the rule drops repetitions and nothing else"
    return newest(world)


def test_a_missing_topic_is_named_with_the_command_that_makes_it(world):
    status = stack.wait_until("it is noticed", 30, lambda: (s := export(world)) and s["state"] == "waiting" and s)
    assert f"has no topic {TOPIC}" in status["reason"] and f"kafka-topics.sh --bootstrap-server {world.kafka.hosts} --create --topic {TOPIC}" in status["reason"]
    assert status["records"] == 0 and status["lag"] > 0
    check = next(c for c in stack.http_json(f"http://127.0.0.1:{world.suite.ops['gateway']}/readyz")[1]["checks"] if c["name"] == "kafka dev")
    assert check["ok"] and TOPIC in check["reason"], "clients are served all the same"
    stack.wait_until("the metric", 30, lambda: world.suite.metric("gateway", "weir_kafka_waiting_seconds", chain="dev") > 0)
    assert world.suite.metric("gateway", "weir_kafka_failures_total", chain="dev") > 0
    text = Weirctl(world.suite)("status")
    assert "dev: Kafka  waiting: " in text and "kafka-topics.sh" in text
    world.kafka.tell(f"allow {TOPIC}")
    world.reader = Reader(world.kafka, TOPIC, PARTITIONS)
    stack.wait_until("it goes on", 60, lambda: export(world)["state"] == "running")
    level(world)
    assert world.suite.metric("gateway", "weir_kafka_records_total", chain="dev") == export(world)["records"] == len(world.reader.all())
    stack.wait_until("nothing waits", 30, lambda: world.suite.metric("gateway", "weir_kafka_waiting_seconds", chain="dev") == 0)
    assert "dev: Kafka  running; 0 events to go" in Weirctl(world.suite)("status")


def test_records_are_what_websocket_clients_are_given(world):
    statuses = pushes(world, 1, topic="chain_status")
    entries, blocks = complete(world)
    records = world.reader.once()
    document = world.api().document
    for record in {r.event["type"] + str(i % 4): r for i, r in enumerate(records)}.values():
        document.check(record.value, resolved(ASYNC["components"]["messages"]["record"]["payload"]))
    # A push for each entry, and at least one for each event that takes entries back.
    moved = [r for r in records if r.event["type"] == "entry" or (r.event["type"] == "retracted" and r.key != "dev")]
    expected = pushes(world, len({r.order if r.event["type"] == "entry" else r.order[:2] for r in moved}), topic="entries")
    assert any(e["type"] == "retracted" for e in expected)
    by_key = collections.defaultdict(list)
    for record in records:
        by_key[record.key].append(record)
    # Of each account: its entries and what was taken back of them, in the order in which a WebSocket client hears of it.
    owner, told = {}, collections.defaultdict(list)
    for event in expected:
        if event["type"] == "entry":
            owner[event["id"]] = event["account"]
            told[event["account"]].append(event)
        else:
            for id in event["ids"]:
                told[owner[id]].append(dict(event, ids=[id], account=owner[id]))
    assert set(by_key) == set(told) | {"dev"}
    for account, events in told.items():
        assert [r.event for r in by_key[account]] == events, account
    chain = [r.event for r in by_key["dev"]]
    told_of_blocks = [e for e in chain if e["type"] in ("block", "retracted", "finality")]
    assert told_of_blocks == pushes(world, len(told_of_blocks), topic="blocks")
    assert [e for e in chain if e["type"] not in ("block", "retracted")][:len(statuses)] == statuses, "more may have come since"
    assert {b["hash"] for b in blocks.values()} >= {b["hash"] for b in world.api().ok("/v1/chains/dev/blocks?limit=20")["items"]}
    for key, its in by_key.items():
        assert len({r.partition for r in its}) == 1 and [r.order for r in its] == sorted(r.order for r in its), key
    assert len({r.offset for r in records}) == len(records), "an offset names one record"
    assert len({r.partition for r in records}) > 1


def resolved(schema):
    return json.loads(json.dumps(schema).replace("openapi.json#", "#"))


@pytest.mark.parametrize("seed", [1])
def test_nothing_is_lost_when_gateways_are_killed(world, seed):
    rng = random.Random(seed)
    world.second_gateway()
    for round in range(4):
        traffic(world, rng, 6)
        if round == 2:
            reorg(world, 3)
        if round == 1: # as a machine that was suspended: it comes back when another one has gone on
            world.suite.processes["gateway"].send(signal.SIGSTOP)
            traffic(world, rng, 3)
            stack.wait_until("the other one sends", 60, lambda: caught_up(world))
            world.suite.processes["gateway"].send(signal.SIGCONT)
        else:
            world.suite.processes["gateway"].kill()
            world.suite.start(["gateway"])
    complete(world)
    world.others.pop().stop(20)


def caught_up(world):
    return world.sql("select split_part(x.position, '-', 1)::int8 >= c.journal_sequence from weir_kafka.exports x join weir.chains c on c.name = x.chain")[0][0]


def test_brokers_that_are_away_are_waited_for(world):
    rng = random.Random(5)
    world.kafka.tell("up 0")
    traffic(world, rng, 4)
    status = stack.wait_until("it is noticed", 60, lambda: (s := export(world))["state"] == "waiting" and s["lag"] > 0 and s)
    assert status["reason"].startswith(f"Kafka {world.kafka.hosts}: ")
    stack.wait_until("it is told", 30, lambda: world.suite.metric("gateway", "weir_kafka_lag_events", chain="dev") > 0)
    reorg(world, 2)
    world.suite.processes["gateway"].kill() # with a piece in hand that nobody acknowledged
    world.suite.start(["gateway"])
    stack.wait_until("its successor waits", 60, lambda: (s := export(world)) and s["state"] == "waiting" and s["lag"] > 0)
    world.kafka.tell("up 1")
    complete(world)
    assert export(world)["state"] == "running"


def test_an_operator_begins_anew(world):
    weirctl = Weirctl(world.suite)
    assert "--why" in weirctl.refused(64, "kafka", "restart")
    before, entries = len(world.reader.all()), set(complete(world)[0])
    first = export(world)["epoch"]
    second = weirctl.json("kafka", "restart", "--why", "another cluster")["epoch"]
    stack.wait_until("sent again", 60, lambda: export(world)["epoch"] == second > first and export(world)["lag"] == 0)
    level(world)
    stack.wait_until("all of it is read", 60, lambda: set(held(r for r in world.reader.once() if r.value["epoch"] == second)[0]) == entries)
    assert len(world.reader.all()) >= 2 * before - 100
    height = world.suite.chain("dev")["watermark"]["height"]
    third = weirctl.json("kafka", "restart", "--from-height", str(height), "--why", "the end only")["epoch"]
    stack.wait_until("from there", 60, lambda: export(world)["epoch"] == third > second and export(world)["lag"] == 0)
    level(world)
    stack.wait_until("the end is read, and nothing else", 60, lambda: {
        r.event["height"] for r in world.reader.once() if r.value["epoch"] == third and r.event["type"] in ("block", "entry")} == {height})
    assert json.dumps(world.api().operate("GET", "/admin/v1/audit")[1]["items"][:2]).count("kafka_restart") == 2


def test_a_ledger_that_was_made_anew_is_not_mixed_into_the_old_one(world):
    level(world)
    world.suite.processes["gateway"].stop(20)
    sequence = world.sql("select split_part(position, '-', 1) from weir_kafka.exports")[0][0]
    world.sql(f"update weir_kafka.exports set position = '{sequence}-0badcafe'")
    world.suite.start(["gateway"])
    status = stack.wait_until("it stops", 60, lambda: (s := export(world)) and s["state"] == "stopped" and s)
    assert "weirctl kafka restart --chain dev" in status["reason"]
    before = len(world.reader.all())
    traffic(world, random.Random(9), 2)
    world.settle()
    stack.wait_until("events wait", 30, lambda: export(world)["lag"] > 0)
    assert len(world.reader.all()) == before and export(world)["state"] == "stopped"
    stack.wait_until("an alert", 30, lambda: world.suite.metric("gateway", "weir_alerts_total", state="firing", runbook="kafka") >= 1)
    Weirctl(world.suite).json("kafka", "restart", "--why", "the ledger was restored")
    stack.wait_until("it goes on", 60, lambda: export(world)["state"] == "running" and export(world)["lag"] == 0)
    complete(world)
