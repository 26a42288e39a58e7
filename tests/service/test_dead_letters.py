"""Dead letters over the admin API, against a running suite: filters, counts, jobs, edits, files, the audit chain. Every answer is judged by the
OpenAPI document."""
import base64
import datetime
import itertools
import json
import pathlib
import sys

import pytest
import redis as redis_client

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "stack"), str(pathlib.Path(__file__).parent)]
import stack  # noqa: E402
import wire  # noqa: E402
from test_gateway import OPERATOR, VIEWER, World  # noqa: E402

DLQ = "/admin/v1/dlq"
N = "normalizer"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("letters"))
    try:
        world.workload("--seed", "5", "--blocks", "10", "--reorgs", "0", "--pace-ms", "10")
        yield world
    finally:
        statuses = world.stop()
    assert set(statuses.values()) == {0}


@pytest.fixture(scope="module")
def redis(world):
    return redis_client.Redis(unix_socket_path=str(world.redis.socket))


@pytest.fixture(scope="module")
def api(world):
    return world.api()


def operate(api, method, path, body=None, status=200, **options):
    got, answer = api.operate(method, path, body, **options)
    assert got == status, (method, path, got, answer)
    return answer


def letters(api, query=""):
    items = operate(api, "GET", f"{DLQ}?{query}")["items"]
    assert all("frame" not in letter and letter["bytes"] > 64 for letter in items), "lists leave the frames out"
    return items


@pytest.fixture
def spoiled(world, redis, api):
    """Five letters of the normalizer: blocks of another chain, two of them under key "b". Gone afterwards."""
    generation = int(redis.hget("weir:{dev}:raw:meta", "gen"))
    for i in range(5):
        sequence = redis.hincrby("weir:{dev}:raw:meta", "hw:low", 1)
        body = wire.encode([(1, "elsewhere"), (2, 1000 + i)])
        redis.xadd("weir:{dev}:raw:low", {"d": wire.framed(2, body, b"b" if i % 2 else b"a")}, id=f"{generation}-{sequence}")
    yield stack.wait_until("five dead letters", 60, lambda: (found := letters(api)) and len(found) == 5 and found)
    operate(api, "POST", f"{DLQ}/purge", {"subscription": N, "all": True, "why": "the test is over"})
    assert letters(api) == []


def job_until(api, job, *states):
    """The job once it is in one of the states."""
    return stack.wait_until(f"job {states}", 60, lambda: (j := operate(api, "GET", f"{DLQ}/jobs/{job}")) and j["state"] in states and j)


