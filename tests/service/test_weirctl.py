"""weirctl against a running gateway over a ledger that the real suite fills from a real node."""
import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading

import pytest
import redis as redis_client

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack"), str(pathlib.Path(__file__).parent)]

import stack  # noqa: E402
import wire  # noqa: E402
from test_gateway import KEYS, OPERATOR, VIEWER, World  # noqa: E402

USAGE, LIMIT, NOT_FOUND, UNAVAILABLE, IO, CONFLICT, PROTOCOL, PERMISSION = 64, 65, 66, 69, 74, 75, 76, 77  # docs/errors.md


class Weirctl:
    """The program, with the addresses and the key of one suite."""

    def __init__(self, suite, **options):
        self.program = suite.bin / "weirctl"
        self.options = {"api": suite.api, "admin": suite.admin, "key": stack.ADMIN_KEY, **options}

    def run(self, *words, stdout=subprocess.PIPE, environment=None, **options):
        """(exit status, output, what it said on standard error)"""
        flags = [part for name, value in (self.options | options).items() if value is not None for part in (f"--{name}", value)]
        clean = {k: v for k, v in os.environ.items() if not k.startswith("WEIR_")}
        done = subprocess.run([self.program, *flags, *map(str, words)], stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
                              env=clean | (environment or {}))
        return done.returncode, done.stdout, done.stderr

    def __call__(self, *words, **options):
        status, out, said = self.run(*words, **options)
        assert (status, said) == (0, ""), (words, status, said)
        return out

    def json(self, *words, **options):
        out = self(*words, "--json", **options)
        assert out.count("\n") == 1, "one line for programs"
        return json.loads(out)

    def table(self, *words, **options):
        """[{head: cell}]; columns are cut where their heads begin."""
        head, *lines = self(*words, **options).splitlines()
        if lines == ["(none)"]:
            return []
        starts = [i for i in range(len(head)) if head[i] != " " and (i == 0 or head[i - 2:i] == "  ")]
        cut = list(zip(starts, [*starts[1:], None]))
        return [{head[a:b].strip(): line[a:b].strip() for a, b in cut} for line in lines]

    def refused(self, status, *words, **options):
        """The words of a failure: one line, nothing on standard output."""
        got, out, said = self.run(*words, **options)
        assert got == status, (words, got, out, said)
        assert out == "" and said.startswith("weirctl: ") and said.count("\n") == 1, (out, said)
        return said


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("weirctl"))
    try:
        world.workload("--seed", "7", "--blocks", "40", "--reorgs", "2", "--pace-ms", "30")
        world.checked()
        yield world
    finally:
        statuses = world.stop()
    assert set(statuses.values()) == {0}


@pytest.fixture
def weirctl(world):
    return Weirctl(world.suite)


@pytest.fixture
def redis(world):
    return redis_client.Redis(unix_socket_path=str(world.redis.socket))


def top(world):
    return world.suite.chain("dev")["watermark"]["height"]


# ---- what is shown ---------------------------------------------------------------------------------------------------------------------


def test_chains_and_status(world, weirctl):
    answer = weirctl.json("chains")
    assert answer == world.suite.get("/v1/chains")[1]
    chain = answer["items"][0]
    [row] = weirctl.table("chains")
    assert row == {"CHAIN": "dev", "HEAD": str(chain["head"]["height"]), "WATERMARK": str(chain["watermark"]["height"]), "SAFE": str(chain["safe"]),
                   "FINALIZED": str(chain["finalized"]), "LAG S": str(chain["lag_seconds"]), "GAPS": "0", "INCIDENTS": str(chain["incidents"]), "PAUSED": "no"}
    status = weirctl.json("status")
    assert status["postgres"]["ok"] and status["redis"]["ok"] and status["chains"][0]["watermark"]["height"] == top(world)
    assert {s["topic"] for s in status["chains"][0]["streams"]} == {"raw", "blocks", "ledger", "control"}
    told = weirctl("status").splitlines()
    for beginning in ("weir  ", "gateway up  ", "PostgreSQL    ok", "Redis         ok", "WebSocket  ", "CHAIN  ", f"dev    {top(world)}  ", "TOPIC  ", "blocks  ",
                      "dev: dead letters  normalizer 0  reconciler 0  fetcher 0"):
        assert any(line.startswith(beginning) for line in told), (beginning, told)


