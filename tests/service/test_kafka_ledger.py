"""The ledger to Kafka over ledgers written by hand: long journals, blocks larger than a piece, and ledgers that were restored below what was sent."""
import pathlib
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "stack"), str(pathlib.Path(__file__).parent)]
import stack  # noqa: E402
from gateway_alone import Stores  # noqa: E402
from journal import APPLIED, RETRACTED, SEEN, Journal, number, text  # noqa: E402
from kafka_mock import Kafka, Reader  # noqa: E402
from test_offsets import hash_of, hexed  # noqa: E402

TOPIC, PARTITIONS = "weir.dev.ledger", 3
LARGE = 9000 # entries: more than two pieces


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    place.close()


class Place:
    def __init__(self, folder):
        self.kafka = Kafka()
        self.kafka.tell(f"topic {TOPIC} {PARTITIONS}")
        self.reader = Reader(self.kafka, TOPIC, PARTITIONS)
        self.stores = Stores(folder)
        self.journal = Journal(self.stores)

    def gateway(self):
        return self.stores.gateway({"kafka": {"url": self.kafka.url}, "bus": {"lease": "2s", "redis_url": self.stores.redis.url}})

    def read(self, count):
        stack.wait_until(f"{count} records", 60, lambda: len(self.reader.all()) >= count)
        records = self.reader.once()
        assert len(records) == len(self.reader.all()) == count, "each once"
        return records

    def close(self):
        self.stores.stop()
        self.reader.close()
        self.kafka.close()


def state(gateway):
    return gateway.operate("GET", "status")[1]["chains"][0].get("kafka")


def stopped(gateway, words):
    status = stack.wait_until("it stops", 60, lambda: (s := state(gateway)) and s["state"] == "stopped" and s)
    assert words in status["reason"] and "weirctl kafka restart --chain dev" in status["reason"], status
    return status


def restarted(gateway, **more):
    status, answer, _ = gateway.operate("POST", "chains/dev/kafka/restart", {"why": "restored", **more})
    assert status == 200, answer
    stack.wait_until("it goes on", 60, lambda: (s := state(gateway))["state"] == "running" and s["epoch"] == answer["epoch"] and s["lag"] == 0 and s["offset"])
    return answer["epoch"]


def blocks_of(records):
    return [(r.event["type"], r.event.get("hash") or r.event["block_hash"]) for r in records]


def make_accounts(stores):
    stores.sql("create table weir.entries_dev partition of weir.entries default")
    stores.sql("insert into weir.accounts (chain, address) select c.id, decode(lpad(to_hex(n), 40, '0'), 'hex') from weir.chains c, generate_series(1, 7) n")
    stores.sql("insert into weir.assets (chain, standard, contract, first_height) select id, 1, '', 0 from weir.chains")


def block_of_entries(place, height, count):
    """Applied, with so many entries, of seven accounts in turn."""
    journal, hash = place.journal, hash_of(height)
    applied = journal.apply(hash)
    place.stores.sql("insert into weir.entries (chain, height, branch, ordinal, tx_index, kind, asset, account, delta, balance, path)"
                     " select c.id, %s, 0, n, -1, 1, s.id, a.id, n + 1, 0, '' from weir.chains c, weir.assets s, generate_series(0, %s) n"
                     " join weir.accounts a on a.id = (select min(id) from weir.accounts) + n %% 7", height, count - 1)
    journal.sequence -= 1
    applied[1] = journal._event(APPLIED, height, hash, 0, text(2, hash_of(height - 1)) + number(4, 0) + number(5, SEEN) + number(7, count) + number(13, 1))
    return applied


def test_blocks_that_fill_pieces_together_come_whole_and_once(place):
    counts = {height: 1000 if height <= 8 else 700 for height in range(1, 15)}  # 4,000 entries are a piece: two end with a block, one within
    make_accounts(place.stores)
    place.journal.write(*[block_of_entries(place, height, count) for height, count in counts.items()])
    place.gateway()
    records = place.read(sum(counts.values()) + len(counts))
    chain = [r for r in records if r.key == "dev"]
    assert blocks_of(chain) == [("block", hexed(hash_of(height))) for height in counts]
    entries = sorted((r for r in records if r.key != "dev"), key=lambda r: r.order)
    assert [(r.event["block_hash"], r.event["ordinal"]) for r in entries] == [(hexed(hash_of(h)), n) for h, count in counts.items() for n in range(count)]


