"""What the dashboard stands on: its files on the admin listener, the ledger's reads beside them, and the endpoints that operators look at."""
import json
import os
import pathlib
import re
import sys
import urllib.parse

import pytest
import redis as redis_client

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "stack"), str(pathlib.Path(__file__).parent)]
import stack  # noqa: E402
import wire  # noqa: E402
from gateway_client import Stream, raw  # noqa: E402
from test_gateway import OPERATOR, VIEWER, World  # noqa: E402

SECRET = "not-for-anyone-0123456789"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder as a build leaves it, and what must not come out of it."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "index.html").write_text("<!doctype html><title>dashboard</title>")
    (folder / "assets").mkdir()
    (folder / "assets" / "app-1234.js").write_text("console.log(1)")
    (folder / "assets" / "app-1234.css").write_text("body{}")
    (folder / "assets" / "big-5678.js").write_text("let x = 1;" * 500)
    (folder / "assets" / "left.map").write_text(SECRET)
    (folder / ".hidden.json").write_text(SECRET)
    (folder.parent / "outside.json").write_text(SECRET)
    os.symlink(folder.parent / "outside.json", folder / "link.json")
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory, site):
    world = World(tmp_path_factory.mktemp("admin"), {"gateway": {"dashboard_dir": str(site)}, "alerts": {"webhook_url": "http://127.0.0.1:9/" + SECRET}})
    try:
        world.workload("--seed", "3", "--blocks", "20", "--reorgs", "0", "--pace-ms", "10")
        world.checked()
        yield world
    finally:
        statuses = world.stop()
    assert statuses["gateway"] == 0


def get(world, path, *headers, method="GET"):
    """(status, headers, body) of a file, without a key."""
    text = raw(world.suite.admin, "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", "Connection: close", *headers, "", ""]).encode())[1]
    head, _, body = text.partition("\r\n\r\n")
    lines = head.split("\r\n")
    return int(lines[0].split()[1]), {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}, body


def test_the_dashboards_files_are_served_without_a_key(world):
    status, headers, body = get(world, "/")
    assert status == 200 and "<title>dashboard" in body and headers["content-type"] == "text/html; charset=utf-8"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy and "http" not in policy
    assert headers["cache-control"] == "no-cache" and headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
    for page in ("/ui", "/ui/chains/dev/blocks/12", "/ui/dead-letters?chain=dev", "/index.html"):
        assert get(world, page)[2] == body, "each page is the one document"
    for path, kind in (("/assets/app-1234.js", "text/javascript; charset=utf-8"), ("/assets/app-1234.css", "text/css; charset=utf-8")):
        status, headers, _ = get(world, path)
        assert (status, headers["content-type"], headers["cache-control"]) == (200, kind, "public, max-age=31536000, immutable")
        status, again = get(world, path, f"If-None-Match: {headers['etag']}")[:2]
        assert status == 304 and again["content-security-policy"] == headers["content-security-policy"], "it counts for the page that the browser has"
        assert get(world, path, 'If-None-Match: "other"')[0] == 200
    assert get(world, "/assets/app-1234.js", method="HEAD")[2] == ""
    assert get(world, "/assets/app-1234.js", method="POST")[0] in (401, 411)


def test_files_are_coded_once_at_start(world):
    plain = get(world, "/assets/big-5678.js")
    assert plain[0] == 200 and plain[1]["vary"] == "Accept-Encoding" and "content-encoding" not in plain[1] and len(plain[2]) == 5000
    tags = {plain[1]["etag"]}
    for coding in ("gzip", "zstd"):
        status, headers, _ = get(world, "/assets/big-5678.js", f"Accept-Encoding: {coding}")
        assert status == 200 and headers["content-encoding"] == coding and int(headers["content-length"]) < 300
        assert headers["content-type"] == plain[1]["content-type"] and "immutable" in headers["cache-control"]
        assert get(world, "/assets/big-5678.js", f"If-None-Match: {headers['etag']}")[0] == 304
        tags.add(headers["etag"])
    assert len(tags) == 3
    assert "content-encoding" not in get(world, "/assets/app-1234.css", "Accept-Encoding: gzip")[1] # too small to gain