def test_gaps(world, weirctl):
    world.sql("insert into weir.gaps (chain, from_height, to_height, reason, detail, attempts, closed_at) "
              "select id, 5, 6, 'missing', e'two\\nlines\\x1b[31m, ' || repeat('é', 60), 3, now() from weir.chains")
    assert weirctl("gaps").splitlines()[1:] == ["(none)"] and weirctl.json("gaps")["items"] == []
    assert weirctl.json("gaps", "--all") == world.suite.operate("GET", "/admin/v1/gaps")[1]
    row = next(r for r in weirctl.table("gaps", "--all") if r["FROM"] == "5")
    assert (row["CHAIN"], row["TO"], row["OPEN"], row["TRIES"], row["REASON"]) == ("dev", "6", "no", "3", "missing")
    assert row["DETAIL"].startswith("two lines [31m, é") and row["DETAIL"].endswith("é…"), "a text from outside moves no cursor"
    assert "no chain of that name" in weirctl.refused(NOT_FOUND, "gaps", chain="none")


def test_incidents(world, weirctl):
    told = weirctl.json("incidents", "--all", limit="1000")
    assert told["items"], "the workload's tokens lie"
    rows = weirctl.table("incidents", "--all", limit="1000")
    assert [(r["ID"], r["ASSET"], r["EXPECTED"]) for r in rows] == [(str(i["id"]), i["asset"], i["expected"] or "-") for i in told["items"]]
    assert {i["id"] for i in weirctl.json("incidents")["items"]} == {i["id"] for i in told["items"] if i["open"]}
    first = weirctl("incidents", "--all", limit="1").splitlines()
    assert first[-1].startswith("more: --cursor ")
    second = weirctl.json("incidents", "--all", limit="1", cursor=first[-1].split()[-1])
    assert second["items"] == told["items"][1:2]


# ---- dead letters ------------------------------------------------------------------------------------------------------------------------


def foreign_frame(key):
    """A whole frame with a block of history of another chain: what the normalizer can only put aside."""
    return wire.framed(2, wire.encode([(1, "elsewhere")]), key)


def spoil(redis, n):
    """Puts n such frames into the stream of history, numbered as its publisher would."""
    generation = int(redis.hget("weir:{dev}:raw:meta", "gen"))
    for _ in range(n):
        sequence = redis.hincrby("weir:{dev}:raw:meta", "hw:low", 1)
        redis.xadd("weir:{dev}:raw:low", {"d": foreign_frame(b"key\x1b[2J")}, id=f"{generation}-{sequence}")