def test_a_journal_of_many_pieces_and_a_block_of_many(place):
    stores, journal = place.stores, place.journal
    journal.write(*[journal.apply(hash_of(h)) for h in range(1, 601)])
    make_accounts(stores)
    height, hash = 601, hash_of(601)
    journal.write(block_of_entries(place, height, LARGE))
    gateway = place.gateway()
    records = place.read(600 + LARGE + 1)
    chain = [r for r in records if r.key == "dev"]
    assert blocks_of(chain) == [("block", hexed(hash_of(h))) for h in range(1, 602)]
    entries = sorted((r for r in records if r.key != "dev"), key=lambda r: r.order)
    assert [r.event["ordinal"] for r in entries] == [r.value["index"] for r in entries] == list(range(LARGE))
    assert all(r.key == r.event["account"] for r in entries) and len({r.key for r in entries}) == 7
    assert chain[-1].order > entries[-1].order and chain[-1].value["index"] == LARGE, "the block comes behind its entries"
    # Taken back: each entry by a record of its own, under its key, then the block.
    taken_back = journal.retract()
    journal.sequence -= 1
    taken_back[1] = journal._event(RETRACTED, height, hash, 0, number(2, 0) + number(3, LARGE))
    journal.write(taken_back)
    back = place.read(600 + 2 * (LARGE + 1))[len(records):]
    by_id = {r.event["id"]: r for r in entries}
    back = [r for r in place.reader.once() if r.event["type"] == "retracted"]
    of_entries = sorted((r for r in back if "account" in r.event), key=lambda r: r.order)
    assert [by_id[r.event["ids"][0]].value["index"] for r in of_entries] == list(range(LARGE))
    assert all(len(r.event["ids"]) == 1 and r.key == r.event["account"] == by_id[r.event["ids"][0]].key for r in of_entries)
    last, = (r for r in back if "account" not in r.event)
    assert last.key == "dev" and last.event["ids"] == [chain[-1].event["id"]] and last.order > of_entries[-1].order
    assert state(gateway)["records"] == 600 + 2 * (LARGE + 1)


def test_a_ledger_restored_while_it_was_sent_is_not_followed(place):
    journal = place.journal
    journal.write(*[journal.apply(hash_of(h)) for h in range(1, 6)])
    gateway = place.gateway()
    before = place.read(5)
    journal.write(journal.restored(3, 3), *[journal.apply(hash_of(h, 1)) for h in (4, 5, 6)])
    stopped(gateway, "restored or made anew")
    assert len(place.reader.all()) == 5, "nothing of the other history"
    epoch = restarted(gateway, from_height=4)
    after = place.read(8)[5:]
    after = [r for r in place.reader.once() if r.value["epoch"] == epoch]
    assert epoch > before[0].value["epoch"] and blocks_of(after) == [("block", hexed(hash_of(h, 1))) for h in (4, 5, 6)]


def test_a_position_restored_with_its_ledger_is_compared_with_what_is_in_kafka(place):
    journal = place.journal
    journal.write(*[journal.apply(hash_of(h)) for h in range(1, 6)])
    first = place.gateway()
    records = place.read(5)
    first.stop()
    at = {r.value["sequence"]: r.offset for r in records}
    place.stores.sql("update weir_kafka.exports set position = %s", at[3])
    journal.write(journal.restored(3, 3), *[journal.apply(hash_of(h, 1)) for h in (4, 5, 6)])
    stopped(place.gateway(), "restored or made anew")
    assert len(place.reader.all()) == 5


def test_a_row_restored_from_before_it_was_begun_anew(place):
    journal = place.journal
    journal.write(*[journal.apply(hash_of(h)) for h in range(1, 4)])
    first = place.gateway()
    place.read(3)
    first.stop()
    place.stores.sql("update weir_kafka.exports set epoch = epoch - 1000")
    second = place.gateway()
    stopped(second, "Kafka has records of epoch")
    restarted(second)
    assert blocks_of(place.read(6)[3:]) == blocks_of(place.read(6)[:3])


def test_what_was_sent_and_not_noted_is_sent_again_the_same(place):
    journal = place.journal
    journal.write(*[journal.apply(hash_of(h)) for h in range(1, 6)])
    first = place.gateway()
    records = place.read(5)
    first.stop()
    at = {r.value["sequence"]: r.offset for r in records}
    place.stores.sql("update weir_kafka.exports set position = %s", at[2]) # it died between the acknowledgement and the note
    place.gateway()
    stack.wait_until("three again", 60, lambda: len(place.reader.all()) == 8)
    everything = place.reader.all()
    assert [r.value for r in everything[5:]] == [r.value for r in everything[2:5]] and len(place.reader.once()) == 5


@pytest.mark.parametrize("settings, words", [({"url": "redis://127.0.0.1:1"}, "kafka.url: plain records are written to Kafka only"),
                                             ({"url": "kafka://127.0.0.1:1", "username": "weir"}, "user name and password go together"),
                                             ({"url": "kafkas://127.0.0.1:1/?ca=/nowhere.pem"}, "ca=/nowhere.pem cannot be read")])
def test_settings_that_cannot_be_meant_end_the_start(tmp_path, settings, words):
    stores = Stores(tmp_path)
    try:
        with pytest.raises(RuntimeError) as caught:
            stores.gateway({"kafka": settings})
        assert words in str(caught.value)
        assert stores.gateways == [] or stores.gateways[-1].process.child.returncode == 78
    finally:
        stores.stop()
