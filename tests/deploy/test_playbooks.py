"""Recovery playbooks, done: the commands of a page's code block, in their order, against a running suite that has the trouble.

systemctl and the editor are stand-ins (playbook.py). Everything else is the real program. Moving to another region: test_region_move.py.
"""
import json
import os
import subprocess
import sys
import urllib.request

import pytest
import redis
import stack
import yaml
from conftest import ROOT, faultless, level, pay
from playbook import Machines, blocks

sys.path.insert(0, str(ROOT / "tests" / "service"))
import wire  # noqa: E402

NO_DISK = stack.Disk.refused()
OLD, NEW = "the-old-password", "the-new-password"


class World:
    def __init__(self, folder):
        self.folder, self.parts = folder, []
        self.redis = self.keep(stack.Redis(folder / "redis").start())
        self.redis.command("ACL", "SETUSER", "weir", "on", ">" + OLD, "~*", "&*", "+@all")
        self.postgres = self.keep(stack.Postgres(folder / "postgres").start())
        self.disk = None if NO_DISK else self.keep(stack.Disk(64))
        if self.disk:
            self.parts.insert(0, self.parts.pop())  # unmounted after PostgreSQL has ended
            (self.disk.folder / "tables").mkdir()
            subprocess.run(["chown", "postgres", self.disk.folder / "tables"], check=True)
        self.node = self.keep(stack.anvil(folder / "anvil.log"))
        self.proxy = self.keep(stack.Node("faultproxy", ["--upstream", self.node.rpc], folder / "proxy.log").start())
        self.endpoints = {"a": {"name": "a", "url": self.proxy.rpc, "ws_url": self.proxy.ws}, "b": {"name": "b", "url": self.node.rpc, "ws_url": self.node.ws}}
        secrets = folder / "secrets"
        secrets.mkdir()
        (secrets / "redis-password").write_text(OLD)
        password = {"bus": {"username": "weir", "password": f"file:{secrets}/redis-password"}}
        chain = stack.dev_chain(self.node, endpoints=list(self.endpoints.values()))
        self.suite = self.keep(stack.Suite(folder / "suite", self.redis.url, self.postgres.url, [chain], password))
        self.machines = self.keep(Machines(folder, self.act))
        self.machines.link(ROOT / "deploy" / "backup" / "weir-backup", self.suite.bin / "weirctl", self.suite.bin / "weir-fetcher")
        self.environment = {
            "PGURL": self.postgres.url, "PGADMIN": self.postgres.url.replace("dbname=weir", "dbname=postgres"), "SECRETS": str(secrets),
            "OLD": OLD, "NEW": NEW, "REDIS": f"redis-cli -s {self.redis.socket}", "BACKUP": str(folder / "ledger.dump"),
            "CONFIG": str(self.suite.config), "EDITED": str(folder / "edited.yaml"), "PROVIDER": self.node.rpc,
            "SUBSCRIPTION": "normalizer", "REASON": "invalid", "LETTERS": str(folder / "letters.jsonl"), "WEIR_KEY": stack.ADMIN_KEY,
            "WEIR_API": self.suite.api, "WEIR_ADMIN": self.suite.admin}

    def keep(self, part):
        self.parts.append(part)
        return part

    def act(self, verb, _, unit):
        if unit == "redis-server":
            assert verb == "start"
            self.redis.start()
            return
        if verb in ("stop", "restart"):
            assert self.suite.processes[unit].stop() == 0
        if verb in ("start", "restart"):
            self.suite.start((unit,))

    def run(self, page):
        """The page's code blocks, as they stand."""
        return self.machines.run("\n".join(blocks(page)[""]), self.environment, [self.postgres.bin])

    def lie(self, name):
        urllib.request.urlopen(urllib.request.Request(self.proxy.facts["control"] + "/lie", json.dumps({"name": name}).encode(), method="POST"), timeout=5).read()

    def asked(self):
        """Questions that the first endpoint has had."""
        return sum(json.load(urllib.request.urlopen(self.proxy.facts["control"] + "/stats", timeout=5))["methods"].values())

    def honest(self):
        urllib.request.urlopen(urllib.request.Request(self.proxy.facts["control"] + "/lie", method="DELETE"), timeout=5).read()

    def edited(self, *names):
        """The configuration with these endpoints."""
        config = yaml.safe_load(self.suite.config.read_text())
        config["chains"][0]["endpoints"] = [self.endpoints[name] for name in names]
        return stack.yaml_of(config)

    def with_endpoints(self, *names):
        self.suite.config.write_text(self.edited(*names))
        for unit in ("fetcher", "reconciler"):
            self.act("restart", "", unit)

    def grow(self, blocks):
        """So many blocks more, and the ledger has them all, each once."""
        self.node.call("anvil_mine", hex(blocks))
        stack.wait_until("the ledger at the node's head", 60, lambda: level(self.suite.api, self.node))
        assert self.postgres.query("select count(*) from weir.blocks where canonical") == [[str(self.node.height() + 1)]]

    def open_now(self):
        """Gaps and incidents, as the API counts them."""
        chain = self.suite.chain("dev")
        return chain["gaps"], chain["incidents"]

    def without_gaps(self):
        stack.wait_until("no gap", 60, lambda: self.open_now()[0] == 0)

    def stop(self):
        for part in reversed(self.parts):
            part.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("playbooks")
    folder.chmod(0o755)
    made = World(folder)
    try:
        made.suite.start()
        made.grow(30)
        yield made
    finally:
        made.stop()