def test_dead_letters(world, weirctl, redis):
    assert weirctl("dlq", "list").splitlines()[1:] == ["(none)"]
    spoil(redis, 3)
    letters = stack.wait_until("three dead letters", 60, lambda: (i := weirctl.json("dlq", "list")["items"]) and len(i) == 3 and i)
    assert weirctl.json("dlq", "list") == world.suite.operate("GET", "/admin/v1/dlq")[1]
    rows = weirctl.table("dlq", "list")
    assert [r["ID"] for r in rows] == [letter["id"] for letter in letters]
    assert all((r["CHAIN"], r["SUBSCRIPTION"], r["REPLAYS"]) == ("dev", "normalizer", "0") and r["REASON"] == letters[0]["reason"] for r in rows)
    assert all(r["KEY"] == "key?[2J" and "elsewhere" in r["ERROR"] for r in rows), (rows, "a key from outside moves no cursor")
    assert len(weirctl.table("dlq", "list", subscription="reconciler")) == 0 == len(weirctl.table("dlq", "list", reason="timeout"))
    assert len(weirctl.table("dlq", "list", subscription="normalizer", reason=letters[0]["reason"])) == 3
    by_class = {name: len(weirctl.table("dlq", "list", "--error-class", name, subscription="normalizer")) for name in ("transient", "dependency", "permanent", "crash")}
    assert by_class == {"transient": 0, "dependency": 0, "permanent": 3, "crash": 0}
    assert "error_class is transient" in weirctl.refused(USAGE, "dlq", "list", "--error-class", "bad")
    ids = [letter["id"] for letter in letters]

    shown = weirctl.json("dlq", "show", ids[0], subscription="normalizer")
    assert shown["attempts"] and {k: shown[k] for k in letters[0]} == letters[0]
    facts = dict(line.split(None, 1) for line in weirctl("dlq", "show", ids[0], subscription="normalizer").splitlines() if len(line.split(None, 1)) == 2)
    assert facts["id"] == ids[0] and facts["stream"] == "weir:{dev}:raw:low" and facts["error"] == shown["error"]
    assert "--subscription" in weirctl.refused(USAGE, "dlq", "show", ids[0])
    assert "dead_letter_unknown" in weirctl.refused(NOT_FOUND, "dlq", "show", "1-999", subscription="normalizer")
    assert "normalizer, reconciler" in weirctl.refused(NOT_FOUND, "dlq", "show", "1-1", subscription="nobody")

    assert weirctl.json("dlq", "replay", ids[0], ids[1], subscription="normalizer") == {"count": 2}
    stack.wait_until("both came back", 60, lambda: sorted(i["replays"] for i in weirctl.json("dlq", "list")["items"]) == [0, 1, 1])
    assert weirctl("dlq", "replay", subscription="normalizer", reason="timeout").split() == ["count", "0"]
    assert "--subscription" in weirctl.refused(USAGE, "dlq", "replay", ids[0])

    ids = [letter["id"] for letter in weirctl.json("dlq", "list")["items"]]
    assert "--why" in weirctl.refused(USAGE, "dlq", "purge", ids[0], subscription="normalizer")
    assert "--all" in weirctl.refused(USAGE, "dlq", "purge", subscription="normalizer", why="tidy")
    assert len(weirctl.json("dlq", "list")["items"]) == 3, "what was refused dropped nothing"
    why = 'he said "drop\\it", {"all":true}'
    assert weirctl("dlq", "purge", ids[0], subscription="normalizer", why=why).split() == ["count", "1"]
    audit = [fields for _, fields in redis.xrevrange("weir:{dev}:audit", count=3)]
    assert any(why in value.decode() for fields in audit for value in fields.values()), audit
    assert weirctl.json("dlq", "purge", "--all", subscription="normalizer", why="tidy", environment={"WEIR_CHAIN": "dev"}) == {"count": 2}
    assert weirctl.json("dlq", "list")["items"] == []


