"""The gateway as a process over a ledger that the real suite fills from a real node."""
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import psycopg2
import pytest
import redis as redis_client
import websocket

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack"), str(pathlib.Path(__file__).parent)]

import stack  # noqa: E402
from gateway_client import ASYNC, Api, Books, Stream, raw, read_together  # noqa: E402

C = "/v1/chains/dev"
VIEWER, OPERATOR = "viewer-key-0123456789", "operator-key-0123456789"
KEYS = [{"name": "local", "key": stack.ADMIN_KEY, "role": "admin"}, {"name": "eyes", "key": VIEWER, "role": "viewer"},
        {"name": "hands", "key": OPERATOR, "role": "operator"}]


class World:
    def __init__(self, folder, settings=None):
        self.folder = folder
        self.node = stack.anvil(folder / "anvil.log")
        self.redis = stack.Redis(folder / "redis").start()
        self.postgres = stack.Postgres(folder / "pg", ["fsync=off"]).start()
        self.suite = stack.Suite(folder / "suite", self.redis.url, self.postgres.url, [stack.dev_chain(self.node)],
                                 stack.merge({"log": {"level": "debug"}, "gateway": {"keys": KEYS}}, settings or {})).start()
        self.others, self.workers, self.admin_of = [], [], {}

    def second_gateway(self, settings=None):
        """Another instance over the same stores, with more settings by environment: its address."""
        port, admin = stack.free_port(), stack.free_port()
        environment = {"WEIR_GATEWAY_LISTEN": f"127.0.0.1:{port}", "WEIR_GATEWAY_ADMIN_LISTEN": f"127.0.0.1:{admin}",
                       "WEIR_OPS_LISTEN_GATEWAY": "127.0.0.1:0", **(settings or {})}
        process = stack.Process("gateway2", [self.suite.bin / "weir-gateway", "--config", self.suite.config], self.folder / "gateway2.log", env=environment)
        self.others.append(process.start())
        base = f"http://127.0.0.1:{port}"
        self.admin_of[base] = f"http://127.0.0.1:{admin}"
        stack.wait_until("the second gateway", 60, lambda: stack.http_json(base + C)[0] == 200)
        return base

    def workload(self, *arguments, wait=True):
        out = self.folder / "journal.json"
        process = stack.Process("workload", ["node", stack.CHAIN_LAB / "workload.mjs", "--rpc", self.node.rpc, "--out", out, *arguments],
                                self.folder / "workload.log").start()
        self.workers.append(process)
        if wait:
            assert process.child.wait(240) == 0, process.tail()
            self.settle()
        return process

    def settle(self):
        def level():
            chain = self.suite.chain("dev")
            head, safe, final = (self.node.call("eth_getBlockByNumber", tag, False) for tag in ("latest", "safe", "finalized"))
            return ((chain["watermark"] or {}).get("hash") == head["hash"] and
                    (chain["safe"], chain["finalized"]) == (int(safe["number"], 16), int(final["number"], 16)))
        stack.wait_until(f"the ledger at the head ({self.folder})", 120, level)

    def checked(self):
        """The checker, which follows the ledger, has compared every balance with the chain, and nothing is in dispute: what it writes down changes no more."""
        left = """select (select count(*) from weir.balances b join weir.assets s on s.id = b.asset join weir.accounts a on a.id = b.account
                  where not s.non_conserving and b.opening_known and b.reconciled_height is null and b.amount <> 0 and a.address <> decode(repeat('00', 20), 'hex'))
                  + (select count(*) from weir.incidents where closed_at is null)"""
        stack.wait_until(f"every balance compared ({self.folder})", 120, lambda: self.sql(left)[0][0] == 0)

    def sql(self, text):
        with psycopg2.connect(self.postgres.url) as connection, connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall() if cursor.description else None

    def api(self):
        return Api(self.suite.api, self.suite.admin)

    def ledger_ids(self, api, **filters):
        """Ids of all entries that the ledger holds, as REST tells them."""
        ids = {}
        for (address,) in self.sql("select '0x' || encode(address, 'hex') from weir.accounts"):
            if filters.get("account", address) != address:
                continue
            asset = f"?asset={filters['asset']}" if "asset" in filters else ""
            for entry in api.items(f"{C}/accounts/{address}/entries{asset}", None if asset else 1000):
                assert entry["id"] not in ids
                ids[entry["id"]] = entry
        return ids

    def stop(self):
        for process in [*self.workers, *self.others]:
            process.send(signal.SIGCONT)
            process.stop(20)
        statuses = self.suite.stop()
        self.postgres.stop()
        self.redis.stop()
        self.node.stop()
        return statuses


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("gateway"))
    try:
        world.workload("--seed", "21", "--blocks", "60", "--reorgs", "5", "--pace-ms", "40")
        yield world
    finally:
        statuses = world.stop()
    assert statuses["gateway"] == 0


@pytest.fixture
def own_world(tmp_path):
    worlds = []

    def make(settings=None):
        worlds.append(World(tmp_path, settings))
        return worlds[-1]

    yield make
    for made in worlds:
        made.stop()


# ---- REST ------------------------------------------------------------------------------------------------------------------------------


