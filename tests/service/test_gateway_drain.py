"""A gateway that is stopped: its clients are sent away one after the other, each with the offsets to resume from, and go on elsewhere without a seam."""
import contextlib
import json
import pathlib
import signal
import sys
import time

import websocket

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "stack"), str(pathlib.Path(__file__).parent)]
import stack  # noqa: E402
from gateway_client import Api, EventStream, Stream  # noqa: E402
from test_gateway import C, own_world  # noqa: E402, F401

TOPICS = ("entries", "blocks", "chain_status")


class Held:
    """What one topic's subscription was given and not taken back; falls over anything twice."""

    def __init__(self):
        self.ids, self.offset = set(), None

    def take(self, push):
        event, self.offset = push["event"], push["offset"]
        if event["type"] == "retracted":
            assert self.ids.issuperset(event["ids"])
            self.ids.difference_update(event["ids"])
        elif "id" in event:
            assert event["id"] not in self.ids, event
            self.ids.add(event["id"])


def follow(base, held, document, begin=None):
    """A connection with a subscription of each topic: {its number: what it holds}."""
    stream, by_number = Stream(base, document, seconds=60), {}
    for topic, what in held.items():
        answer = stream.subscribe(topic=topic, chain="dev", **{"from": begin or {"offset": what.offset}})
        by_number[answer["subscription"]] = what
    return stream, by_number


def test_a_connection_goes_on_elsewhere_at_the_offsets_that_it_was_sent_away_with(own_world):
    world = own_world({"gateway": {"drain": "25s"}}) # a client has so long to read what was sent
    other, document = world.second_gateway(), world.api().document
    held = {topic: Held() for topic in TOPICS}
    stream, by_number = follow(world.suite.api, held, None, {"height": 0}) # judged in the end: what reads slowly is sent away slowly
    pushes = []
    busy = world.workload("--seed", "51", "--blocks", "20", "--reorgs", "2", "--pace-ms", "60", wait=False)
    while len(held["blocks"].ids) < 6:
        assert busy.child.poll() in (None, 0), busy.tail()
        push = stream.push(60)
        pushes.append(push)
        by_number[push["subscription"]].take(push)
    world.suite.processes["gateway"].send(signal.SIGTERM)
    sent_away = {}
    try:
        while True:
            push = stream.push(60)
            pushes.append(push)
            if push["event"]["type"] == "reconnect":
                assert push["event"]["after_ms"] >= 0 and push["subscription"] not in sent_away
                sent_away[push["subscription"]] = push["offset"]
            else:
                assert push["subscription"] not in sent_away, "the last push of each"
            by_number[push["subscription"]].take(push)
    except websocket.WebSocketConnectionClosedException:
        pass
    assert len(sent_away) == len(TOPICS)
    stream, by_number = follow(other, held, None)
    while busy.child.poll() is None: # who reads nothing for a minute looks dead
        with contextlib.suppress(websocket.WebSocketTimeoutException):
            push = stream.push(0.2)
            by_number[push["subscription"]].take(push)
    assert busy.child.wait() == 0, busy.tail()
    assert world.suite.processes["gateway"].wait(60) == 0
    head = world.node.call("eth_getBlockByNumber", "latest", False)["hash"]
    stack.wait_until("the ledger at the head", 90, lambda: stack.http_json(other + C)[1]["watermark"]["hash"] == head)
    for push in pushes:
        document.named(push, "WsPush")
    api = Api(other, world.admin_of[other])
    expected = {"entries": set(world.ledger_ids(api)), "blocks": {b["id"] for b in api.items(f"{C}/blocks", 1000)}}
    deadline = time.monotonic() + 90
    while any(held[topic].ids != ids for topic, ids in expected.items()):
        assert time.monotonic() < deadline, {topic: (len(held[topic].ids), len(ids)) for topic, ids in expected.items()}
        try:
            push = stream.push(2)
            by_number[push["subscription"]].take(push)
        except websocket.WebSocketTimeoutException:
            pass
    stream.close()


def test_clients_leave_one_after_the_other(own_world):
    world = own_world({"gateway": {"drain": "2s"}})
    streams = [EventStream(world.suite.api, seconds=60) for _ in range(40)]
    for stream in streams:
        stream.subscribe(topic="entries", chain="dev")
    gateway, begun = world.suite.processes["gateway"], time.monotonic()
    gateway.send(signal.SIGTERM)
    for stream in streams:
        offset = json.loads(stream.part(b"\n\n", 60).split(b"data: ")[1])
        assert offset["event"]["type"] == "reconnect" and offset["offset"]
        assert b"event: close" in stream.part(b"\n\n", 60)
    assert gateway.wait(60) == 0
    assert time.monotonic() - begun > 1.5, "evenly over the two seconds, however slow the machine"
    stack.wait_until("it is told", 60, lambda: '"drained"' in gateway.log.read_text() or "event=drained" in gateway.log.read_text())
    for stream in streams:
        stream.close()


def test_every_gateway_knows_of_all_and_one_that_was_killed_is_forgotten(own_world):
    world = own_world()
    other = world.second_gateway()
    first, second = Api(world.suite.api, world.suite.admin), Api(other, world.admin_of[other])
    stream = EventStream(other)
    stream.subscribe(topic="blocks", chain="dev")

    def instances(api):
        return api.operate("GET", "/admin/v1/connections")[1]["instances"]

    def known():
        mine, others = instances(first)[0], instances(first)[1:]
        return [i["connections"] for i in others] == [1] and mine["connections"] == 0 and [i["instance"] for i in instances(second)[1:]] == [mine["instance"]] and others
    seen = stack.wait_until("each of the other", 60, known)
    assert [s["topic"] for c in seen[0]["items"] for s in c["subscriptions"]] == ["blocks"] and seen[0]["items"][0]["carrier"] == "stream"
    world.others[0].send(signal.SIGKILL)
    stack.wait_until("the dead one forgotten", 60, lambda: len(instances(first)) == 1)
    third = world.second_gateway()
    stack.wait_until("a new one known", 60, lambda: len(instances(first)) == 2)
    world.others[-1].send(signal.SIGTERM)
    stack.wait_until("one that left known to have left", 60, lambda: len(instances(first)) == 1)
    assert third
    stream.close()