def test_dead_letters_by_job_edit_and_file(world, weirctl, redis, tmp_path):
    ours = {"subscription": "normalizer"}
    spoil(redis, 4)
    letters = stack.wait_until("four dead letters", 60, lambda: (i := weirctl.json("dlq", "list")["items"]) and len(i) == 4 and i)
    ids, reason = [letter["id"] for letter in letters], letters[0]["reason"]
    [row] = weirctl.table("dlq", "counts", **ours)
    assert (row["KIND"], row["REASON"], row["COUNT"]) == ("head", reason, "4")
    assert len(weirctl.table("dlq", "list", kind="head", **{"from": "2001-01-01T00:00:00Z"})) == 4
    assert weirctl.table("dlq", "list", **{"message-key": "key"}) == [], "a key's beginning is another key"
    assert weirctl.table("dlq", "list", to="2001-01-01T00:00:00Z") == [] == weirctl.table("dlq", "list", kind="follower")

    file = tmp_path / "letters.jsonl"
    file.write_text(weirctl("dlq", "export", **ours))
    assert [json.loads(line)["id"] for line in file.read_text().splitlines()] == ids
    assert weirctl.json("dlq", "import", file, **ours) == {"imported": 0, "known": 4}
    weirctl("dlq", "purge", ids[3], why="moved", **ours)
    assert weirctl("dlq", "import", file, **ours).split() == ["imported", "0", "known", "4"], "a file counts once"
    file.write_text("no line\n")
    assert "line 1" in weirctl.refused(USAGE, "dlq", "import", file, **ours)
    assert "cannot be read" in weirctl.refused(NOT_FOUND, "dlq", "import", tmp_path / "none", **ours)

    body = tmp_path / "body"
    body.write_bytes(wire.encode([(1, "elsewhere again")]))
    sha256 = weirctl.json("dlq", "show", ids[0], **ours)["frame_sha256"]
    assert "--why" in weirctl.refused(USAGE, "dlq", "edit", ids[0], body, **ours)
    assert "conflict" in weirctl.refused(CONFLICT, "dlq", "edit", ids[0], body, why="x", sha256="0" * 64, **ours)
    assert weirctl.json("dlq", "edit", ids[0], body, why="x", sha256=sha256, **ours)["frame_sha256"] != sha256
    assert weirctl.json("dlq", "show", ids[0], **ours)["edits"][0]["before_sha256"] == sha256
    assert "--why" in weirctl.refused(USAGE, "dlq", "skip", ids[0], **ours)
    assert "nothing to skip" in weirctl.refused(CONFLICT, "dlq", "skip", ids[0], why="x", **ours)

    assert weirctl.json("dlq", "start", "--dry-run", **ours) == {"dry_run": True, "total": 3, "matching": 3, "complete": True, "job": None}
    order = ours | {"rate": "50", "stop-percent": "101", "idempotency-key": "once", "why": "again"}
    job = weirctl.json("dlq", "start", **order)["job"]["id"]
    assert weirctl.json("dlq", "start", **order)["job"]["id"] == job
    assert "idempotency_key_reused" in weirctl.refused(CONFLICT, "dlq", "start", **order | {"rate": "51"})
    done = stack.wait_until("the job's end", 60, lambda: (j := weirctl.json("dlq", "job", job)) and j["state"] == "done" and j)
    assert (done["failed"], done["total"]) == (3, 3)
    [row] = weirctl.table("dlq", "jobs")
    assert (row["JOB"], row["STATE"], row["FAILED"]) == (job, "done", "3")
    slow = weirctl.json("dlq", "start", ids[1], ids[2], rate="1", burst="1", concurrency="1", **ours, **{"stop-percent": "101"})["job"]["id"]
    assert weirctl.json("dlq", "pause", slow, why="look")["state"] in ("paused", "done")
    assert weirctl.json("dlq", "resume", slow)["state"] in ("running", "done")
    assert weirctl.json("dlq", "cancel", slow)["state"] in ("canceled", "done")
    assert "whole number" in weirctl.refused(USAGE, "dlq", "start", rate="fast", **ours)
    assert "job_unknown" in weirctl.refused(NOT_FOUND, "dlq", "job", "none")

    weirctl("dlq", "purge", "--all", why="tidy", **ours)
    newest = weirctl.json("audit", "list", limit="1")["items"][0]
    assert newest["words"]["why"] == "tidy"
    [row] = weirctl.table("audit", "list", limit="1")[:1]
    assert (row["NUMBER"], row["ACTION"], row["WHY"]) == (str(newest["number"]), "purge", "tidy")
    assert weirctl.json("audit", "verify")["sound"] and weirctl.json("audit", "verify", newest["number"], newest["hash"])["sound"]
    status, out, said = weirctl.run("audit", "verify", newest["number"], "0" * 64)
    assert status == PROTOCOL and "not as it was written" in said and "another hash" in out