def test_nothing_but_the_builds_files_comes_out(world, site):
    (site / "assets" / "late.js").write_text(SECRET)
    for path in ("/assets/late.js", "/assets/left.map", "/.hidden.json", "/link.json", "/assets", "/assets/none.js", "/ui2", "/outside.json",
                 "/assets/../../outside.json", "/assets/%2e%2e/%2e%2e/outside.json", "/assets/..%2f..%2foutside.json", "//etc/passwd",
                 "/assets/%2fetc%2fpasswd", f"/{site}/index.html"):
        status, headers, body = get(world, path)
        assert status in (400, 401) and SECRET not in body and headers["content-type"] == "application/problem+json", (path, status)


@pytest.mark.parametrize("make,words", [
    (lambda d: d, "index.html"), (lambda d: d / "absent", "absent"),
    (lambda d: (d / "index.html").write_text("x") and (d / "big.js").write_bytes(b"x" * 3_000_000) and d, "too much")])
def test_a_folder_that_is_no_dashboard_ends_the_start(world, tmp_path, make, words):
    process = stack.Process("gateway3", [world.suite.bin / "weir-gateway", "--config", world.suite.config], tmp_path / "log", env={
        "WEIR_GATEWAY_DASHBOARD_DIR": str(make(tmp_path)), "WEIR_GATEWAY_LISTEN": "127.0.0.1:0", "WEIR_GATEWAY_ADMIN_LISTEN": "127.0.0.1:0",
        "WEIR_OPS_LISTEN_GATEWAY": "127.0.0.1:0"}).start()
    assert process.wait(60) == 78 and "gateway.dashboard_dir" in process.tail(40) and words in process.tail(40), process.tail(40)


def test_operators_read_the_ledger_where_they_operate(world):
    api = world.api()
    for path in ("/v1/chains", "/v1/chains/dev", "/v1/chains/dev/blocks?limit=2", "/v1/chains/dev/blocks/latest/certificate"):
        assert stack.http_json(world.suite.admin + path)[0] == 401
        assert api.operate("GET", path, key=VIEWER) == (200, api.ok(path))
    assert stack.http_json(world.suite.api + "/admin/v1/session")[0] == 404
    assert stack.http_json(world.suite.api + "/ui")[0] == 404
    for key, name, role in ((VIEWER, "eyes", "viewer"), (OPERATOR, "hands", "operator"), (stack.ADMIN_KEY, "local", "admin")):
        assert api.operate("GET", "/admin/v1/session", key=key) == (200, {"name": name, "role": role})
    chain = api.ok("/v1/chains/dev")
    proof = api.operate("GET", "/admin/v1/chains/dev/proof")[1]
    assert proof["to_height"] == chain["watermark"]["height"] and proof["blocks"] == proof["proven"] == min(64, chain["watermark"]["height"] + 1)
    assert proof["checks_failed"] == 0 < proof["checks_passed"] and proof["balances_changed"] > 0

    def compared():
        now = api.operate("GET", "/admin/v1/chains/dev/proof")[1]
        return now["balances_compared"] > now["balances_changed"] // 2
    stack.wait_until("balances are compared", 60, compared)


def test_settings_tell_no_secret(world):
    items = {i["path"]: i for i in world.api().operate("GET", "/admin/v1/settings")[1]["items"]}
    text = json.dumps(items)
    for secret in (SECRET, stack.ADMIN_KEY, VIEWER, world.postgres.url):
        assert secret not in text
    assert items["gateway.keys[0].key"]["value"] == items["postgres.url"]["value"] == items["alerts.webhook_url"]["value"] == "(set)"
    assert (items["log.level"]["value"], items["log.level"]["default"], items["log.level"]["changed"]) == ("debug", "info", True)
    assert (items["gateway.request_timeout"]["value"], items["gateway.request_timeout"]["changed"]) == ("10s", False)
    assert items["gateway.max_body"]["value"] == "1MiB" and items["chains[0].name"]["value"] == "dev"
    assert items["chains[0].endpoints[0].url"]["value"].startswith("http://127.0.0.1:")


