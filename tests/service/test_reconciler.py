"""The reconciler as a process, with real neighbours: anvil, fetcher, normalizer, Redis, PostgreSQL."""
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack"), str(pathlib.Path(__file__).parent)]

import ledger_oracle  # noqa: E402
import stack  # noqa: E402

PIPELINE = ("reconciler", "normalizer", "fetcher")


class World:
    """A node, the stores and the three services that fill the ledger."""

    def __init__(self, folder, settings=None, chain=None, endpoints=None, names=PIPELINE, anvil=()):
        self.folder = folder
        self.node = stack.anvil(folder / "anvil.log", *anvil)
        self.redis = stack.Redis(folder / "redis").start()
        self.postgres = stack.Postgres(folder / "pg", ["fsync=off"]).start()
        chains = [stack.dev_chain(self.node, endpoints=endpoints(self.node) if endpoints else None, **(chain or {}))]
        self.suite = stack.Suite(folder / "suite", self.redis.url, self.postgres.url, chains,
                                 stack.merge({"log": {"level": "debug"}}, settings or {}))
        self.names = names
        self.workers = []

    def start(self):
        self.suite.start(self.names)
        return self

    def workload(self, *arguments, wait=True):
        out = self.folder / f"journal{len(self.workers)}.json"
        process = stack.Process("workload", ["node", stack.CHAIN_LAB / "workload.mjs", "--rpc", self.node.rpc, "--out", out, *arguments],
                                self.folder / "workload.log").start()
        self.workers.append(process)
        if wait:
            assert process.child.wait(240) == 0, process.tail()
            return json.loads(out.read_text())
        return process

    def value(self, sql):
        rows = self.postgres.query(sql)
        return rows[0][0] if rows else None

    def watermark(self):
        return int(self.value("select watermark_height from weir.chains") or -1)

    def level(self):
        """The ledger's tip is the node's head."""
        head = self.node.call("eth_getBlockByNumber", "latest", False)
        return self.value("select encode(watermark_hash, 'hex') from weir.chains") == head["hash"][2:]

    def settle(self, seconds=120):
        stack.wait_until(f"ledger level with the node ({self.folder})", seconds, self.level)

    def checked(self, seconds=180):
        """Every balance was compared with the chain at least once, lying tokens are flagged, and nothing is in dispute."""
        unchecked = """select count(*) from weir.balances b join weir.assets s on s.id = b.asset join weir.accounts a on a.id = b.account
                       where not s.non_conserving and b.opening_known and b.reconciled_height is null and b.amount <> 0
                       and a.address <> decode(repeat('00', 20), 'hex')"""
        stack.wait_until(f"every balance compared ({self.folder})", seconds, lambda: self.value(unchecked) == "0")
        stack.wait_until(f"no incident left ({self.folder})", seconds,
                         lambda: self.value("select count(*) from weir.incidents where closed_at is null") == "0")

    def assert_equal(self, heights=8, seed=1):
        assert ledger_oracle.unsound(self.postgres) == {}
        top = self.watermark()
        picks = sorted({top, *random.Random(seed).sample(range(top + 1), min(heights, top + 1))})
        for height in picks:
            wrong, checked = ledger_oracle.differences(self.postgres, self.node, height)
            assert wrong == [], f"{len(wrong)} of {checked}: {wrong[:5]}"

    def stop(self):
        statuses = {}
        for worker in self.workers:
            worker.stop(20)
        statuses = self.suite.stop()
        self.postgres.stop()
        self.redis.stop()
        self.node.stop()
        return statuses


@pytest.fixture
def make_world(tmp_path):
    worlds = []

    def make(**options):
        world = World(tmp_path, **options)
        worlds.append(world)
        return world.start()

    yield make
    for world in worlds:
        world.stop()


def test_P3_varied_blocks_with_reorgs_equal_the_node(make_world):
    world = make_world()
    world.workload("--seed", "11", "--blocks", "60", "--reorgs", "6", "--pace-ms", "60")
    world.settle()
    world.checked()
    assert int(world.value("select count(*) from weir.assets where non_conserving")) > 0
    world.assert_equal()
    assert int(world.value("select count(*) from weir.blocks where not canonical")) > 0
    assert world.value("select count(*) from weir.gaps where closed_at is null") == "0"
    assert int(world.value("select count(*) from weir.balances where reconciled_height is not null")) > 0
    assert world.stop()["reconciler"] == 0