# ---- commands to a chain ---------------------------------------------------------------------------------------------------------------


def test_commands_reach_the_services(world, weirctl):
    fetcher = world.suite.processes["fetcher"].log
    answer = weirctl.json("refetch", 5, 7, why="try")
    assert answer["action"] == "refetch" and answer["chain"] == "dev"
    stack.wait_until("fetched again", 60, lambda: any("event=refetch" in line and "from=5 to=7" in line for line in fetcher.read_text().splitlines()))
    weirctl("refetch", 9)
    stack.wait_until("one block", 60, lambda: "from=9 to=9" in fetcher.read_text())

    checked = world.suite.metric("reconciler", "weir_reconciler_balances_checked_total")
    told = dict(line.split(None, 1) for line in weirctl("reconcile").splitlines())
    assert told["action"] == "reconcile" and len(told["command_id"]) == 32
    stack.wait_until("balances were compared", 60, lambda: world.suite.metric("reconciler", "weir_reconciler_balances_checked_total") > checked)
    weirctl("reconcile", "0x" + "12" * 20, "native", chain="dev")
    assert "invalid_account" in weirctl.refused(USAGE, "reconcile", "somebody")

    weirctl("pause", why="look")
    stack.wait_until("paused", 60, lambda: weirctl.table("chains")[0]["PAUSED"] == "yes")
    weirctl("resume")
    stack.wait_until("goes on", 60, lambda: weirctl.table("chains")[0]["PAUSED"] == "no")

    height = top(world)
    block = world.suite.get(f"/v1/chains/dev/blocks/{height - 3}")[1]
    assert "--why" in weirctl.refused(USAGE, "rewind", height - 5)
    assert "nothing_to_rewind" in weirctl.refused(CONFLICT, "rewind", height, why="no")
    weirctl("rewind", height - 5, why="once more")
    stack.wait_until("applied once more", 60, lambda: world.suite.get(f"/v1/chains/dev/blocks/{height - 3}")[1]["applied_at"] > block["applied_at"])
    world.settle()
    world.checked()
    assert world.suite.get(f"/v1/chains/dev/blocks/{height - 3}")[1]["hash"] == block["hash"]


# ---- explain ---------------------------------------------------------------------------------------------------------------------------


def busiest(world, which, n):
    """[(account, asset)] with most entries."""
    return world.sql(f"select '0x' || encode(a.address, 'hex'), case when s.standard = 1 then 'native' else '0x' || encode(s.contract, 'hex') || "
                     f"coalesce(':' || s.token_id::text, '') end from weir.entries e join weir.accounts a on a.id = e.account join weir.assets s on s.id = e.asset "
                     f"where not e.superseded and {which} group by 1, 2 order by count(*) desc, 1, 2 limit {n}")


def test_explain_tells_each_entry_and_ends_at_the_balance(world, weirctl):
    explained = 0
    for account, asset in busiest(world, "s.standard = 1", 4) + busiest(world, "s.standard > 1 and not s.non_conserving", 6):
        for height in (None, top(world) - 12):
            story = weirctl.json("explain", account, asset, *([] if height is None else [height]))
            assert story["height"] == (height or top(world)) and story["entries_end_at_balance"]
            balance = 0
            for entry in story["entries"]:
                balance += int(entry["delta"])
                assert int(entry["balance"]) == balance and entry["height"] <= story["height"] and entry["kind"] != "unknown"
                assert entry["block_hash"] is None or entry["proof"].startswith("proven ("), entry
                explained += 1
            assert balance == int(story["balance"]["amount"] if story["balance"] else 0)
            if asset == "native":
                assert balance == int(world.node.call("eth_getBalance", account, hex(story["height"])), 16)
    assert explained > 100