def webhooks_are_off(api):
    """Without a key to keep secrets with there are none, and each operation says so."""
    hook = {"url": "https://example.com/", "topic": "blocks"}
    for path, body in (("", hook), ("/1/enable", {}), ("/1/disable", {"why": "x"}), ("/1/remove", {"why": "x"}), ("/1/rotate", {}), ("/1/test", {}),
                       ("/1/replay", {"all": True})):
        assert api.operate("POST", "/admin/v1/webhooks" + path, body)[1]["code"] == "webhooks_off"
    for path in ("", "/1", "/1/deliveries", "/1/deliveries/1"):
        assert api.operate("GET", "/admin/v1/webhooks" + path)[1]["code"] == "webhooks_off"


def kafka_is_off(api):
    assert api.operate("POST", "/admin/v1/chains/dev/kafka/restart", {"why": "test"})[1]["code"] == "kafka_off"
    assert "kafka" not in api.operate("GET", "/admin/v1/status")[1]["chains"][0]


def watch_lists_are_kept(api):
    def ask(method, path, body=None):
        status, answer, headers = stack.http_json(api.base + path, method, body, {"X-Api-Key": stack.ADMIN_KEY})
        api.document.answer(method, path, status, answer, headers)
        api.asked.add(api.document.operation(method, path)["operationId"])
        assert status in (200, 201), answer
        return answer

    mine = ask("POST", "/v1/watchlists", {"chain": "dev", "name": "test"})["id"]
    assert mine in [item["id"] for item in ask("GET", "/v1/watchlists")["items"]]
    for verb, body, count in (("", {"addresses": ["0x" + "12" * 20]}, 1), ("/remove", {"addresses": ["0x" + "12" * 20]}, 0)):
        assert ask("POST", f"/v1/watchlists/{mine}/addresses{verb}", body)["changed"] == 1
        assert len(ask("GET", f"/v1/watchlists/{mine}/addresses")["items"]) == ask("GET", f"/v1/watchlists/{mine}")["addresses"] == count
    assert ask("POST", f"/v1/watchlists/{mine}/rename", {"name": "again"})["name"] == "again"
    assert ask("POST", f"/v1/watchlists/{mine}/delete")["deleted"]


def alerts_go_nowhere(api):
    assert api.operate("GET", "/admin/v1/alerts") == (200, {"destinations": [], "silences": []})
    assert api.operate("POST", "/admin/v1/alerts/test", {})[0] == 404
    silence = api.operate("POST", "/admin/v1/alerts/silences", {"pattern": "gap *", "seconds": 60, "why": "test"})[1]
    assert api.operate("POST", f"/admin/v1/alerts/silences/{silence['id']}/end", {}) == (200, {"count": 1})