def test_P6_everything_dies_and_the_ledger_is_whole(make_world):
    world = make_world()
    world.workload("--seed", "12", "--forever", "--block-ms", "150", "--txs-per-block", "4", "--reorg-every", "15", wait=False)
    stack.wait_until("first blocks", 60, lambda: world.watermark() > 15)
    reconciler = world.suite.processes["reconciler"]

    def restart_reconciler():
        reconciler.kill()
        reconciler.start()

    def stop_and_go():
        reconciler.send(signal.SIGSTOP)
        time.sleep(6)
        reconciler.send(signal.SIGCONT)

    def kill_redis():
        world.redis.kill()
        world.redis.start()

    faults = [restart_reconciler, kill_redis, lambda: world.redis.command("FLUSHALL"), lambda: world.postgres.restart(signal.SIGINT),
              lambda: world.postgres.restart(signal.SIGQUIT), stop_and_go, lambda: world.redis.command("FLUSHALL"), restart_reconciler]
    for fault in faults:
        before = world.watermark()
        fault()
        stack.wait_until("the ledger goes on", 120, lambda mark=before: world.watermark() > mark + 3)
    world.workers[0].stop(20)
    world.settle()
    assert ledger_oracle.unsound(world.postgres) == {}
    world.checked()
    world.assert_equal(4)


def freeze_inside_a_transaction(world, process):
    """Stops the process where it holds the chain's row: the case in which its successor would wait for as long as PostgreSQL is patient."""
    def frozen():
        process.send(signal.SIGSTOP)
        silent = """select count(*) from weir.chains c join pg_locks l on l.locktype = 'transactionid' and l.transactionid = c.xmax and l.granted
                    join pg_stat_activity a on a.pid = l.pid where a.application_name like 'weir-reconciler%' and a.wait_event = 'ClientRead'"""
        if int(world.value(silent)) > 0:
            return True
        process.send(signal.SIGCONT)
        return False
    stack.wait_until("the reconciler stopped inside a transaction", 60, frozen, every=0.01)


def test_P5_a_second_reconciler_stands_by_and_takes_over(make_world):
    world = make_world()
    world.workload("--seed", "13", "--forever", "--block-ms", "150", "--txs-per-block", "3", "--reorg-every", "20", wait=False)
    stack.wait_until("first blocks", 60, lambda: world.watermark() > 5)
    config = world.suite.config.read_text().replace(f"127.0.0.1:{world.suite.ops['reconciler']}", "127.0.0.1:0")
    other_config = world.suite.folder / "other.yaml"
    other_config.write_text(config)
    other = stack.Process("other", [world.suite.bin / "weir-reconciler", "--config", other_config], world.suite.folder / "other.log").start()
    world.workers.append(other)
    stack.wait_until("the other one stands by", 60, lambda: "event=started" in other.log.read_text())
    fences = world.value("select fence from weir.chains")
    first = world.suite.processes["reconciler"]
    freeze_inside_a_transaction(world, first)
    stack.wait_until("take-over", 60, lambda: world.value("select fence from weir.chains") != fences)
    mark = world.watermark()
    stack.wait_until("the other one writes", 60, lambda: world.watermark() > mark + 3)
    first.send(signal.SIGCONT)
    mark = world.watermark()
    stack.wait_until("still going", 60, lambda: world.watermark() > mark + 10)
    assert other.stop() == 0  # releases: the first one takes over at once
    mark = world.watermark()
    stack.wait_until("back again", 60, lambda: world.watermark() > mark + 3)
    world.workers[0].stop(20)
    world.settle()
    assert ledger_oracle.unsound(world.postgres) == {}


NATIVE = "s.contract = '' and e.kind = 1 and e.height between 12 and 32"
TOKEN = "s.standard = 2 and not s.non_conserving and e.height = s.first_height" # below there is no contract to ask


