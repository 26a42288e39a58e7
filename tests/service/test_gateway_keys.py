"""API keys of the database: made, used, listed, revoked; what they may do, from where, how long; and who may read without one."""
import json
import os
import pathlib
import re
import subprocess
import sys
import urllib.request

import pytest
import websocket

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack"), str(pathlib.Path(__file__).parent)]

import stack  # noqa: E402
from gateway_alone import Stores  # noqa: E402
from gateway_client import Document  # noqa: E402

PEPPER = {"gateway": {"key_pepper": "pepper-of-these-tests", "trusted_proxies": "127.0.0.0/8"}}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    stores = Stores(tmp_path_factory.mktemp("keys"))
    yield stores
    stores.stop()


@pytest.fixture(scope="module")
def gateway(stores):
    return stores.gateway(PEPPER)


@pytest.fixture(scope="module")
def closed(stores):
    """Another gateway, which wants a key of everyone."""
    return stores.gateway(stack.merge(PEPPER, {"gateway": {"anonymous": False}}))


def make(gateway, name, *scopes, **more):
    status, key, _ = gateway.operate("POST", "keys", {"name": name, "scopes": list(scopes), **more})
    assert status == 201, key
    return key


def bearer(key):
    return {"Authorization": f"Bearer {key['key']}"}


def known(gateway, key, status=200):
    stack.wait_until(f"{status} for {key['id']}", 60, lambda: gateway.get("/v1/chains", **bearer(key))[0] == status)


def test_a_key_is_told_once_and_kept_as_a_hash(stores, gateway):
    key = make(gateway, "export", "read")
    document = Document(gateway.get()[1])
    document.named(key, "NewApiKey")
    assert re.fullmatch("weir_[0-9a-f]{12}_[0-9a-f]{40}_[0-9a-f]{8}", key["key"]) and key["created_by"] == "local"
    known(gateway, key)
    status, page, _ = gateway.operate("GET", "keys?limit=100")
    document.named(page, "ApiKeyPage")
    assert status == 200 and key["id"] in [k["id"] for k in page["items"]]
    secret = key["key"].split("_")[2]
    assert secret not in json.dumps(page)
    for table in ("keys", "changes"):
        assert secret not in str(stores.sql(f"select t::text from weir_identity.{table} t"))
    assert secret not in gateway.log.read_text()
    stack.wait_until("its use to be written down", 60, lambda: [k for k in gateway.operate("GET", "keys?limit=100")[1]["items"]
                                                                if k["id"] == key["id"] and k["last_used_at"]])


def test_a_key_works_on_every_gateway_until_it_is_revoked_anywhere(gateway, closed):
    key = make(closed, "both", "read", "viewer")
    known(gateway, key)
    known(closed, key)
    status, revoked, _ = gateway.operate("POST", f"keys/{key['id']}/revoke", {"why": "test"})
    assert status == 200 and revoked["revoked_at"] and revoked["revoked_by"] == "local"
    known(gateway, key, 401)
    known(closed, key, 401)
    assert gateway.operate("GET", "session", key=key["key"])[0] == 401
    assert gateway.operate("POST", f"keys/{key['id']}/revoke", {"why": "again"})[1] == revoked, "the first time stays"
    listed = [[k["id"] for k in gateway.operate("GET", f"keys?limit=100{more}")[1]["items"]] for more in ("", "&revoked=true")]
    assert key["id"] not in listed[0] and key["id"] in listed[1]


def test_revoking_cuts_live_connections_on_every_gateway(stores, gateway, closed):
    third = stores.gateway(PEPPER)
    key, other = make(gateway, "live", "stream"), make(gateway, "stays", "stream")
    sockets = []
    for where in (gateway, closed, third):
        for k in (key, other):
            def connect(where=where, k=k):
                try:
                    return websocket.create_connection(where.api.replace("http", "ws") + "/v1/ws", timeout=60, header=bearer(k))
                except websocket.WebSocketBadStatusException:
                    return None
            sockets.append(stack.wait_until("the key", 60, connect))
    gateway.operate("POST", f"keys/{key['id']}/revoke", {"why": "test"})
    for cut in sockets[::2]:
        code, data = cut.recv_data()
        assert code == websocket.ABNF.OPCODE_CLOSE and data[:2] == (1008).to_bytes(2, "big") and b"revoked" in data
    for stays in sockets[1::2]:
        stays.ping()
        stays.settimeout(60)
        assert stays.recv_data(control_frame=True)[0] == websocket.ABNF.OPCODE_PONG
        stays.close()
    third.stop()


