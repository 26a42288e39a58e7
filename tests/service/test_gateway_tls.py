"""TLS on both listeners: what is served does not change, certificates do without a restart, and nobody is held up by a handshake that never ends."""
import http.client
import json
import os
import pathlib
import re
import select
import socket
import ssl
import struct
import sys
import threading

import pytest
import websocket

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack"), str(ROOT / "tests" / "conformance"), str(pathlib.Path(__file__).parent)]
import http1  # noqa: E402
import stack  # noqa: E402
from certificates import Authority  # noqa: E402
from gateway_alone import Stores  # noqa: E402
from gateway_client import EventStream, Packed, Poll, Stream  # noqa: E402
from test_gateway import World  # noqa: E402

FULL = os.environ.get("WEIR_SIZE") == "full"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    stores = Stores(tmp_path_factory.mktemp("tls"))
    yield stores
    stores.stop()


def settings(authority, name="server", **admin):
    certificate, key = map(str, authority.make(name))
    tls = {"certificate": certificate, "key": key}
    return {"gateway": {"address_limit": 0, "tls": tls, "admin_tls": {**tls, **admin}}}


@pytest.fixture(scope="module")
def gateway(stores, authority):
    return stores.gateway(settings(authority))


def place(address):
    host, port = address.split("//")[1].split(":")
    return host, int(port)