def test_explain_as_people_read_it(world, weirctl):
    [(account, asset)] = busiest(world, "s.standard = 1", 1)
    checksummed = "0x" + account[2:].upper()

    world.checked()
    story = weirctl.json("explain", account, asset)
    head, *lines, end = weirctl("explain", checksummed, asset).splitlines()
    assert head.split() == ["HEIGHT", "KIND", "ORIGIN", "DELTA", "BALANCE", "PROOF", "TRANSACTION"]
    assert [(line.split()[0], line.split()[1]) for line in lines] == [(str(e["height"]), e["kind"]) for e in story["entries"]]
    assert all(e["balance"] in line and e["proof"] in line and (e["transaction_hash"] or " -") in line for e, line in zip(story["entries"], lines))
    assert end.startswith(f"{len(lines)} entries; the balance served at height {story['height']} is {story['balance']['amount']}, compared with the chain at height")


def test_explain_a_token_that_lies(world, weirctl):
    [(account, asset)] = busiest(world, "s.non_conserving", 1)
    assert "non-conserving" in weirctl("explain", account, asset).splitlines()[-1]
    assert weirctl.json("explain", account, asset)["balance"]["non_conserving"]


def test_explain_what_is_not_there(world, weirctl):
    nobody = "0x" + "77" * 20
    assert weirctl("explain", nobody, "native").splitlines()[-1] == f"0 entries; the balance served at height {top(world)} is 0"
    assert weirctl.json("explain", nobody, "native")["entries"] == []
    assert "height_not_reached" in weirctl.refused(NOT_FOUND, "explain", nobody, "native", top(world) + 1000)
    assert "invalid_account" in weirctl.refused(USAGE, "explain", "0x12", "native")
    assert "invalid_asset" in weirctl.refused(USAGE, "explain", nobody, "gold", "--json")
    assert "not a height" in weirctl.refused(USAGE, "explain", nobody, "native", "12x")


# ---- what goes wrong -------------------------------------------------------------------------------------------------------------------


def test_chains_are_chosen_by_name(world, weirctl):
    assert "chain_unknown" in weirctl.refused(NOT_FOUND, "refetch", 1, chain="none")
    assert "chain_unknown" in weirctl.refused(NOT_FOUND, "explain", "0x" + "12" * 20, "native", chain="no/ne?x")
    assert "chain_unknown" in weirctl.refused(NOT_FOUND, "dlq", "list", chain="none")
    assert "chain_unknown" in weirctl.refused(NOT_FOUND, "pause", environment={"WEIR_CHAIN": "none"})


def test_the_gateway_is_down(world, weirctl):
    away = f"http://127.0.0.1:{stack.free_port()}"
    said = weirctl.refused(UNAVAILABLE, "status", admin=away)
    assert away in said and "--admin" in said
    assert "--api" in weirctl.refused(UNAVAILABLE, "chains", api=away)
    assert "--api" in weirctl.refused(UNAVAILABLE, "explain", "0x" + "12" * 20, "native", api=away)
    assert "--api" in weirctl.refused(UNAVAILABLE, "chains", api="http://no-such-host.invalid")
    assert "not an http" in weirctl.refused(USAGE, "chains", api="ftp://127.0.0.1/")
    assert weirctl.run("chains", api=world.suite.api + "/")[0] == 0, "an address with a slash at its end is the same address"


def test_keys(world, weirctl, tmp_path):
    for key in (None, "wrong-key-0123456789"):
        said = weirctl.refused(PERMISSION, "status", key=key)
        assert "unauthorized" in said and "WEIR_KEY" in said and "0123456789" not in said
    assert "viewer" in weirctl.refused(PERMISSION, "pause", key=VIEWER)
    assert "operator" in weirctl.refused(PERMISSION, "rewind", 1, why="no", key=OPERATOR)
    assert "operator" in weirctl.refused(PERMISSION, "dlq", "purge", "--all", subscription="normalizer", why="no", key=OPERATOR)
    assert {key["role"] for key in KEYS} == {"viewer", "operator", "admin"}
    file = tmp_path / "key"
    assert str(file) in weirctl.refused(USAGE, "status", key=f"file:{file}")
    file.write_text("\n")
    assert "holds no key" in weirctl.refused(USAGE, "status", key=f"file:{file}")
    file.write_text(VIEWER + "\n")
    assert weirctl("status", key=f"file:{file}") and weirctl("status", key=None, environment={"WEIR_KEY": f"file:{file}"})
    said = weirctl.refused(USAGE, "status", key="key-0123456789\r\nX-Evil: 1")
    assert "0123456789" not in said
    assert weirctl("chains", key=None), "clients' answers need no key"