def test_scopes_and_roles_say_what_a_key_may_do(gateway):
    keys = {name: make(gateway, name, *scopes) for name, scopes in
            {"r": ["read"], "s": ["stream"], "v": ["viewer"], "o": ["operator", "read"], "a": ["admin"]}.items()}
    known(gateway, keys["r"])
    stack.wait_until("the last of them", 60, lambda: gateway.operate("GET", "session", key=keys["a"]["key"])[0] == 200)
    assert {n: gateway.get("/v1/chains", **bearer(k))[0] for n, k in keys.items()} == {"r": 200, "s": 403, "v": 403, "o": 200, "a": 403}
    for method, path, body, want in [("GET", "session", None, {"r": 403, "s": 403, "v": 200, "o": 200, "a": 200}),
                                     ("POST", "chains/dev/pause", {}, {"r": 403, "v": 403, "o": 202, "a": 202}),
                                     ("GET", "keys", None, {"v": 403, "o": 403, "a": 200})]:
        assert {n: gateway.operate(method, path, body, keys[n]["key"])[0] for n in want} == want, path
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        websocket.create_connection(gateway.api.replace("http", "ws") + "/v1/ws", timeout=60, header=bearer(keys["r"]))
    poll = {n: gateway.get("/v1/poll?chain=dev&topic=blocks&wait=0", **bearer(keys[n]))[0] for n in "rs"}
    assert poll == {"r": 403, "s": 200}
    session = gateway.operate("GET", "session", key=keys["o"]["key"])[1]
    assert session == {"name": f"o#{keys['o']['id']}", "role": "operator"}


def test_a_batch_lends_no_scope(gateway):
    keys = {name: make(gateway, f"batch-{name}", *scopes) for name, scopes in {"read": ["read"], "both": ["read", "stream"], "eyes": ["viewer"]}.items()}
    for name in ("read", "both"):
        known(gateway, keys[name])
    stack.wait_until("the last of them", 60, lambda: gateway.operate("GET", "session", key=keys["eyes"]["key"])[0] == 200)
    paths = ["/v1/chains", "/v1/watchlists", "/v1/watchlists/1/addresses"]

    def batch(base, key):
        status, answer, _ = stack.http_json(base + "/v1/batch", "POST", {"paths": paths}, bearer(key))
        assert status == 200, answer
        return [item["status"] for item in answer["items"]]
    for name, key in keys.items():
        for base in (gateway.api, gateway.admin):
            asked_alone = [stack.http_json(base + path, headers=bearer(key))[0] for path in paths]
            if asked_alone[0] == 200:
                assert batch(base, key) == asked_alone, (name, base)
    assert batch(gateway.api, keys["read"]) == [200, 403, 403] and batch(gateway.api, keys["both"]) == batch(gateway.admin, keys["eyes"]) == [200, 200, 404]


def test_revoking_ends_a_stream_of_events(gateway):
    key = make(gateway, "events", "stream")
    known(gateway, key, 403)
    request = urllib.request.Request(gateway.api + "/v1/stream?chain=dev&topic=blocks", headers=bearer(key))
    with urllib.request.urlopen(request, timeout=60) as stream:
        gateway.operate("POST", f"keys/{key['id']}/revoke", {"why": "test"})
        assert b"revoked" in stream.read(), "it ends, and says why"


def test_a_key_is_made_once_under_an_idempotency_key_and_told_once(gateway):
    made = [gateway.operate("POST", "keys", {"name": "twice", "scopes": ["read"]}, Idempotency_Key="once")[:2] for _ in range(3)]
    assert made[0][0] == 201 and [(status, answer["code"]) for status, answer in made[1:]] == [(409, "idempotency_not_kept")] * 2
    assert "201" in made[1][1]["detail"] and [k["name"] for k in gateway.operate("GET", "keys?limit=1000")[1]["items"]].count("twice") == 1


