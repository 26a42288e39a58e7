"""More than a gateway can do: who is refused, in which order, how, and that health and operators are not; that whoever was let in is answered."""
import concurrent.futures
import contextlib
import http.client
import json
import pathlib
import socket
import sys
import time
import urllib.request

import psycopg2
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack"), str(pathlib.Path(__file__).parent)]

import stack  # noqa: E402
from gateway_alone import Stores  # noqa: E402

BLOCK = "/v1/chains/dev/blocks/0x" + "11" * 32
ENTRIES = BLOCK + "/entries" # a worker's, not the reader's
KEYED = {"Authorization": f"Bearer {stack.ADMIN_KEY}"}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    stores = Stores(tmp_path_factory.mktemp("overload"))
    yield stores
    stores.stop()


def slow(stores, shed_after):
    """Few workers; each keeps a request for three seconds when the ledger does not answer, since it waits for a connection."""
    return stores.gateway({"postgres": {"pool_size": 1}, "gateway": {"shed_after": shed_after, "request_timeout": "60s", "cors_origins": "https://pages.example"}})


def shed(gateway, kind):
    text = urllib.request.urlopen(gateway.ops + "/metrics", timeout=60).read().decode()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f'weir_gateway_shed_total{{kind="{kind}"}}'))


def is_refused(answer):
    return answer[0] == 503 and answer[1]["code"] == "overloaded"


@contextlib.contextmanager
def ledger_that_stands_still(stores):
    """Nobody's read of a block is answered until this ends."""
    holder = psycopg2.connect(stores.postgres.url)
    try:
        holder.cursor().execute("lock table weir.blocks in access exclusive mode")
        yield
    finally:
        holder.close()


class Crowd:
    """Requests that are under way at the same time."""

    def __init__(self, gateway):
        self.gateway, self.pool, self.asked = gateway, concurrent.futures.ThreadPoolExecutor(400), []

    def ask(self, method="GET", path=ENTRIES, body=None, headers=None):
        self.asked.append(self.pool.submit(stack.http_json, self.gateway.api + path, method, body, headers or {}, 90))
        return self.asked[-1]

    def write(self):
        return self.ask("POST", "/v1/watchlists", {"chain": "dev", "name": f"list {len(self.asked)}"}, KEYED)

    def is_refused(self, request, seconds=2):
        """Refusals come at once; who is let in waits."""
        try:
            return is_refused(request.result(seconds))
        except concurrent.futures.TimeoutError:
            return False

    def answers(self):
        return [a.result(120) for a in self.asked]


def test_who_has_a_key_is_let_in_where_others_are_not(stores):
    gateway = slow(stores, "600ms")

    def seen(): # anonymous from the first second on, writes 1.4 s later; a machine that stands still in between must try again
        crowd = Crowd(gateway)
        with ledger_that_stands_still(stores):
            for _ in range(14):
                crowd.ask()
            stack.wait_until("a refusal", 60, lambda: crowd.is_refused(crowd.ask(), 0.05))
            refused = crowd.is_refused(crowd.write(), 0.2)
        answers = crowd.answers()
        assert any(is_refused(a) for a in answers)
        return not refused
    stack.wait_until("somebody without a key is refused, somebody with one is not", 60, seen)
    stack.wait_until("answers again", 60, lambda: gateway.get(ENTRIES)[0] == 200)
    gateway.stop()


def refusals_on_one_connection(gateway, count, headers, path=ENTRIES):
    connection, told = http.client.HTTPConnection(gateway.api.split("//")[1], timeout=60), []
    connection.connect()
    opened = connection.sock
    for _ in range(count):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        told.append((answer.status, json.loads(answer.read()), {name.lower(): value for name, value in answer.headers.items()}))
        assert connection.sock is opened, "the connection stays"
    connection.close()
    return told


