"""The playbook of moving to another region, done with two sites: PostgreSQL with a streaming replica of it, two Redis, and a client that goes from the one to
the other. Its ledger is then whole by the node, and the old site follows the new one. Once planned, once by the loss of the old site, whose replica lags."""
import re
import signal
import subprocess
import sys

import pytest
import stack
import websocket
from conftest import ROOT, level
from playbook import Machines, blocks

sys.path.insert(0, str(ROOT / "tests" / "service"))
import ledger_oracle  # noqa: E402
from gateway_client import Books  # noqa: E402

ROLES = """create role weir_reader nologin; create role weir_identity nologin; create role weir_webhooks nologin;
create role weir_gateway login in role weir_reader, weir_identity, weir_webhooks; create role replicator login replication"""
SECONDS = 90


class Sites:
    def __init__(self, folder):
        self.parts, self.postgres, self.redis, self.suites = [], {}, {}, {}
        self.machines = self.keep(Machines(folder, self.act))
        self.node = self.keep(stack.anvil(folder / "anvil.log"))
        for site in ("old", "new"):
            self.postgres[site] = self.keep(stack.Postgres(folder / site / "pg", ["fsync=off"]))
            self.redis[site] = self.keep(stack.Redis(folder / site / "redis"))
            reader = self.postgres[site].url.replace("user=weir", "user=weir_gateway")
            self.suites[site] = self.keep(stack.Suite(folder / site / "suite", self.redis[site].url, self.postgres[site].url, [stack.dev_chain(self.node)],
                                                      {"postgres": {"reader_url": reader}}))
        for site in ("old", "new"):
            self.redis[site].start()
        self.machines.link(self.suites["new"].bin / "weirctl")
        self.postgres["old"].start().query(ROLES)
        replica = self.postgres["new"]
        subprocess.run([*replica._as(), replica.bin / "pg_basebackup", "-d", self.replication("old"), "-D", replica.data, "-R", "-c", "fast"], check=True, cwd="/")
        replica.start()
        self.suites["old"].start()

    def replication(self, site):
        return f"host={self.postgres[site].sockets} user=replicator"

    def keep(self, part):
        self.parts.append(part)
        return part

    def act(self, verb, site, unit):
        if verb == "stop":
            process = self.postgres[site].process if unit == "postgresql" else self.suites[site].processes[unit]
            assert process.stop(60, signal.SIGINT if unit == "postgresql" else signal.SIGTERM) == 0
        elif unit == "postgresql":
            self.postgres[site].start()
        else:
            assert site == "old" or not self.old_lives(), "the old site is off before the new one starts"
            self.suites[site].start((unit,))

    def old_lives(self):
        """What of the old site still runs."""
        processes = [*self.suites["old"].processes.values(), self.postgres["old"].process]
        return [process.name for process in processes if process.alive()]

    def run(self, heading):
        new, old = self.postgres["new"], self.postgres["old"]
        suite = self.suites["new"]
        return self.machines.run(blocks("region-move")[heading][0], {
            "OLD_PGURL": old.url, "PGURL": new.url, "PGADMIN": new.url.replace("dbname=weir", "dbname=postgres"), "REPLICATION": self.replication("new"),
            "PGDATA": str(old.data), "READY": f"http://127.0.0.1:{suite.ops['gateway']}/readyz", "WEIR_KEY": stack.ADMIN_KEY, "WEIR_API": suite.api,
            "WEIR_ADMIN": suite.admin}, [new.bin])

    def stop(self):
        for part in reversed(self.parts):
            part.stop()


@pytest.fixture
def sites(tmp_path):
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    made = Sites.__new__(Sites)
    try:
        made.__init__(tmp_path)
        yield made
    finally:
        made.stop()


def take(client, more):
    """So many entries more, while traffic goes on."""
    until = client.given + more
    while client.given < until:
        client.take(SECONDS)


def reader(suite):
    return Books([suite.api], 1, odds=0, chain="dev", topic="entries", **{"from": {"height": 0}})


def traffic_of(sites, folder):
    return sites.keep(stack.Process("workload", ["node", stack.CHAIN_LAB / "workload.mjs", "--rpc", sites.node.rpc, "--out", folder / "journal.json", "--seed", "7",
                                                 "--forever", "--block-ms", "250", "--txs-per-block", "4", "--reorg-every", "12"], folder / "workload.log").start())