def ask(address, path, context, key=stack.ADMIN_KEY):
    """(status, body)."""
    connection = http.client.HTTPSConnection(*place(address), timeout=60, context=context)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def counted(gateway, name, *labels):
    """A metric's value, 0 when it was never counted."""
    connection = http.client.HTTPConnection(*place(gateway.ops), timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    for line in text.splitlines():
        if line.startswith(name + "{") and all(f'"{label}"' in line for label in labels):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


def test_the_conformance_cases_pass_over_tls(gateway, authority):
    cases = http1.CASES if FULL else http1.CASES[::4]
    count, wrong = http1.run(place(gateway.api), cases, cuts=2 if FULL else 0, tls=authority.client())
    assert not wrong, [f"{case.section} {case.name} ({how}): {error}" for case, how, error in wrong[:20]]
    assert count >= len(cases)


def test_both_listeners_speak_tls_only(gateway, authority):
    context = authority.client()
    assert ask(gateway.api, "/openapi.json", context)[0] == 200
    assert ask(gateway.admin, "/admin/v1/session", context)[0] == 200
    assert ask(gateway.admin, "/admin/v1/session", context, "wrong-key-0123456789")[0] == 401
    for address in (gateway.api, gateway.admin):
        with socket.create_connection(place(address), timeout=60) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            out = b""
            while part := s.recv(65536):
                out += part
        assert out.startswith(b"HTTP/1.1 400 ") and json.loads(out.split(b"\r\n\r\n", 1)[1])["code"] == "tls_wanted"
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(gateway.api, "/openapi.json", ssl.create_default_context())
    assert counted(gateway, "weir_gateway_tls_handshakes_total", "gateway.tls", "done") >= 1
    stack.wait_until("failures are counted", 60, lambda: counted(gateway, "weir_gateway_tls_handshakes_total", "gateway.tls", "failed") >= 2)


def test_requests_follow_each_other_on_a_connection_and_the_end_is_told(gateway, authority):
    with authority.client().wrap_socket(socket.create_connection(place(gateway.api), timeout=60), server_hostname="127.0.0.1") as s:
        # 60 answers of 170 KB that nobody reads until all are asked for
        s.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 60 + b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        parts = []
        while part := s.recv(65536): # without close_notify this would raise: SSLEOFError
            parts.append(part)
    out = b"".join(parts)
    sizes = [int(size) for size in re.findall(rb"Content-Length: (\d+)", out)]
    assert len(sizes) == 61 and min(sizes[:60]) > 100000 and len(re.findall(rb"HTTP/1\.1 (\d+)", out)) == 61
    assert sum(sizes) < len(out) < sum(sizes) + 61 * 2000


def test_a_handshake_that_never_ends_holds_up_nobody_and_is_ended(stores, authority):
    gateway = stores.gateway(stack.merge(settings(authority, "slow"), {"gateway": {"request_timeout": "3s"}}))
    idle = [socket.create_connection(place(gateway.api), timeout=60) for _ in range(150)]
    half = [socket.create_connection(place(gateway.api), timeout=60) for _ in range(150)]
    for s in half:
        s.sendall(b"\x16\x03\x01\x02\x00\x01") # the beginning of a ClientHello
    context = authority.client()
    for _ in range(5):
        assert ask(gateway.api, "/openapi.json", context)[0] == 200
    for s in idle + half:
        assert s.recv(100) == b""
        s.close()
    assert counted(gateway, "weir_gateway_tls_handshakes_total", "gateway.tls", "timeout") >= 300
    assert ask(gateway.api, "/openapi.json", context)[0] == 200


def shown(address, context):
    """Whom the certificate names that a new connection gets."""
    with context.wrap_socket(socket.create_connection(place(address), timeout=60), server_hostname="127.0.0.1") as s:
        return dict(pair for (pair,) in s.getpeercert()["subject"])["commonName"]


def test_changed_files_are_used_without_a_restart(stores, authority):
    gateway = stores.gateway(settings(authority, "first"))
    context = authority.client()
    assert shown(gateway.api, context) == shown(gateway.admin, context) == "first"
    kept = http.client.HTTPSConnection(*place(gateway.api), timeout=60, context=context)
    kept.request("GET", "/openapi.json")
    kept.getresponse().read()
    other, key = authority.make("second", "second")
    certificate = authority.folder / "first.pem"
    authority.write(certificate, other.read_bytes()) # without its key
    stack.wait_until("the wrong pair was noticed", 60, lambda: "tls_reload_failed" in gateway.log.read_text())
    assert shown(gateway.api, context) == "first"
    authority.write(authority.folder / "first.key", key.read_bytes())
    stack.wait_until("the new certificate", 60, lambda: shown(gateway.api, context) == shown(gateway.admin, context) == "second")
    kept.request("GET", "/openapi.json") # the connection from before goes on
    assert kept.getresponse().status == 200
    kept.close()
    assert "key values mismatch" in gateway.log.read_text() and "PRIVATE" not in gateway.log.read_text()


def test_the_admin_listener_wants_a_certificate_and_a_key_all_the_same(stores, authority, tmp_path):
    gateway = stores.gateway(settings(authority, "mutual", client_ca=str(authority.path)))
    stranger = Authority(tmp_path, "stranger").make("eve")
    pair = authority.make("alice")
    for context in (authority.client(), authority.client(stranger)):
        with pytest.raises(OSError): # the alert, or the reset behind it
            ask(gateway.admin, "/admin/v1/session", context)
    assert ask(gateway.admin, "/admin/v1/session", authority.client(pair))[0] == 200
    assert ask(gateway.admin, "/admin/v1/session", authority.client(pair), "wrong-key-0123456789")[0] == 401
    assert ask(gateway.api, "/openapi.json", authority.client())[0] == 200, "clients need none"
    lenient = stores.gateway(settings(authority, "lenient", client_ca=str(authority.path), client_certificate="optional"))
    assert ask(lenient.admin, "/admin/v1/session", authority.client())[0] == 200
    with pytest.raises(OSError):
        ask(lenient.admin, "/admin/v1/session", authority.client(stranger))


# ---- the live end ------------------------------------------------------------------------------------------------------------------------


class Tunnel:
    """A plain address whose connections go on through TLS, so that clients that know no TLS test it."""

    def __init__(self, address, context):
        self.address, self.context = place(address), context
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        try:
            while True:
                near, _ = self.socket.accept()
                threading.Thread(target=self.connect, args=(near,), daemon=True).start()
        except OSError:
            pass # closed

    def connect(self, near):
        """One thread for both directions: an SSL object is one thread's at a time."""
        with near, self.context.wrap_socket(socket.create_connection(self.address), server_hostname=self.address[0]) as far:
            other, on = {near: far, far: near}, True
            try:
                while on:
                    for source in select.select([near, far], [], [])[0]:
                        data = source.recv(65536)
                        while data and source is far and far.pending():
                            data += far.recv(far.pending())
                        other[source].sendall(data)
                        on = on and bool(data)
            except OSError:
                pass # either end is gone

    def close(self):
        self.socket.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory, authority):
    """A suite whose second gateway speaks TLS and keeps little for slow clients."""
    world = World(tmp_path_factory.mktemp("live"))
    try:
        world.workload("--seed", "41", "--blocks", "18", "--reorgs", "2", "--pace-ms", "20")
        certificate, key = map(str, authority.make("live"))
        world.port, ops = stack.free_port(), stack.free_port()
        environment = {"WEIR_GATEWAY_LISTEN": f"127.0.0.1:{world.port}", "WEIR_GATEWAY_ADMIN_LISTEN": "127.0.0.1:0", "WEIR_OPS_LISTEN_GATEWAY": f"127.0.0.1:{ops}",
                       "WEIR_GATEWAY_TLS_CERTIFICATE": certificate, "WEIR_GATEWAY_TLS_KEY": key, "WEIR_GATEWAY_WEBSOCKET_QUEUE": "64KiB"}
        process = stack.Process("gateway2", [world.suite.bin / "weir-gateway", "--config", world.suite.config], world.folder / "gateway2.log", env=environment)
        world.others.append(process.start())
        world.ops = f"http://127.0.0.1:{ops}"
        stack.wait_until("the second gateway", 60, lambda: stack.http_json(world.ops + "/readyz")[0] == 200)
        world.tls = f"https://127.0.0.1:{world.port}"
        yield world
    finally:
        world.stop()