def test_every_answer_is_one_that_the_document_promises(world):
    api = world.api()
    chains = api.ok("/v1/chains")["items"]
    assert [c["name"] for c in chains] == ["dev"]
    chain = api.ok(C)
    height = chain["watermark"]["height"]
    assert chain["lag_blocks"] == 0 and chain["gaps"] == 0
    latest = api.ok(f"{C}/blocks/latest")
    assert latest["height"] == height
    for block in api.ok(f"{C}/blocks?limit=30")["items"]:
        assert api.ok(f"{C}/blocks/{block['height']}") == api.ok(f"{C}/blocks/{block['hash']}") == block
        certificate = api.ok(f"{C}/blocks/{block['hash']}/certificate")
        assert certificate["proven"] and {c["name"] for c in certificate["checks"]} >= {"header_hash", "receipts_root"}
        entries = api.items(f"{C}/blocks/{block['height']}/entries", 7)
        assert len(entries) == block["entry_count"] and [e["ordinal"] for e in entries] == list(range(len(entries)))
        for hash in {e["transaction_hash"] for e in entries if e["transaction_hash"]}:
            transaction = api.ok(f"{C}/transactions/{hash}")
            assert transaction["entries"] == [e for e in entries if e["transaction_hash"] == hash]
            assert transaction["block"] == {"height": block["height"], "hash": block["hash"]}
    assert api.ok(f"{C}/entries?limit=2")["items"]
    for (address,) in world.sql("select '0x' || encode(address, 'hex') from weir.accounts order by id limit 40"):
        page = api.ok(f"{C}/accounts/{address}/balances")
        for row in page["items"]:
            assert row["height"] == page["height"] == height
            asset = api.ok(f"{C}/assets/{row['asset']}")
            assert asset["non_conserving"] == row["non_conserving"]
            if not row["non_conserving"]:
                last = api.items(f"{C}/accounts/{address}/entries?asset={row['asset']}", 50)[-1]
                assert last["balance"] == row["amount"]
    for path, body in [("pause", {}), ("resume", {}), ("reconcile", {}), ("refetch", {"from_height": 5})]:
        assert api.operate("POST", f"/admin/v1/chains/dev/{path}", body)[0] == 202
    for path in ("session", "status", "dlq", "dlq/groups", "dlq/counts", "dlq/jobs", "dlq/export?subscription=normalizer", "audit", "audit/verify",
                 "chains/dev/proof", "connections", "watchlists", "settings", "gaps", "incidents", "weights", "statistics"):
        assert api.operate("GET", f"/admin/v1/{path}")[0] == 200
    assert api.operate("POST", "/admin/v1/weights", {"topic": "raw", "subscription": "normalizer", "low": 2})[1]["low"] == 2
    assert api.operate("GET", "/admin/v1/dlq/normalizer/1-1/payload")[0] == 404
    assert api.operate("POST", "/admin/v1/dlq/replay", {"subscription": "normalizer"}) == (200, {"count": 0})
    assert api.operate("POST", "/admin/v1/dlq/purge", {"subscription": "normalizer", "why": "test", "all": True}) == (200, {"count": 0})
    assert api.operate("GET", "/admin/v1/dlq/normalizer/1-1")[0] == 404
    started = api.operate("POST", "/admin/v1/dlq/jobs", {"subscription": "normalizer"})[1]["job"]["id"]
    assert api.operate("GET", f"/admin/v1/dlq/jobs/{started}")[0] == 200
    for verb in ("pause", "resume", "cancel"):
        assert api.operate("POST", f"/admin/v1/dlq/jobs/{started}/{verb}", {})[0] == 200
    for verb, body in (("edit", {"body": "", "why": "test"}), ("skip", {"why": "test"})):
        assert api.operate("POST", f"/admin/v1/dlq/normalizer/1-1/{verb}", body)[0] == 404
    assert api.operate("POST", "/admin/v1/dlq/import", {"subscription": "normalizer", "lines": "{}"})[0] == 400
    assert api.operate("POST", "/admin/v1/chains/dev/rewind", {"to_height": height + 9, "reason": "test"})[0] == 409
    key = api.operate("POST", "/admin/v1/keys", {"name": "test", "scopes": ["read"]})[1]
    assert key["id"] in [k["id"] for k in api.operate("GET", "/admin/v1/keys")[1]["items"]]
    assert api.operate("POST", f"/admin/v1/keys/{key['id']}/revoke", {"why": "test"})[0] == 200
    token = api.operate("POST", "/admin/v1/tokens/revoked", {"jti": "a-token", "expires_in": 1, "why": "test"})
    assert token[0] == 201 and api.operate("GET", "/admin/v1/tokens/revoked")[0] == 200
    assert api.operate("POST", "/admin/v1/users", {"name": "test", "role": "viewer", "password": "a long password"})[0] == 201
    assert "test" in [u["name"] for u in api.operate("GET", "/admin/v1/users")[1]["items"]]
    assert api.operate("POST", "/admin/v1/users/test/password", {"password": "another password"})[0] == 200
    assert api.operate("POST", "/admin/v1/users/test/role", {"role": "operator"})[0] == 200
    assert api.operate("POST", "/admin/v1/users/test/disable", {"why": "test"})[0] == 200
    for path, body in (("login", {"user": "test", "password": "x"}), ("refresh", {"refresh_token": "x"}), ("logout", {"refresh_token": "x"})):
        assert api.operate("POST", f"/admin/v1/{path}", body, key="")[0] == 503, "no session_secret is set"
    api.ok("/openapi.json")
    assert api.ok("/asyncapi.json") == ASYNC
    watch_lists_are_kept(api)
    webhooks_are_off(api)
    kafka_is_off(api)
    alerts_go_nowhere(api)
    assert api.ok("/v1/poll?chain=dev&topic=blocks&height=1")["items"]
    for path in ("statistics", "statistics/history?step=hour", f"accounts/{address}/statistics", "assets/native/statistics"):
        api.ok(f"{C}/{path}")
    status, batch, headers = stack.http_json(world.suite.api + "/v1/batch", "POST", {"paths": [C]})
    api.document.answer("POST", "/v1/batch", status, batch, headers)
    api.asked.add("readBatch")
    assert batch["items"][0]["status"] == 200
    promised = {o["operationId"] for p in api.document.document["paths"].values() for o in p.values()} - {"openWebSocket", "openStream"}
    assert promised <= api.asked, promised - api.asked


def test_P1_balances_at_any_height_are_the_nodes(world):
    top = world.suite.chain("dev")["watermark"]["height"]
    oracle = subprocess.run(["node", stack.CHAIN_LAB / "oracle.mjs", "--rpc", world.node.rpc, "--gateway", world.suite.api, "--chain", "dev",
                             "--journal", world.folder / "journal.json", "--heights", f"0,2,{top // 2},{top - 1}"], capture_output=True, text=True, check=False)
    assert oracle.returncode == 0, oracle.stdout + oracle.stderr
    report = json.loads(oracle.stdout)
    assert report["checked"] > 1000 and report["mismatch_count"] == report["missing"] == report["duplicate"] == 0 and report["flagged_ok"]


