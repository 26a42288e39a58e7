"""The export to brokers with TLS and accounts, end to end. They are librdkafka's mock cluster behind a front of ours (kafka_front.py), which lets nobody past it."""
import pathlib
import random
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "stack"), str(pathlib.Path(__file__).parent)]
import stack  # noqa: E402
from certificates import Authority  # noqa: E402
from kafka_front import Front  # noqa: E402
from kafka_mock import Kafka, Reader  # noqa: E402
from test_gateway import World  # noqa: E402
from test_kafka import PARTITIONS, TOPIC, complete, export, level, traffic  # noqa: E402

SECRET, NEXT = "a-password-that-stands-nowhere", "its-successor-that-stands-nowhere"


@pytest.fixture(scope="module", params=["", "&sasl=PLAIN"], ids=["scram", "plain"])
def world(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kafka-accounts")
    authority = Authority(folder / "tls")
    kafka = Kafka()
    kafka.tell(f"topic {TOPIC} {PARTITIONS}")
    front = Front(kafka.hosts, authority.make("broker"), {"weir": SECRET})
    (folder / "password").write_text(SECRET)
    settings = {"url": f"kafkas://localhost:{front.port}/?ca={authority.path}{request.param}", "username": "weir", "password": f"file:{folder}/password"}
    world = World(folder, {"kafka": settings, "bus": {"lease": "2s"}})
    world.kafka, world.front, world.rng, world.mechanism = kafka, front, random.Random(7), "PLAIN" if request.param else "SCRAM-SHA-512"
    world.reader = Reader(kafka, TOPIC, PARTITIONS)
    try:
        world.workload("--seed", "41", "--blocks", "18", "--reorgs", "2", "--txs-per-block", "4", "--pace-ms", "20")
        yield world
    finally:
        world.stop()
        world.reader.close()
        front.close()
        kafka.close()


def test_all_of_the_ledger_comes_with_the_account_over_tls(world):
    complete(world)
    assert set(world.front.let_in) == {("weir", world.mechanism, "TLSv1.3")} and not world.front.refused


def test_a_password_that_is_no_longer_right_is_told_and_nothing_is_lost(world):
    level(world)
    world.front.users["weir"] = NEXT
    world.front.drop()
    traffic(world, world.rng, 3)
    stack.wait_until("it is told", 90, lambda: (s := export(world))["state"] == "waiting" and s["lag"] > 0 and "authentication" in s["reason"].lower())
    assert "weir" in world.front.refused
    world.front.users["weir"] = SECRET
    complete(world)
    assert export(world)["state"] == "running"


def test_the_password_stands_nowhere(world):
    complete(world)
    texts = [path.read_text(errors="replace") for path in world.folder.rglob("*.log")]
    assert texts and not any(word in text for word in (SECRET, NEXT) for text in texts)
    assert SECRET not in str(world.api().operate("GET", "/admin/v1/settings")[1])