def test_behind_a_long_queue_all_are_refused_at_the_door(stores):
    gateway = slow(stores, "2s")
    assert gateway.get(BLOCK)[0] == 200 # which is final, and kept from now on
    crowd = Crowd(gateway)
    with ledger_that_stands_still(stores):
        for _ in range(300):
            crowd.ask(headers=KEYED)
        # Whoever left the queue took seconds, and 290 are in it. They are not refused by the workers before 40 seconds are over.
        stack.wait_until("who waited in vain", 60, lambda: any(f.done() for f in crowd.asked))
        stack.wait_until("refusals of those who are refused last", 60, lambda: crowd.is_refused(crowd.write()))
        for headers in ({}, KEYED, {"Connection": "keep-alive", "Accept": "*/*"}): # ready answers
            told = refusals_on_one_connection(gateway, 8, headers)
            for status, body, fields in told:
                assert (status, body["code"], body["instance"], body["status"]) == (503, "overloaded", ENTRIES, 503)
                assert 1 <= int(fields["retry-after"]) <= 5 and body["request_id"] == fields["x-request-id"]
                assert fields["content-type"] == "application/problem+json" and fields["cache-control"] == "no-store" and fields["date"]
                assert fields["x-content-type-options"] == "nosniff"
            assert len({body["request_id"] for _, body, _ in told}) == 8
        told = refusals_on_one_connection(gateway, 2, {"X-Request-Id": "mine", "Origin": "https://pages.example"}) # and those that must be made
        assert all(is_refused(t) and t[1]["request_id"] == "mine" and t[2]["access-control-allow-origin"] for t in told)
        assert is_refused(gateway.get("/v1/chains/dev/accounts/0x" + "1" * 40 + "/balances?height=0")) # with a query
        assert is_refused(stack.http_json(gateway.api + "/v1/batch", "POST", {"paths": [BLOCK]}, KEYED, 60))
        assert gateway.get(BLOCK)[0] == 200, "what is in memory costs no more than a refusal"
        assert gateway.ready() and gateway.operate("GET", "session")[0] == 200, "health and operators have listeners of their own"
        told = {kind: shed(gateway, kind) for kind in ("anonymous", "read", "write", "admin", "health")}
        assert told["anonymous"] >= 8 + 8 + 2 + 1 and told["read"] >= 8 + 1 and told["write"] >= 1 and told["admin"] == told["health"] == 0
    answers = crowd.answers()
    assert {a[0] for a in answers} <= {200, 201, 503} and {a[1]["code"] for a in answers if a[0] == 503} <= {"overloaded", "busy"}
    stack.wait_until("answers again", 60, lambda: gateway.get(ENTRIES)[0] == 200)
    gateway.stop()


def test_whoever_was_let_in_is_answered(stores):
    gateway = slow(stores, "1s")
    crowd = Crowd(gateway)
    with ledger_that_stands_still(stores):
        for _ in range(9):
            crowd.ask()
        stack.wait_until("the ledger is asked", 60, lambda: stores.sql("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")[0][0] >= 1)
    for status, body, _ in crowd.answers():
        assert status == 200 and body["items"] == [] or body["code"] == "busy", body # of a machine that stood still for three seconds
    gateway.stop()


def test_whoever_left_is_not_answered_in_vain(stores):
    gateway = slow(stores, "1s")
    crowd = Crowd(gateway)
    with ledger_that_stands_still(stores):
        for _ in range(9):
            crowd.ask()
        stack.wait_until("all workers are busy", 60, lambda: stores.sql("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")[0][0] >= 1)
        host, port = gateway.api.split("//")[1].split(":")
        leaving = []
        for _ in range(30): # some of whom find a worker that waits for a connection
            leaving.append(socket.create_connection((host, int(port)), timeout=60))
            leaving[-1].sendall(f"GET {ENTRIES} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        before = time.monotonic()
        for s in leaving:
            s.close()
        stack.wait_until("longer than shed_after", 60, lambda: time.monotonic() > before + 1.2)
    stack.wait_until("they are counted as refused", 60, lambda: shed(gateway, "anonymous") >= 1)
    crowd.answers()
    gateway.stop()


def test_or_nobody_is_refused(stores):
    gateway = slow(stores, "0s")
    crowd = Crowd(gateway)
    with ledger_that_stands_still(stores):
        for _ in range(20):
            crowd.ask()
        stack.wait_until("the first to give up", 60, lambda: any(f.done() for f in crowd.asked))
    assert not any(is_refused(a) for a in crowd.answers())
    gateway.stop()