def damage(world, which=NATIVE):
    """One entry far back, consistently enough that only the chain can tell. Its height."""
    height, ordinal, account, asset, branch = world.postgres.query(f"""
        select e.height, e.ordinal, e.account, e.asset, e.branch from weir.entries e join weir.assets s on s.id = e.asset
        join weir.accounts a on a.id = e.account where {which} and not superseded and e.delta > 0 and a.address <> decode(repeat('00', 20), 'hex') limit 1""")[0]
    for sql in (f"update weir.entries set delta = delta + 7 where height = {height} and ordinal = {ordinal} and branch = {branch}",
                f"update weir.entries set balance = balance + 7 where account = {account} and asset = {asset} and not superseded"
                f" and (height > {height} or (height = {height} and ordinal >= {ordinal}))",
                f"update weir.balances set amount = amount + 7, reconciled_height = null where account = {account} and asset = {asset}"):
        world.postgres.query(sql)
    return height


def reconciled(world, height):
    """The damaged balance was found right at this height."""
    world.postgres.query(f"""update weir.balances b set reconciled_height = {height} from weir.assets s, weir.accounts a
        where s.id = b.asset and a.id = b.account and s.contract = '' and b.reconciled_height is null and a.address <> decode(repeat('00', 20), 'hex')""")


def as_a_reorg_leaves_them(world):
    """Tokens whose first block was replaced: they came later on the branch that stayed. Nobody may look for them there."""
    world.postgres.query("update weir.assets set first_height = greatest(first_height - 10, 1) where standard = 2")


def healed(world, height, seconds=90):
    """The incident is closed, and was traced to this block."""
    stack.wait_until("incident closed as healed", seconds,
                     lambda: world.value("select resolution from weir.incidents where kind = 'mismatch' and resolution = 'healed'"))
    assert world.value("select first_wrong_height from weir.incidents where resolution = 'healed' order by id limit 1") == height


@pytest.mark.parametrize("which", [NATIVE, TOKEN], ids=["native", "token"])
def test_P3_a_wrong_entry_is_found_bisected_and_healed(make_world, which):
    world = make_world()
    world.node.call("anvil_mine", "0x10") # in which the tokens are not there yet
    world.workload("--seed", "14", "--blocks", "30", "--reorgs", "0", "--pace-ms", "20")
    world.settle()
    world.checked()
    height = damage(world, which)
    as_a_reorg_leaves_them(world)
    world.suite.processes["reconciler"].stop()  # forget what memory holds
    world.suite.processes["reconciler"].start()
    healed(world, height)
    world.settle()
    world.checked()
    world.assert_equal(4)


def test_P3_a_wrong_entry_below_what_was_reconciled_is_found_and_healed(make_world):
    """Somebody changed a row of the past: the height that was reconciled after it misleads the search to a block that is right."""
    world = make_world()
    world.workload("--seed", "24", "--blocks", "30", "--reorgs", "0", "--pace-ms", "20")
    world.settle()
    world.checked()
    world.suite.processes["reconciler"].stop()
    height = damage(world)
    reconciled(world, height)
    world.suite.processes["reconciler"].start()
    healed(world, height)
    assert "event=searched_deeper" in world.suite.processes["reconciler"].log.read_text()
    world.settle()
    world.checked()
    world.assert_equal(4)


def test_P3_a_second_endpoint_without_that_state_hides_no_difference(make_world, tmp_path):
    proxies = []

    def endpoints(node):
        proxies.append(stack.Node("faultproxy", ["--upstream", node.rpc], tmp_path / "faultproxy.log").start())
        return [{"name": "a", "url": node.rpc, "ws_url": node.ws, "weight": 1000}, {"name": "b", "url": proxies[0].rpc, "weight": 1}]
    try:
        world = make_world(endpoints=endpoints)
        world.workload("--seed", "20", "--blocks", "30", "--reorgs", "0", "--pace-ms", "20")
        world.settle()
        world.checked()
        assert stack.http_json(f"{proxies[0].facts['control']}/lie", "POST", {"name": "balance-null"})[0] == 200
        height = damage(world)
        world.suite.processes["reconciler"].stop()
        world.suite.processes["reconciler"].start()
        healed(world, height)
    finally:
        for proxy in proxies:
            proxy.stop()