def shifted(moment, seconds):
    """The filter goes by Redis' clock, which gave the letter its id; a letter shows the clock of who parked it."""
    return (datetime.datetime.fromisoformat(moment.replace("Z", "+00:00")) + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")[:-4] + "Z"


def test_filters_and_counts(api, spoiled):
    reason = spoiled[0]["reason"]
    for query, expected in (("key=b", 2), ("key=b&kind=head", 2), ("kind=follower", 0), ("kind=skipped", 0), (f"reason={reason}&type=raw_block_backfill", 5),
                            ("reason=timeout", 0), ("from=2001-01-01T00:00:00Z", 5), ("to=2001-01-01T00:00:00.250Z", 0),
                            (f"from={shifted(spoiled[2]['parked_at'], -1)}&to={shifted(spoiled[2]['parked_at'], 1)}", None), ("chain=dev", 5)):
        found = letters(api, query)
        if expected is None:
            assert spoiled[2] in found and all(letter["parked_at"] is not None for letter in found)
        else:
            assert len(found) == expected, query
    assert operate(api, "GET", f"{DLQ}/counts") == {"items": [
        {"chain": "dev", "subscription": N, "kind": "head", "type": "raw_block_backfill", "reason": reason, "count": 5}]}
    assert operate(api, "GET", f"{DLQ}/counts?subscription=reconciler") == {"items": []}
    page = operate(api, "GET", f"{DLQ}?key=a&limit=2")
    rest = operate(api, "GET", f"{DLQ}?key=a&limit=2&cursor={page['next_cursor']}")
    assert [i["id"] for i in page["items"] + rest["items"]] == [i["id"] for i in spoiled if i["key"] == "a"] and rest["next_cursor"] is None
    for bad in ("kind=tail", "from=yesterday", "from=2001-01-01T00:00:00", "to=1960-01-01T00:00:00Z"):
        assert operate(api, "GET", f"{DLQ}?{bad}", status=400)["code"] == "invalid_parameter"


def test_a_job_pauses_itself_and_is_canceled(api, spoiled):
    order = {"subscription": N, "key": "a", "rate": 100, "stop_percent": 50, "why": "try"}
    dry = operate(api, "POST", f"{DLQ}/jobs", order | {"dry_run": True})
    assert dry == {"dry_run": True, "total": 3, "matching": 3, "complete": True, "job": None} and operate(api, "GET", f"{DLQ}/jobs?subscription={N}")["items"] == []
    started = operate(api, "POST", f"{DLQ}/jobs", order, headers={"Idempotency-Key": "k1"})
    assert started["total"] == 3 and started["job"]["filter"]["key"] == "a" and started["job"]["who"]
    job = started["job"]["id"]
    assert operate(api, "POST", f"{DLQ}/jobs", order, headers={"Idempotency-Key": "k1"})["job"]["id"] == job
    assert operate(api, "POST", f"{DLQ}/jobs", order | {"rate": 5}, 422, headers={"Idempotency-Key": "k1"})["code"] == "idempotency_key_reused"
    paused = job_until(api, job, "paused")
    assert paused["failed"] == 3 and "failed again" in paused["note"] and paused["finished_at"] is None
    assert sorted(i["replays"] for i in letters(api)) == [0, 0, 1, 1, 1], "none is lost, none is tried twice"
    assert operate(api, "POST", f"{DLQ}/jobs/{job}/cancel", {"why": "no use"})["state"] == "canceled"
    assert operate(api, "POST", f"{DLQ}/jobs/{job}/resume", {})["state"] == "canceled"
    assert [j["id"] for j in operate(api, "GET", f"{DLQ}/jobs?chain=dev")["items"]] == [job]
    named = operate(api, "POST", f"{DLQ}/jobs", {"subscription": N, "ids": [spoiled[0]["id"]], "stop_percent": 101})["job"]
    assert named["filter"]["named"] and job_until(api, named["id"], "done")["failed"] == 1
    held = operate(api, "POST", f"{DLQ}/jobs", {"subscription": N, "rate": 1, "burst": 1, "stop_percent": 101})["job"]
    assert operate(api, "POST", f"{DLQ}/jobs/{held['id']}/pause", {"why": "look first"})["note"] == "look first"
    assert operate(api, "POST", f"{DLQ}/jobs/{held['id']}/resume", {})["state"] == "running"
    assert operate(api, "POST", f"{DLQ}/jobs/{held['id']}/cancel", {})["state"] == "canceled"
    assert operate(api, "GET", f"{DLQ}/jobs/nothing", status=404)["code"] == "job_unknown"
    assert operate(api, "POST", f"{DLQ}/jobs", {"subscription": N, "ids": []}, 400)["code"] == "invalid_body"
    assert operate(api, "POST", f"{DLQ}/jobs", {"subscription": N, "ids": ["x"]}, 400)["code"] == "invalid"
    assert operate(api, "POST", f"{DLQ}/jobs", {"subscription": "nobody"}, 404)["code"] == "subscription_unknown"
    operate(api, "POST", f"{DLQ}/jobs", order, 403, key=VIEWER)


def test_edit(api, spoiled):
    path = f"{DLQ}/{N}/{spoiled[1]['id']}"
    before = operate(api, "GET", path)
    assert before["edits"] == []
    body = wire.encode([(1, "still elsewhere"), (2, 7)])
    edit = {"body": base64.b64encode(body).decode(), "frame_sha256": before["frame_sha256"], "why": "wrong name"}
    for wrong in (b"\xff\xff", wire.encode([(77, "what")])):
        refused = operate(api, "POST", f"{path}/edit", edit | {"body": base64.b64encode(wrong).decode()}, 400)
        assert "RawBlock" in refused["detail"]
    assert operate(api, "POST", f"{path}/edit", edit | {"body": "?"}, 400)["code"] == "invalid_body"
    assert operate(api, "POST", f"{path}/edit", edit | {"frame_sha256": "0" * 64}, 409)["code"] == "conflict"
    operate(api, "POST", f"{path}/edit", edit, 403, key=OPERATOR)
    assert operate(api, "GET", path) == before
    done = operate(api, "POST", f"{path}/edit", edit)
    after = operate(api, "GET", path)
    assert after["frame_sha256"] == done["frame_sha256"] != before["frame_sha256"]
    [noted] = after["edits"]
    assert (noted["why"], noted["before_sha256"], noted["after_sha256"]) == ("wrong name", before["frame_sha256"], after["frame_sha256"])
    assert operate(api, "GET", f"{path}/payload")["decoded"]["chain"] == "still elsewhere"
    operate(api, "POST", f"{DLQ}/replay", {"subscription": N, "ids": [spoiled[1]["id"]]})
    retried = stack.wait_until("the edited letter was tried", 60, lambda: (i := operate(api, "GET", path)) and i["replays"] == 1 and i)
    assert "still elsewhere" in retried["error"], "the handler saw the new body"
    assert operate(api, "POST", f"{DLQ}/{N}/1-1/edit", edit, 404)["code"] == "dead_letter_unknown"


def test_skip_is_for_heads_of_ordered_keys(api, spoiled):
    assert "nothing to skip" in operate(api, "POST", f"{DLQ}/{N}/{spoiled[0]['id']}/skip", {"why": "x"}, 409)["detail"]
    assert operate(api, "POST", f"{DLQ}/{N}/1-1/skip", {"why": "x"}, 404)["code"] == "dead_letter_unknown"
    assert operate(api, "POST", f"{DLQ}/{N}/1-1/skip", {}, 400)["code"] == "invalid_body"


def test_export_and_import(api, spoiled):
    lines, cursor = [], ""
    while cursor is not None:
        page = operate(api, "GET", f"{DLQ}/export?subscription={N}&limit=2{cursor and '&cursor=' + cursor}")
        lines += page["items"]
        cursor = page["next_cursor"]
    assert [line["id"] for line in lines] == [letter["id"] for letter in spoiled]
    assert all(wire.frame(base64.b64decode(line["frame"]))[1] == line["key"] for line in lines)
    file = "\n".join(map(json.dumps, lines))
    take = {"subscription": N, "lines": file}
    assert operate(api, "POST", f"{DLQ}/purge", {"subscription": N, "key": "b", "why": "moved away"}) == {"count": 2}
    bad = operate(api, "POST", f"{DLQ}/import", {"subscription": N, "lines": file.replace('"topic": "raw"', '"topic": ""', 1)}, 400)
    assert "line 1" in bad["detail"] and len(letters(api)) == 3
    assert operate(api, "POST", f"{DLQ}/import", take) == {"imported": 2, "known": 3}
    assert operate(api, "POST", f"{DLQ}/import", take) == {"imported": 0, "known": 5}
    assert sorted(i["entry_id"] for i in letters(api)) == sorted(i["entry_id"] for i in spoiled)
    assert {i["error"] for i in letters(api)} == {i["error"] for i in spoiled}
    operate(api, "POST", f"{DLQ}/import", take, 403, key=OPERATOR)


FILES = itertools.count(1)  # what was taken once is not taken again
DISKS, CLOCKS = 10_050, 5  # more than a job takes by their names, then some of another pattern


@pytest.fixture
def many(world, api):
    """Letters as from files: DISKS of one pattern, then CLOCKS of another. Gone afterwards."""
    frame, files = base64.b64encode(wire.framed(2, wire.encode([(1, "elsewhere")]), b"m")).decode(), next(FILES)

    def line(i):
        error = f"disk d{i} is full" if i < DISKS else f"clock c{i} is late"
        return json.dumps({"weir_dead_letter": 1, "chain": "dev", "subscription": N, "topic": "raw", "class": "low", "entry": f"{files}-{1000 + i}", "lane": "shared", "key": "m",
                           "type": "raw_block_backfill", "reason": "timeout", "kind": "head", "parked_at_unix_ms": 1, "frame": frame,
                           "attempts": [{"at_unix_ms": 1, "error_code": "timeout", "error": error, "worker": "w"}]})

    for first in range(0, DISKS + CLOCKS, 1500):
        lines = [line(i) for i in range(first, min(first + 1500, DISKS + CLOCKS))]
        assert operate(api, "POST", f"{DLQ}/import", {"subscription": N, "lines": "\n".join(lines)}) == {"imported": len(lines), "known": 0}
    yield {"subscription": N, "key": "m"}
    operate(api, "POST", f"{DLQ}/purge", {"subscription": N, "all": True, "why": "the test is over"})


def test_a_pattern_counts_all_and_acts_on_what_it_says(api, many):
    def counted(pattern):
        return operate(api, "POST", f"{DLQ}/jobs", many | {"pattern": pattern, "dry_run": True})

    assert counted("disk # is full") == {"dry_run": True, "total": 10_000, "matching": DISKS, "complete": True, "job": None}
    assert counted("clock # is late") == {"dry_run": True, "total": CLOCKS, "matching": CLOCKS, "complete": True, "job": None}
    assert counted("nobody") == {"dry_run": True, "total": 0, "matching": 0, "complete": True, "job": None}
    assert operate(api, "POST", f"{DLQ}/jobs", many | {"pattern": "nobody"}, 404)["code"] == "dead_letter_unknown", "not a job of all"
    assert operate(api, "POST", f"{DLQ}/purge", many | {"pattern": "nobody", "why": "none"}) == {"count": 0}
    assert operate(api, "POST", f"{DLQ}/purge", {"subscription": N, "pattern": "disk # is full", "why": "all of them"}) == {"count": DISKS}
    assert {letter["error"] for letter in letters(api)} == {f"clock c{DISKS + i} is late" for i in range(CLOCKS)}
    job = operate(api, "POST", f"{DLQ}/jobs", many | {"pattern": "clock # is late"})["job"]
    assert job["total"] == CLOCKS and job["filter"]["named"]
    stack.wait_until("each was tried", 60, lambda: operate(api, "GET", f"{DLQ}/jobs/{job['id']}")["failed"] == CLOCKS)
    operate(api, "POST", f"{DLQ}/jobs/{job['id']}/cancel", {})


def test_what_is_looked_at_for_one_answer_has_a_bound_and_one_subscription_hides_no_other(api, many):
    pages, cursor = [], ""
    while cursor is not None:
        page = operate(api, "GET", f"{DLQ}?pattern=clock%20%23%20is%20late{cursor and '&cursor=' + cursor}")
        pages.append(len(page["items"]))
        cursor = page["next_cursor"]
    assert pages == [0] * 5 + [CLOCKS], "2000 letters for each page, and none is missed"
    first = operate(api, "GET", f"{DLQ}?pattern=disk+%23+is+full&limit=1000") # a blank as URLSearchParams writes it
    second = operate(api, "GET", f"{DLQ}?pattern=disk%20%23%20is%20full&limit=1000&cursor={first['next_cursor']}")
    assert [letter["error"] for letter in (*first["items"], *second["items"])] == [f"disk d{i} is full" for i in range(2000)]

    lost = {"weir_dead_letter": 1, "chain": "dev", "subscription": "reconciler", "topic": "blocks", "class": "low", "entry": "1-7", "lane": "shared", "key": "", "type": "command",
            "reason": "invalid", "kind": "head", "parked_at_unix_ms": 1, "frame": base64.b64encode(wire.framed(7, b"", b"k")).decode(),
            "attempts": [{"at_unix_ms": 1, "error_code": "invalid", "error": "not a command", "worker": "w"}]}
    assert operate(api, "POST", f"{DLQ}/import", {"subscription": "reconciler", "lines": json.dumps(lost)})["imported"] == 1
    groups = operate(api, "GET", f"{DLQ}/groups")
    assert not groups["complete"] and groups["scanned"] == 5001
    assert [(g["subscription"], g["pattern"], g["count"], g["complete"]) for g in groups["items"]] == [(N, "disk # is full", 5000, False), ("reconciler", "not a command", 1, True)]
    assert operate(api, "GET", f"{DLQ}/groups?subscription=reconciler")["complete"]
    assert operate(api, "GET", f"{DLQ}/groups?key=nobody") == {"items": [], "scanned": 0, "complete": True}
    assert operate(api, "POST", f"{DLQ}/purge", {"subscription": "reconciler", "all": True, "why": "the test is over"}) == {"count": 1}


def test_what_a_build_does_not_know_is_parked_and_tried_again_by_one_that_knows_it(world, redis, api):
    def put(topic, kind, version, body=b"\xff"):
        meta = f"weir:{{dev}}:{topic}:meta"
        place = f"{int(redis.hget(meta, 'gen'))}-{redis.hincrby(meta, 'hw:low', 1)}"
        redis.xadd(f"weir:{{dev}}:{topic}:low", {"d": wire.framed(kind, body, b"k", version=version)}, id=place)

    def found(subscription):
        return {letter["type"]: letter for letter in letters(api, f"subscription={subscription}")}

    def replays(subscription):
        return {kind: letter["replays"] for kind, letter in found(subscription).items()}

    def restart(name):
        process = world.suite.processes[name]
        process.stop(60)
        process.start()

    def level_after_a_block():
        world.node.call("evm_mine")
        world.settle()

    fork = wire.encode([(2, wire.encode([(1, 1 << 40), (2, bytes(32))]))])  # above the ledger: nothing is to be done
    for topic, kind, version in (("blocks", 60000, 1), ("blocks", 3, 9), ("raw", 2, 9)):
        put(topic, kind, version)
    put("blocks", 5, 9, fork)
    put("control", 7, 9, b"")
    unknown = {"#60000", "normalized_block", "chain_fork", "command"}
    stack.wait_until("what is unknown is parked", 60, lambda: set(found("reconciler")) == unknown and set(found(N)) == {"raw_block_backfill"})
    assert {letter["reason"] for letter in [*found("reconciler").values(), *found(N).values()]} == {"unsupported"}
    level_after_a_block()

    operate(api, "POST", f"{DLQ}/replay", {"subscription": "reconciler", "ids": [letter["id"] for letter in found("reconciler").values()]})
    stack.wait_until("each was tried in vain, and is still there", 60, lambda: replays("reconciler") == dict.fromkeys(unknown, 1))

    frames = "weir:{dev}:dlqf:reconciler"
    for name, kind, body in (("chain_fork", 5, fork), ("command", 7, b"")):  # as if the next build knew version 9
        letter = found("reconciler")[name]["id"]
        redis.hset(frames, letter, redis.hget(frames, letter).replace(wire.framed(kind, body, b"k", version=9), wire.framed(kind, body, b"k")))
    restart("reconciler")
    stack.wait_until("what the build knows is tried again, and what it can read is done", 60,
                     lambda: replays("reconciler") == {"#60000": 1, "normalized_block": 2})
    restart(N)
    stack.wait_until("the normalizer, too", 60, lambda: replays(N) == {"raw_block_backfill": 1})
    level_after_a_block()
    for subscription in ("reconciler", N):
        operate(api, "POST", f"{DLQ}/purge", {"subscription": subscription, "all": True, "why": "the test is over"})


def test_the_audit_chain(api, redis, spoiled):
    operate(api, "POST", f"{DLQ}/purge", {"subscription": N, "ids": [spoiled[0]["id"]], "why": "for the record"})
    page = operate(api, "GET", "/admin/v1/audit?limit=2")
    assert page["items"][0]["words"] == {"action": "purge", "who": page["items"][0]["words"]["who"], "why": "for the record", "subscription": N, "count": "1",
                                         "first": spoiled[0]["id"]}
    older = operate(api, "GET", f"/admin/v1/audit?limit=1&cursor={page['next_cursor']}")["items"][0]
    assert older["number"] == page["items"][1]["number"] - 1
    report = operate(api, "GET", "/admin/v1/audit/verify")
    assert report["sound"] and report["hash"] == page["items"][0]["hash"] and report["last"] == page["items"][0]["number"]
    noted = f"number={older['number']}&hash={older['hash']}"
    assert operate(api, "GET", f"/admin/v1/audit/verify?{noted}")["sound"]
    assert not operate(api, "GET", f"/admin/v1/audit/verify?number={older['number']}&hash={'0' * 64}")["sound"]
    assert operate(api, "GET", "/admin/v1/audit/verify?number=1", status=400)["code"] == "invalid_parameter"
    stream = "weir:{dev}:audit"
    first = redis.xrange(stream, count=1)[0][0]
    redis.xdel(stream, first)
    broken = operate(api, "GET", "/admin/v1/audit/verify")
    assert not broken["sound"] and broken["wrong"] == 1 and "oldest lines are missing" in broken["words"]
