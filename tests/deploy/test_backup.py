"""docs/backup-and-restore.md, done: a ledger restored to an older point catches up by itself; an unsound backup is recognised."""
import os
import re
import subprocess

import pytest
import stack
from conftest import ROOT, faultless, level, pay

BACKUP = ROOT / "deploy" / "backup" / "weir-backup"


@pytest.fixture
def stores(tmp_path):
    """Redis, PostgreSQL and a node; no suite over them yet."""
    tmp_path.chmod(0o755)

    class World:
        parts = []

        def backup(self, *words, database="weir"):
            environment = dict(os.environ, PGURL=self.postgres.url.replace("dbname=weir", f"dbname={database}"), PATH=f"{self.postgres.bin}:{os.environ['PATH']}")
            out = subprocess.run([BACKUP, *words], env=environment, capture_output=True, text=True, check=False, timeout=60)
            return out.returncode, out.stderr

        def level(self):
            stack.wait_until("the ledger at the node's head", 40, lambda: level(self.suite.api, self.node))

    w = World()
    try:
        w.parts.append(redis := stack.Redis(tmp_path / "redis").start())
        w.parts.append(postgres := stack.Postgres(tmp_path / "postgres", ["fsync=off"]).start())
        w.parts.append(node := stack.anvil(tmp_path / "anvil.log"))
        w.redis, w.postgres, w.node = redis, postgres, node
        yield w
    finally:
        for part in reversed(w.parts):
            part.stop()


@pytest.fixture
def world(stores, tmp_path):
    """And a suite, with a ledger of twenty blocks."""
    stores.suite = stack.Suite(tmp_path / "suite", stores.redis.url, stores.postgres.url, [stack.dev_chain(stores.node)]).start()
    stores.parts.append(stores.suite)
    stores.node.call("anvil_mine", "0x14")
    stores.level()
    return stores


def recreate(postgres):
    for command in ("dropdb", "createdb"):
        subprocess.run([postgres.bin / command, "-h", str(postgres.sockets), "-U", "weir", "weir"], check=True, cwd="/")


def test_a_ledger_restored_to_an_older_point_catches_up(world, tmp_path):
    """What was made at the gateway before the backup works after it, what came later is fetched again and compared with the chain."""
    file = tmp_path / "ledger.dump"
    key = world.suite.operate("POST", "/admin/v1/keys", {"name": "client", "scopes": ["read", "stream"]})[1]["key"]
    bearer = {"Authorization": f"Bearer {key}"}
    stack.wait_until("the key is known", 30, lambda: stack.http_json(world.suite.api + "/v1/watchlists", headers=bearer)[0] == 200)
    watched = {"addresses": ["0x" + "12" * 20]}
    status, made, _ = stack.http_json(world.suite.api + "/v1/watchlists", "POST", {"chain": "dev", "name": "hot wallets"}, bearer)
    assert status == 201, made
    assert stack.http_json(f"{world.suite.api}/v1/watchlists/{made['id']}/addresses", "POST", watched, bearer)[1]["changed"] == 1
    pay(world.node)
    world.level()
    status, said = world.backup("backup", file)
    assert status == 0 and file.exists(), said
    status, said = world.backup("verify", file)
    assert status == 0 and "is sound: dev at" in said, said
    world.node.call("anvil_mine", "0xf")
    accounts, height = pay(world.node)
    world.level()
    faultless(world.suite, world.node, accounts, height)
    status, said = world.backup("restore", file)
    assert status == 73 and "nothing was changed" in said

    for name in ("gateway", "reconciler"):
        assert world.suite.processes[name].stop() == 0
    recreate(world.postgres)
    status, said = world.backup("restore", file)
    assert status == 0 and "restored: dev at" in said, said
    [[restored]] = world.postgres.query("select watermark_height from weir.chains")
    assert int(restored) < height, "an older point"
    world.redis.command("FLUSHALL")
    world.node.call("anvil_mine", "0x3")
    world.suite.start(("reconciler", "gateway"))
    world.level()
    assert world.postgres.query("select count(*) from weir.blocks where canonical") == [[str(world.node.height() + 1)]]
    faultless(world.suite, world.node, accounts, height)
    lists = stack.http_json(world.suite.api + "/v1/watchlists", headers=bearer)
    assert lists[0] == 200 and [(item["name"], item["addresses"]) for item in lists[1]["items"]] == [("hot wallets", 1)], lists
    assert stack.http_json(world.suite.api + "/v1/watchlists", headers={"Authorization": f"Bearer {key[:-1]}"})[0] == 401