def test_what_is_not_there_is_a_problem_with_its_name(world):
    api = world.api()
    top = api.ok(C)["watermark"]["height"]
    someone = world.sql("select '0x' || encode(address, 'hex') from weir.accounts limit 1")[0][0]
    for path, status, code in [
            ("/v1/chains/none", 404, "chain_unknown"), ("/v1", 404, "path_unknown"), (f"{C}/", 400, "bad_target"), ("/v1/../etc", 400, "bad_target"),
            (f"{C}/blocks/{top + 1}", 404, "block_unknown"), (f"{C}/blocks/0x12", 400, "invalid_block"), (f"{C}/blocks/-1", 400, "invalid_block"),
            (f"{C}/blocks/9999999999999999999", 400, "invalid_block"), (f"{C}/blocks/0x{'ab' * 32}", 404, "block_unknown"),
            (f"{C}/transactions/0x{'ab' * 32}", 404, "transaction_unknown"), (f"{C}/transactions/1", 400, "invalid_hash"),
            (f"{C}/accounts/0x12/balances", 400, "invalid_account"), (f"{C}/accounts/{someone}/balances?height={top + 1}", 404, "height_not_reached"),
            (f"{C}/accounts/{someone}/balances?height=-1", 400, "invalid_parameter"), (f"{C}/accounts/{someone}/balances?height=1&height=1", 400, "bad_target"),
            (f"{C}/accounts/{someone}/entries?asset=gold", 400, "invalid_asset"), (f"{C}/accounts/{someone}/entries?cursor=AAAA", 400, "invalid_cursor"),
            (f"{C}/assets/0x{'12' * 20}", 404, "asset_unknown"), (f"{C}/assets/x", 400, "invalid_asset"), (f"{C}/blocks?limit=1001", 400, "invalid_parameter"),
            (f"{C}/blocks?limit=x", 400, "invalid_parameter"), (f"{C}/blocks?page=1", 400, "invalid_parameter"), (f"{C}/blocks?cursor=%00", 400, "bad_target"),
            (f"{C}/blocks?cursor=%zz", 400, "bad_target"), (f"{C}/blocks?limit", 400, "bad_target"), (f"{C}/blocks/%ff", 400, "bad_target")]:
        api.problem(path, status, code)
    assert api.ok(f"{C}/accounts/0x{'12' * 20}/balances")["items"] == []
    status, body, headers = stack.http_json(world.suite.api + C, "POST", {})
    assert status == 405 and body["code"] == "method_not_allowed" and headers["Allow"] == "GET, HEAD"


