"""The chart rehearsed: make demo's traffic, reorgs included, through pods in network namespaces with read-only root file systems, the chart's own
user, mounts, limits, probes, secrets and network policies, for 60 seconds. All pods begin as an older weir (older.py; where this clone has no history, as the current
one). Meanwhile normalizers and gateways are scaled from 1 to 3 and back, the upgrade's hook runs, each deployment is rolled to the current weir, those that may go back
are rolled back, and each pod dies once and comes back as the current one. At the end nothing is missing, and a client that went on reading has exactly the ledger's
blocks.
"""
import json
import pathlib
import re
import sys
import threading
import time

import cluster
import older
import pytest
import stack
from chart import component, template
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests" / "service"))
from gateway_client import Books, websocket  # noqa: E402

SECONDS = 60
MEMORY = cluster.memory_file()
UNITS = {"Mi": 1 << 20, "Gi": 1 << 30}
ALONE = cluster.impossible()
pytestmark = pytest.mark.skipif(ALONE is not None, reason=str(ALONE))


class Reader(threading.Thread):
    """A client of topic blocks that resumes wherever a gateway is; falls over anything twice, out of order, or taken back that it did not have."""

    def __init__(self, gateways):
        super().__init__(daemon=True)
        self.gateways, self.over, self.fault = gateways, threading.Event(), None
        self.books = Books([], 1, topic="blocks", chain="dev", **{"from": {"height": 0}})

    def run(self):
        books = self.books
        while not self.over.is_set():
            try:
                if not books.stream:
                    self.connect()
                else:
                    books.take(2)
            except websocket.WebSocketTimeoutException:
                pass
            except (OSError, IndexError, websocket.WebSocketException):
                books.stream = None
                time.sleep(0.05)
            except Exception as error:  # whatever it is, the test has to know
                self.fault = error
                return

    def connect(self):
        """To any gateway; one that cannot serve yet is asked again."""
        self.books.bases = self.gateways()
        try:
            self.books.connect()
        except AssertionError:
            self.books.stream = None
            time.sleep(0.2)

    def blocks(self):
        if self.fault:
            raise AssertionError("the client's books") from self.fault
        return {event["height"]: event["block_hash"] for event in list(self.books.held.values()) if event["type"] == "block"}


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rehearsal")
    folder.chmod(0o755)
    with cluster.network():
        made = cluster.Cluster(template("dev"), folder)
        try:
            made.stores()
            made.older = older.commit()
            if made.older:
                made.use(older.build(made.older))
            made.up()
            yield made
        finally:
            made.down()


def versions(suite):
    """What all running pods say that they are."""
    return {pod.version() for pods in suite.running.values() for pod in pods}


def upgrade(suite, done):
    """As helm does it: the hook first, with the new program, then every deployment. Until then those of before work with the newer schema."""
    suite.use(None)
    height = suite.postgres.query("select max(height) from weir.blocks where canonical")[0][0]
    status, said = suite.done(next(o for o in suite.objects if o["kind"] == "Job"))
    assert status == 0 and "schema_current" in said, said
    stack.wait_until("blocks over the newer schema", 120, lambda: int(suite.postgres.query("select max(height) from weir.blocks where canonical")[0][0]) > int(height) + 2)
    for deployment in suite.deployments():
        suite.roll(deployment)
        done.append(f"{deployment['metadata']['name']} rolled")


def go_back(suite, done):
    """Everything but a reconciler, over the newer schema; a reconciler refuses that, and the rollout with it: the current one goes on (docs/operations.md)."""
    suite.use(older.build(suite.older))
    for deployment in suite.deployments():
        if component(deployment["metadata"]["labels"]) != "reconciler" or older.migrations(suite.older) == older.migrations("HEAD"):
            suite.roll(deployment)
            done.append(f"{deployment['metadata']['name']} rolled back")
        else:
            pod = suite.start(deployment)
            assert pod.wait(120) != 0 and "run the newer weir" in pod.said(), pod.said()
            done.append(f"{deployment['metadata']['name']} not rolled back")


@pytest.mark.skipif(not older.commit(), reason="this clone does not have the history of an older weir: the rehearsal rolls the current one")
def test_the_older_weir_is_an_older_one():
    """Or what is rehearsed is nothing."""
    assert older.migrations(older.commit()) <= older.migrations("HEAD") and older.commit() != older.git("rev-parse", "HEAD").decode().strip()


