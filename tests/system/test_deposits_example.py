"""examples/clients/deposits.py, what docs/clients.md tells an exchange to do: killed again and again through reorgs, it credits each deposit of the final
chain once and no other."""
import random
import sqlite3
import sys
import time

from conftest import ROOT, caught_up
from gateway_client import Api
from stack import ADMIN_KEY, Process, dev_chain, wait_until

NOT_DEPOSITS = ("opening", "genesis", "reversal")


class Exchange:
    """The example, and its book as somebody else reads it."""

    def __init__(self, folder, api, addresses):
        (folder / "key").write_text(ADMIN_KEY)
        self.book, self.starts = folder / "book.sqlite", 0
        self.process = Process("deposits", [sys.executable, ROOT / "examples" / "clients" / "deposits.py", "--api", api, "--key", folder / "key", "--chain", "dev",
                                            "--book", self.book, *addresses], folder / "deposits.log")

    def start(self):
        self.starts += 1
        self.process.start()

    def rows(self):
        with sqlite3.connect(f"file:{self.book}?mode=ro", uri=True, timeout=30) as db:
            return {row[0]: row[1:] for row in db.execute("select id, state, account, asset, amount, height from deposits")}

    def said(self, word):
        """The deposits of which it said so."""
        return [line.split()[1] for line in self.process.log.read_text().splitlines() if line.startswith(word + " ")]

    def stop(self):
        self.process.stop()


def truth(api, addresses, final):
    """By REST: what came in up to the final height, and of it what is of tokens that lie."""
    deposits, lying = {}, set()
    for account in addresses:
        odd = {b["asset"] for b in api.ok(f"/v1/chains/dev/accounts/{account}/balances")["items"] if b["non_conserving"]}
        for e in api.items(f"/v1/chains/dev/accounts/{account}/entries", 1000):
            if int(e["delta"]) > 0 and not e["superseded"] and e["kind"] not in NOT_DEPOSITS and e["height"] <= final:
                deposits[e["id"]] = (account, e["asset"], e["delta"], e["height"])
                if e["asset"] in odd or e["kind"] == "unknown":
                    lying.add(e["id"])
    return deposits, lying


def test_each_deposit_of_the_final_chain_is_credited_once(world):
    node = world.anvil("--slots", "8")
    suite = world.suite([dev_chain(node)]).start()
    addresses = node.call("eth_accounts")[:6]
    exchange = world.keep(Exchange(world.folder, suite.api, addresses))
    exchange.start()
    workload = world.workload(node, seed=7, blocks=60, reorgs=8, **{"pace-ms": 60})
    chance = random.Random(7)
    while workload.alive():
        until = time.monotonic() + chance.uniform(0.2, 1.5)
        wait_until("a moment to kill it in", 60, lambda t=until: time.monotonic() >= t or not workload.alive())
        exchange.process.kill()
        exchange.start()
    assert workload.wait(10) == 0, workload.tail()
    for _ in range(20): # transactions of nobody, until all that was paid is final
        node.call("evm_mine")
    caught_up(suite, node)
    api, final = Api(suite.api, suite.admin), int(node.call("eth_getBlockByNumber", "finalized", False)["number"], 16)
    wait_until("the ledger to know what is final", 60, lambda: api.ok("/v1/chains/dev")["finalized"] == final)
    deposits, lying = truth(api, addresses, final)
    due = {"credited": deposits.keys() - lying, "held": lying}
    wait_until("everything due to be credited", 120, lambda: all({i for i, row in exchange.rows().items() if row[0] == state} >= ids for state, ids in due.items()))
    rows = exchange.rows()
    assert {i: row[1:] for i, row in rows.items() if row[0] == "credited"} == {i: deposits[i] for i in due["credited"]}
    assert not [row for row in rows.values() if row[0] in ("disputed", "doubtful")]
    assert exchange.starts > 3 and exchange.said("retracted") and len(due["credited"]) > 20 and lying, "the run was too tame to prove anything"
    credited = exchange.said("credited") # one that was killed in between may not have said it
    assert len(credited) == len(set(credited)) and set(credited) <= due["credited"]
