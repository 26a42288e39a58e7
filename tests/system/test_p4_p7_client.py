"""P4, P7: a WebSocket client that goes away and comes back at random through reorgs holds, at the end, exactly the ledger's entries: nothing
missing, nothing twice, nothing that was taken back."""
import pytest

from conftest import FULL, caught_up
from gateway_client import Api, Books
from stack import dev_chain


def ids_by_rest(api, postgres):
    """Ids of all entries that stand, as REST tells them, account by account."""
    ids = set()
    for (address,) in postgres.query("select '0x' || encode(address, 'hex') from weir.accounts"):
        for entry in api.items(f"/v1/chains/dev/accounts/{address}/entries", 1000):
            assert entry["id"] not in ids, f"served twice: {entry}"
            ids.add(entry["id"])
    return ids


def has_all_in_the_end(workload, suite, node, world):
    """For a client that follows: the chain has ended, the ledger is level, and the client holds what it has. However busy the machine is."""

    def done(books):
        if workload.alive():
            return False
        if books.truth is None:
            caught_up(suite, node)
            books.truth = ids_by_rest(Api(suite.api, suite.admin), world.postgres)
        return set(books.held) == books.truth

    return done


@pytest.mark.parametrize("seed", range(1, 6 if FULL else 2))
def test_client_holds_exactly_the_ledger(world, size, seed):
    node = world.anvil("--slots", "8")
    suite = world.suite([dev_chain(node)]).start()
    workload = world.workload(node, seed=100 + seed, blocks=size(80, 300), reorgs=size(8, 20), **{"pace-ms": 60})
    # offset 0 is before the first event: the client sees all of history, and every reorg
    books = Books([suite.api], seed, topic="entries", chain="dev", **{"from": {"offset": "0"}})
    books.follow(has_all_in_the_end(workload, suite, node, world), seconds=300)
    assert workload.wait(10) == 0, workload.tail()
    assert books.reconnects > 1 and books.retractions > 0, "the run was too tame to prove anything"
    truth = ids_by_rest(Api(suite.api, suite.admin), world.postgres)
    assert truth == books.truth
    held = set(books.held)
    assert held == truth, (f"missing {sorted(truth - held)[:5]} of {len(truth - held)}", f"too many {sorted(held - truth)[:5]} of {len(held - truth)}")
    count = int(world.postgres.query("select count(*) from weir.entries e join weir.blocks b using (chain, height, branch) "
                                     "where b.canonical and not e.superseded and e.kind <> 0")[0][0])
    assert len(held) == count, "REST and tables agree about how many there are"


def test_late_client_sees_the_same_as_an_early_one(world):
    """A client that comes when all is over, from offset 0, ends with what the one holds that was there the whole time."""
    node = world.anvil("--slots", "8")
    suite = world.suite([dev_chain(node)]).start()
    early = Books([suite.api], 1, topic="entries", chain="dev", **{"from": {"offset": "0"}})
    workload = world.workload(node, seed=77, blocks=40, reorgs=5, **{"pace-ms": 40})
    early.follow(has_all_in_the_end(workload, suite, node, world), seconds=300)
    late = Books([suite.api], 2, topic="entries", chain="dev", **{"from": {"offset": "0"}})
    late.follow(lambda books: books.offset == early.offset)
    assert late.held.keys() == early.held.keys()
    # a client whose process died resumes on its last offset: it is given only what came after
    resumed = Books([suite.api], 3, topic="entries", chain="dev", **{"from": {"offset": early.offset}})
    resumed.connect()
    assert resumed.offset == early.offset and resumed.given == 0
