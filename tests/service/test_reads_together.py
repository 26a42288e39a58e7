"""Reads of one row are made together (call/reader.h): everybody has the answer to the own question, whatever the others asked and whatever happens meanwhile."""
import http.client
import itertools
import json
import threading

import psycopg2
import pytest

from gateway_alone import Stores, stack

HEIGHTS, PATH = 400, "/v1/chains/dev/blocks/"
SETTINGS = {"gateway": {"limit_exempt": "127.0.0.1", "recent_answers": "0", "final_answers": "0"}}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    made = Stores(tmp_path_factory.mktemp("together"))
    made.sql("insert into weir.blocks (chain, height, branch, hash, parent_hash, timestamp, canonical, transaction_count, entry_count, gas_used, endpoints) "
             "select c.id, n, 0, sha256(n::text::bytea), sha256((n - 1)::text::bytea), n, true, 0, 0, n, '{}' from weir.chains c, generate_series(1, %s) n", HEIGHTS)
    made.sql("update weir.chains set watermark_height = %s, finalized_height = %s, safe_height = %s", HEIGHTS, HEIGHTS // 2, HEIGHTS // 2)
    yield made
    made.stop()


class Reader(threading.Thread):
    """Asks for one thing after the other on one connection, and keeps (what, status, body, ETag)."""

    def __init__(self, gateway, questions, headers=None):
        super().__init__()
        self.host, self.questions, self.headers, self.answers, self.failure = gateway.api.split("//")[1], questions, headers or {}, [], None
        self.start()

    def run(self):
        try:
            connection = http.client.HTTPConnection(self.host, timeout=60)
            for what in self.questions:
                connection.request("GET", PATH + what, headers=self.headers)
                answer = connection.getresponse()
                self.answers.append((what, answer.status, answer.read(), answer.headers.get("ETag")))
        except (OSError, http.client.HTTPException) as failure:
            self.failure = failure


def ask_together(gateway, readers, count, headers=None):
    names = itertools.cycle([str(n) for n in range(1, HEIGHTS + 1)] + ["latest", "9" * 17, "0x" + "ee" * 32, "0x12", "x", "0x" + "11" * 32])
    asked = [Reader(gateway, [next(names) for _ in range(count)], headers) for _ in range(readers)]
    for reader in asked:
        reader.join(120)
    return asked


def check(what, status, body):
    answer = json.loads(body)
    if what.isdigit() and int(what) <= HEIGHTS:
        assert status == 200 and answer["height"] == answer["gas_used"] == int(what), (what, body)
    elif what == "latest":
        assert status == 200 and answer["height"] == HEIGHTS
    elif what == "0x" + "11" * 32:
        assert status == 200 and answer["height"] == 0
    elif what in ("9" * 17, "0x" + "ee" * 32):
        assert (status, answer["code"]) == (404, "block_unknown")
    else:
        assert (status, answer["code"]) == (400, "invalid_block"), (what, body)


def read_once(gateway, what, headers=None):
    reader = Reader(gateway, [what], headers)
    reader.join(60)
    assert reader.failure is None, reader.failure
    return reader.answers[0]


def test_everybody_has_the_own_answer(stores):
    gateway = stores.gateway(SETTINGS)
    for reader in ask_together(gateway, 24, 30):
        assert reader.failure is None and len(reader.answers) == 30
        for what, status, body, _ in reader.answers:
            check(what, status, body)
    _, _, body, etag = read_once(gateway, "7")
    assert read_once(gateway, "7", {"If-None-Match": etag})[1:3] == (304, b"") and json.loads(body)["height"] == 7
    assert read_once(gateway, "8", {"If-None-Match": etag})[1] == 200
    assert read_once(gateway, "8", {"Authorization": "Bearer no-such-key-0123456789"})[1] == 401
    status, _, headers = stack.http_json(gateway.api + PATH + "9", "HEAD")
    assert status == 200 and headers["ETag"]
    gateway.stop()


def test_connections_of_the_ledger_that_end_cost_no_answer(stores):
    gateway = stores.gateway(SETTINGS)
    done = threading.Event()

    def end_connections():
        while not done.wait(0.1):
            stores.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'weir-gateway'")
    ender = threading.Thread(target=end_connections)
    ender.start()
    asked = ask_together(gateway, 12, 60)
    done.set()
    ender.join()
    for reader in asked:
        assert reader.failure is None and len(reader.answers) == 60
        for what, status, body, _ in reader.answers:
            if status == 503:
                assert json.loads(body)["code"] == "dependency_unavailable"
            else:
                check(what, status, body)
    stack.wait_until("all is well again", 60, lambda: read_once(gateway, "3")[1] == 200)
    gateway.stop()


def test_whoever_is_in_hand_when_the_gateway_stops_is_answered(stores):
    gateway = stores.gateway(SETTINGS)
    lock = psycopg2.connect(stores.postgres.url)
    lock.cursor().execute("lock table weir.blocks in access exclusive mode") # the ledger answers nobody until this is over
    asked = [Reader(gateway, [str(n)]) for n in range(1, 13)]
    try:
        stack.wait_until("the ledger is asked", 60, lambda: stores.sql("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")[0][0] >= 1)
        gateway.process.send(15)
    finally:
        lock.close()
    for reader in asked:
        reader.join(60)
    answered = [a for reader in asked for a in reader.answers]
    assert any(status == 200 for _, status, _, _ in answered)
    for what, status, body, _ in answered:
        if status == 200:
            check(what, status, body)
        else:
            assert status == 503 and json.loads(body)["code"] == "draining"
    assert gateway.process.wait() == 0, gateway.process.tail()


def test_what_waits_behind_a_slow_ledger_is_the_workers(stores):
    gateway = stores.gateway(SETTINGS | {"postgres": {"pool_size": 1}, "gateway": SETTINGS["gateway"] | {"shed_after": "500ms", "request_timeout": "60s"}})
    lock = psycopg2.connect(stores.postgres.url)
    lock.cursor().execute("lock table weir.blocks in access exclusive mode")
    asked = [Reader(gateway, [str(n)]) for n in range(1, 101)] # 64 of them may be in one round
    try: # they shed, and give up waiting for a connection; the reader would do neither
        stack.wait_until("refusals", 60, lambda: sum(a[1] == 503 for reader in asked for a in reader.answers) >= 5)
    finally:
        lock.close()
    for reader in asked:
        reader.join(120)
        assert reader.failure is None and len(reader.answers) == 1
        what, status, body, _ = reader.answers[0]
        if status == 200:
            check(what, status, body)
        else:
            assert status == 503 and json.loads(body)["code"] in ("overloaded", "busy")
    gateway.stop()
