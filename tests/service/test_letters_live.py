"""Topic dead_letters: operators hear of every letter and of everything done to one, over all three carriers, and go on where they were."""
import base64
import json
import pathlib
import signal
import sys
import urllib.error
import urllib.request

import pytest
import redis as redis_client
import websocket

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "stack"), str(pathlib.Path(__file__).parent)]
import stack  # noqa: E402
import wire  # noqa: E402
from gateway_client import EventStream, Stream  # noqa: E402
from test_dead_letters import DLQ, N, World, operate  # noqa: E402
from test_gateway import OPERATOR, VIEWER  # noqa: E402

NONE = {"head": 0, "follower": 0, "skipped": 0}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("letters_live"))
    try:
        world.workload("--seed", "6", "--blocks", "4", "--reorgs", "0", "--pace-ms", "10")
        yield world
    finally:
        statuses = world.stop()
    assert set(statuses.values()) == {0}


@pytest.fixture(scope="module")
def api(world):
    return world.api()


@pytest.fixture
def spoil(world, api):
    """Makes so many letters of the normalizer, and returns their ids; none is left afterwards."""
    redis, made = redis_client.Redis(unix_socket_path=str(world.redis.socket)), []

    def more(n, known=None):
        """known: the letters that there are, when others than those made are."""
        generation = int(redis.hget("weir:{dev}:raw:meta", "gen"))
        made[:] = made if known is None else known
        for _ in range(n):
            sequence = redis.hincrby("weir:{dev}:raw:meta", "hw:low", 1)
            redis.xadd("weir:{dev}:raw:low", {"d": wire.framed(2, wire.encode([(1, "elsewhere"), (2, 7)]), b"k")}, id=f"{generation}-{sequence}")
        ids = stack.wait_until("the letters", 60, lambda: (ids := [i["id"] for i in operate(api, "GET", DLQ)["items"]]) and len(ids) == len(made) + n and ids)
        made[:] = ids
        return ids[-n:]

    yield more
    operate(api, "POST", f"{DLQ}/purge", {"subscription": N, "all": True, "why": "the test is over"})


class Operator(Stream):
    """A WebSocket on the operators' listener."""

    def __init__(self, world, document, key=VIEWER, base=None):
        self.ws = websocket.create_connection((base or world.suite.admin).replace("http", "ws") + "/v1/ws", timeout=60, header={"X-Api-Key": key} if key else {}, suppress_origin=True)
        self.document, self.pushes, self.number, self.aside = document, [], 0, []

    def follow(self, begin=None):
        return self.subscribe(topic="dead_letters", chain="dev", **({"from": begin} if begin else {}))

    def told(self, action, n=1):
        """The next so many pushes of that action with their offsets. What comes of replays and purges may stand before or behind the operator's own line."""
        found, self.aside = [p for p in self.aside if p["event"]["action"] == action][:n], [p for p in self.aside if p["event"]["action"] != action]
        while len(found) < n:
            push = self.push(60)
            if push["event"]["action"] != action and push["event"]["action"] in ("failed", "settled", "dropped"):
                self.aside.append(push)
                continue
            assert push["event"]["action"] == action, push
            found.append(push)
        return found


