"""What must not happen, seen from outside; and docs/gateway-security.md, whose tests exist."""
import http.client
import json
import pathlib
import re
import socket
import sys
import threading

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack"), str(pathlib.Path(__file__).parent)]

import stack  # noqa: E402
from gateway_alone import Stores  # noqa: E402

TABLE = (ROOT / "docs" / "gateway-security.md").read_text()
OPENAPI = json.loads((ROOT / "services" / "gateway" / "api" / "openapi.json").read_text())
ORIGIN = "https://app.example"


# ---- the table ---------------------------------------------------------------------------------------------------------------------------


def named():
    return re.findall(r"`(tests/[\w./]+): ([^`]+)`", TABLE)


def test_each_test_in_the_table_exists():
    assert len(named()) > 60
    for place, name in named():
        text = (ROOT / place).read_text()
        if place.endswith(".c"):
            assert re.search(rf"^(static )?\w[\w \*]*\b{name}\(", text, re.M) and text.count(name) > (0 if place.startswith("tests/fuzz") else 1), (place, name)
        elif place.endswith(".mjs"):
            assert f"flow('{name}" in text or f"flow(`{name}" in text, (place, name)
        else:
            assert f"def {name}(" in text, (place, name)


def test_each_row_has_a_test():
    rows = [line for line in TABLE.splitlines() if line.startswith("| ") and not line.startswith("| threat")]
    assert len(rows) > 15 and all(re.search(r"`tests/[\w./]+: [^`]+`", row) for row in rows)


# ---- what the other tests do not hold -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    stores = Stores(tmp_path_factory.mktemp("security"))
    yield stores
    stores.stop()


@pytest.fixture(scope="module")
def gateway(stores):
    return stores.gateway({"gateway": {"address_limit": 0, "cors_origins": ORIGIN, "session_secret": "the-session-secret-of-these-tests", "request_timeout": "5s"}})


def place(address):
    host, port = address.split("//")[1].split(":")
    return host, int(port)


def ask(address, method, path, headers=None, body=None):
    connection = http.client.HTTPConnection(*place(address), timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), answer.read().decode(errors="replace")
    finally:
        connection.close()


def test_what_operators_have_is_nowhere_on_the_clients_listener(gateway):
    key = {"Authorization": f"Bearer {stack.ADMIN_KEY}", "Content-Type": "application/json"}
    paths = [(p, m) for p, operations in OPENAPI["paths"].items() if p.startswith("/admin/") for m in operations]
    assert len(paths) > 50
    for path, method in [*paths, ("/", "get"), ("/ui", "get"), ("/index.html", "get"), ("/admin", "get"), ("/admin/v1", "get")]:
        status, _, body = ask(gateway.api, method.upper(), re.sub(r"{\w+}", "1", path), key, "{}" if method == "post" else None)
        assert status == 404 and json.loads(body)["code"] == "path_unknown", (method, path, status)


def test_no_page_of_another_origin_reads_what_operators_read(gateway):
    """Not even one that may read what clients read."""
    for method, headers in (("OPTIONS", {"Origin": ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}),
                            ("GET", {"Origin": ORIGIN, "Authorization": f"Bearer {stack.ADMIN_KEY}"})):
        for path in ("/admin/v1/session", "/admin/v1/login", "/v1/chains"):
            _, got, _ = ask(gateway.admin, method, path, headers)
            assert not any(name.startswith("access-control") for name in got), (method, path, got)
            assert got["cross-origin-resource-policy"] == "same-origin" and got["x-frame-options"] == "DENY"
    assert ask(gateway.api, "GET", "/v1/chains", {"Origin": ORIGIN})[1]["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize("origin,status", [(None, 101), (ORIGIN, 101), ("SAME", 101), ("null", 403), ("https://evil.example", 403), (ORIGIN + ".evil.example", 403),
                                           ("http://app.example", 403), (ORIGIN + ":8443", 403)])
def test_websockets_are_opened_by_pages_of_listed_origins_only(gateway, origin, status):
    host, port = place(gateway.api)
    origin = f"http://{host}:{port}" if origin == "SAME" else origin
    with socket.create_connection((host, port), timeout=60) as s:
        s.sendall((f"GET /v1/ws HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                   f"Sec-WebSocket-Key: {'A' * 22}==\r\n" + (f"Origin: {origin}\r\n" if origin else "") + "\r\n").encode())
        assert s.recv(65536)[9:12].decode() == str(status)


def test_no_secret_is_told_in_logs_metrics_or_answers(gateway):
    """Wherever a client puts it, right or wrong place."""
    secret, password = "a-secret-that-nobody-may-read-0123", "a-password-that-nobody-may-read"
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhLXNlY3JldCJ9.c2lnbmF0dXJlLW9mLWEtc2VjcmV0"
    told = []
    for address in (gateway.api, gateway.admin):
        for value in (secret, token, stack.ADMIN_KEY):
            for headers in ({"Authorization": f"Bearer {value}"}, {"X-Api-Key": value}, {"Authorization": f"Basic {value}"}, {"Cookie": f"weir-session={value}"},
                            {"Sec-WebSocket-Protocol": f"bearer, {value}"}, {"Referer": f"http://a/?key={value}"}):
                told.append(ask(address, "GET", "/v1/chains", headers))
            told.append(ask(address, "GET", f"/v1/chains?key={value}"))
            told.append(ask(address, "GET", f"/v1/chains?access_token={value}"))
    for body in ({"user": "nobody", "password": password}, {"user": "nobody", "password": password, password: 1}):
        told.append(ask(gateway.admin, "POST", "/admin/v1/login", {"Content-Type": "application/json"}, json.dumps(body)))
    told.append(ask(gateway.admin, "POST", "/admin/v1/refresh", {"Content-Type": "application/json"}, json.dumps({"refresh_token": secret})))
    metrics = ask(gateway.ops, "GET", "/metrics")[2]
    log = gateway.log.read_text()
    assert len(log) > 1000 and "weir_gateway_requests_total" in metrics
    for value in (secret, token, token.split(".")[2], stack.ADMIN_KEY, "the-session-secret-of-these-tests"):
        assert value not in log and value not in metrics, "a log or a metric tells it"
        assert all(value not in str(headers) + body for _, headers, body in told), "an answer tells it"
    assert password not in log and password not in metrics


SLOW = {"heads": (b"GET /v1/chains HTTP/1.1\r\nHost: a\r\n", b"X-%d: y\r\n"), "bodies": (b"POST /v1/batch HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 4096\r\n\r\n", b" "),
        "readers": (b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 40, None), "idlers": (b"", None)}


@pytest.mark.parametrize("mode", SLOW)
def test_those_who_are_slow_on_purpose_hold_up_nobody(gateway, mode):
    begin, more = SLOW[mode]
    slow = []
    for _ in range(150):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(120)
        s.connect(place(gateway.api))
        s.sendall(begin)
        slow.append(s)
    over, failures = threading.Event(), []

    def drip():
        n = 0
        while more and not over.wait(0.2):
            n += 1
            for s in slow:
                try:
                    s.send(more % n if b"%d" in more else more)
                except OSError:
                    pass # ended already: good

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        for _ in range(30):
            status = ask(gateway.api, "GET", "/v1/chains")[0]
            failures += [status] if status != 200 else []
    finally:
        over.set()
        thread.join()
    assert not failures
    for s in slow[:30] if mode != "readers" else []: # and they are ended; of those who read slowly it takes half a minute
        try:
            while s.recv(1 << 20):
                pass
        except OSError:
            pass # a reset is an end
    for s in slow:
        s.close()