def test_redis_lost(world):
    """Killed, and its files are gone."""
    world.redis.kill()
    for path in (world.folder / "redis" / "appendonlydir").iterdir():
        path.unlink()
    world.node.call("anvil_mine", "0x3")
    start = world.redis.start

    def start_with_its_users():  # what redis.conf or an ACL file would do
        start()
        world.redis.command("ACL", "SETUSER", "weir", "on", ">" + OLD, "~*", "&*", "+@all")

    world.redis.start = start_with_its_users
    world.run("redis-lost")
    world.grow(5)
    suite = world.suite
    stack.wait_until("the gateway's bus is up, and nothing waits for it", 60, lambda: suite.metric("gateway", "weir_gateway_bus_up") == 1 and
                     suite.metric("reconciler", "weir_reconciler_events_unpublished") == 0)
    world.without_gaps()


def test_deep_reorg(world):
    before, known = world.node.height(), world.open_now()
    world.node.call("anvil_reorg", 14, [])
    world.grow(3)
    assert world.node.height() == before + 3
    stack.wait_until("the fork's depth, which WeirDeepReorg looks at", 20, lambda: world.suite.metric("fetcher", "weir_fetcher_fork_depth") > 10)
    world.run("deep-reorg")
    world.grow(2)
    assert world.open_now() == known, "nothing new"


@pytest.fixture
def lying(world):
    """The first endpoint lies, and honest it is again afterwards, with both in use."""
    yield world.lie
    world.honest()
    world.with_endpoints("a", "b")
    world.grow(1)


def test_lying_node(world, lying):
    def failed():
        return world.suite.metric("normalizer", "weir_normalizer_checks_failed_total", endpoint="a")

    lying("block-receipts-root")
    world.grow(5)
    stack.wait_until("blocks of a that do not prove", 60, lambda: world.node.call("anvil_mine", "0x1") is None and failed() > 0)
    (world.folder / "edited.yaml").write_text(world.edited("b"))
    world.run("lying-node")
    world.grow(2)
    world.without_gaps()
    before = world.asked(), failed()
    world.grow(5)
    assert (world.asked(), failed()) == before, "nobody asks it any more, and no block of it is left to fail"
    assert world.open_now()[0] == 0