def test_everything_that_happens_is_told_in_order_and_again_from_anywhere(world, api, spoil):
    document = api.document
    client = Operator(world, document)
    client.follow({"snapshot": True})
    first = client.push(30)
    assert first["event"]["type"] == "dead_letter_counts" and first["event"]["counts"] == {N: NONE, "reconciler": NONE, "fetcher": NONE}
    ids = spoil(3)
    told = client.told("parked", 3)
    assert [p["event"]["id"] for p in told] == ids
    for push in told:
        event = push["event"]
        assert (event["subscription"], event["kind"], event["letter_type"], event["key"]) == (N, "head", "raw_block_backfill", "k") and event["reason"] and event["error"]
    assert told[-1]["event"]["counts"]["head"] == 3

    body = base64.b64encode(wire.encode([(1, "still elsewhere"), (2, 7)])).decode()
    operate(api, "POST", f"{DLQ}/{N}/{ids[1]}/edit", {"body": body, "why": "wrong name"})
    edited = client.told("edited")[0]
    assert (edited["event"]["id"], edited["event"]["who"], edited["event"]["why"], edited["event"]["letters"], edited["event"]["letter_type"]) == (
        ids[1], "local", "wrong name", 1, "raw_block_backfill")
    operate(api, "POST", f"{DLQ}/replay", {"subscription": N, "ids": [ids[0]]})
    assert client.told("replayed")[0]["event"]["letters"] == 1
    failed = client.told("failed")[0]
    assert (failed["event"]["id"], failed["event"]["kind"], failed["event"]["reason"]) == (ids[0], "head", told[0]["event"]["reason"])
    assert operate(api, "GET", f"{DLQ}/{N}/{ids[0]}")["replays"] == 1
    operate(api, "POST", f"{DLQ}/purge", {"subscription": N, "ids": [ids[2]], "why": "no use"})
    purged = client.told("purged")[0]
    assert (purged["event"]["id"], purged["event"]["letter_type"], purged["event"]["letters"], purged["event"]["counts"]["head"]) == (ids[2], None, 1, 2)
    dropped = client.told("dropped")[0]["event"]
    assert (dropped["id"], dropped["kind"], dropped["letter_type"], dropped["key"]) == (ids[2], "head", "raw_block_backfill", "k")
    job = operate(api, "POST", f"{DLQ}/jobs", {"subscription": N, "rate": 1, "burst": 1, "stop_percent": 101})["job"]
    assert [(p["event"]["job"], p["event"]["state"]) for p in client.told("job")] == [(job["id"], "started")]
    operate(api, "POST", f"{DLQ}/jobs/{job['id']}/cancel", {})
    # What else stands in the audit stream is not of letters, and moves nobody.
    operate(api, "POST", "/admin/v1/chains/dev/pause", {"reason": "x"}, 202)
    operate(api, "POST", "/admin/v1/chains/dev/resume", {}, 202)
    assert [p["event"]["state"] for p in client.told("job")] == ["canceled"]

    # From each of the offsets on the same is told again, also of the letter that is gone since.
    later = [("replayed", ids[0]), ("failed", ids[0]), ("dropped", ids[2]), ("purged", ids[2])]
    for begin, expected in ((told[0], [("parked", ids[1]), ("parked", ids[2]), ("edited", ids[1]), *later]), (edited, later),
                            (first, [("parked", i) for i in ids] + [("edited", ids[1])])):
        again = Operator(world, document)
        again.follow({"offset": begin["offset"]})
        got = [again.push(60) for _ in expected]
        assert sorted((p["event"]["action"], p["event"]["id"]) for p in got) == sorted(expected)
        # Within a millisecond the two streams stand beside each other in either order.
        assert [(p["event"]["action"], p["event"]["id"]) for p in got[:-2]] == expected[:-2]
        assert all(p["event"]["error"] for p in got if p["event"]["id"] != ids[2] and p["event"]["action"] == "parked")
        again.close()
    client.close()


def test_a_letter_that_came_and_went_unseen_is_told_of(world, api, spoil):
    """Between two looks of a gateway, which is held for as long as all of it takes."""
    other = world.second_gateway()
    client = Operator(world, api.document, base=world.admin_of[other])
    client.follow()
    process = world.others[-1]
    process.send(signal.SIGSTOP)
    try:
        gone = spoil(3)
        operate(api, "POST", f"{DLQ}/purge", {"subscription": N, "ids": [gone[0], gone[2]], "why": "no use"})
        stays = spoil(1, known=[gone[1]])
    finally:
        process.send(signal.SIGCONT)
    parked = client.told("parked", 3)
    assert client.told("purged")[0]["event"]["letters"] == 2
    parked += client.told("parked")
    assert [p["event"]["id"] for p in parked] == gone + stays
    assert ["error" in p["event"] for p in parked] == [False, True, False, True], "what was wrong with those that are gone nobody knows"
    assert all(p["event"]["reason"] == parked[1]["event"]["reason"] for p in parked)
    assert [p["event"]["id"] for p in client.told("dropped", 2)] == [gone[0], gone[2]]
    # What is no longer kept cannot be gone on from, and who follows meanwhile is given the counts.
    redis = redis_client.Redis(unix_socket_path=str(world.redis.socket))
    process.send(signal.SIGSTOP)
    try:
        spoil(1, known=[gone[1], *stays])
        redis.xtrim("weir:{dev}:dlqe", maxlen=1, approximate=False)
    finally:
        process.send(signal.SIGCONT)
    instead = client.push(60)["event"]
    assert instead["type"] == "dead_letter_counts" and instead["counts"][N]["head"] == 3
    answer = client.ask("unsubscribe", {"subscription": "1"})
    assert "error" not in answer, answer
    error = client.ask("subscribe", {"topic": "dead_letters", "chain": "dev", "from": {"offset": parked[0]["offset"]}})["error"]
    assert error["code"] == "offset_unknown" and "no longer all kept" in error["message"]
    client.close()


