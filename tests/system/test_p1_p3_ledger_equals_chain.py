"""P1, P2, P3: a workload of every kind of transaction with reorgs, followed live; then the ledger is the chain, block by block and
balance by balance, at 25 heights and at the tip, by an oracle that shares no code with weir."""
import pytest

from conftest import FULL, caught_up
from stack import dev_chain

SEEDS = range(1, 11 if FULL else 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_ledger_equals_chain(world, seed, record_property):
    node = world.anvil("--slots", "8")
    suite = world.suite([dev_chain(node)]).start()
    workload = world.workload(node, seed=seed, blocks=300, reorgs=20)
    assert workload.wait(200) == 0, workload.tail()
    caught_up(suite, node)
    report = world.oracle(node, suite)
    record_property("report", report)
    assert report["missing"] == 0 and report["duplicate"] == 0, report
    assert report["mismatches"] == [] or report["mismatches"] == 0, report
    assert report["equal"], report
    # every block of the ledger was proven, and no message was lost on the way
    status, page, _ = suite.get("/v1/chains/dev/blocks?limit=100")
    assert status == 200
    for block in page["items"]:
        status, certificate, _ = suite.get(f"/v1/chains/dev/blocks/{block['height']}/certificate")
        assert status == 200 and certificate["proven"], (block["height"], certificate)
    assert suite.metric("normalizer", "weir_bus_dead_letters_total") == 0
    assert suite.metric("normalizer", "weir_normalizer_blocks_total", result="unproven") == 0