def everything(carrier, base, count=None, **subscription):
    client = carrier(base)
    client.subscribe(**subscription)
    pushes = []
    try:
        while count is None or len(pushes) < count:
            push = client.push(2.0 if count is None else 60)
            pushes.append((push["offset"], push["event"]))
    except websocket.WebSocketTimeoutException:
        assert count is None, f"{len(pushes)} of {count}"
    client.close()
    return pushes


def test_every_carrier_gives_the_same_over_tls(world, authority):
    tunnel = Tunnel(world.tls, authority.client())
    history = {"chain": "dev", "topic": "entries", "from": {"height": 0}}
    plain = everything(Stream, world.suite.api, **history)
    assert len(plain) > 20
    for carrier in (Stream, EventStream, Poll, Packed):
        assert everything(carrier, tunnel.base, len(plain), **history) == plain, carrier.__name__
    tunnel.close()


def test_a_client_that_does_not_read_over_tls_is_told_where_to_resume(world, authority):
    """What is encrypted already cannot be taken back: the offset told is that of the last push which arrives."""
    stream = Stream.__new__(Stream)
    stream.document, stream.pushes, stream.number = None, [], 0
    stream.ws = websocket.create_connection(world.tls.replace("http", "ws") + "/v1/ws", timeout=90, sslopt={"context": authority.client()},
                                            sockopt=((socket.SOL_SOCKET, socket.SO_RCVBUF, 4096),))
    stream.subscribe(topic="entries", chain="dev")
    busy = world.workload("--seed", "10", "--blocks", "30", "--reorgs", "0", wait=False)
    slow = type("Gateway", (), {"ops": world.ops})
    stack.wait_until("the slow client dropped", 150, lambda: counted(slow, "weir_gateway_websocket_closed_total", "slow") == 1)
    last, reason, pushes = None, None, 0
    while reason is None:
        opcode, data = stream.ws.recv_data(control_frame=True)
        if opcode == 8:
            assert struct.unpack(">H", data[:2])[0] == 1013
            reason = data[2:].decode()
        elif opcode == 1:
            last, pushes = json.loads(data)["offset"], pushes + 1
    assert pushes > 5 and reason == f"too slow: resume from offset {last}"
    assert busy.child.wait(240) == 0, busy.tail()
