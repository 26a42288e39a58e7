"""HTTP/1.1 to the letter: the table of tests/conformance over real sockets, and what needs time to show."""
import os
import pathlib
import re
import socket
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "conformance"), str(pathlib.Path(__file__).parent)]
import http1  # noqa: E402
from gateway_alone import Stores  # noqa: E402


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    stores = Stores(tmp_path_factory.mktemp("http"))
    yield stores
    stores.stop()


@pytest.fixture(scope="module")
def gateway(stores):
    return stores.gateway({"gateway": {"address_limit": 0}})


def connect(gateway, seconds=30):
    host, port = gateway.api.split("//")[1].split(":")
    return socket.create_connection((host, int(port)), timeout=seconds)


def everything(s):
    out = b""
    while part := s.recv(65536):
        out += part
    return out


def test_every_case_of_the_table_in_any_pieces(gateway):
    host, port = gateway.api.split("//")[1].split(":")
    count, wrong = http1.run((host, int(port)), cuts=None if os.environ.get("WEIR_SIZE") == "full" else 2)
    assert not wrong, [f"{case.section} {case.name} ({how}): {error}" for case, how, error in wrong[:20]]
    assert len(http1.CASES) >= 500 and count > 3 * 500
    assert len({case.name for case in http1.CASES}) == len(http1.CASES) or len({case.data for case in http1.CASES}) > 480


def test_a_table_that_is_wrong_is_noticed(gateway):
    host, port = gateway.api.split("//")[1].split(":")
    spoiled = [case._replace(expected=(400,)) for case in http1.CASES[:3]] + [case._replace(expected=("ok",)) for case in http1.CASES if case.expected == (400,)][:3]
    count, wrong = http1.run((host, int(port)), spoiled, cuts=1)
    assert len(wrong) == count > 12


def test_who_expects_it_is_told_to_go_on(gateway):
    with connect(gateway) as s:
        s.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert s.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(b"{}")
        assert everything(s).startswith(b"HTTP/1.1 404 ")
    with connect(gateway) as s: # what will be refused is refused before it is sent
        s.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n")
        assert re.findall(rb"HTTP/1\.1 (\d+)", everything(s)) == [b"413"]


def test_a_request_that_does_not_come_is_told_so_and_an_idle_connection_is_not(stores):
    gateway = stores.gateway({"gateway": {"request_timeout": "300ms"}})
    for half in (b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab",
                 b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"):
        with connect(gateway) as s:
            s.sendall(half)
            answer = everything(s)
            assert answer.startswith(b"HTTP/1.1 408 ") and b'"code":"request_timeout"' in answer and b"application/problem+json" in answer
    with connect(gateway) as s:
        assert everything(s) == b""
    with connect(gateway) as s:
        s.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        assert len(re.findall(rb"HTTP/1\.1 404", everything(s))) == 1


def test_a_refusal_arrives_although_the_client_goes_on_sending(gateway):
    with connect(gateway) as s:
        s.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 900000000\r\n\r\n")
        try:
            for _ in range(8):
                s.sendall(b"x" * 65536)
        except OSError:
            pass
        assert s.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_connections_beyond_the_limit_wait_for_room(stores):
    gateway = stores.gateway({"gateway": {"max_connections": 8, "max_websockets": 1}})
    request = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
    held = [connect(gateway) for _ in range(9)]
    for s in held:
        s.sendall(request)
        assert s.recv(65536).startswith(b"HTTP/1.1 404")
    late = connect(gateway)
    late.sendall(request)
    late.settimeout(0.2)
    with pytest.raises(TimeoutError):
        late.recv(1)
    held.pop().close()
    late.settimeout(60)
    assert late.recv(65536).startswith(b"HTTP/1.1 404")
    for s in [*held, late]:
        s.close()


def test_an_answer_larger_than_the_kernel_takes_arrives_whole(gateway):
    with connect(gateway) as s: # 60 answers of 170 KB that nobody reads until all are asked for
        s.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 60 + b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        out = everything(s)
        sizes = [int(size) for size in re.findall(rb"Content-Length: (\d+)", out)]
        assert len(sizes) == 61 and min(sizes[:60]) > 100000 and out.count(b'"openapi": "3.1.0"') + out.count(b'"openapi":"3.1.0"') == 60
