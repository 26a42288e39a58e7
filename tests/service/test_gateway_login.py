"""Operators sign in by name: tokens that are good once, sessions that end, guesses that are counted, and a record of it all."""
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack"), str(pathlib.Path(__file__).parent)]

import stack  # noqa: E402
from gateway_alone import Stores  # noqa: E402
from gateway_client import Document  # noqa: E402

SETTINGS = {"gateway": {"session_secret": "the-session-secret-of-these-tests", "trusted_proxies": "127.0.0.0/8"}}
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    stores = Stores(tmp_path_factory.mktemp("login"))
    yield stores
    stores.stop()


@pytest.fixture(scope="module")
def gateway(stores):
    return stores.gateway(SETTINGS)


@pytest.fixture(scope="module")
def other(stores):
    return stores.gateway(SETTINGS)


clients = iter(range(1, 250))


def sign_in(gateway, user, password=PASSWORD, client=None):
    return gateway.operate("POST", "login", {"user": user, "password": password}, key=None, X_Forwarded_For=client or f"198.51.100.{next(clients)}")


def make(gateway, name, role="viewer"):
    status, user, _ = gateway.operate("POST", "users", {"name": name, "role": role, "password": PASSWORD})
    assert status == 201, user
    status, grant, _ = sign_in(gateway, name)
    assert status == 200, grant
    return grant


def refresh(gateway, grant):
    return gateway.operate("POST", "refresh", {"refresh_token": grant["refresh_token"]}, key=None)[:2]


def session(gateway, grant):
    return gateway.operate("GET", "session", key=grant["access_token"])[:2]


def actions(gateway, n=20):
    return [(i["words"]["action"], i["words"]["who"]) for i in gateway.operate("GET", f"audit?chain=gateway&limit={n}")[1]["items"]]


def test_a_user_signs_in_goes_on_and_out_on_any_gateway(gateway, other):
    document = Document(gateway.get()[1])
    first = make(gateway, "alice", "operator")
    document.named(first, "Login")
    assert session(gateway, first) == session(other, first) == (200, {"name": "user:alice", "role": "operator"})
    assert gateway.operate("POST", "chains/dev/pause", {}, key=first["access_token"])[0] == 202
    assert gateway.operate("GET", "users", key=first["access_token"])[0] == 403
    status, second = refresh(other, first)
    assert status == 200 and second["refresh_token"] != first["refresh_token"]
    status, third = refresh(gateway, second)
    assert status == 200 and session(other, third)[0] == 200
    assert gateway.operate("POST", "logout", {"refresh_token": third["refresh_token"]}, key=None)[:2] == (200, {"name": "alice"})
    for grant in (first, second, third):
        assert session(gateway, grant)[0] == session(other, grant)[0] == 401, "access tokens end with their session"
    assert refresh(gateway, third)[0] == 401
    assert gateway.operate("POST", "logout", {"refresh_token": third["refresh_token"]}, key=None)[0] == 401
    assert actions(gateway, 3) == [("logout", "user:alice"), ("login", "user:alice"), ("user_make", "local")]
    assert gateway.operate("GET", "audit?limit=1")[1]["items"][0]["words"]["who"] == "user:alice"
    assert gateway.operate("GET", "audit/verify?chain=gateway")[1]["sound"]


def test_a_refresh_token_that_comes_twice_ends_the_session(stores, gateway):
    first = make(gateway, "bob")
    second = refresh(gateway, first)[1]
    stores.sql("update weir_identity.sessions set rotated_at = now() + interval '1 minute' where user_name = 'bob'")
    assert (again := refresh(gateway, first))[0] == 409 and again[1]["code"] == "refreshed_elsewhere", "a moment ago: the same client's other tab"
    assert session(gateway, second)[0] == 200
    stores.sql("update weir_identity.sessions set rotated_at = now() - interval '1 minute' where user_name = 'bob'")
    status, problem = refresh(gateway, first)
    assert (status, problem["code"]) == (401, "session_ended")
    assert session(gateway, second)[0] == 401 and refresh(gateway, second)[0] == 401, "for the one who copied it and for the other"
    assert ("session_reuse", "user:bob") in actions(gateway, 3)