def test_P10_healing_that_a_crash_interrupted_goes_on(make_world):
    world = make_world()
    world.workload("--seed", "16", "--blocks", "30", "--reorgs", "0", "--pace-ms", "20")
    world.settle()
    world.checked() # or what is being reconciled would be noted over the damage
    height = damage(world)
    reconciler, fetcher = world.suite.processes["reconciler"], world.suite.processes["fetcher"]
    reconciler.stop()
    fetcher.stop()
    reconciler.start()
    stack.wait_until("an incident that waits for the fetcher", 90, lambda: world.value("select 1 from weir.incidents where state = 'healing'"))
    reconciler.kill()
    reconciler.start()
    fetcher.start()
    healed(world, height, 120)
    world.settle()
    world.checked()
    world.assert_equal(4)


def test_P10_what_was_replaced_in_vain_before_a_restart_is_not_replaced_again(make_world):
    world = make_world()
    world.workload("--seed", "21", "--blocks", "30", "--reorgs", "0", "--pace-ms", "20")
    world.settle()
    world.checked()
    world.suite.processes["reconciler"].stop()
    height = damage(world)
    world.postgres.query(f"""
        insert into weir.incidents (chain, kind, state, account, asset, height, evidence)
        select b.chain, 'mismatch', 'healing', b.account, b.asset, {height}, jsonb_build_object('replacements', 2, 'first_wrong_hash', '0x' || encode(k.hash, 'hex'))
          from weir.balances b join weir.assets s on s.id = b.asset join weir.accounts a on a.id = b.account, weir.blocks k
         where b.reconciled_height is null and b.amount <> 0 and s.contract = '' and a.address <> decode(repeat('00', 20), 'hex')
           and k.height = {height} and k.canonical""")
    assert world.value("select count(*) from weir.incidents where closed_at is null") == "1"
    world.suite.processes["reconciler"].start()
    stack.wait_until("a person to be asked", 90, lambda: world.value("select 1 from weir.incidents where state = 'open'"))
    log = world.suite.processes["reconciler"].log.read_text()
    assert "its block was replaced and the balance is still wrong" in log and "event=block_replaced" not in log
    assert int(world.value("select count(*) from weir.blocks where not canonical")) == 0


def test_P3_replacing_a_block_in_vain_is_counted_in_the_evidence(make_world, tmp_path):
    """The only endpoint lies about balances, so no block that is read again mends a balance."""
    proxies = []

    def endpoints(node):
        proxies.append(stack.Node("faultproxy", ["--upstream", node.rpc], tmp_path / "faultproxy.log").start())
        return [{"name": "a", "url": proxies[0].rpc, "ws_url": proxies[0].ws}]
    try:
        world = make_world(endpoints=endpoints)
        world.workload("--seed", "23", "--blocks", "30", "--reorgs", "0", "--pace-ms", "20")
        world.settle()
        world.checked()
        world.suite.processes["reconciler"].stop()
        # Every balance will be wrong at every height: that of the damage was right before it, so that the search ends there.
        reconciled(world, int(damage(world)) - 1)
        assert stack.http_json(f"{proxies[0].facts['control']}/lie", "POST", {"name": "balance-wrong"})[0] == 200
        world.suite.processes["reconciler"].start()
        stack.wait_until("a person to be asked about a block that was replaced", 90, lambda: world.value(
            "select 1 from weir.incidents where state = 'open' and (evidence->>'replacements')::int = 1"))
    finally:
        for proxy in proxies:
            proxy.stop()


def token_that_overflows(holder):
    """Code of a contract: called with nothing it logs Transfer(0, holder, 2^256 - 1) twice, and whatever it is asked it answers 5."""
    transfer = "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
    log = f"73{holder[2:]}6000" + f"7f{transfer}" + "60206000a3" # to, from, the topic, size, offset; LOG3
    runtime = "3615600f57" + "600560005260206000f3" + "5b" + "600019600052" + log * 2 + "00"
    size = len(runtime) // 2
    return "0x" + f"60{size:02x}600c60003960{size:02x}6000f3" + runtime