def test_requests_that_can_be_read_two_ways_are_refused(world):
    path = f"GET {C} HTTP/1.1\r\n".encode()
    post = b"POST /admin/v1/chains/dev/resume HTTP/1.1\r\nHost: a\r\nX-Api-Key: " + stack.ADMIN_KEY.encode() + b"\r\n"
    good = path + b"Host: a\r\n\r\n"
    for data, status in [
            (path + b"\r\n", 400), (path + b"Host: a\r\nHost: b\r\n\r\n", 400), (path + b"Host: a b\r\n\r\n", 400), (path + b"Host:\r\n\r\n", 400),
            (path + b"Host: a\r\nX[]: b\r\n\r\n", 400), (path + b"Host: a\r\nX: a\x01b\r\n\r\n", 400),
            (f"GET {C}#x HTTP/1.1\r\nHost: a\r\n\r\n".encode(), 400), (f"GET {C}\\x HTTP/1.1\r\nHost: a\r\n\r\n".encode(), 400),
            (b"GET http://a/v1/chains HTTP/1.1\r\nHost: a\r\n\r\n", 200), (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            (b"BREW /v1/chains HTTP/1.1\r\nHost: a\r\n\r\n", 501), (b"DELETE /v1/chains HTTP/1.1\r\nHost: a\r\n\r\n", 405),
            (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414), (path + b"Host: a\r\nX: " + b"a" * 20000 + b"\r\n\r\n", 431),
            (path + b"Host: a\r\n" + b"X: a\r\n" * 80 + b"\r\n", 431), (b"GET /v1/chains HTTP/9.9\r\nHost: a\r\n\r\n", 505)]:
        codes, text = raw(world.suite.api, data)
        assert codes[:1] == [status], (data[:80], text[:300])
        assert "application/problem+json" in text or status == 200, text[:300]
    for data, statuses in [
            (post + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + good, {400}), (post + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", {400}),
            (post + b"Content-Length: +2\r\n\r\n{}", {400}), (post + b"Content-Length: -1\r\n\r\n{}", {400}), (post + b"Content-Length: 99999999999999999999\r\n\r\n", {400, 413}),
            (post + b"Content-Length: 99999999\r\n\r\n", {413}), (post + b"Transfer-Encoding: xchunked\r\n\r\n", {400}),
            (post + b"Transfer-Encoding: chunked, identity\r\n\r\n", {400}), (post + b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", {415}),
            (post + b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{]", {400}), (post + b"Content-Type: application/json\r\nContent-Length: 8\r\n\r\n{\"a\": 1}", {400})]:
        codes, text = raw(world.suite.admin, data)
        assert set(codes) <= statuses, (data[-60:], text[:300])
    codes, _ = raw(world.suite.api, good + good)
    assert codes == [200, 200]
    assert raw(world.suite.api, f"HEAD {C} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())[1].split("\r\n\r\n", 1)[1] == ""


def test_a_slow_head_is_cut_off(own_world):
    world = own_world({"gateway": {"request_timeout": "500ms"}})
    host, port = world.suite.api.split("//")[1].split(":")
    with socket.create_connection((host, int(port))) as s:
        s.settimeout(60)
        with pytest.raises((ConnectionError, BrokenPipeError)):
            for i in range(400):
                s.sendall(b"G" if i == 0 else b"x")
                time.sleep(0.02)
                if i > 50:
                    s.setblocking(False)
                    try:
                        if s.recv(100) == b"":
                            raise ConnectionResetError
                    except BlockingIOError:
                        pass
                    s.setblocking(True)


def test_a_cursor_does_not_lead_onto_another_branch(own_world):
    world = own_world()
    world.workload("--seed", "5", "--blocks", "25", "--reorgs", "0")
    api = world.api()
    first = api.ok(f"{C}/blocks?limit=2")
    account = api.ok(f"{C}/blocks/latest")["fee_recipient"]
    pages, cursor = [], None
    while True: # the account's newest entry that a page can end on
        page = api.ok(f"{C}/accounts/{account}/entries?limit=1" + (f"&cursor={cursor}" if cursor else ""))
        if page["next_cursor"] is None:
            break
        cursor = page["next_cursor"]
        pages.append((page["items"][0], cursor))
    reorg(world, 8)
    api.problem(f"{C}/blocks?limit=2&cursor={first['next_cursor']}", 410, "cursor_reorged")
    gone = [c for entry, c in pages if entry["height"] > first["items"][0]["height"] - 6]
    for c in gone:
        api.problem(f"{C}/accounts/{account}/entries?limit=1&cursor={c}", 410, "cursor_reorged")
    assert api.ok(f"{C}/blocks/{first['items'][0]['hash']}")["finality"] == "superseded"
    old = api.items(f"{C}/blocks/{first['items'][0]['hash']}/entries", 5)
    assert all(e["superseded"] for e in old) and {e["kind"] for e in old if e["ordinal"] >= len(old) // 2} <= {"reversal"}


def reorg(world, depth):
    world.node.call("anvil_reorg", depth, [])
    world.node.call("anvil_mine", "0x2")
    world.settle()


# ---- operators ---------------------------------------------------------------------------------------------------------------------------


def test_only_keys_open_the_admin_listener_and_roles_limit_them(world):
    api = world.api()
    for key, headers, status in [("", None, 401), ("wrong-key-0123456789", None, 401), (VIEWER, None, 200), (OPERATOR, None, 200),
                                 ("", {"X-Api-Key": VIEWER}, 200), (VIEWER, {"X-Api-Key": VIEWER}, 401), ("", {"Authorization": f"Basic {VIEWER}"}, 401)]:
        assert api.operate("GET", "/admin/v1/status", key=key, headers=headers)[0] == status
    assert api.operate("GET", "/admin/v1/nothing", key="")[0] == 401
    assert api.operate("GET", "/admin/v1/nothing")[0] == 404
    assert api.operate("POST", "/admin/v1/chains/dev/resume", {}, key=VIEWER)[0] == 403
    assert api.operate("POST", "/admin/v1/chains/dev/resume", {}, key=OPERATOR)[0] == 202
    assert api.operate("POST", "/admin/v1/chains/dev/rewind", {"to_height": 1, "reason": "no"}, key=OPERATOR)[0] == 403
    assert api.operate("POST", "/admin/v1/dlq/purge", {"subscription": "normalizer", "why": "x"}, key=OPERATOR)[0] == 403
    assert api.operate("POST", "/admin/v1/dlq/purge", {"subscription": "normalizer", "why": "x"})[0] == 400
    assert api.operate("POST", "/admin/v1/chains/dev/rewind", {"to_height": 1})[0] == 400
    assert api.operate("POST", "/admin/v1/chains/dev/refetch", {"from_height": 9, "to_height": 3})[0] == 400
    assert stack.http_json(world.suite.api + "/admin/v1/status")[0] == 404
    assert stack.http_json(world.suite.admin + "/v1/chains")[0] == 401


def test_actions_are_written_down(world):
    api = world.api()
    redis = redis_client.Redis(unix_socket_path=str(world.redis.socket))
    before = redis.xlen("weir:{dev}:audit")
    assert api.operate("POST", "/admin/v1/chains/dev/reconcile", {"asset": "native"}, key=OPERATOR)[0] == 202
    assert redis.xlen("weir:{dev}:audit") == before + 1
    _, fields = redis.xrevrange("weir:{dev}:audit", count=1)[0]
    assert (fields[b"action"], fields[b"who"]) == (b"reconcile", b"hands")


def test_pause_and_resume_reach_the_ledger(world):
    api = world.api()
    for action, paused in (("pause", True), ("resume", False)):
        assert api.operate("POST", f"/admin/v1/chains/dev/{action}", {})[0] == 202
        stack.wait_until(action, 60, lambda p=paused: api.ok(C)["paused"] == p)


# ---- WebSocket -----------------------------------------------------------------------------------------------------------------------------


def handshake(world, *headers, method="GET", version="HTTP/1.1"):
    lines = [f"{method} /v1/ws {version}", "Host: a", *headers, "", ""]
    return raw(world.suite.api, "\r\n".join(lines).encode())[0][:1]


def test_handshakes_are_strict(world):
    upgrade, key, version = ("Connection: Upgrade", "Upgrade: websocket"), "Sec-WebSocket-Key: " + "A" * 22 + "==", "Sec-WebSocket-Version: 13"
    assert handshake(world, *upgrade, key, version) == [101]
    for headers, status in [((), 426), ((*upgrade, key), 426), ((*upgrade, key, "Sec-WebSocket-Version: 8"), 426), ((*upgrade, version), 400),
                            ((*upgrade, version, "Sec-WebSocket-Key: AAAA"), 400), ((*upgrade, version, key, key), 400),
                            (("Upgrade: websocket", key, version), 426), (("Connection: Upgrade", key, version), 426)]:
        assert handshake(world, *headers) == [status], headers
    assert handshake(world, *upgrade, key, version, method="POST") == [405]


def test_requests_over_the_socket_are_answered_or_refused_with_words(world):
    api = world.api()
    stream = Stream(world.suite.api, api.document)
    for message in ["", "x", "[]", "{}", '{"id":1}', '{"id":1,"method":"x"}', '{"id":1.5,"method":"ping"}', '{"id":1,"id":1,"method":"ping"}',
                    '{"id":1,"method":"subscribe"}', '{"id":1,"method":"subscribe","params":{"topic":"x","chain":"dev"}}',
                    '{"id":1,"method":"subscribe","params":{"topic":"blocks","chain":"none"}}', '{"id":1,"method":"subscribe","params":{"topic":"accounts","chain":"dev"}}',
                    '{"id":1,"method":"subscribe","params":{"topic":"blocks","chain":"dev","account":"0x00"}}',
                    '{"id":1,"method":"subscribe","params":{"topic":"entries","chain":"dev","account":"0x00"}}',
                    '{"id":1,"method":"subscribe","params":{"topic":"blocks","chain":"dev","from":{}}}',
                    '{"id":1,"method":"subscribe","params":{"topic":"blocks","chain":"dev","from":{"offset":"x"}}}',
                    '{"id":1,"method":"subscribe","params":{"topic":"blocks","chain":"dev","from":{"offset":"99999999999"}}}',
                    '{"id":1,"method":"subscribe","params":{"topic":"blocks","chain":"dev","from":{"height":-1}}}',
                    '{"id":1,"method":"unsubscribe","params":{"subscription":"7"}}']:
        stream.ws.send(message)
        assert "error" in stream.receive(), message
    assert stream.ask("ping")["result"]["pong"] is True
    stream.ws.send(json.dumps({"id": "a\"b", "method": "ping"}))
    assert stream.receive()["id"] == "a\"b"
    ids = [stream.subscribe(topic="blocks", chain="dev")["subscription"] for _ in range(64)]
    assert len(set(ids)) == 64
    assert stream.ask("subscribe", {"topic": "blocks", "chain": "dev"})["error"]["code"] == "too_many_subscriptions"
    assert stream.ask("unsubscribe", {"subscription": ids[0]})["result"] == {"unsubscribed": True}
    stream.subscribe(topic="blocks", chain="dev")
    stream.close()


@pytest.mark.parametrize("message,code", [(b"\x82\x80abcd", 1003), (b"\x81\xfe\xff\xff", None), (b"\x81\x05hello", 1002), (b"\xc1\x80abcd", 1002),
                                          (b"\x81\xff" + struct.pack(">Q", 1 << 20) + b"abcd" + b"x" * 1000, 1009), (b"\x81\x81\x00\x00\x00\x00\xff", 1007)])
def test_frames_that_break_the_protocol_end_the_connection(world, message, code):
    ws = websocket.create_connection(world.suite.api.replace("http", "ws") + "/v1/ws", timeout=60 if code else 2)
    ws.sock.sendall(message)
    try:
        opcode, data = ws.recv_data()
        assert code is not None and opcode == 8 and struct.unpack(">H", data[:2])[0] == code
    except websocket.WebSocketTimeoutException:
        assert code is None  # an unfinished frame: it waits
    ws.close(timeout=1)


def test_every_topic_tells_the_ledger_and_its_pushes_are_as_documented(own_world):
    world = own_world()
    api = world.api()
    streams = {}
    for topic in ("blocks", "entries", "chain_status"):
        streams[topic] = Books([world.suite.api], 1, None, topic=topic, chain="dev", laggard="resume")
        streams[topic].kept = [] # judged in the end: a client that is slower than the chain would be told so
        streams[topic].connect()
    start = world.suite.chain("dev")["watermark"]["height"]
    busy = world.workload("--seed", "8", "--blocks", "15", "--reorgs", "1", "--pace-ms", "60", wait=False)
    read_together(streams.values(), lambda: busy.child.poll() is not None)
    assert busy.child.wait() == 0, busy.tail()
    world.settle()
    account = world.sql("select '0x' || encode(a.address, 'hex') from weir.accounts a join weir.balances b on b.account = a.id group by 1 order by count(*) desc limit 1")[0][0]
    streams["accounts"] = Books([world.suite.api], 1, api.document, topic="accounts", chain="dev", account=account, **{"from": {"height": 0}})
    streams["accounts"].connect()
    canonical, ledger = {b["hash"] for b in api.items(f"{C}/blocks", 100) if b["height"] > start}, world.ledger_ids(api)
    above = {k for k, e in ledger.items() if e["height"] > start}
    now = {row["asset"]: row["amount"] for row in api.ok(f"{C}/accounts/{account}/balances")["items"] if not row["non_conserving"]}

    def hashes():
        return {e["hash"] for e in streams["blocks"].held.values()}

    def amounts():
        last = {}
        for event in streams["accounts"].held.values():
            for row in event["balances"]:
                if event["height"] >= last.get(row["asset"], (0, ""))[0]:
                    last[row["asset"]] = (event["height"], row["amount"])
        return {a: last[a][1] for a in now if a in last}

    read_together(streams.values(), lambda: hashes() == canonical and above <= set(streams["entries"].held) <= set(ledger) and amounts() == now)
    assert hashes() == canonical and all(books.kept for topic, books in streams.items() if topic != "accounts")
    for push in (push for books in streams.values() for push in books.kept or []):
        api.document.named(push, "WsPush")
    assert streams["blocks"].retractions > 0 and streams["entries"].retractions > 0
    assert set(streams["entries"].held) <= set(ledger) and above <= set(streams["entries"].held)
    assert amounts() == now


def test_P4_P7_a_client_that_reconnects_at_random_through_reorgs_holds_exactly_the_ledger(own_world):
    world = own_world()
    api = world.api()
    bases = [world.suite.api, world.second_gateway()]
    busy = world.workload("--seed", "31", "--blocks", "70", "--reorgs", "9", "--pace-ms", "90", wait=False)
    account = "0x" + "f39fd6e51aad88f6f4ce6ab8827279cfffb92266"
    clients = [Books(bases, 1, None, topic="entries", chain="dev", **{"from": {"height": 0}}),
               Books(bases, 2, None, odds=0.05, topic="entries", chain="dev", account=account, **{"from": {"height": 0}}),
               Books(bases, 3, None, odds=0.05, topic="entries", chain="dev", account=account, asset="native", **{"from": {"height": 0}}),
               Books(bases, 4, None, odds=0.1, topic="blocks", chain="dev", **{"from": {"height": 0}})]
    wanted, failed = {}, [] # what each is to hold, once the chain has ended

    def over(books):
        return books in wanted and set(books.held) == wanted[books] and books.reconnects > 5

    def run(books):
        try:
            books.follow(over)
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=run, args=(books,)) for books in clients]
    for thread in threads:
        thread.start()
    assert busy.child.wait(240) == 0, busy.tail()
    world.settle()
    everything, blocks = world.ledger_ids(api), {b["id"] for b in api.items(f"{C}/blocks", 1000)}
    mine = {k for k, e in everything.items() if e["account"] == account}
    assert mine
    wanted.update(zip(clients, (set(everything), mine, {k for k in mine if everything[k]["asset"] == "native"}, blocks)))
    for thread in threads:
        thread.join(300)
    if failed:
        raise failed[0]
    assert [set(c.held) == wanted[c] for c in clients] == [True] * 4
    for key, entry in clients[0].held.items():
        assert {k: entry[k] for k in ("height", "ordinal", "account", "asset", "delta", "kind")} == {
            k: everything[key][k] for k in ("height", "ordinal", "account", "asset", "delta", "kind")}
    assert [c.reconnects > 5 for c in clients] == [True] * 4, [c.reconnects for c in clients]
    assert clients[0].retractions > 0 and clients[3].retractions > 0


def test_P7_away_over_a_reorg_and_back_on_another_instance(own_world):
    world = own_world()
    world.workload("--seed", "9", "--blocks", "20", "--reorgs", "0")
    other = world.second_gateway()
    top = world.suite.chain("dev")["watermark"]["height"]
    books = Books([world.suite.api], 1, None, topic="entries", chain="dev", **{"from": {"height": top - 3}})
    books.connect()
    above = {k for k, e in world.ledger_ids(world.api()).items() if e["height"] >= top - 3}
    books.read_until(lambda: set(books.held) == above)
    assert set(books.held) == above
    assert {e["height"] for e in books.held.values()} <= set(range(top - 3, top + 1)) and books.held
    given = set(books.held)
    books.stream.close()
    reorg(world, 8)
    books.bases = [other]
    books.connect()
    books.read_until(lambda: not given & set(books.held))  # falls over ids that it was never given: those of the blocks below top - 3
    assert books.retractions > 0 and not given & set(books.held)


def test_a_client_that_does_not_read_is_told_where_to_resume(own_world):
    world = own_world({"gateway": {"websocket_queue": "64KiB"}})
    world.workload("--seed", "9", "--blocks", "5", "--reorgs", "0")
    stream = Stream(world.suite.api)
    stream.ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    stream.ws.settimeout(90)  # the kernel probes a window that was shut for long only now and then
    stream.subscribe(topic="entries", chain="dev")
    busy = world.workload("--seed", "10", "--blocks", "150", "--reorgs", "0", wait=False)
    stack.wait_until("the slow client dropped", 150, lambda: world.suite.metric("gateway", "weir_gateway_websocket_closed_total", reason="slow") == 1)
    last, reason = None, None
    while reason is None:
        opcode, data = stream.ws.recv_data(control_frame=True)
        if opcode == 8:
            assert struct.unpack(">H", data[:2])[0] == 1013
            reason = data[2:].decode()
        elif opcode == 1:
            last = json.loads(data)["offset"]
    assert reason == f"too slow: resume from offset {last}"
    assert busy.child.wait(240) == 0, busy.tail()


def test_a_reader_slower_than_history_gets_all_of_it(own_world):
    """Catching up goes at the client's pace and never overflows its queue; that it takes what it is given is a sign of life."""
    world = own_world({"gateway": {"websocket_queue": "64KiB"}})
    world.workload("--seed", "9", "--blocks", "60", "--reorgs", "1")
    books = Books([world.suite.api], 1, None, topic="entries", chain="dev", **{"from": {"height": 0}})
    books.connect()
    begun, api = time.monotonic(), world.api()
    heard_ms = lambda: api.operate("GET", "/admin/v1/connections")[1]["items"][0]["heard_ms_ago"]  # noqa: E731
    stack.wait_until("nothing heard of a client that holds others up", 60, lambda: heard_ms() > 2000 and
                     api.operate("GET", "/admin/v1/connections")[1]["items"][0]["state"] == "slow")
    all_of_it = set(world.ledger_ids(api))

    def has_all():
        try:
            books.take(1.0)
        except websocket.WebSocketTimeoutException:
            pass
        return set(books.held) == all_of_it
    stack.wait_until("the client to have all", 60, has_all, every=0)
    assert books.reconnects == 1
    assert heard_ms() < 1000 * (time.monotonic() - begun) - 1500  # it has said nothing since it began


# ---- what fails ----------------------------------------------------------------------------------------------------------------------------


def test_P6_stores_go_and_come_back_and_nothing_is_lost(own_world):
    world = own_world()
    api = world.api()
    world.workload("--seed", "4", "--blocks", "10", "--reorgs", "0")
    books = Books([world.suite.api], 1, None, topic="entries", chain="dev", **{"from": {"height": 0}})
    books.connect()
    busy = world.workload("--seed", "14", "--blocks", "80", "--reorgs", "4", "--pace-ms", "150", wait=False)
    for fault in (lambda: (world.redis.kill(), time.sleep(1.5), world.redis.start()), lambda: world.redis.command("FLUSHALL"),
                  lambda: world.postgres.restart(signal.SIGINT), lambda: world.postgres.restart(signal.SIGQUIT)):
        fault()
        until = time.monotonic() + 2
        while time.monotonic() < until:
            try:
                books.take(0.2)
            except websocket.WebSocketTimeoutException:
                pass
    world.postgres.process.stop(20, signal.SIGINT)
    status, body, headers = api.get(C)
    assert (status, body["code"]) == (503, "dependency_unavailable") and int(headers["Retry-After"]) >= 1
    assert api.operate("GET", "/admin/v1/status")[1]["postgres"]["ok"] is False
    stack.wait_until("readiness says no", 60, lambda: not world.suite.ready("gateway"))
    world.postgres.start()
    stack.wait_until("readiness says yes", 60, lambda: world.suite.ready("gateway"))
    settling = threading.Thread(target=lambda: (busy.child.wait(), world.settle()))
    settling.start()
    while settling.is_alive(): # who reads nothing for a minute looks dead
        with contextlib.suppress(websocket.WebSocketTimeoutException):
            books.take(0.2)
    assert busy.child.wait() == 0, busy.tail()
    ledger = set(world.ledger_ids(api))
    books.read_until(lambda: set(books.held) == ledger)
    assert set(books.held) == ledger
    assert world.suite.processes["gateway"].alive() and books.reconnects == 1


def test_on_sigterm_clients_are_told_to_go_elsewhere(own_world):
    world = own_world()
    stream = Stream(world.suite.api)
    stream.subscribe(topic="blocks", chain="dev")
    gateway = world.suite.processes["gateway"]
    gateway.send(signal.SIGTERM)
    while True:
        opcode, data = stream.ws.recv_data(control_frame=True)
        if opcode == 8:
            break
    assert struct.unpack(">H", data[:2])[0] == 1001 and re.search(rb"resume .* in \d+ ms$", data[2:])
    assert gateway.wait(60) == 0


@pytest.mark.parametrize("change,status,words", [
    ({"gateway": {"listen": "127.0.0.1:BUSY"}}, 71, "gateway.listen"), ({"gateway": {"admin_listen": "127.0.0.1:BUSY"}}, 71, "gateway.admin_listen"),
    ({"postgres": {"url": "host=/nowhere dbname=weir"}}, 69, "PostgreSQL"), ({"bus": {"redis_url": "nonsense"}}, 78, "redis"),
    ({"gateway": {"keys": [{"name": "a", "key": "short", "role": "admin"}]}}, 78, "gateway.keys")])
def test_bad_surroundings_are_named(tmp_path, world, change, status, words):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        text = json.dumps(change).replace("BUSY", str(taken.getsockname()[1]))
        suite = stack.Suite(tmp_path / "other", world.redis.url, world.postgres.url, [stack.dev_chain(world.node)], json.loads(text))
        done = subprocess.run([suite.bin / "weir-gateway", "--config", suite.config], capture_output=True, text=True, timeout=60, check=False,
                              env=dict(os.environ))
    assert done.returncode == status and words in done.stderr, (done.returncode, done.stderr[-800:])