def test_streams_of_a_session_end_with_it_on_every_gateway(gateway, other):
    def stream(grant):
        request = urllib.request.Request(other.admin + "/v1/stream?chain=dev&topic=blocks", headers={"Authorization": f"Bearer {grant['access_token']}"})
        opened = urllib.request.urlopen(request, timeout=30)
        while b"subscribed" not in opened.readline():
            pass
        return opened

    def ended(opened):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if b"has ended" in (line := opened.readline()) or not line:
                return bool(line)
        return False

    grant = make(gateway, "olga", "operator")
    second = sign_in(gateway, "olga")[1]
    first, still, third = stream(grant), stream(second), stream(second)
    assert gateway.operate("POST", "logout", {"refresh_token": grant["refresh_token"]}, key=None)[0] == 200
    assert ended(first), "signed out on one gateway, cut off on the other, and told why"
    assert session(gateway, second)[0] == 200
    assert gateway.operate("POST", "users/olga/disable", {"why": "test"})[0] == 200
    assert ended(still) and ended(third)


def test_a_new_password_and_disabling_end_sessions(gateway, other):
    grant = make(gateway, "carol", "admin")
    assert gateway.operate("POST", "users/carol/password", {"password": "another good password"})[0] == 200
    assert session(other, grant)[0] == 401 and refresh(other, grant)[0] == 401
    assert sign_in(gateway, "carol")[0] == 401
    status, grant, _ = sign_in(gateway, "carol", "another good password")
    assert status == 200 and session(other, grant)[0] == 200
    status, user, _ = gateway.operate("POST", "users/carol/disable", {"why": "left"})
    assert status == 200 and user["disabled_at"]
    assert session(other, grant)[0] == 401 and sign_in(gateway, "carol", "another good password")[0] == 401
    assert gateway.operate("POST", "users/nobody/disable", {"why": "x"})[0] == gateway.operate("POST", "users/nobody/password", {"password": PASSWORD})[0] == 404


def test_nothing_tells_whether_a_name_exists(gateway):
    make(gateway, "dave")
    known, unknown = (sign_in(gateway, name, "wrong password")[:2] for name in ("dave", "nobody"))
    strip = lambda p: {k: v for k, v in p.items() if k != "request_id"}  # noqa: E731
    assert (known[0], strip(known[1])) == (unknown[0], strip(unknown[1])) and known[1]["code"] == "login_failed"


def test_nothing_tells_whether_a_name_exists_while_Redis_is_away(stores, gateway):
    make(gateway, "trent")
    stores.redis.kill()
    try:
        known, unknown = (sign_in(gateway, name, "wrong password", "203.0.113.77")[:2] for name in ("trent", "nobody"))
    finally:
        stores.redis.start()
    assert (known[0], known[1]["code"]) == (unknown[0], unknown[1]["code"]) == (503, "dependency_unavailable")
    stack.wait_until("the record", 60, lambda: gateway.operate("GET", "audit?chain=gateway")[0] == 200)
    assert [sign_in(gateway, name, "wrong password", "203.0.113.78")[0] for name in ("trent", "nobody")] == [401, 401]
    tried = {line["words"].get("who") for line in gateway.operate("GET", "audit?chain=gateway&limit=100")[1]["items"] if line["words"].get("action") == "login_failed"}
    assert {"user:trent", "user:nobody"} <= tried


def test_guesses_are_counted_by_address_and_by_name_on_all_gateways(gateway, other):
    make(gateway, "erin")
    codes = [sign_in((gateway, other)[i % 2], "erin", f"guess number {i}", "203.0.113.1")[0] for i in range(25)]
    assert codes[:8] == [401] * 8 and 10 <= codes.count(401) <= 14 and codes[-1] == 429
    status, problem, headers = sign_in(gateway, "erin", PASSWORD, "203.0.113.1")
    assert (status, problem["code"]) == (429, "too_many_logins") and int(headers["retry-after"]) > 1, "the right password, too"
    assert sign_in(gateway, "erin")[0] == 200, "others may still sign in"
    codes = [sign_in((gateway, other)[i % 2], "erin", f"guess number {i}", f"203.0.113.{i + 10}")[0] for i in range(45)]
    assert codes[-1] == 429 and 15 <= codes.count(401) <= 34
    assert sign_in(gateway, "alice" if codes else "", "wrong password")[0] == 401


def test_signing_in_often_is_no_guessing(gateway):
    make(gateway, "frank")
    for _ in range(14):
        assert sign_in(gateway, "frank", PASSWORD, "203.0.113.200")[0] == 200