def whole(sites, client):
    """At the new site: the ledger is the node's, and the client has been given exactly what one is that begins now."""
    new, ledger = sites.suites["new"], sites.postgres["new"]
    stack.wait_until("the ledger at the node's head", SECONDS, lambda: level(new.api, sites.node))
    [[entries]] = ledger.query("select count(*) from weir.entries where not superseded")
    client.read_until(lambda: len(client.held) == int(entries), SECONDS)
    fresh = reader(new)
    fresh.connect()
    fresh.read_until(lambda: len(fresh.held) == int(entries), SECONDS)
    assert client.held == fresh.held and len(fresh.held) == int(entries)
    assert ledger_oracle.unsound(ledger) == {}
    # A token that lies differs until the checker has met it.
    stack.wait_until("every balance to be the chain's", SECONDS, lambda: ledger_oracle.differences(ledger, sites.node)[0] == [])
    assert ledger_oracle.differences(ledger, sites.node)[1] > 5
    stack.wait_until("no gap and no incident left", SECONDS, lambda: {new.chain("dev")[what] for what in ("gaps", "incidents")} == {0})


def the_old_site_follows(sites):
    sites.run("The old site as a replica")
    sites.node.call("anvil_mine", "0x3")
    stack.wait_until("the ledger at the node's head", SECONDS, lambda: level(sites.suites["new"].api, sites.node))
    follower = sites.postgres["old"]
    assert follower.query("select pg_is_in_recovery()") == [["t"]] and (follower.folder / "data.before").is_dir()
    stack.wait_until("the old site has the new blocks", SECONDS,
                     lambda: int(follower.query("select watermark_height from weir.chains")[0][0]) == sites.node.height())


def test_the_ledger_and_its_clients_move(sites, tmp_path):
    old, new = sites.suites["old"], sites.suites["new"]
    assert sites.postgres["new"].query("select pg_is_in_recovery()") == [["t"]]
    traffic = traffic_of(sites, tmp_path)
    client = reader(old)
    client.connect()
    take(client, 100)

    said = sites.run("The move")
    assert sites.old_lives() == []
    assert "weir-reconciler" in said and "weir-gateway" in said, "connected at the new site"
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        while True:  # what the old gateway had still sent
            client.take(SECONDS)
    client.bases = [new.api]
    client.connect()
    take(client, 100)
    assert traffic.stop(60) == 0
    whole(sites, client)
    the_old_site_follows(sites)


def sequence(client):
    return int(client.offset.split("-")[0])


def journal(site):
    return int(site.query("select journal_sequence from weir.chains")[0][0])


def test_the_loss_of_a_site_whose_replica_lags(sites, tmp_path):
    """Nothing of it ends in order. One client has been given no more than the replica has, another more, which the new site commits anew."""
    old, new, replica = sites.suites["old"], sites.suites["new"], sites.postgres["new"]
    traffic = traffic_of(sites, tmp_path)
    behind, ahead = reader(old), reader(old)
    for client in (behind, ahead):
        client.connect()
        take(client, 60)
    behind.stream.close()
    stack.wait_until("the replica has what the first client was given", SECONDS, lambda: journal(replica) >= sequence(behind))
    replica.query("alter system set primary_conninfo = ''")
    replica.query("select pg_reload_conf()")
    stack.wait_until("it has nothing more to come", SECONDS, lambda: replica.query("select count(*) from pg_stat_wal_receiver") == [["0"]])
    end = journal(replica)
    while sequence(ahead) < end + 40:
        ahead.take(SECONDS)
    for process in (*old.processes.values(), sites.redis["old"].process, sites.postgres["old"].process):
        process.kill()
    assert sites.old_lives() == [] and journal(replica) == end

    said = sites.run("The loss")
    assert re.search(rf"^dev\|\d+\|{end}$", said, re.M), said
    stack.wait_until("the new journal has grown past what was lost", SECONDS, lambda: journal(replica) > sequence(ahead))
    ahead.bases = behind.bases = [new.api]
    with pytest.raises(AssertionError, match="offset_unknown"):
        ahead.connect()
    behind.connect()
    take(behind, 20)
    assert traffic.stop(60) == 0
    whole(sites, behind)
    the_old_site_follows(sites)