def test_connections_are_listed_with_what_they_follow(world):
    api = world.api()
    stream = Stream(world.suite.api)
    account = api.ok("/v1/chains/dev/blocks/latest")["fee_recipient"]
    stream.subscribe(topic="entries", chain="dev", account=account)
    stream.subscribe(topic="blocks", chain="dev")
    page = api.operate("GET", "/admin/v1/connections")[1]
    assert (page["connections"], page["subscriptions"]) == (1, 2)
    connection = page["items"][0]
    assert connection["remote"] == "127.0.0.1" and connection["state"] == "open" and connection["who"] is None
    assert {(s["topic"], s["account"]) for s in connection["subscriptions"]} == {("entries", account), ("blocks", None)}
    stream.close()
    stack.wait_until("it is gone", 60, lambda: api.operate("GET", "/admin/v1/connections")[1]["items"] == [])


def test_a_connection_is_found_among_all_of_them_page_by_page(world):
    api = world.api()
    account = api.ok("/v1/chains/dev/blocks/latest")["fee_recipient"]
    oldest = Stream(world.suite.api)
    oldest.subscribe(topic="entries", chain="dev", account=account)
    others = [Stream(world.suite.api) for _ in range(4)]
    for other in others:
        other.subscribe(topic="blocks", chain="dev")
    page = lambda **query: api.operate("GET", "/admin/v1/connections?" + urllib.parse.urlencode(query))  # noqa: E731
    numbers, cursor = [], {}
    for n in (2, 2, 1):
        status, answer = page(limit=2, **cursor)
        assert status == 200 and len(answer["items"]) == n and answer["connections"] == 5
        numbers += [c["connection"] for c in answer["items"]]
        cursor = {"cursor": answer["next_cursor"]}
    assert answer["next_cursor"] is None and numbers == sorted(set(numbers), reverse=True) and len(numbers) == 5
    # Words are searched for in all of them, whatever the limit, in any letter case.
    for words in (account, account.upper().replace("0X", ""), "entries"):
        found = page(limit=1, find=words)[1]
        assert [c["connection"] for c in found["items"]] == [numbers[-1]] and found["next_cursor"] is None, words
    blocks = page(limit=3, find="Blocks")[1]
    assert [c["connection"] for c in blocks["items"]] == numbers[:3] and len(page(limit=3, find="Blocks", cursor=blocks["next_cursor"])[1]["items"]) == 1
    assert page(find="nobody at all")[1]["items"] == []
    status, problem = page(limit=3, find="entries", cursor=blocks["next_cursor"])
    assert (status, problem["code"]) == (400, "invalid_cursor")
    for stream in (oldest, *others):
        stream.close()
    stack.wait_until("they are gone", 60, lambda: page()[1]["items"] == [])


def test_the_status_counts_what_each_stage_did(world):
    api = world.api()
    stages = stack.wait_until("all is published", 60, lambda: (c := api.operate("GET", "/admin/v1/status")[1]["chains"][0])["stages"]["published"] == int(re.match(r"\d+", c["offset"])[0])
                              and c["stages"])
    assert stages["fetched"] >= stages["normalized"] >= api.ok("/v1/chains/dev")["watermark"]["height"] > 0
    assert stages["published"] > 0