def test_a_token_that_overflows_its_sums_is_flagged_and_nobody_is_accused(make_world):
    """What fits of its second log is in the ledger; read again the block says more, which is no other block."""
    world = make_world()
    world.workload("--seed", "17", "--blocks", "12", "--reorgs", "0", "--pace-ms", "10")
    sender, holder = world.node.call("eth_accounts")[0], "0x" + "77" * 20
    for fields in ({"data": token_that_overflows(holder)}, {}):
        if not fields:
            fields = {"to": token}
        sent = world.node.call("eth_sendTransaction", {"from": sender, "gas": "0x100000", **fields})
        world.node.call("evm_mine")
        receipt = world.node.call("eth_getTransactionReceipt", sent)
        assert receipt["status"] == "0x1"
        token = receipt["contractAddress"] or token
    assert len(receipt["logs"]) == 2
    stack.wait_until("the token to be flagged", 90,
                     lambda: world.value(f"select 1 from weir.assets where non_conserving and contract = decode('{token[2:]}', 'hex')"))
    world.settle()
    world.checked()
    assert int(world.value("select count(*) from weir.blocks where not canonical")) == 0
    log = world.suite.processes["reconciler"].log.read_text()
    assert "event=block_replaced" not in log and "endpoint_lie" not in world.suite.processes["fetcher"].log.read_text()
    assert ledger_oracle.unsound(world.postgres) == {}


def test_P1_start_in_the_middle_asks_for_openings(tmp_path, make_world):
    world = World(tmp_path, chain={"start_height": 25}, names=PIPELINE)
    try:
        world.workload("--seed", "15", "--blocks", "40", "--reorgs", "0", "--pace-ms", "0")
        world.start()
        world.settle()
        assert int(world.value("select min(height) from weir.blocks")) == 25
        assert int(world.value("select count(*) from weir.entries where height = 24 and kind = 14")) > 0
        assert ledger_oracle.unsound(world.postgres) == {}
        world.checked()
        for height in (25, 30, world.watermark()):
            wrong, checked = ledger_oracle.differences(world.postgres, world.node, height)
            assert wrong == [] and checked > 10, wrong[:5]
    finally:
        world.stop()


def test_a_reorg_below_what_was_final_is_followed_and_told(make_world):
    world = make_world()
    world.workload("--seed", "19", "--blocks", "12", "--reorgs", "0", "--pace-ms", "10")
    world.node.call("anvil_mine", "0x60")
    world.settle()
    stack.wait_until("blocks that are final", 60, lambda: int(world.value("select coalesce(finalized_height, 0) from weir.chains")) > 30)
    final, top = int(world.value("select finalized_height from weir.chains")), world.watermark()
    world.node.call("anvil_reorg", top - final + 10, [])
    world.node.call("anvil_mine", "0x2")
    world.settle()
    rows = world.postgres.query("select state, resolution, (evidence->>'finalized')::int, (evidence->>'ancestor')::int from weir.incidents where kind = 'finality_violation'")
    assert rows == [["closed", "followed", str(final), str(final - 10)]]
    assert "finality dev" in world.suite.processes["reconciler"].log.read_text()
    world.checked()
    world.assert_equal(4)


def test_openings_that_no_node_could_tell_are_asked_again_after_a_rewind_to_before_the_start(tmp_path):
    """docs/runbook/openings.md: the remedy once an endpoint has that state."""
    world = World(tmp_path, chain={"start_height": 25}, names=[*PIPELINE, "gateway"])
    try:
        world.workload("--seed", "18", "--blocks", "30", "--reorgs", "0", "--pace-ms", "0")
        world.start()
        world.settle()
        world.checked()
        world.suite.processes["reconciler"].stop()
        account, asset, opening = world.postgres.query("select account, asset, delta from weir.entries where height = 24 and kind = 14 order by ordinal limit 1")[0]
        for sql in (f"delete from weir.entries where height = 24 and account = {account} and asset = {asset}", # as if it had not been told
                    f"update weir.entries set balance = balance - {opening} where account = {account} and asset = {asset}",
                    f"update weir.balances set amount = amount - {opening}, opening_known = false, reconciled_height = null"
                    f" where account = {account} and asset = {asset}"):
            world.postgres.query(sql)
        world.suite.processes["reconciler"].start()
        stack.wait_until("the gateway", 60, lambda: stack.http_json(f"{world.suite.api}/v1/chains/dev")[0] == 200)
        subprocess.run([world.suite.bin / "weirctl", "--api", world.suite.api, "--admin", world.suite.admin, "--key", stack.ADMIN_KEY,
                        "rewind", "24", "--why", "openings"], check=True, timeout=60)
        stack.wait_until("the openings to be known", 90, lambda: world.value("select 1 from weir.balances having bool_and(opening_known) and count(*) > 10"))
        world.settle()
        world.checked()
        assert ledger_oracle.unsound(world.postgres) == {}
        for height in (25, 28, world.watermark()):
            wrong, checked = ledger_oracle.differences(world.postgres, world.node, height)
            assert wrong == [] and checked > 10, wrong[:5]
    finally:
        world.stop()


