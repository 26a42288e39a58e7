"""REST as clients rely on it: cursors over reorgs and instances, validators, compression, repeated requests."""
import base64
import ctypes
import gzip
import hashlib
import json
import pathlib
import re
import struct
import sys
import threading
import urllib.error
import urllib.request

import pytest
import redis as redis_client

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "stack"), str(pathlib.Path(__file__).parent)]
import stack  # noqa: E402
from gateway_client import Api  # noqa: E402
from test_gateway import C, OPERATOR, World, reorg  # noqa: E402


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("rest"))
    try:
        world.workload("--seed", "8", "--blocks", "40", "--reorgs", "0", "--pace-ms", "10")
        world.node.call("anvil_mine", "0x50") # so that something is final
        world.settle()
        yield world
    finally:
        statuses = world.stop()
    assert statuses["gateway"] == 0


@pytest.fixture(scope="module")
def changing(tmp_path_factory):
    """A world whose chain the tests reorganize."""
    world = World(tmp_path_factory.mktemp("reorgs"))
    try:
        world.workload("--seed", "5", "--blocks", "18", "--reorgs", "0", "--pace-ms", "10")
        yield world
    finally:
        world.stop()


def miner(api):
    return api.ok(f"{C}/blocks/latest")["fee_recipient"]


def flipped(cursor, bit):
    data = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    data[bit // 8] ^= 1 << bit % 8
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


# ---- cursors -----------------------------------------------------------------------------------------------------------------------------


def test_cursors_are_signed_and_belong_to_one_list(world):
    api = world.api()
    account = miner(api)
    entries = f"{C}/accounts/{account}/entries"
    cursor = api.ok(f"{entries}?limit=1")["next_cursor"]
    for bit in range(0, len(cursor) * 6 // 8 * 8, 5):
        api.problem(f"{entries}?cursor={flipped(cursor, bit)}", 400, "invalid_cursor")
    assert api.ok(f"{entries}?cursor={cursor}&limit=3")["items"] == api.ok(f"{entries}?limit=4")["items"][1:]
    assert api.ok(f"{C}/accounts/{account.upper().replace('X', 'x')}/entries?limit=2&cursor={cursor}")["items"]
    for other in (f"{C}/blocks", f"{C}/blocks/1/entries", f"{C}/accounts/0x{'12' * 20}/entries", f"{entries}?from=1", f"{entries}?asset=0x{'12' * 20}"):
        api.problem(f"{other}{'&' if '?' in other else '?'}cursor={cursor}", 400, "invalid_cursor")
    blocks = api.ok(f"{C}/blocks?limit=3")
    rest = api.ok(f"{C}/blocks?limit=1000&cursor={blocks['next_cursor']}")
    assert blocks["items"] + rest["items"] == api.ok(f"{C}/blocks?limit=1000")["items"]


def test_a_chains_entries_by_asset_kind_height_and_time(world):
    api = world.api()
    path = f"{C}/entries"
    blocks = sorted(api.items(f"{C}/blocks", 1000), key=lambda b: b["height"])
    want = [e for b in blocks for e in api.items(f"{C}/blocks/{b['height']}/entries", 1000) if e["kind"] not in ("opening", "genesis")]
    assert api.items(path, 1000) == api.items(path, 7) == want
    tokens = [e for e in want if e["asset"] != "native"]
    asset, kind = tokens[0]["asset"], tokens[-1]["kind"]
    assert api.items(f"{path}?asset={asset}", 3) == [e for e in want if e["asset"] == asset]
    assert api.items(f"{path}?kind={kind}", 3) == [e for e in want if e["kind"] == kind]
    assert api.items(f"{path}?asset={asset}&kind=fee") == api.items(f"{path}?asset=0x{'12' * 20}") == api.items(f"{path}?from=900000") == []
    first, last = blocks[len(blocks) // 4], blocks[len(blocks) // 2]
    some = [e for e in want if first["height"] <= e["height"] <= last["height"]]
    assert some and api.items(f"{path}?from={first['height']}&to={last['height']}", 5) == some
    assert api.items(f"{path}?since={first['timestamp']}&until={last['timestamp']}", 1000) == [
        e for b in blocks if first["timestamp"] <= b["timestamp"] <= last["timestamp"] for e in want if e["height"] == b["height"]]
    api.problem(f"{path}?kind=nothing", 400, "invalid_kind")
    api.problem(f"{path}?asset=nothing", 400, "invalid_asset")
    api.problem(f"{path}?cursor={api.ok(f'{path}?limit=1')['next_cursor']}&kind=fee", 400, "invalid_cursor")


@pytest.mark.parametrize("count, entries, pages", [(5, 26000, 3), (20010, 0, 3)])
def test_a_page_of_a_chains_entries_looks_at_so_many_and_tells_where_to_go_on(world, count, entries, pages):
    api = world.api()
    block = next(b for b in api.items(f"{C}/blocks", 1000) if b["entry_count"] > 0)
    low = 1000000 + count # in the same partition, above all that the reconciler knows; each time another path, for answers are kept
    try:
        world.sql(f"""insert into weir.blocks (chain, height, branch, hash, parent_hash, timestamp, canonical, transaction_count, entry_count, gas_used, endpoints)
            select chain, n, 0, decode(lpad(to_hex(n), 64, '0'), 'hex'), parent_hash, timestamp, true, 0, {entries}, 0, endpoints
            from weir.blocks, generate_series({low}, {low + count - 1}) n where height = {block['height']} and canonical returning 1""")
        copied = world.sql(f"""insert into weir.entries select chain, n, 0, ordinal, -1, kind, false, asset, account, delta, balance, path
            from weir.entries, unnest(array[{low}, {low + count - 1}]) n where height = {block['height']} and ordinal = 0 and kind < 14 returning 1""")
        found, cursors, cursor = [], [], None
        while True:
            page = api.ok(f"{C}/entries?from={low}&limit=1000" + (f"&cursor={cursor}" if cursor else ""))
            found += page["items"]
            cursors.append(cursor)
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert len(cursors) == pages and [e["height"] for e in found] == [low, low + count - 1] and len(copied) == 2
        assert api.items(f"{C}/entries?from={low}", 1) == found
    finally:
        world.sql(f"delete from weir.entries where height >= {low} returning 1")
        world.sql(f"delete from weir.blocks where height >= {low} returning 1")


def test_gateways_share_the_keys_of_cursors_through_redis(world):
    api, other = world.api(), Api(world.second_gateway(), None)
    path = f"{C}/accounts/{miner(api)}/entries"
    one, two = api.ok(f"{path}?limit=1"), other.ok(f"{path}?limit=1")
    for taker in (api, other):
        for page in (one, two):
            assert taker.ok(f"{path}?limit=2&cursor={page['next_cursor']}")["items"] == api.ok(f"{path}?limit=3")["items"][1:]
    redis = redis_client.Redis.from_url(world.redis.url)
    keys = redis.keys("weir:{gateway}:cursor:*")
    assert len(keys) == 4 and all(0 < redis.ttl(key) <= 4 * 86400 for key in keys)
    for key in keys: # nobody's log has it
        secret = redis.get(key).decode()[2:]
        for log in world.folder.rglob("*.log"):
            assert secret not in log.read_text(errors="replace")


def test_a_key_of_the_settings_is_rotated(world):
    old, new = "the-operators-first-key-0123456789abc", "the-operators-second-key-0123456789ab"
    first = Api(world.second_gateway({"WEIR_GATEWAY_CURSOR_KEY": old}), None)
    path = f"{C}/blocks?limit=1"
    cursor = first.ok(path)["next_cursor"]
    world.api().problem(f"{path}&cursor={cursor}", 400, "invalid_cursor")
    between = Api(world.second_gateway({"WEIR_GATEWAY_CURSOR_KEY": new, "WEIR_GATEWAY_CURSOR_KEY_PREVIOUS": old}), None)
    after = Api(world.second_gateway({"WEIR_GATEWAY_CURSOR_KEY": new}), None)
    assert between.ok(f"{path}&cursor={cursor}")["items"]
    after.problem(f"{path}&cursor={cursor}", 400, "invalid_cursor")
    assert after.ok(f"{path}&cursor={between.ok(path)['next_cursor']}")["items"]


def follow(api, path, limit, disturb):
    """Reads a whole ascending list page by page as the manual says, beginning again where a 410 says; `disturb` is called between pages."""
    found, cursor, told = [], None, 0
    while True:
        status, page, _ = api.get(f"{path}?limit={limit}" + (f"&cursor={cursor}" if cursor else ""))
        if status == 410:
            told += 1
            again = page["begin_again"]
            assert page["code"] == "cursor_reorged"
            found = [item for item in found if item["height"] <= again["height"]]
            cursor = again["cursor"]
            continue
        assert status == 200, page
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found, told
        disturb()


def test_a_list_read_across_reorgs_is_exactly_the_ledgers(changing):
    world = changing
    api = world.api()
    path = f"{C}/accounts/{miner(api)}/entries"
    left = [3, 7]

    def disturb():
        if left:
            reorg(world, left.pop())

    # the miner's entries end at the head, so the list is read to its end first and then once more behind the reorgs
    first = api.ok(f"{path}?limit=1000")
    height = first["items"][-1]["height"]
    pages, cursor = [], None
    while True:
        page = api.ok(f"{path}?limit=3" + (f"&cursor={cursor}" if cursor else ""))
        if page["next_cursor"] is None:
            break
        pages.append((page["items"], page["next_cursor"]))
        cursor = page["next_cursor"]
    top = api.ok(f"{C}/blocks?limit=2")
    reorg(world, 5)
    told, step = 0, max(1, len(pages) // 12)
    final = api.ok(f"{path}?limit=1000")["items"]
    for n, (_, cursor) in list(enumerate(pages))[::step]:
        have = [item for items, _ in pages[:n + 1] for item in items]
        status, page, _ = api.get(f"{path}?limit=1000&cursor={cursor}")
        if status == 410:
            told += 1
            again = page["begin_again"]
            assert again["height"] < have[-1]["height"] and api.ok(f"{C}/blocks/{again['height']}")["hash"] == again["hash"]
            have = [item for item in have if item["height"] <= again["height"]]
            page = api.ok(f"{path}?limit=1000&cursor={again['cursor']}")
        assert page["next_cursor"] is None
        assert have + page["items"] == final, (n, height)
    assert 0 < told < len(pages) // step
    # newest first: the cursor tells of a block above it that is gone, too
    _, page, _ = api.get(f"{C}/blocks?limit=2&cursor={top['next_cursor']}")
    assert page["code"] == "cursor_reorged" and page["begin_again"]["cursor"] is None
    shared = page["begin_again"]["height"]
    assert api.ok(f"{C}/blocks/{shared}")["hash"] == page["begin_again"]["hash"] and top["items"][0]["height"] - 5 <= shared < top["items"][0]["height"]
    found, told = follow(api, path, 7, disturb)
    assert found == api.items(path, 1000) and not left
    left.append(6)
    found, _ = follow(api, f"{C}/entries", 7, disturb)
    assert found == api.items(f"{C}/entries", 1000) and not left
    entries = api.ok(f"{C}/blocks/latest/entries?limit=1")
    if entries["next_cursor"]: # "latest" means another block now: the list goes on with the block that it began with
        world.node.call("anvil_mine", "0x1")
        world.settle()
        rest = api.ok(f"{C}/blocks/latest/entries?cursor={entries['next_cursor']}")["items"]
        assert {e["block_hash"] for e in rest} == {entries["items"][0]["block_hash"]}


# ---- validators --------------------------------------------------------------------------------------------------------------------------


def test_what_a_client_has_is_not_sent_again(world):
    api = world.api()
    final = api.ok(C)["finalized"]
    assert final > 5
    block = api.ok(f"{C}/blocks/{next(h for h in range(final, 0, -1) if api.ok(f'{C}/blocks/{h}')['transaction_count'])}")
    entry = next(e for e in api.items(f"{C}/blocks/{block['height']}/entries") if e["transaction_hash"])
    account, top = entry["account"], api.ok(f"{C}/blocks/latest")
    immutable = [f"{C}/blocks/{block['height']}", f"{C}/blocks/{block['hash']}", f"{C}/blocks/{block['hash']}/certificate",
                 f"{C}/blocks/{block['height']}/entries?limit=1", f"{C}/blocks/{block['height']}/entries", f"{C}/transactions/{entry['transaction_hash']}"]
    others = [f"{C}/blocks/latest", f"{C}/blocks/{top['hash']}", f"{C}/blocks?limit=2", f"{C}/accounts/{account}/balances",
              f"{C}/accounts/{account}/balances?height={block['height']}", f"{C}/accounts/{account}/entries?limit=2", f"{C}/assets/{entry['asset']}",
              "/openapi.json"]
    tags = {}
    for path in immutable + others:
        status, body, headers = api.get(path)
        tag = headers["ETag"]
        assert status == 200 and tag[0] == tag[-1] == '"' and len(tag) in (24, 34)
        assert ("immutable" in headers["Cache-Control"]) == (path in immutable), (path, headers)
        assert path in immutable or headers["Cache-Control"] == "private, no-cache"
        assert tag not in tags.values(), path
        tags[path] = tag
        for given in (tag, f'W/{tag}', f'"x", {tag}', f'"x",W/"y" , W/{tag},', "*", f'{tag[:-1]}-gzip"'):
            status, body, headers = api.get(path, {"If-None-Match": given})
            assert (status, body) == (304, None), (path, given)
            assert headers["ETag"][:23] == tag[:23] and "Content-Type" not in headers
        for given in ('"x"', tag[1:-1], f"{tag[:-1]}x\"", '""', "x", f'x, {tag}', f'"{tag[:10]}"'):
            assert api.get(path, {"If-None-Match": given})[0] == 200, (path, given)
    for path, tag in tags.items():
        assert api.get(path)[2]["ETag"] == tag
    world.node.call("anvil_mine", "0x1")
    world.settle()
    assert api.get(f"{C}/blocks/latest", {"If-None-Match": tags[f"{C}/blocks/latest"]})[0] == 200
    assert api.get(immutable[0], {"If-None-Match": tags[immutable[0]]})[0] == 304
    assert api.get(f"{C}/blocks/999999999", {"If-None-Match": "*"})[0] == 404 # only what is there can be the same
    status, _, headers = stack.http_json(world.suite.admin + immutable[0], headers={"Authorization": f"Bearer {stack.ADMIN_KEY}", "If-None-Match": tags[immutable[0]]})
    assert status == 304
    status, _, headers = stack.http_json(world.suite.admin + "/admin/v1/status", headers={"Authorization": f"Bearer {stack.ADMIN_KEY}"})
    assert "ETag" not in headers and headers["Cache-Control"] == "no-store"


def test_a_reorg_changes_the_tag_of_what_it_changes(changing):
    world = changing
    api = world.api()
    top = api.ok(f"{C}/blocks/latest")["height"]
    paths = [f"{C}/blocks/{top - 2}", f"{C}/blocks/{top - 2}/entries", f"{C}/blocks/{api.ok(f'{C}/blocks/{top - 2}')['hash']}"]
    tags = [api.get(path)[2]["ETag"] for path in paths]
    below = api.get(f"{C}/blocks/{top - 9}")[2]["ETag"]
    reorg(world, 5)
    for path, tag in zip(paths, tags):
        status, body, headers = api.get(path, {"If-None-Match": tag})
        assert status == 200 and headers["ETag"] != tag, path
    assert api.get(f"{C}/blocks/{top - 9}", {"If-None-Match": below})[0] == 304


# ---- repeated requests -------------------------------------------------------------------------------------------------------------------


def post(world, path, body, key, who=stack.ADMIN_KEY, base=None):
    status, answer, headers = stack.http_json((base or world.suite.admin) + path, "POST", body, {"Authorization": f"Bearer {who}", "Idempotency-Key": key}, 20)
    world.api().document.answer("POST", path, status, answer, headers)
    return status, answer, headers.get("Idempotency-Replayed")


def test_a_request_under_a_key_is_carried_out_once(world):
    path, body = "/admin/v1/chains/dev/refetch", {"from_height": 1, "reason": "again"}

    def actions():
        lines = world.api().operate("GET", "/admin/v1/audit?limit=1000")[1]["items"]
        return sum(line["words"].get("action") == "refetch" for line in lines)

    first = post(world, path, body, "key-1")
    assert first[0] == 202 and first[2] is None
    before = actions()
    other = world.second_gateway()
    for _ in range(3):
        assert post(world, path, body, "key-1") == (202, first[1], "true")
    assert post(world, path, body, "key-1", base=world.admin_of[other]) == (202, first[1], "true")
    assert actions() == before
    for changed in (dict(body, reason="x"), dict(body, from_height=2)):
        assert post(world, path, changed, "key-1")[1]["code"] == "idempotency_key_reused"
    assert post(world, "/admin/v1/chains/dev/pause", {}, "key-1")[0] == 422
    assert actions() == before
    assert post(world, path, body, "key-1", who=OPERATOR)[1]["command_id"] != first[1]["command_id"] # a key is its operator's own
    assert post(world, path, body, "key-2")[1]["command_id"] != first[1]["command_id"]
    redis = redis_client.Redis.from_url(world.redis.url)
    keys = redis.keys("weir:{gateway}:idempotency:*")
    assert len(keys) == 3 and all(86000 < redis.ttl(key) <= 86400 for key in keys)


def test_a_key_is_held_while_its_request_is_in_hand(world):
    path, body = "/admin/v1/chains/dev/resume", {}
    redis = redis_client.Redis.from_url(world.redis.url)
    assert post(world, path, body, "in-hand")[0] == 202
    name = "weir:{gateway}:idempotency:" + hashlib.sha256(b"local\0in-hand\0").hexdigest()
    kept = redis.get(name).decode()
    redis.set(name, kept[:64] + " 0123456789abcdef") # as while another gateway is at it
    status, answer, replayed = post(world, path, body, "in-hand")
    assert (status, answer["code"], replayed) == (409, "idempotency_in_flight", None)
    assert post(world, path, {"x": 1}, "in-hand")[1]["code"] == "invalid_body" # nothing malformed gets that far
    redis.delete(name)
    assert post(world, path, body, "in-hand")[0] == 202
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(post(world, path, body, "race"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {status for status, _, _ in answers} <= {202, 409}
    assert len({answer["command_id"] for status, answer, _ in answers if status == 202}) == 1
    assert [replayed for status, _, replayed in answers if status == 202].count(None) == 1


def test_refusals_are_kept_and_failures_are_not(world):
    path = "/admin/v1/chains/dev/rewind"
    top = {"to_height": 10 ** 9, "reason": "x"}
    first = post(world, path, top, "too-high")
    assert first[0] == 409 and first[2] is None
    assert post(world, path, top, "too-high") == (409, first[1], "true")
    assert post(world, path, {"to_height": -1, "reason": "x"}, "malformed")[0] == 400
    assert post(world, "/admin/v1/chains/dev/resume", {}, "malformed")[0] == 202 # nothing was done under it
    for key in ("", "a b", "\x7f", "x" * 256):
        assert post(world, path, top, key)[1]["code"] in ("bad_idempotency_key", "bad_header"), key
    status, answer, _ = stack.http_json(world.suite.admin + path, "POST", top, {"Authorization": f"Bearer {stack.ADMIN_KEY}"})
    assert status == 409 and answer["code"] == "nothing_to_rewind"


# ---- codings, other origins --------------------------------------------------------------------------------------------------------------


def fetch(base, path, method="GET", **headers):
    """(status, body as sent, headers), whatever the coding."""
    request = urllib.request.Request(base + path, method=method, headers={k.replace("_", "-"): v for k, v in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def unzstd(data):
    library, out = ctypes.CDLL("libzstd.so.1"), ctypes.create_string_buffer(8 << 20)
    library.ZSTD_decompress.restype = ctypes.c_size_t
    size = library.ZSTD_decompress(out, ctypes.c_size_t(len(out)), data, ctypes.c_size_t(len(data)))
    assert size <= len(out)
    return out.raw[:size]


def test_bodies_are_coded_as_the_client_likes(world):
    api, key = world.api(), {"Authorization": f"Bearer {stack.ADMIN_KEY}"}
    path, tags = f"{C}/blocks/{api.ok(C)['finalized']}", set()
    for base, path, extra in ((world.suite.api, "/openapi.json", {}), (world.suite.api, f"{C}/blocks?limit=50", {}), (world.suite.admin, "/admin/v1/settings", key)):
        _, plain, headers = fetch(base, path, **extra)
        assert headers["Content-Encoding"] is None and "Accept-Encoding" in headers.get_all("Vary")
        seen = {headers["ETag"]}
        for accept, coding, decode in (("gzip", "gzip", gzip.decompress), ("zstd, gzip", "zstd", unzstd), ("br, gzip;q=0.1", "gzip", gzip.decompress)):
            status, body, headers = fetch(base, path, Accept_Encoding=accept, **extra)
            assert (status, headers["Content-Encoding"]) == (200, coding) and len(body) < len(plain) and int(headers["Content-Length"]) == len(body)
            assert decode(body) == plain or "next_cursor" in plain.decode(), path
            seen.add(headers["ETag"])
            if "ETag" in headers:
                status, body, again = fetch(base, path, Accept_Encoding=accept, If_None_Match=headers["ETag"])
                assert (status, body, again["ETag"]) == (304, b"", headers["ETag"]) and "Accept-Encoding" in again.get_all("Vary")
        assert len(seen) == (1 if extra else 3) # equal tags are equal bytes
        for accept in ("identity", "br", "gzip;q=0", "*;q=0"):
            assert fetch(base, path, Accept_Encoding=accept, **extra)[2]["Content-Encoding"] is None
    assert fetch(world.suite.api, "/v1/chains/dev/blocks/999999999", Accept_Encoding="gzip")[2]["Content-Encoding"] is None # too small


def headers_of(document):
    """What the document has clients send and be answered with: declared, or named in its words."""
    sent, answered = {"Authorization"}, set() # for the scheme "bearer"

    def look(value):
        if isinstance(value, dict):
            if value.get("in") == "header":
                sent.add(value["name"])
            elif isinstance(value.get("headers"), dict):
                answered.update(value["headers"])
            for part in value.values():
                look(part)
        elif isinstance(value, list):
            for part in value:
                look(part)
        elif isinstance(value, str):
            sent.update(re.findall(r"\bIf-None-Match\b", value))
            answered.update(re.findall(r"\b(?:Idempotency-Replayed|X-RateLimit-\w+|RateLimit(?:-Policy)?|Retry-After)\b", value))
    look(document)
    return sent, answered


def test_pages_of_listed_origins_may_read(world):
    listed, other = "https://app.example", "https://app.example.evil"
    base = world.second_gateway({"WEIR_GATEWAY_CORS_ORIGINS": f"{listed}, http://localhost:5173"})
    for path in (C, "/v1/none", f"{C}/blocks/x"):
        _, _, headers = fetch(base, path, Origin=listed)
        assert headers["Access-Control-Allow-Origin"] == listed and "ETag" in headers["Access-Control-Expose-Headers"] and headers["Vary"] == "Origin"
        assert headers["Cross-Origin-Resource-Policy"] == "cross-origin" and headers["Access-Control-Allow-Credentials"] is None
        for origin in (other, "null", "https://APP.example", "http://app.example", "https://app.example:443"):
            _, _, headers = fetch(base, path, Origin=origin)
            assert headers["Access-Control-Allow-Origin"] is None and headers["Vary"] == "Origin" and headers["Cross-Origin-Resource-Policy"] == "same-origin"
    status, body, headers = fetch(base, C, "OPTIONS", Origin=listed, Access_Control_Request_Method="GET", Access_Control_Request_Headers="x-api-key")
    assert (status, body) == (204, b"") and headers["Access-Control-Allow-Methods"] == "GET, HEAD" and headers["Access-Control-Allow-Origin"] == listed
    assert "X-Api-Key" in headers["Access-Control-Allow-Headers"] and headers["Access-Control-Max-Age"] == "7200"
    sent, answered = headers_of(json.loads(fetch(base, "/openapi.json")[1]))
    assert {"Idempotency-Key", "X-Api-Key", "Authorization"} <= sent <= set(headers["Access-Control-Allow-Headers"].split(", "))
    exposed = set(fetch(base, C, Origin=listed)[2]["Access-Control-Expose-Headers"].split(", "))
    assert {"Idempotency-Replayed", "ETag"} <= answered <= exposed and {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} <= exposed
    status, body, headers = fetch(base, C, "OPTIONS", Origin=other, Access_Control_Request_Method="GET")
    assert status == 403 and json.loads(body)["code"] == "origin_not_allowed" and headers["Access-Control-Allow-Origin"] is None
    assert fetch(base, C, "OPTIONS", Origin=listed)[0] == 405
    # never for operators, and not where nothing is listed
    for where, path in ((world.admin_of[base], C), (world.admin_of[base], "/admin/v1/status"), (world.suite.api, C)):
        for method, extra in (("GET", {}), ("OPTIONS", {"Access_Control_Request_Method": "GET"})):
            status, _, headers = fetch(where, path, method, Origin=listed, **extra)
            assert not [name for name in headers if name.lower().startswith("access-control")] and status in (200, 401, 405)


# ---- filters, statistics, batches, MessagePack -----------------------------------------------------------------------------------------


def test_entries_are_filtered(world):
    api = world.api()
    account = miner(api)
    path = f"{C}/accounts/{account}/entries"
    every = api.items(path, 1000)
    blocks = {b["height"]: b for b in api.items(f"{C}/blocks", 1000)}
    kinds = sorted({e["kind"] for e in every})
    for kind in kinds:
        assert api.items(f"{path}?kind={kind}", 3) == [e for e in every if e["kind"] == kind]
    low, high = every[len(every) // 4]["height"], every[len(every) // 2]["height"]
    since, until = blocks[low]["timestamp"], blocks[high]["timestamp"]
    timed = [e for e in every if e["height"] in blocks and since <= blocks[e["height"]]["timestamp"] <= until]
    assert timed and api.items(f"{path}?since={since}&until={until}", 5) == timed
    assert api.items(f"{path}?since={since}&until={until}&from={low + 1}") == [e for e in timed if e["height"] > low]
    assert api.items(f"{path}?since=253402300799") == [] == api.items(f"{path}?until=0&from=1")
    height = max(blocks, key=lambda h: blocks[h]["entry_count"])
    of_block = api.items(f"{C}/blocks/{height}/entries", 1000)
    for name in ("kind", "asset", "account"):
        for value in {e[name] for e in of_block}:
            assert api.items(f"{C}/blocks/{height}/entries?{name}={value}", 2) == [e for e in of_block if e[name] == value]
    assert api.items(f"{C}/blocks/{height}/entries?account=0x{'12' * 20}") == [] == api.items(f"{C}/blocks/{height}/entries?asset=0x{'12' * 20}")
    for bad, code in (("kind=gold", "invalid_kind"), ("kind=unknown", "invalid_kind"), ("since=-1", "invalid_parameter"), ("since=x", "invalid_parameter")):
        api.problem(f"{path}?{bad}", 400, code)


def test_blocks_are_filtered_by_height_and_time(world):
    api = world.api()
    every = api.items(f"{C}/blocks", 1000)
    low, high = every[3 * len(every) // 4], every[len(every) // 4]
    between = [b for b in every if low["height"] <= b["height"] <= high["height"]]
    for limit in (7, None):
        assert api.items(f"{C}/blocks?from={low['height']}&to={high['height']}", limit) == between
    timed = [b for b in every if low["timestamp"] <= b["timestamp"] <= high["timestamp"]]
    assert len(timed) < len(every) and api.items(f"{C}/blocks?since={low['timestamp']}&until={high['timestamp']}", 9) == timed
    assert api.items(f"{C}/blocks?since={low['timestamp']}&to={low['height'] + 1}") == [b for b in timed if b["height"] <= low["height"] + 1]
    assert api.items(f"{C}/blocks?from={every[0]['height'] + 1}") == api.items(f"{C}/blocks?since=253402300799") == api.items(f"{C}/blocks?from=9&to=8") == []
    cursor = api.ok(f"{C}/blocks?to={high['height']}&limit=2")["next_cursor"]
    api.problem(f"{C}/blocks?to={high['height'] - 1}&cursor={cursor}", 400, "invalid_cursor")
    api.problem(f"{C}/blocks?from=x", 400, "invalid_parameter")


def test_statistics_are_those_of_the_blocks(world):
    api = world.api()
    for wanted in (1, 10, 10000):
        blocks = api.items(f"{C}/blocks", 1000)[:wanted]
        told = api.ok(f"{C}/statistics?blocks={wanted}")
        assert (told["blocks"], told["to_height"], told["from_height"]) == (len(blocks), blocks[0]["height"], blocks[-1]["height"])
        for name, column in (("transactions", "transaction_count"), ("entries", "entry_count"), ("gas_used", "gas_used")):
            assert int(told[name]) == sum(b[column] for b in blocks)
        assert told["finalized_blocks"] == sum(b["finality"] == "finalized" for b in blocks) and told["superseded_blocks"] == 0


def test_statistics_over_time_are_the_nodes(world):
    """Every step by what the node says of its blocks: transactions, gas, fees by receipts, senders."""
    api = world.api()
    blocks = api.items(f"{C}/blocks", 1000)
    whole = {}
    for block in blocks:
        step = whole.setdefault(block["timestamp"] - block["timestamp"] % 60, {"blocks": 0, "transactions": 0, "failed_transactions": 0, "entries": 0, "gas_used": 0, "fees": 0,
                                                                                "senders": set(), "heights": []})
        step["blocks"] += 1
        step["entries"] += block["entry_count"]
        step["heights"].append(block["height"])
        for transaction in world.node.call("eth_getBlockByNumber", hex(block["height"]), True)["transactions"]:
            receipt = world.node.call("eth_getTransactionReceipt", transaction["hash"])
            step["transactions"] += 1
            step["failed_transactions"] += int(receipt["status"], 16) == 0
            step["gas_used"] += int(receipt["gasUsed"], 16)
            step["fees"] += int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
            step["senders"].add(transaction["from"])
    expected = [{"timestamp": t, "blocks": s["blocks"], "from_height": min(s["heights"]), "to_height": max(s["heights"]), "transactions": s["transactions"],
                 "failed_transactions": s["failed_transactions"], "entries": s["entries"], "gas_used": str(s["gas_used"]), "fees": str(s["fees"]),
                 "senders": len(s["senders"])} for t, s in sorted(whole.items())]
    assert sum(s["transactions"] for s in expected) > 0
    told = api.ok(f"{C}/statistics/history?step=minute")
    assert told == {"chain": "dev", "step_seconds": 60, "items": expected}
    day = api.ok(f"{C}/statistics/history?step=day")["items"]
    for name in ("blocks", "transactions", "failed_transactions", "entries"):
        assert sum(i[name] for i in day) == sum(i[name] for i in expected)
    assert api.ok(f"{C}/statistics/history")["step_seconds"] == 3600
    low, high = blocks[2 * len(blocks) // 3], blocks[len(blocks) // 3]
    part = api.ok(f"{C}/statistics/history?from={low['height']}&to={high['height']}")["items"]
    assert sum(i["blocks"] for i in part) == high["height"] - low["height"] + 1 and part[0]["from_height"] == low["height"]
    assert api.ok(f"{C}/statistics/history?from={blocks[0]['height'] + 1}")["items"] == []
    api.problem(f"{C}/statistics/history?step=year", 400, "invalid_parameter")


def test_an_accounts_statistics_are_the_sums_of_its_entries(world):
    api = world.api()
    for account in {miner(api), *[e["account"] for e in api.items(f"{C}/blocks/latest/entries", 1000)][:3], "0x" + "12" * 20}:
        every = api.items(f"{C}/accounts/{account}/entries", 1000)
        heights = sorted(e["height"] for e in every)
        middle = heights[len(heights) // 2] if heights else 1
        asset = every[-1]["asset"] if every else "native"
        for query, entries in (("", every), (f"?asset={asset}", [e for e in every if e["asset"] == asset]), (f"?to={middle}", [e for e in every if e["height"] <= middle]),
                               (f"?from={middle + 1}&asset={asset}", [e for e in every if e["height"] > middle and e["asset"] == asset])):
            told = api.ok(f"{C}/accounts/{account}/statistics{query}")
            groups = {}
            for e in entries:
                groups.setdefault((e["asset"], e["kind"]), []).append(e)
            amounts = lambda group, sign: str(sum(abs(int(e["delta"])) for e in group if int(e["delta"]) * sign > 0))  # noqa: E731
            assert {(i.pop("asset"), i.pop("kind")): i for i in told["items"]} == {key: {
                "entries": len(g), "in": amounts(g, 1), "out": amounts(g, -1), "first_height": g[0]["height"], "last_height": g[-1]["height"]} for key, g in groups.items()}
            assert (told["account"], told["entries"]) == (account, len(entries))
            assert (told["first_height"], told["last_height"]) == ((min(e["height"] for e in entries), max(e["height"] for e in entries)) if entries else (None, None))
    assert api.ok(f"{C}/accounts/{account}/statistics?asset=0x{'12' * 20}")["items"] == []
    api.problem(f"{C}/accounts/x/statistics", 400, "invalid_account")


def test_an_assets_statistics_are_those_of_its_accounts(world):
    api, zero = world.api(), "0x" + "00" * 20
    end = api.ok(C)["watermark"]["height"]
    accounts = [a for (a,) in world.sql("select '0x' || encode(address, 'hex') from weir.accounts")]
    held = {}
    for account in accounts:
        for balance in api.ok(f"{C}/accounts/{account}/balances")["items"]:
            held.setdefault(balance["asset"], {})[account] = balance
    moved, blocks = {}, 40
    for height in range(max(0, end - blocks + 1), end + 1):
        for e in api.items(f"{C}/blocks/{height}/entries", 1000):
            moved.setdefault(e["asset"], {}).setdefault(e["kind"], []).append(e)
    assert len(held) > 1
    for asset, balances in held.items():
        told = api.ok(f"{C}/assets/{asset}/statistics?top=3&blocks={blocks}")
        assert told["to_height"] == end and {m.pop("kind"): m for m in told["moved"]} == {kind: {
            "entries": len(g), "received": str(sum(int(e["delta"]) for e in g if int(e["delta"]) > 0)), "accounts": len({e["account"] for e in g})}
            for kind, g in moved.get(asset, {}).items()}
        if told["non_conserving"]:
            assert (told["holders"], told["supply"], told["top"]) == (None, None, None)
            continue
        amounts = {a: int(b["amount"]) for a, b in balances.items() if a != zero}
        holders = sorted(((n, a) for a, n in amounts.items() if n > 0), key=lambda x: (-x[0], x[1]))
        assert (told["holders"], told["supply"]) == (len(holders), str(sum(amounts.values())))
        assert told["top"] == [{"account": a, "amount": str(n)} for n, a in holders[:3]]
        assert told["openings_unknown"] == sum(not b["opening_known"] for b in balances.values())
    api.problem(f"{C}/assets/0x{'12' * 20}/statistics", 404, "asset_unknown")
    api.problem(f"{C}/assets/native/statistics?top=101", 400, "invalid_parameter")


def test_a_batch_answers_as_its_parts_would(world):
    api = world.api()
    paths = [C, f"{C}/blocks/latest", f"{C}/blocks?limit=2", f"{C}/blocks/x", "/v1/none", "nonsense", f"{C}/blocks/1?x=y"]
    status, batch, headers = stack.http_json(world.suite.api + "/v1/batch", "POST", {"paths": paths})
    api.document.answer("POST", "/v1/batch", status, batch, headers)
    assert status == 200 and [i["path"] for i in batch["items"]] == paths and [i["status"] for i in batch["items"]] == [200, 200, 200, 400, 404, 400, 400]
    for item in batch["items"][1:3]:
        alone = api.ok(item["path"])
        assert item["body"] == alone
    assert [i["body"]["code"] for i in batch["items"][3:]] == ["invalid_block", "path_unknown", "bad_target", "invalid_parameter"]
    assert all(i["body"]["request_id"] == headers["X-Request-Id"] for i in batch["items"][3:])
    for bad in ({"paths": []}, {"paths": [C] * 21}, {}, {"paths": [1]}, {"paths": "x"}):
        assert stack.http_json(world.suite.api + "/v1/batch", "POST", bad)[0] == 400
    status, batch, _ = stack.http_json(world.suite.api + "/v1/batch", "POST", {"paths": [f"/v1/poll?topic=blocks&chain=dev", "/admin/v1/status", "/v1/batch"]})
    assert [i["status"] for i in batch["items"]] == [400, 404, 405] and batch["items"][0]["body"]["code"] == "not_in_a_batch"


def unpack(data):
    """MessagePack, read by the specification; the whole of it must be one value."""
    def read(at):
        tag = data[at]
        number = lambda n, signed=False: int.from_bytes(data[at + 1:at + 1 + n], "big", signed=signed)
        text = lambda start, n: (data[start:start + n].decode(), start + n)
        if tag < 0x80 or tag >= 0xe0:
            return (tag if tag < 0x80 else tag - 256), at + 1
        if tag in (0xc0, 0xc2, 0xc3):
            return {0xc0: None, 0xc2: False, 0xc3: True}[tag], at + 1
        if tag == 0xcb:
            return struct.unpack(">d", data[at + 1:at + 9])[0], at + 9
        if 0xcc <= tag <= 0xd3:
            n = 1 << (tag & 3)
            return number(n, tag >= 0xd0), at + 1 + n
        if tag & 0xe0 == 0xa0:
            return text(at + 1, tag & 31)
        if 0xd9 <= tag <= 0xdb:
            n = 1 << (tag - 0xd9)
            return text(at + 1 + n, number(n))
        n = 0 if tag < 0xa0 else 2 if tag in (0xdc, 0xde) else 4
        count, at, is_map = (tag & 15 if n == 0 else number(n)), at + 1 + n, tag & 0xf0 == 0x80 or tag >= 0xde
        out = {} if is_map else []
        for _ in range(count):
            key = None
            if is_map:
                key, at = read(at)
            value, at = read(at)
            out.__setitem__(key, value) if is_map else out.append(value)
        return out, at

    value, end = read(0)
    assert end == len(data)
    return value


def test_answers_are_messagepack_for_those_who_like_it(world):
    base, api = world.suite.api, world.api()
    path = f"{C}/blocks/{api.ok(C)['finalized']}"
    for path in (path, f"{C}/blocks?limit=20", "/openapi.json"):
        _, plain, as_json = fetch(base, path)
        for accept in ("application/vnd.msgpack", "application/msgpack, application/json;q=0.5", "text/html, application/vnd.msgpack;q=0.9, */*;q=0.1"):
            status, body, headers = fetch(base, path, Accept=accept)
            assert (status, headers["Content-Type"]) == (200, "application/vnd.msgpack") and len(body) < len(plain)
            assert unpack(body) == json.loads(plain) or "next_cursor" in plain.decode()
            assert headers["ETag"] == as_json["ETag"][:-1] + '-msgpack"' and "Accept" in headers.get_all("Vary")
            assert fetch(base, path, Accept=accept, If_None_Match=headers["ETag"])[0] == 304
        for accept in ("application/json", "*/*", "application/json, application/vnd.msgpack;q=0.9", "application/vnd.msgpack;q=0", "text/html"):
            assert fetch(base, path, Accept=accept)[2]["Content-Type"] == "application/json"
        status, body, headers = fetch(base, path, Accept="application/vnd.msgpack", Accept_Encoding="gzip")
        assert headers["Content-Encoding"] is None or unpack(gzip.decompress(body))
    assert fetch(base, f"{C}/blocks/x", Accept="application/vnd.msgpack")[2]["Content-Type"] == "application/problem+json"