def test_a_key_ends_and_is_bound_to_addresses(gateway):
    short, bound = make(gateway, "short", "read", expires_in=1), make(gateway, "bound", "read", addresses="192.0.2.0/24, 2001:db8::/32")
    stack.wait_until("its end", 60, lambda: "expired" in gateway.get("/v1/chains", **bearer(short))[1].get("detail", ""))
    stack.wait_until("the key", 60, lambda: gateway.get("/v1/chains", X_Forwarded_For="192.0.2.7", **bearer(bound))[0] == 200)
    assert gateway.get("/v1/chains", X_Forwarded_For="2001:db8:9::1", **bearer(bound))[0] == 200
    for address in ("192.0.3.1", "2001:db9::1", "127.0.0.1"):
        status, problem, _ = gateway.get("/v1/chains", X_Forwarded_For=address, **bearer(bound))
        assert (status, problem["code"]) == (403, "address_not_allowed")


def test_a_connection_ends_with_its_key(gateway):
    key = make(gateway, "brief", "stream", expires_in=10)
    def connect():
        try:
            return websocket.create_connection(gateway.api.replace("http", "ws") + "/v1/ws", timeout=60, header=bearer(key))
        except websocket.WebSocketBadStatusException:
            return None
    ws = stack.wait_until("the key", 60, connect)
    assert b'"credentials_end"' in ws.recv_data()[1]
    assert ws.recv_data()[1][:2] == (3000).to_bytes(2, "big")


def test_nobody_reads_where_a_key_is_needed(closed):
    status, problem, headers = closed.get("/v1/chains")
    assert (status, problem["code"], headers["www-authenticate"]) == (401, "unauthorized", "Bearer")
    with pytest.raises(websocket.WebSocketBadStatusException, match="401"):
        websocket.create_connection(closed.api.replace("http", "ws") + "/v1/ws", timeout=60, header={"Authorization": "Bearer wrong"})
    for key in KEYS_OF_SETTINGS:
        assert closed.get("/v1/chains", Authorization=f"Bearer {key}")[0] == closed.get("/v1/chains", X_Api_Key=key)[0] == 200


KEYS_OF_SETTINGS = (stack.ADMIN_KEY, "viewer-key-0123456789")


def test_wrong_credentials_are_refused_even_where_none_are_needed(gateway):
    good = make(gateway, "good", "read")
    known(gateway, good)
    broken = good["key"][:-1] + ("0" if good["key"][-1] != "0" else "1")
    for headers in ({"Authorization": "Bearer nothing"}, {"Authorization": "Bearer "}, {"Authorization": "Basic YTpi"}, {"X_Api_Key": broken}, {"X_Api_Key": "x"},
                    {"X_Api_Key": good["key"], "Authorization": f"Bearer {good['key']}"}, {"Authorization": f"Bearer {good['key']} x"},
                    {"X_Api_Key": "weir_" + "0" * 12 + "_" + "0" * 40 + "_" + "0" * 8}):
        status, problem, _ = gateway.get("/v1/chains", **headers)
        assert (status, problem["code"]) == (401, "unauthorized"), headers


@pytest.mark.parametrize("body,code", [
    ({"scopes": ["read"]}, "invalid_body"), ({"name": "x"}, "invalid_body"), ({"name": "x", "scopes": []}, "invalid_scope"),
    ({"name": "x", "scopes": ["root"]}, "invalid_scope"), ({"name": "x#y", "scopes": ["read"]}, "invalid_name"),
    ({"name": "x\n", "scopes": ["read"]}, "invalid_name"), ({"name": "x" * 65, "scopes": ["read"]}, "invalid_body"),
    ({"name": "x", "scopes": ["read"], "addresses": "home"}, "invalid_addresses"), ({"name": "x", "scopes": ["read"], "expires_in": 0}, "invalid_body")])
def test_what_no_key_is_made_of(gateway, body, code):
    def keys():
        return {key["id"] for key in gateway.operate("GET", "keys?revoked=true&limit=1000")[1]["items"]}

    before = keys()
    status, problem, _ = gateway.operate("POST", "keys", body)
    assert (status, problem["code"]) == (400, code)
    assert keys() == before