@pytest.mark.parametrize("words,named", [
    ([], "no command"), (["statu"], '"statu"'), (["dlq"], "list, show, replay, purge"), (["dlq", "drop"], "list, show, replay, purge"),
    (["status", "now"], "weirctl status"), (["refetch"], "HEIGHT [TO]"), (["refetch", "-5"], "'"), (["refetch", "1", "2", "3"], "HEIGHT [TO]"),
    (["refetch", '5,"to_height":9'], "not a height"), (["refetch", "99999999999999999999"], "not a height"), (["refetch", "9", "3"], "to_height"),
    (["explain", "0x12"], "ACCOUNT ASSET"), (["dlq", "show"], "dlq show ID"), (["chains", "--limit", "3"], "--limit"), (["status", "--chain", "dev"], "--chain"),
    (["gaps", "--limit", "many"], "limit"), (["gaps", "--limit", "99999"], "limit"), (["gaps", "--cursor", "x"], "cursor"), (["gaps", "--colour"], "--colour"),
    (["gaps", "--limit"], "--limit")])
def test_wrong_usage_is_named(weirctl, words, named):
    status, out, said = weirctl.run(*words)
    assert status == USAGE and out == "" and named in said and len(said) < 300, (status, out, said)


def test_help_and_version_need_nothing(weirctl):
    status, out, said = weirctl.run("--help")
    assert status == 0 and said == ""
    for word in ("status", "chains", "dlq list", "dlq show", "dlq replay", "dlq purge", "dlq counts", "dlq start", "dlq export", "audit verify", "gaps", "incidents", "refetch", "reconcile", "explain", "--json", "Exit status"):
        assert word in out
    assert weirctl.run("--version")[1].startswith("weirctl ")


def test_output_that_cannot_be_written_is_a_failure(weirctl):
    with open("/dev/full", "w") as full:
        status, _, said = weirctl.run("chains", stdout=full)
    assert status == IO and "written" in said