def test_all_carriers_and_other_instances(world, api, spoil):
    other = world.second_gateway()
    ids = spoil(2)
    client = Operator(world, api.document)
    start = client.follow()["offset"]
    ids += spoil(2)
    told = client.told("parked", 2)
    assert [p["event"]["id"] for p in told] == ids[2:]

    def poll(offset, listener):
        request = urllib.request.Request(f"{listener}/v1/poll?topic=dead_letters&chain=dev&wait=60&offset={offset}", headers={"X-Api-Key": VIEWER})
        answer = json.loads(urllib.request.urlopen(request, timeout=90).read())
        api.document.named(answer, "PollAnswer")
        return answer

    for listener in (world.suite.admin, world.admin_of[other]):
        at, seen = start, []
        while len(seen) < 2:
            answer = poll(at, listener)
            seen += [(i["event"]["id"], i["offset"]) for i in answer["items"] if i["event"]["action"] == "parked"]
            at = answer["offset"]
        assert seen == [(p["event"]["id"], p["offset"]) for p in told], "the same letters at the same offsets"
    stream = EventStream(world.admin_of[other], api.document)
    assert "200 OK" in stream.ask(f"/v1/stream?topic=dead_letters&chain=dev&offset={told[0]['offset']}", [f"X-Api-Key: {VIEWER}"])
    assert stream.event(30)[0] == "subscribed"
    push = stream.push(60)
    assert (push["event"]["id"], push["offset"]) == (ids[3], told[1]["offset"])
    stream.close()
    client.close()


def test_who_may_not_and_what_cannot_be_asked(world, api, spoil):
    def code(base, query, key):
        request = urllib.request.Request(f"{base}/v1/poll?topic=dead_letters&chain=dev&wait=0{query}", headers={"X-Api-Key": key} if key else {})
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=60)
        return caught.value.code, json.loads(caught.value.read())["code"]

    for key in (None, VIEWER, stack.ADMIN_KEY):
        assert code(world.suite.api, "", key) == (403, "forbidden"), "on the clients' listener no key helps"
    assert code(world.suite.admin, "", None)[0] == 401
    for headers, status in (({}, "401"), ({"X-Api-Key": "wrong"}, "401"), ({"X-Api-Key": VIEWER, "Origin": world.suite.admin}, "403")):
        with pytest.raises(websocket.WebSocketBadStatusException, match=status):
            websocket.create_connection(world.suite.admin.replace("http", "ws") + "/v1/ws", timeout=60, header=headers, suppress_origin=True)
    anyone = Stream(world.suite.api, api.document)
    assert anyone.ask("subscribe", {"topic": "dead_letters", "chain": "dev"})["error"]["code"] == "forbidden"
    anyone.close()
    client = Operator(world, api.document, OPERATOR)
    for params, words in (({"from": {"height": 1}}, "no heights"), ({"from": {"offset": "0"}}, "not one of this topic"), ({"laggard": "drop"}, "nothing is left out"),
                          ({"account": "0x" + "00" * 20}, "neither account"), ({"finality": True}, "no finality")):
        answer = client.ask("subscribe", {"topic": "dead_letters", "chain": "dev", **params})
        assert answer["error"]["code"] == "invalid_request" and words in answer["error"]["message"], answer
    assert client.ask("subscribe", {"topic": "blocks", "chain": "dev", "from": {"offset": "L1_2"}})["error"]["code"] == "invalid_request"
    future = f"L{2**62}_0"
    error = client.ask("subscribe", {"topic": "dead_letters", "chain": "dev", "from": {"offset": future}})["error"]
    assert error["code"] == "offset_unknown" and "another Redis" in error["message"]
    operate(api, "POST", "/admin/v1/chains/dev/resume", {}, 202) # there is a line now, and none has the id that this offset names
    error = client.ask("subscribe", {"topic": "dead_letters", "chain": "dev", "from": {"offset": "L1_0"}})["error"]
    assert error["code"] == "offset_unknown" and "no longer kept" in error["message"]
    assert code(world.suite.admin, f"&offset={future}", VIEWER) == (410, "offset_unknown")
    client.follow()
    assert client.ask("subscribe", {"topic": "dead_letters", "chain": "dev"})["error"]["code"] == "too_many_subscriptions"
    assert client.subscribe(topic="blocks", chain="dev"), "the ledger is there, too"
    listed = [s for i in operate(api, "GET", "/admin/v1/connections?limit=100")["items"] for s in i["subscriptions"] if s["topic"] == "dead_letters"]
    assert len(listed) == 1 and listed[0]["behind"] == 0
    client.close()