def test_pages_and_the_record(gateway):
    made = [make(gateway, f"page{i}", "read")["id"] for i in range(5)]
    found, cursor = [], ""
    while cursor is not None:
        page = gateway.operate("GET", f"keys?limit=2{cursor and '&cursor=' + cursor}")[1]
        found += [k["id"] for k in page["items"]]
        cursor = page["next_cursor"]
    assert found[:5] == made[::-1] and len(found) == len(set(found))
    assert gateway.operate("POST", "keys/000000000000/revoke", {"why": "none"})[0] == 404
    assert gateway.operate("POST", f"keys/{made[0]}/revoke", {})[0] == 400
    lines = gateway.operate("GET", "audit?chain=gateway&limit=20")[1]["items"]
    assert (lines[0]["words"]["action"], lines[1]["words"]["action"]) == ("key_revoke", "key_make")
    assert lines[1]["words"]["detail"] == f"{made[4]} (page4): read" and lines[1]["words"]["who"] == "local"
    assert gateway.operate("GET", "audit/verify?chain=gateway")[1]["sound"]


def test_a_key_whose_hash_was_made_without_the_pepper_opens_nothing(stores, gateway):
    """Who can write to the database but does not have the settings."""
    key = make(gateway, "forged", "admin")
    known(gateway, key, 403)
    stores.sql("with c as (update weir_identity.changes set number = number + 1 returning number) update weir_identity.keys set hash = sha256(%s), change = number "
               "from c where id = %s", key["key"].encode(), key["id"])
    known(gateway, key, 401)


def test_a_database_put_back_takes_keys_with_it(stores):
    gateway = stores.gateway(PEPPER)
    key = make(gateway, "later", "read")
    known(gateway, key)
    number = stores.sql("select number from weir_identity.changes")[0][0]
    stores.sql("delete from weir_identity.keys where id = %s", key["id"])
    stores.sql("update weir_identity.changes set number = number - 1")
    known(gateway, key, 401)
    again = make(gateway, "again", "read")
    assert stores.sql("select change from weir_identity.keys where id = %s", again["id"])[0][0] == number
    known(gateway, again)
    gateway.stop()


def test_without_the_right_to_keys_the_settings_keys_work(stores):
    stores.sql("create role plain login; grant weir_reader to plain")
    url = stores.postgres.url
    plain = re.sub(r"user=\S+", "user=plain", url) if "user=" in url else url + " user=plain"
    gateway = stores.gateway({"postgres": {"url": plain}})
    assert gateway.operate("GET", "session")[0] == 200
    status, problem, _ = gateway.operate("GET", "keys")
    assert (status, problem["code"]) == (503, "identity_unavailable") and "weir_identity" in problem["detail"]
    assert "keys_unavailable" in gateway.log.read_text()
    stores.sql("grant weir_identity to plain")
    stack.wait_until("keys", 60, lambda: gateway.operate("GET", "keys")[0] == 200)
    stack.wait_until("keys to be followed", 60, lambda: "keys_available" in gateway.log.read_text())
    gateway.stop()


def test_weirctl_makes_lists_and_revokes(gateway):
    def weirctl(*words):
        binary = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin")) / "weirctl"
        environment = {**os.environ, "WEIR_API": gateway.api, "WEIR_ADMIN": gateway.admin, "WEIR_KEY": stack.ADMIN_KEY}
        return subprocess.run([binary, *words], capture_output=True, text=True, env=environment, check=False, timeout=60)
    made = weirctl("key", "make", "ctl", "read", "stream", "--addresses", "10.0.0.0/8", "--expires-in", "3600", "--json")
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)
    assert key["scopes"] == ["read", "stream"] and key["addresses"] == "10.0.0.0/8" and key["expires_at"]
    shown = weirctl("key", "list")
    assert re.search(rf"{key['id']} +ctl +read,stream +10\.0\.0\.0/8", shown.stdout), shown.stdout
    assert weirctl("key", "revoke", key["id"]).returncode == 64
    assert weirctl("key", "revoke", key["id"], "--why", "test").returncode == 0
    assert key["id"] not in weirctl("key", "list").stdout and key["id"] in weirctl("key", "list", "--all").stdout
    assert weirctl("key", "make", "x", "root").returncode == 64