def test_tokens_of_sessions_are_for_operators_alone(gateway):
    grant = make(gateway, "grace", "admin")
    assert gateway.get("/v1/chains", Authorization=f"Bearer {grant['access_token']}")[0] == 401
    for token in (grant["refresh_token"], grant["access_token"][:-2] + "AA", grant["access_token"] + "A"):
        assert gateway.operate("GET", "session", key=token)[0] == 401


def test_no_password_and_no_token_is_kept_or_logged(stores, gateway):
    grant = make(gateway, "heidi")
    rows = str(stores.sql("select t::text from weir_identity.users t")) + str(stores.sql("select t::text from weir_identity.sessions t"))
    log = gateway.log.read_text()
    for secret in (PASSWORD, grant["refresh_token"].split("_")[2], grant["access_token"].split(".")[2], SETTINGS["gateway"]["session_secret"]):
        assert secret not in rows and secret not in log
    assert "$argon2id$v=19$m=19456,t=2,p=1$" in rows


@pytest.mark.parametrize("body,code", [
    ({"name": "x", "role": "root", "password": PASSWORD}, "invalid_role"), ({"name": "x", "role": "read", "password": PASSWORD}, "invalid_role"),
    ({"name": "x y", "role": "viewer", "password": PASSWORD}, "invalid_name"), ({"name": "x", "role": "viewer", "password": "short"}, "invalid_body"),
    ({"name": "x", "role": "viewer"}, "invalid_body")])
def test_what_no_user_is_made_of(gateway, body, code):
    assert gateway.operate("POST", "users", body)[1]["code"] == code


def test_a_name_is_given_once_and_listed(gateway):
    make(gateway, "ivan")
    assert gateway.operate("POST", "users", {"name": "ivan", "role": "admin", "password": PASSWORD})[1]["code"] == "user_exists"
    found, cursor = [], ""
    while cursor is not None:
        page = gateway.operate("GET", f"users?limit=3{cursor and '&cursor=' + cursor}")[1]
        found += [u["name"] for u in page["items"]]
        cursor = page["next_cursor"]
    assert found == sorted(set(found)) and "ivan" in found


def test_nobody_signs_in_where_no_secret_is_set(stores):
    gateway = stores.gateway()
    for path, body in (("login", {"user": "alice", "password": PASSWORD}), ("refresh", {"refresh_token": "x"}), ("logout", {"refresh_token": "x"})):
        status, problem, _ = gateway.operate("POST", path, body, key=None)
        assert (status, problem["code"]) == (503, "logins_off")
    assert gateway.operate("GET", "session")[0] == 200
    gateway.stop()


def test_weirctl_makes_users(gateway, tmp_path):
    def weirctl(*words, text=None):
        binary = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin")) / "weirctl"
        environment = {**os.environ, "WEIR_ADMIN": gateway.admin, "WEIR_KEY": stack.ADMIN_KEY}
        return subprocess.run([binary, *words], capture_output=True, text=True, env=environment, check=False, timeout=60, input=text)
    (tmp_path / "password").write_text("password of a file\n")
    made = weirctl("user", "make", "judy", "operator", tmp_path / "password", "--json")
    assert made.returncode == 0 and json.loads(made.stdout)["role"] == "operator", made.stderr
    assert sign_in(gateway, "judy", "password of a file")[0] == 200
    assert weirctl("user", "password", "judy", "-", text="from standard input").returncode == 0
    assert sign_in(gateway, "judy", "from standard input")[0] == 200
    assert "judy" in weirctl("user", "list").stdout
    assert json.loads(weirctl("user", "role", "judy", "viewer", "--json").stdout)["role"] == "viewer"
    assert weirctl("user", "disable", "judy", "--why", "test").returncode == 0
    assert sign_in(gateway, "judy", "from standard input")[0] == 401


# ---- browsers: the refresh token in a cookie ----------------------------------------------------------------------------------------------


def cookie_of(headers):
    value, *attributes = [part.strip() for part in headers["set-cookie"].split(";")]
    assert {"Path=/admin/v1/", "HttpOnly", "Secure", "SameSite=Strict"} < set(attributes)
    return value, attributes