def test_somebody_else_answers(weirctl):
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = {"/v1/chains": (200, b"<html>hello</html>")}.get(self.path, (404, b"<html>nothing</html>"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}"
        assert "not weir's gateway" in weirctl.refused(PROTOCOL, "chains", api=address)
        assert "not weir's gateway" in weirctl.refused(PROTOCOL, "status", admin=address)
    finally:
        server.shutdown()
        server.server_close()


def test_stores_that_are_away_are_named(world, weirctl):
    """Last: Redis is stopped and started again."""
    world.redis.kill()
    try:
        def named():
            lines = weirctl("status").splitlines()
            return any(line.startswith("Redis ") and " ok" not in line for line in lines) and "PostgreSQL    ok" in lines
        stack.wait_until("Redis is named", 60, named)
        weirctl.refused(UNAVAILABLE, "dlq", "list")
        assert weirctl("chains")
    finally:
        world.redis.start()
    stack.wait_until("well again", 60, lambda: "Redis         ok" in weirctl("status"))


def test_statistics(redis, weirctl):
    def row():
        return next((r for r in weirctl.table("statistics") if (r["TYPE"], r["CLASS"]) == ("raw_block_tip", "none")), None)
    stack.wait_until("the normalizer has told", 60, lambda: row() and int(row()["ATTEMPTS"]) > 0)
    assert row() | {"ATTEMPTS": ""} == {"CHAIN": "dev", "TOPIC": "raw", "SUBSCRIPTION": "normalizer", "TYPE": "raw_block_tip", "CLASS": "none", "ATTEMPTS": "",
                                        "RETRIED": "0", "RECOVERED": "0", "PARKED": "0"}
    assert {r["SUBSCRIPTION"] for r in weirctl.table("statistics", subscription="normalizer")} == {"normalizer"}
    redis.hset("weir:{dev}:control:statistics:fetcher", mapping={"command/permanent/parked": 2, "not of ours": 1})
    try:
        assert weirctl.json("statistics", subscription="fetcher", key=VIEWER)["items"] == [
            {"chain": "dev", "topic": "control", "subscription": "fetcher", "type": "command", "error_class": "permanent", "attempts": 0, "retried": 0,
             "recovered": 0, "parked": 2}]
    finally:
        redis.delete("weir:{dev}:control:statistics:fetcher")
    assert weirctl("statistics", subscription="fetcher").splitlines()[1:] == ["(none)"]


def test_weights_of_classes(redis, weirctl):
    rows = weirctl.table("weights", "list")
    assert {(r["TOPIC"], r["SUBSCRIPTION"]) for r in rows} == {("raw", "normalizer"), ("blocks", "reconciler"), ("control", "reconciler"), ("control", "fetcher")}
    assert [rows[0][c] for c in ("CRITICAL", "HIGH", "NORMAL", "LOW", "AGE MS", "CHANGED")] == ["16", "8", "4", "1", "60000", "no"]

    try:
        changed = weirctl.json("weights", "set", "raw", "normalizer", "high=3", "low=1000")
        expected = {"topic": "raw", "subscription": "normalizer", "critical": 16, "high": 3, "normal": 4, "low": 1000, "age_ms": 60000, "changed": True}
        assert {k: changed[k] for k in expected} == expected
        changed = weirctl.json("weights", "set", "raw", "normalizer", "age_ms=0")
        assert (changed["high"], changed["age_ms"]) == (3, 0), "what is not named stays"
        listed = weirctl.json("weights", "list", subscription="normalizer")["items"]
        assert listed == [changed]
        kept = redis.hgetall(f"weir:{{{changed['chain']}}}:raw:weights:normalizer")
        assert {k.decode(): v.decode() for k, v in kept.items()} == {"critical": "16", "high": "3", "normal": "4", "low": "1000", "age_ms": "0"}, "where its readers look"
        line = next(i for i in weirctl.json("audit", "list")["items"] if i["words"]["action"] == "weights")
        assert line["words"]["detail"] == "topic raw, subscription normalizer: 16:3:4:1000, age 0 ms" and line["words"]["who"]

        assert "no subscription normalizer reads topic ledger" in weirctl.refused(NOT_FOUND, "weights", "set", "ledger", "normalizer", "low=2")
        assert "high" in weirctl.refused(USAGE, "weights", "set", "raw", "normalizer", "high=1001")
        weirctl.refused(USAGE, "weights", "set", "raw", "normalizer", "low=0")
        assert "none of critical=N" in weirctl.refused(USAGE, "weights", "set", "raw", "normalizer", "lowest=1")
        for key in (VIEWER, OPERATOR):
            weirctl.refused(PERMISSION, "weights", "set", "raw", "normalizer", "low=2", key=key)
        assert weirctl.json("weights", "list", subscription="normalizer", key=VIEWER)["items"] == [changed]
    finally:
        weirctl("weights", "set", "raw", "normalizer", "critical=16", "high=8", "normal=4", "low=1", "age_ms=60000")
    assert not weirctl.json("weights", "list", subscription="normalizer")["items"][0]["changed"]


def test_weights_where_nothing_is_given(world):
    status, problem, _ = stack.http_json(world.suite.admin + "/admin/v1/weights", "POST", {"topic": "raw", "subscription": "normalizer"},
                                         {"X-Api-Key": stack.ADMIN_KEY})
    assert status == 400 and "nothing to change" in problem["detail"]