def test_an_unsound_backup_is_recognised(world, tmp_path):
    file = tmp_path / "ledger.dump"
    world.suite.stop()
    world.postgres.query("update weir.blocks set canonical = false where height = 7")
    assert world.backup("backup", file)[0] == 0
    status, said = world.backup("verify", file)
    assert status == 65 and "no canonical block" in said, said
    assert world.postgres.query("select count(*) from pg_database where datname like 'weir_verify%'") == [["0"]]
    assert world.backup("verify")[0] == 64


# An entry with others of its account and asset in later blocks.
ONE = """(height, branch, ordinal) = (select height, branch, ordinal from weir.entries e where not superseded and kind <> 14 and exists (select from weir.entries l
         where (l.account, l.asset) = (e.account, e.asset) and l.height > e.height and not l.superseded) order by height, ordinal limit 1)"""
UNSOUND = [  # what happened to the ledger (what different rules find in one backup), options of verify, and what it says of each
    (["truncate weir.entries"], [], [r"(?s)blocks have not the entries they were applied with, the first is block \d+: 0 of \d+.*the first is that of account 0x[0-9a-f]{40} in .* at height \d+: balance -?\d+, sum of entries 0"]),
    (["truncate weir.entries, weir.balances"], [], ["blocks have not the entries"]),
    (["truncate weir.balances", f"update weir.entries set balance = balance + 1 where {ONE}"], ["--full"],
     [r"the first is that of account 0x[0-9a-f]{40} in .* at height \d+: balance missing, sum of entries", r"do not follow from the one before, .* at height HEIGHT: "]),
    (["update weir.balances set amount = amount + 1 where (account, asset) = (select account, asset from weir.balances order by 1, 2 offset 7 limit 1)"], [],
     [r"dev: 1 balances are not the sum of their entries, the first is that of account 0x[0-9a-f]{40} in "]),
    ([f"update weir.entries set delta = delta + 1 where {ONE}"], [], [r"dev: 1 balances .* at height HEIGHT: balance"]),
    ([f"delete from weir.entries where {ONE}"], [], [r"dev: 1 blocks .* the first is block HEIGHT: "]),
]


def test_balances_that_are_not_their_entries_are_named(stores, tmp_path):
    """In a ledger with reorgs and tokens that lie, which begins with openings: all of that is sound."""
    world = stores
    work = stack.Process("workload", ["node", stack.CHAIN_LAB / "workload.mjs", "--rpc", world.node.rpc, "--out", tmp_path / "journal.json", "--seed", "15",
                                      "--blocks", "25", "--reorgs", "0", "--pace-ms", "0"], tmp_path / "workload.log").start()
    assert work.wait(120) == 0, work.tail()
    chain = stack.dev_chain(world.node, start_height=world.node.height() - 15)
    world.parts.append(suite := stack.Suite(tmp_path / "later", world.redis.url, world.postgres.url, [chain]).start())
    world.suite = suite
    world.level()
    world.node.call("anvil_reorg", 4, [])
    world.node.call("anvil_mine", "0x3")
    world.level()
    suite.stop()
    count = world.postgres.query("select count(*) filter (where kind = 14) > 0, count(*) filter (where superseded) > 0 from weir.entries")
    assert count == [["t", "t"]], "openings, and entries taken back"
    file = tmp_path / "ledger.dump"
    assert world.backup("backup", file)[0] == 0
    status, said = world.backup("verify", "--full", file)  # every rule; without --full one less
    assert status == 0 and "is sound" in said, said

    [[height]] = world.postgres.query(f"select height from weir.entries where {ONE}")
    for changes, options, words in UNSOUND:
        world.postgres.query("create database spoilt template weir")
        for change in changes:
            world.postgres.query(change, "spoilt")
        assert world.backup("backup", file, database="spoilt")[0] == 0
        status, said = world.backup("verify", *options, file, database="spoilt")
        assert status == 65 and all(re.search(word.replace("HEIGHT", height), said) for word in words), f"{changes}: {said}"
        world.postgres.query("drop database spoilt")