def sign_in_by_browser(gateway, name):
    make(gateway, name)
    status, grant, headers = gateway.operate("POST", "login", {"user": name, "password": PASSWORD, "cookie": True}, key=None, X_Forwarded_For=f"198.51.100.{next(clients)}")
    assert status == 200, grant
    return grant, cookie_of(headers)[0]


def test_a_browser_keeps_the_refresh_token_where_no_script_reads_it(gateway, other):
    grant, cookie = sign_in_by_browser(gateway, "kim")
    Document(gateway.get()[1]).named(grant, "Login")
    assert "refresh_token" not in grant and "weirs_" not in json.dumps(grant)
    status, next_grant, headers = other.operate("POST", "refresh", {}, key=None, Cookie=f"theme=dark; {cookie}; x=y", Sec_Fetch_Site="same-origin")
    assert status == 200 and "refresh_token" not in next_grant and session(gateway, next_grant)[0] == 200
    second, attributes = cookie_of(headers)
    assert second != cookie and any(a.startswith("Max-Age=4") for a in attributes), "as long as the session"
    status, _, headers = gateway.operate("POST", "logout", {}, key=None, Cookie=second)
    assert status == 200 and cookie_of(headers)[0] == "weir-session=" and "Max-Age=0" in headers["set-cookie"]
    assert session(gateway, next_grant)[0] == 401
    status, problem, headers = gateway.operate("POST", "refresh", {}, key=None, Cookie=second)
    assert (status, problem["code"]) == (401, "session_ended") and "Max-Age=0" in headers["set-cookie"]


@pytest.mark.parametrize("cookie", ["", "weir-session=", "weir-session", "weir-session=x", "xweir-session=y; a=b", "weir-session=" + "x" * 300, ";;;,= ;", "weir-session=\"quoted\""])
def test_what_is_no_cookie_of_ours_signs_nobody_in(gateway, cookie):
    for path in ("refresh", "logout"):
        status, problem, _ = gateway.operate("POST", path, {}, key=None, **({"Cookie": cookie} if cookie else {}))
        assert (status, problem["code"]) == (401, "session_ended")


def test_a_cookie_is_good_for_nothing_else_and_not_from_elsewhere(gateway):
    grant, cookie = sign_in_by_browser(gateway, "lou")
    assert gateway.operate("GET", "session", key=None, Cookie=cookie)[0] == 401
    for site in ("cross-site", "same-site", "nonsense", "same-origin, cross-site"):
        for path in ("refresh", "logout", "login", "users"):
            status, problem, headers = gateway.operate("POST", path, {}, key=None, Cookie=cookie, Sec_Fetch_Site=site)
            assert (status, problem["code"]) == (403, "cross_site") and "set-cookie" not in headers
        assert gateway.operate("GET", "session", key=grant["access_token"], Sec_Fetch_Site=site)[0] == 200, "a link from elsewhere leads here"
    # An older browser says no Sec-Fetch-Site, but lets no page of another origin send JSON. Other bodies, or none, move nothing.
    host, port = gateway.admin.split("//")[1].split(":")
    for extra in ("Content-Length: 0\r\n\r\n", "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}"):
        with socket.create_connection((host, int(port)), timeout=60) as s:
            s.sendall(f"POST /admin/v1/refresh HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: {cookie}\r\n{extra}".encode())
            answer = b""
            while part := s.recv(65536):
                answer += part
        assert answer[9:12] in (b"401", b"415") and b"Set-Cookie" not in answer
    assert gateway.operate("POST", "refresh", {}, key=None, Cookie=cookie)[0] == 200, "it was not used up"


def test_a_role_counts_at_once(gateway, other):
    grant = make(gateway, "mia")
    assert session(other, grant)[1]["role"] == "viewer"
    status, user, _ = gateway.operate("POST", "users/mia/role", {"role": "admin"})
    assert status == 200 and user["role"] == "admin"
    assert session(other, grant)[1]["role"] == "admin" and other.operate("GET", "users", key=grant["access_token"])[0] == 200
    assert gateway.operate("POST", "users/mia/role", {"role": "read"})[1]["code"] == "invalid_role"
    assert gateway.operate("POST", "users/nobody/role", {"role": "viewer"})[1]["code"] == "user_unknown"
    assert gateway.operate("POST", "users/mia/role", {"role": "viewer"}, key="viewer-key-0123456789")[0] == 403
    assert ("user_role", "local") in actions(gateway, 3)
