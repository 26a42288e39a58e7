"""Reads of one row are made together (call/reader.h): everybody has the answer to the own question, whatever the others asked and whatever happens meanwhile."""
import hashlib
import http.client
import itertools
import json
import os
import threading
import time

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
    # In each block one transaction with two entries of an asset, which is named after the height.
    made.sql("create table weir.entries_dev partition of weir.entries default")
    made.sql("insert into weir.transactions (chain, height, branch, tx_index, hash, type, sender, recipient, value, nonce, gas_used, effective_gas_price, succeeded, log_count) "
             "select c.id, n, 0, 0, sha256(('t' || n)::bytea), 2, %s, null, n, n, 21000, 7, true, 0 from weir.chains c, generate_series(1, %s) n", b"\x22" * 20, HEIGHTS)
    made.sql("insert into weir.assets (chain, standard, contract, first_height, decimals) "
             "select c.id, 2, decode(lpad(to_hex(n), 40, '0'), 'hex'), n, n %% 19 from weir.chains c, generate_series(1, %s) n", HEIGHTS)
    made.sql("insert into weir.accounts (chain, address) select c.id, %s from weir.chains c", b"\x22" * 20)
    made.sql("insert into weir.entries (chain, height, branch, ordinal, tx_index, kind, asset, account, delta, balance, path) "
             "select a.chain, s.first_height, 0, o, 0, 9, s.id, a.id, o - s.first_height, 0, '' from weir.assets s, weir.accounts a, generate_series(0, 1) o where s.first_height <= %s", HEIGHTS - 1)
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
                connection.request("GET", what if what.startswith("/") else PATH + what, headers=self.headers)
                answer = connection.getresponse()
                self.answers.append((what, answer.status, answer.read(), answer.headers.get("ETag")))
        except (OSError, http.client.HTTPException) as failure:
            self.failure = failure


def transaction_hash(n):
    return "0x" + hashlib.sha256(f"t{n}".encode()).hexdigest()


def contract(n):
    return f"0x{n:040x}"


TRANSACTIONS = {f"/v1/chains/dev/transactions/{transaction_hash(n)}": n for n in range(1, HEIGHTS + 1)}
ASSETS = {f"/v1/chains/dev/assets/{contract(n)}": n for n in range(1, HEIGHTS + 1)}
WRONG = {"/v1/chains/dev/transactions/0x" + "ee" * 32: (404, "transaction_unknown"), "/v1/chains/dev/transactions/0x12": (400, "invalid_hash"),
         "/v1/chains/dev/assets/" + contract(HEIGHTS + 1): (404, "asset_unknown"), "/v1/chains/dev/assets/nothing": (400, "invalid_asset"),
         "9" * 17: (404, "block_unknown"), "0x" + "ee" * 32: (404, "block_unknown"), "0x12": (400, "invalid_block"), "x": (400, "invalid_block")}


def ask_together(gateway, readers, count, headers=None):
    blocks = [str(n) for n in range(1, HEIGHTS + 1)]
    names = itertools.cycle([*itertools.chain(*zip(blocks, TRANSACTIONS, ASSETS)), "latest", *WRONG, "0x" + "11" * 32])
    asked = [Reader(gateway, [next(names) for _ in range(count)], headers) for _ in range(readers)]
    for reader in asked:
        reader.join(120)
    return asked


def check(what, status, body):
    answer = json.loads(body)
    if what in WRONG:
        assert (status, answer["code"]) == WRONG[what], (what, body)
    elif what in TRANSACTIONS:
        n = TRANSACTIONS[what]
        entries = [(e["ordinal"], e["delta"], e["asset"].lower()) for e in answer["entries"]]
        assert status == 200 and (answer["block"]["height"], answer["value"], answer["entries_truncated"]) == (n, str(n), False), (what, body)
        assert entries == ([(o, str(o - n), contract(n)) for o in (0, 1)] if n < HEIGHTS else []), (what, body)
    elif what in ASSETS:
        assert status == 200 and (answer["first_height"], answer["decimals"]) == (ASSETS[what], ASSETS[what] % 19), (what, body)
    elif what == "latest":
        assert status == 200 and answer["height"] == HEIGHTS
    elif what == "0x" + "11" * 32:
        assert status == 200 and answer["height"] == 0
    else:
        assert status == 200 and answer["height"] == answer["gas_used"] == int(what), (what, body)


def read_once(gateway, what, headers=None):
    reader = Reader(gateway, [what], headers)
    reader.join(60)
    assert reader.failure is None, reader.failure
    return reader.answers[0]


def test_everybody_has_the_own_answer(stores):
    gateway = stores.gateway(SETTINGS)
    together = {}
    for reader in ask_together(gateway, 24, 30):
        assert reader.failure is None and len(reader.answers) == 30
        for what, status, body, etag in reader.answers:
            check(what, status, body)
            together[what] = (status, etag, body)
    for what in [*list(together)[:9], "/v1/chains/dev/transactions/" + transaction_hash(7), "/v1/chains/dev/assets/" + contract(7), "7"]:
        _, status, body, etag = read_once(gateway, what)
        if status == 200: # a problem names its request
            assert together.get(what, (status, etag, body)) == (status, etag, body), "alone as together"
        path = what if what.startswith("/") else PATH + what
        part = stack.http_json(gateway.api + "/v1/batch", "POST", {"paths": [path]})[1]["items"][0] # which are a worker's
        if status == 200:
            assert (part["status"], part["body"]) == (200, json.loads(body)), "and as a worker reads it"
        else:
            assert (part["status"], part["body"]["code"]) == (status, json.loads(body)["code"])
        assert status != 200 or read_once(gateway, what, {"If-None-Match": etag})[1:3] == (304, b"")
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


def test_a_start_opens_no_connection_to_PostgreSQL_in_vain(tmp_path):
    """The one that tells whether the settings are right is the pool's first."""
    stores = Stores(tmp_path)
    try:
        for setting in ("log_line_prefix = '%a '", "log_disconnections = on"):
            stores.postgres.query("alter system set " + setting)
        stores.postgres.query("select pg_reload_conf()")
        stack.wait_until("the settings", 60, lambda: stores.postgres.query("show log_disconnections") == [["on"]])
        name = f"in-vain-{os.getpid()}-{time.time_ns()}" # other servers may write to the same log
        stores.gateway({"postgres": {"url": f"{stores.postgres.url} application_name={name}"}})
        assert stores.postgres.query(f"select count(*) > 0 from pg_stat_activity where application_name = '{name}'") == [["t"]]
        log = stores.postgres.process.log.read_text(errors="replace")
        assert "disconnection:" in log and f"{name} LOG:  disconnection:" not in log
    finally:
        stores.stop()