def test_a_minute_of_traffic_through_scaling_upgrade_and_losses(suite):
    begun = time.monotonic()
    traffic = stack.Process("workload", ["node", stack.CHAIN_LAB / "workload.mjs", "--rpc", suite.rpc, "--forever", "--block-ms", "1000", "--txs-per-block", "20",
                                         "--reorg-every", "25", "--seed", "1"], suite.folder / "workload.log").start()
    reader = Reader(suite.gateways)
    reader.start()
    done = []
    try:
        stack.wait_until("the first blocks", 300, lambda: len(reader.blocks()) > 5)
        scaled = [d for d in suite.deployments() if component(d["metadata"]["labels"]) in ("normalizer", "gateway")]
        for replicas in (3, 1):
            for deployment in scaled:
                suite.scale(deployment, replicas)
                done.append(f"{deployment['metadata']['name']} at {replicas}")
        before = versions(suite)
        upgrade(suite, done)
        if suite.older:
            go_back(suite, done)
        suite.use(None)
        for deployment in suite.deployments():
            suite.lose(deployment)
            done.append(f"{deployment['metadata']['name']} lost")
        now = versions(suite)
        assert len(before) == len(now) == 1 and (now != before) == bool(suite.older), (before, now)
        stack.wait_until("the traffic's minute, and a reorg in it", 600, lambda: time.monotonic() - begun > SECONDS and reader.books.retractions, 0.5)
        assert traffic.alive(), traffic.tail()
    finally:
        status = traffic.stop(120)
    assert status == 0, traffic.tail()

    head = int(suite.call("eth_blockNumber"), 16)
    chain = {h: suite.call("eth_getBlockByNumber", hex(h), False)["hash"] for h in range(head + 1)}
    stack.wait_until("the ledger at the head", 300, lambda: suite.postgres.query("select max(height) from weir.blocks where canonical") == [[str(head)]])
    ledger = {int(h): "0x" + x for h, x in suite.postgres.query("select height, encode(hash, 'hex') from weir.blocks where canonical")}
    assert ledger == chain, "0 missing, 0 other"
    assert suite.postgres.query("select count(*) from weir.gaps where closed_at is null") == [["0"]]
    assert suite.postgres.query("select count(*) from weir.incidents where kind = 'mismatch' and coalesce(resolution, '') not in "
                                "('non_conserving', 'superseded', 'healed')") == [["0"]]
    stack.wait_until("the client's books", 300, lambda: reader.blocks() == chain)
    reader.over.set()
    forks = int(suite.postgres.query("select count(distinct superseded_at) from weir.blocks where not canonical")[0][0])
    facts = {"from": min(before), "to": min(now), "blocks": len(ledger), "missing": 0, "reorgs": forks, "connected": reader.books.reconnects, "retracted": reader.books.retractions,
             "pods": suite.count, "seconds": round(time.monotonic() - begun)}
    print("\nrehearsal:", json.dumps(facts), "; ".join(done))
    assert forks >= 1 and facts["connected"] > 1


def status_of(pod):
    return dict(re.findall(r"(?m)^(\w+):[ \t]*(.*)$", pathlib.Path(f"/proc/{pod.pid}/status").read_text()))


def test_pods_are_contained_as_the_chart_says(suite):
    for (pod,) in suite.running.values():
        facts = status_of(pod)
        assert facts["Uid"].split() == facts["Gid"].split() == ["10001"] * 4 and facts["Groups"].strip() == ""
        assert {int(facts[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0} and facts["NoNewPrivs"] == "1"
        assert facts["NSpid"].split()[-1] == "1", "the program is the first of its processes: no init, no shell"
        mounts = [line.split() for line in pathlib.Path(f"/proc/{pod.pid}/mountinfo").read_text().splitlines()]
        writable = [m[4] for m in mounts if "ro" not in m[5].split(",")]
        assert set(writable) <= {"/proc", "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"}, writable
        if MEMORY:  # this machine has control groups to give: then each pod has one with its own limit
            limit = pod.container["resources"]["limits"]["memory"]
            (group,) = (group for group in pod.groups if (group / MEMORY).exists())
            assert int((group / MEMORY).read_text()) == int(limit[:-2]) * UNITS[limit[-2:]], (pod.name, limit)
            assert str(pod.pid) in (group / "cgroup.procs").read_text().split(), pod.name
        said = pod.inside("/bin/bash", "-c", "echo x >/tmp/x")
        assert said.returncode != 0 and "Read-only file system" in said.stderr, said
        assert pod.inside("/bin/bash", "-c", "read -r _ </etc/weir/weir.yaml").returncode == 0


def test_the_health_check_of_the_images_is_content(suite):
    for deployment in suite.deployments():
        (pod,) = suite.running[deployment["metadata"]["name"]]
        out = pod.inside(f"/usr/local/bin/weir-{component(pod.labels)}", "--health")
        assert out.returncode == 0 and '"status":"ok"' in out.stdout, (pod.name, out)


@pytest.mark.parametrize("service, store, open_", [
    ("normalizer", "weir-postgresql", False), ("normalizer", "anvil", False), ("fetcher", "weir-postgresql", False), ("gateway", "anvil", False),
    ("normalizer", "weir-redis", True), ("fetcher", "anvil", True), ("reconciler", "weir-postgresql", True)])
def test_only_the_arrows_of_the_design_are_open(suite, service, store, open_):
    deployment = next(d for d in suite.deployments() if component(d["metadata"]["labels"]) == service)
    (pod,) = suite.running[deployment["metadata"]["name"]]
    port = {"weir-redis": 6379, "weir-postgresql": 5432, "anvil": 8545}[store]
    out = pod.inside("/bin/bash", "-c", f"exec 3<>/dev/tcp/{cluster.STORES[store]}/{port} && echo reached & p=$!; "
                                         "for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 $p 2>/dev/null || break; read -t 0.2 <> <(:) || :; done; kill $p 2>/dev/null; wait $p")
    assert ("reached" in out.stdout) == open_, (service, store, out)