def test_followed_watch_lists_are_told_with_their_memory_and_who_follows(world):
    api = world.api()
    status, made = api.operate("POST", "/v1/watchlists", {"chain": "dev", "name": "hot wallets"})
    assert status == 201 and made["owner"] == "local"
    addresses = [f"0x{n:040x}" for n in range(1, 1001)]
    assert api.operate("POST", f"/v1/watchlists/{made['id']}/addresses", {"addresses": addresses})[1]["changed"] == 1000
    none = api.operate("GET", "/admin/v1/watchlists", key=VIEWER)[1]
    assert (none["items"], none["followed"], none["bytes"]) == ([], 0, 0) and none["bytes_max"] > 0
    stream = Stream(world.suite.api, header=[f"X-Api-Key: {stack.ADMIN_KEY}"])
    stream.subscribe(topic="watchlist", chain="dev", watchlist=made["id"])
    page = stack.wait_until("it is in memory", 60, lambda: (p := api.operate("GET", "/admin/v1/watchlists")[1])["items"] and p["items"][0]["state"] == "memory" and p)
    assert page["followed"] == 1 and page["items"][0]["id"] == made["id"] and page["items"][0]["addresses"] == 1000
    assert 24 * 1000 <= page["items"][0]["bytes"] == page["bytes"] <= page["bytes_max"]
    connection = next(c for c in api.operate("GET", "/admin/v1/connections")[1]["items"] if c["who"])
    assert connection["who"] == "local" and connection["subscriptions"][0]["watchlist"] == made["id"]
    stream.close()
    stack.wait_until("nobody follows it", 60, lambda: api.operate("GET", "/admin/v1/watchlists")[1]["followed"] == 0)
    assert api.operate("POST", f"/v1/watchlists/{made['id']}/delete", {})[0] == 200


def test_dead_letters_are_clustered_and_decoded(world):
    api, redis = world.api(), redis_client.Redis(unix_socket_path=str(world.redis.socket))
    generation = int(redis.hget("weir:{dev}:raw:meta", "gen"))
    for body in (wire.encode([(1, "elsewhere1"), (3, 77)]), wire.encode([(1, "elsewhere2"), (3, 78)]), b"\xff\xff\xff"):
        sequence = redis.hincrby("weir:{dev}:raw:meta", "hw:low", 1)
        redis.xadd("weir:{dev}:raw:low", {"d": wire.framed(2, body, b"k")}, id=f"{generation}-{sequence}")
    letters = stack.wait_until("three dead letters", 60, lambda: (i := api.operate("GET", "/admin/v1/dlq")[1]["items"]) and len(i) == 3 and i)
    groups = api.operate("GET", "/admin/v1/dlq/groups")[1]
    assert groups["complete"] and groups["scanned"] == 3 == sum(g["count"] for g in groups["items"])
    for group in groups["items"]:
        members = [i for i in letters if re.sub(r"\w*\d\w*", "#", i["error"]) == group["pattern"]]
        assert len(members) == group["count"] and group["newest_id"] in [m["id"] for m in members] and group["error"] in [m["error"] for m in members]
        of_pattern = api.operate("GET", f"/admin/v1/dlq?pattern={urllib.parse.quote(group['pattern'])}&limit=1")[1]
        assert of_pattern["items"] == members[:1] and (of_pattern["next_cursor"] is not None) == (len(members) > 1)
    assert sorted(g["count"] for g in groups["items"]) == [1, 2], "one cause each, whatever the numbers in its words"
    only = api.operate("GET", "/admin/v1/dlq/groups?subscription=normalizer&type=raw_block_backfill&reason=invalid")[1]
    assert only["items"] == groups["items"]
    assert api.operate("GET", "/admin/v1/dlq/groups?reason=timeout")[1]["items"] == []
    payloads = [api.operate("GET", f"/admin/v1/dlq/normalizer/{i['id']}/payload?chain=dev")[1] for i in letters]
    assert [p["decoded"] and p["decoded"]["height"] for p in payloads] == [77, 78, None]
    assert payloads[0]["message"] == "weir.v1.RawBlock" and payloads[0]["problem"] is None and payloads[2]["problem"]
    assert bytes.fromhex(payloads[0]["raw_hex"]).startswith(b"WF") and len(payloads[0]["raw_hex"]) == 2 * payloads[0]["raw_bytes"]
