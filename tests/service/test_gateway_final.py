"""Answers about finalised blocks come from memory: to whom they would come anyway, and not after the ledger went back."""
import pathlib
import sys
import urllib.request

import psycopg2
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack"), str(pathlib.Path(__file__).parent)]

import stack  # noqa: E402
from gateway_alone import Stores  # noqa: E402

BLOCK = "/v1/chains/dev/blocks/0x" + "11" * 32
KEY = {"X_Api_Key": "viewer-key-0123456789"}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    stores = Stores(tmp_path_factory.mktemp("final"))
    stores.sql("update weir.chains set journal_sequence = 9")
    yield stores
    stores.stop()


def given(gateway):
    text = urllib.request.urlopen(gateway.ops + "/metrics").read().decode()
    return float(next(line for line in text.splitlines() if line.startswith("weir_gateway_final_total")).split()[-1])


def test_without_the_ledger_and_with_everything_else(stores):
    gateway = stores.gateway({"gateway": {"limit_exempt": "", "address_limit": 6, "key_limit": 40, "anonymous": True}})
    asked = gateway.get(BLOCK, **KEY)
    assert asked[0] == 200 and "immutable" in asked[2]["cache-control"] and given(gateway) == 0
    assert gateway.get("/v1/chains/dev/blocks/latest", **KEY)[0] == 200
    with psycopg2.connect(stores.postgres.url) as holder:
        with holder.cursor() as cursor:
            cursor.execute("lock table weir.blocks in access exclusive mode")
            again = gateway.get(BLOCK, **KEY)
            assert again[:2] == asked[:2] and given(gateway) == 1
            own = ("date", "x-request-id", "ratelimit", "x-ratelimit-remaining", "x-ratelimit-reset")
            assert {k: v for k, v in again[2].items() if k not in own} == {k: v for k, v in asked[2].items() if k not in own}
            assert gateway.get(BLOCK, X_Api_Key="no key at all")[0] == 401
            assert {gateway.get(BLOCK, If_None_Match=asked[2]["etag"], **KEY)[0] for _ in range(80)} == {304}, "what the client has costs nothing"
            assert gateway.get(BLOCK + "?no=parameter", **KEY)[0] == 400
            assert 429 in (gateway.get(BLOCK)[0] for _ in range(40)), "an address has its limit"
            assert 429 in (gateway.get(BLOCK, **KEY)[0] for _ in range(400)), "a key, too: what comes from memory is charged as ever"
        holder.rollback()
    gateway.stop()


def test_not_after_the_ledger_went_back(stores):
    gateway = stores.gateway()
    assert gateway.get(BLOCK)[1]["transaction_count"] == 0
    stores.sql("update weir.blocks set transaction_count = 5")
    assert gateway.get(BLOCK)[1]["transaction_count"] == 0, "it is not asked for again"
    stores.sql("update weir.chains set journal_sequence = 3") # shorter than what was served: another ledger
    stack.wait_until("the other ledger", 60, lambda: gateway.get(BLOCK)[1]["transaction_count"] == 5)
    gateway.stop()


def test_or_nothing_is_kept(stores):
    gateway = stores.gateway({"gateway": {"final_answers": 0}})
    assert [gateway.get(BLOCK)[0] for _ in range(3)] == [200] * 3 and given(gateway) == 0
    gateway.stop()