def test_openings_in_dispute_are_unknown_and_asked_again_until_the_endpoints_agree(tmp_path):
    """Who lies about openings only cannot be found out: nothing of what it says is proven by a block."""
    proxies = []

    def endpoints(node):
        proxies.append(stack.Node("faultproxy", ["--upstream", node.rpc], tmp_path / "faultproxy.log").start())
        return [{"name": "a", "url": node.rpc, "ws_url": node.ws}, {"name": "b", "url": proxies[0].rpc}]
    world = World(tmp_path, chain={"start_height": 25}, endpoints=endpoints, names=[*PIPELINE, "gateway"])
    control = f"{proxies[0].facts['control']}/lie"
    unknown = "select count(*) from weir.balances where not opening_known"
    try:
        world.workload("--seed", "22", "--blocks", "30", "--reorgs", "0", "--pace-ms", "0")
        assert stack.http_json(control, "POST", {"name": "balance-wrong", "height": 24})[0] == 200
        world.start()
        stack.wait_until("openings that count as unknown", 90, lambda: int(world.value(unknown) or 0) > 0)
        assert "event=openings_disputed" in world.suite.processes["reconciler"].log.read_text()
        world.settle()
        known_before = int(world.value("select count(*) from weir.entries where height = 24 and kind = 14 and not superseded"))
        stack.http_json(control, "DELETE")
        subprocess.run([world.suite.bin / "weirctl", "--api", world.suite.api, "--admin", world.suite.admin, "--key", stack.ADMIN_KEY, "reconcile"],
                       check=True, timeout=60)
        stack.wait_until("openings asked again", 120, lambda: world.value(unknown) == "0")
        assert int(world.value("select count(*) from weir.entries where height = 24 and kind = 14 and not superseded")) > known_before
        assert int(world.value("select count(*) from weir.blocks where not canonical")) == 0
        world.checked()
        assert ledger_oracle.unsound(world.postgres) == {}
        for height in (25, 28, world.watermark()):
            wrong, checked = ledger_oracle.differences(world.postgres, world.node, height)
            assert wrong == [] and checked > 10, wrong[:5]
        sent = world.node.call("eth_sendTransaction", {"from": world.node.call("eth_accounts")[0], "to": world.node.call("eth_accounts")[1], "value": "0x7"})
        world.node.call("evm_mine")  # memory follows: the next block goes on from what was recorded
        assert sent
        world.settle()
        world.checked()
        assert ledger_oracle.unsound(world.postgres) == {}
    finally:
        world.stop()
        for proxy in proxies:
            proxy.stop()


@pytest.mark.parametrize("change,status,word", [
    ({"postgres": {"url": "host=/nonexistent dbname=weir"}}, 69, "PostgreSQL"),
    ({"bus": {"redis_url": "unix:///nonexistent/redis"}}, 69, ""),
])
def test_missing_stores_are_named_at_start(tmp_path, change, status, word):
    redis = stack.Redis(tmp_path / "redis").start()
    try:
        suite = stack.Suite(tmp_path / "suite", redis.url, "host=/nonexistent dbname=weir",
                            [{"name": "dev", "family": "evm", "profile": "dev", "chain_id": 31337,
                              "endpoints": [{"name": "a", "url": "http://127.0.0.1:1"}]}], change)
        ended = subprocess.run([suite.bin / "weir-reconciler", "--config", suite.config], capture_output=True, text=True, timeout=60, check=False,
                               env=dict(os.environ))
        assert ended.returncode == status, ended.stderr[-800:]
        assert word in ended.stderr
    finally:
        redis.stop()