def test_stuck_chain(world, lying):
    world.with_endpoints("a")
    world.grow(2)
    lying("head-stale")
    lying("notice-dropped")
    stuck = world.node.height()
    world.node.call("anvil_mine", "0x4")
    (world.folder / "edited.yaml").write_text(world.edited("a", "b"))
    assert stack.http_json(world.suite.api + "/v1/chains/dev")[1]["watermark"]["height"] == stuck, "it does not know better"
    world.run("stuck-chain")
    world.grow(2)


def test_dead_letter_storm(world):
    """Somebody with the right to write sends blocks of another chain."""
    client = redis.Redis(unix_socket_path=str(world.redis.socket))
    generation = int(client.hget("weir:{dev}:raw:meta", "gen"))
    for i in range(20):
        sequence = client.hincrby("weir:{dev}:raw:meta", "hw:low", 1)
        body = wire.encode([(1, "elsewhere"), (2, 1000 + i)])
        client.xadd("weir:{dev}:raw:low", {"d": wire.framed(2, body, str(i).encode())}, id=f"{generation}-{sequence}")
    suite = world.suite

    def letters():
        return suite.operate("GET", "/admin/v1/dlq?limit=100")[1]["items"]

    stack.wait_until("a storm of letters", 30, lambda: len(letters()) == 20)
    world.run("dead-letters")
    assert letters() == []
    lines = [json.loads(line) for line in (world.folder / "letters.jsonl").read_text().splitlines()]
    assert sorted(int(line["key"]) for line in lines) == list(range(20))
    world.grow(3)


@pytest.mark.skipif(NO_DISK is not None, reason=str(NO_DISK))
def test_full_disk(world):
    """PostgreSQL's tables and an old backup share a disk, and somebody has left a replication slot behind."""
    suite = world.suite
    world.postgres.query("create tablespace small location '%s'" % (world.disk.folder / "tables"))
    for table in ("blocks", "entries", "balances"):
        for child, in world.postgres.query(f"select relid::regclass from pg_partition_tree('weir.{table}') where isleaf union select 'weir.{table}'::regclass"):
            world.postgres.query(f"alter table {child} set tablespace small")
    world.postgres.query("select pg_create_physical_replication_slot('forgotten', true)")
    world.grow(2)
    world.disk.fill()
    stuck = world.node.height()
    work = stack.Process("workload", ["node", stack.CHAIN_LAB / "workload.mjs", "--rpc", world.node.rpc, "--out", world.folder / "journal.json", "--seed", "3",
                                      "--forever", "--block-ms", "60", "--txs-per-block", "30", "--reorg-every", "0"], world.folder / "workload.log").start()
    log = suite.processes["reconciler"].log
    stack.wait_until("the reconciler names the disk", 90, lambda: "No space left on device" in log.read_text(errors="replace"))
    assert suite.chain("dev")["watermark"]["height"] >= stuck, "what is in the ledger is served"
    world.environment |= {"DISK": str(world.disk.folder), "OLD": str(world.disk.ballast)}
    try:
        world.run("full-disk")
    finally:
        world.environment["OLD"] = OLD
        assert work.stop(60) == 0
    world.grow(2)
    world.without_gaps()
    assert world.postgres.query("select count(*) from pg_replication_slots") == [["0"]]


def test_postgres_restore(world):
    environment = dict(os.environ, **world.environment, PATH=f"{world.postgres.bin}:{os.environ['PATH']}")
    suite = world.suite
    key = suite.operate("POST", "/admin/v1/keys", {"name": "client", "scopes": ["read"]})[1]["key"]
    subprocess.run([ROOT / "deploy" / "backup" / "weir-backup", "backup", world.environment["BACKUP"]], env=environment, check=True, stderr=subprocess.DEVNULL)
    [[backed_up]] = world.postgres.query("select watermark_height from weir.chains")
    accounts, height = pay(world.node)
    assert height > int(backed_up)
    world.grow(10)
    world.run("postgres-restore")
    world.grow(5)
    faultless(suite, world.node, accounts, height)
    assert stack.http_json(suite.api + "/v1/chains", headers={"Authorization": f"Bearer {key}"})[0] == 200, "a key of before the backup"
