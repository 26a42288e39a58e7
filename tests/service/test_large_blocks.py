"""An account that has more entries in one block than a piece of replay is made of: its balance is what it is behind the last of them."""
import pathlib
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "stack"), str(pathlib.Path(__file__).parent)]
from gateway_alone import Stores  # noqa: E402
from gateway_client import EventStream, Stream  # noqa: E402
from journal import APPLIED, RETRACTED, SEEN, Journal, number, text  # noqa: E402

ACCOUNT, TOKEN = "0x" + "12" * 20, "0x" + "34" * 20


def hash_of(height):
    return bytes([0xb0]) + height.to_bytes(31, "big")


@pytest.fixture
def stores(tmp_path):
    stores = Stores(tmp_path)
    stores.sql("create table weir.entries_dev partition of weir.entries default")
    stores.sql("insert into weir.accounts (chain, address) select id, %s from weir.chains", bytes.fromhex(ACCOUNT[2:]))
    stores.sql("insert into weir.assets (chain, standard, contract, first_height) select c.id, n, a, 0 from weir.chains c, (values (1, ''::bytea), (2, %s)) v(n, a)",
               bytes.fromhex(TOKEN[2:]))
    yield stores
    stores.stop()


def apply(journal, height, count, before):
    """A block with so many entries of the account: one of the token each hundred, the others of the native asset, of which it had so much before."""
    applied = journal.apply(hash_of(height))
    journal.stores.sql("insert into weir.entries (chain, height, branch, ordinal, tx_index, kind, asset, account, delta, balance, path)"
                       " select c.id, %s, 0, n, -1, 1, s.id, a.id, 1, case s.standard when 1 then %s + n + 1 - n / 100 - 1 else n / 100 + 1 end, ''"
                       " from weir.chains c, weir.accounts a, generate_series(0, %s) n join weir.assets s on s.standard = case n %% 100 when 0 then 2 else 1 end",
                       height, before, count - 1)
    journal.sequence -= 1
    applied[1] = journal._event(APPLIED, height, hash_of(height), 0, text(2, hash_of(height - 1)) + number(5, SEEN) + number(7, count) + number(13, 1))
    return applied


def retract(journal, height, count):
    back = journal.retract()
    journal.sequence -= 1
    back[1] = journal._event(RETRACTED, height, hash_of(height), 0, number(3, count))
    return back


def balances(push):
    return {b["asset"]: (b["amount"], b.get("delta")) for b in push["event"]["balances"]}


def test_an_accounts_block_comes_whole_however_large_it_is(stores):
    journal = Journal(stores)
    journal.write(apply(journal, 1, 15000, 0), apply(journal, 2, 25000, 14850))
    gateway = stores.gateway()

    def follow(carrier, **begin):
        client = carrier(gateway.api, seconds=60)
        client.subscribe(topic="accounts", chain="dev", account=ACCOUNT, **{"from": begin})
        return client

    clients = [follow(carrier, height=0) for carrier in (Stream, EventStream)]
    given = [[client.push() for _ in range(2)] for client in clients]
    assert given[0] == given[1]
    first, second = given[0]
    assert balances(first) == {"native": ("14850", "14850"), TOKEN: ("150", "150")}
    assert balances(second) == {"native": ("39600", "24750"), TOKEN: ("250", "250")}
    journal.write(retract(journal, 2, 25000))
    back = clients[0].push()
    assert clients[1].push() == back and back["event"]["type"] == "retracted" and back["event"]["ids"] == [second["event"]["id"]]
    assert balances(back) == {"native": ("14850", None), TOKEN: ("0", None)}
    again = follow(Stream, offset=first["offset"])
    assert [again.push()["event"] for _ in range(2)] == [second["event"], back["event"]]
    gateway.stop()
