"""A gateway whose export to Kafka stands still, whatever it waits for, says so and ends when it is told to: a drain that is stuck ends with another exit status."""
import pathlib
import random
import signal
import sys

import psycopg2
import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "stack"), str(pathlib.Path(__file__).parent)]
import stack  # noqa: E402
from kafka_mock import Kafka, Reader  # noqa: E402
from test_gateway import World  # noqa: E402
from test_kafka import PARTITIONS, TOPIC, complete, export, level, traffic  # noqa: E402

AUTHORIZATION_FAILED = 29


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    kafka = Kafka()
    kafka.tell(f"forbid {TOPIC}")
    world = World(tmp_path_factory.mktemp("kafka-drain"), {"kafka": {"url": kafka.url}, "bus": {"lease": "2s"}})
    world.kafka, world.rng = kafka, random.Random(39)
    try:
        traffic(world, world.rng, 4)
        world.settle()
        stack.wait_until("the topic is missed", 60, lambda: waits(world))
        ends(world)
        kafka.tell(f"allow {TOPIC}")
        world.reader = Reader(kafka, TOPIC, PARTITIONS)
        yield world
    finally:
        kafka.tell("hold 0")
        world.stop()
        if hasattr(world, "reader"):
            world.reader.close()
        kafka.close()


def waits(world):
    return (status := export(world)) and status["state"] == "waiting" and status["lag"] > 0


def ends(world):
    """The gateway is told to stop, and is started again."""
    gateway = world.suite.processes["gateway"]
    gateway.send(signal.SIGTERM)
    assert gateway.wait(90) == 0, gateway.tail()
    world.suite.start(["gateway"], wait=False)


def sends(world):
    """It is as if nothing had been."""
    stack.wait_until("it sends", 90, lambda: (s := export(world)) and s["state"] == "running" and s["lag"] == 0)
    level(world)


def lose_lease(world):
    """As if another gateway had had it for a moment: whoever gets it looks at what is in Kafka before it sends."""
    world.sql("update weir_kafka.exports set owner = 'another', lease_until = now() + interval '1 s'")
    stack.wait_until("the lease is taken back", 60, lambda: world.sql("select owner <> 'another' from weir_kafka.exports")[0][0])


@pytest.mark.parametrize("fault", [("up 0", "up 1"), ("hold 1", "hold 0")], ids=["away", "silent"])
@pytest.mark.parametrize("taken_over", [False, True], ids=["in_the_middle", "at_a_takeover"])
def test_brokers_that_do_not_answer(world, fault, taken_over):
    sends(world)
    world.kafka.tell(fault[0])
    try:
        if taken_over:
            lose_lease(world)
        traffic(world, world.rng, 2)
        stack.wait_until("it is told", 60, lambda: waits(world))
        ends(world)
    finally:
        world.kafka.tell(fault[1])


def test_a_row_that_another_session_holds(world):
    sends(world)
    with psycopg2.connect(world.postgres.url) as connection, connection.cursor() as cursor:
        cursor.execute("select 1 from weir_kafka.exports for update")
        stack.wait_until("it waits for the row", 60, lambda: world.sql(
            "select 1 from pg_stat_activity where application_name = 'weir-gateway-kafka' and wait_event_type = 'Lock'"))
        ends(world)
    complete(world)


def test_who_takes_over_waits_since_when_the_other_one_did(world):
    sends(world)
    for _ in range(200):
        world.kafka.tell(f"refuse {AUTHORIZATION_FAILED}")
    traffic(world, world.rng, 2)
    stack.wait_until("it is told", 60, lambda: waits(world))
    before = world.sql("select owner, state_at from weir_kafka.exports")[0]
    ends(world)
    stack.wait_until("the next one fails, too", 60, lambda: waits(world) and world.suite.metric("gateway", "weir_kafka_failures_total", chain="dev") > 0)
    after = world.sql("select owner, state_at from weir_kafka.exports")[0]
    assert after[0] != before[0] and after[1] == before[1]
