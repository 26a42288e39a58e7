"""P5, P6, P10: while the chain grows and reorganises, something dies every second: a service (kill -9), Redis (kill -9, FLUSHALL), PostgreSQL
(restarted, crashed), or hangs (SIGSTOP). A supervisor starts again what died, and nothing else is ever done by hand. At the end the ledger
is the chain, whole and without a double, by the same oracle as in peace."""
import os
import random
import signal
import time

from conftest import caught_up, ledger_faults
from stack import SERVICES, dev_chain, wait_until

FROZEN_SECONDS = 5


class Supervisor:
    """Starts again what ended, as systemd or Docker would: nothing more."""

    def __init__(self, suite):
        self.suite = suite
        self.restarts = {name: 0 for name in SERVICES}

    def watch(self, seconds):
        deadline = time.monotonic() + seconds
        while True:
            for name in SERVICES:
                if not self.suite.processes[name].alive():
                    self.restarts[name] += 1
                    self.suite.start([name], wait=0)
            if time.monotonic() >= deadline:
                return
            time.sleep(0.1)


class Faults:
    """What can go wrong; each method is one kind."""

    def __init__(self, world, suite, supervisor, rng):
        self.world, self.suite, self.supervisor, self.rng = world, suite, supervisor, rng

    def kill_a_service(self):
        name = self.rng.choice(SERVICES)
        self.suite.processes[name].kill()
        return name

    def kill_all_services(self):
        for name in SERVICES:
            self.suite.processes[name].kill()

    def kill_redis(self):
        self.world.redis.kill()
        self.supervisor.watch(self.rng.uniform(0, 1))
        self.world.redis.start()

    def flush_redis(self):
        assert self.world.redis.command("FLUSHALL").startswith("+OK")

    def restart_postgres(self):
        self.world.postgres.restart(signal.SIGINT)

    def crash_postgres(self):
        """SIGQUIT: no checkpoint, recovery from the log at the next start."""
        self.world.postgres.restart(signal.SIGQUIT)

    def freeze_a_service(self):
        """It comes back believing that no time has passed: its leases are gone, and its writes must be refused."""
        name = self.rng.choice(SERVICES)
        process = self.suite.processes[name]
        process.send(signal.SIGSTOP)
        self.supervisor.watch(FROZEN_SECONDS)
        process.send(signal.SIGCONT)
        return name


KINDS = ["kill_a_service", "kill_redis", "flush_redis", "restart_postgres", "crash_postgres", "freeze_a_service", "kill_all_services"]


def plan(rounds, rng):
    """Every kind at least once, kills of single services most often, in random order."""
    chosen = [*KINDS, *rng.choices(KINDS, weights=[6, 2, 2, 1, 1, 2, 1], k=max(rounds - len(KINDS), 0))]
    rng.shuffle(chosen)
    return chosen


def test_ledger_survives(world, size, record_property):
    rounds, seed = int(os.environ.get("WEIR_ROUNDS", size(12, 100))), int(os.environ.get("WEIR_SEED", 1))
    rng = random.Random(seed)
    node = world.anvil("--slots", "8")
    suite = world.suite([dev_chain(node)], {"bus": {"lease": "2s"}}).start()
    workload = world.workload(node, "--forever", seed=seed, **{"block-ms": 300, "txs-per-block": 10, "reorg-every": 15})
    supervisor = Supervisor(suite)
    faults = Faults(world, suite, supervisor, rng)
    supervisor.watch(5)
    for number, kind in enumerate(plan(rounds, rng)):
        whom = getattr(faults, kind)()
        print(f"round {number + 1}: {kind} {whom or ''} at block {node.height()}", flush=True)
        supervisor.watch(rng.uniform(0.5, 3))
    supervisor.watch(2)
    deadline = time.monotonic() + 240
    while node.height() <= 20 and time.monotonic() < deadline:  # a slow machine's chain is slow, too
        supervisor.watch(1)
    assert node.height() > 20
    assert workload.stop(60) == 0, workload.tail()
    supervisor.watch(0.2)
    caught_up(suite, node, 120)
    report = world.oracle(node, suite)
    record_property("rounds", rounds)
    record_property("report", report)
    assert report["missing"] == 0 and report["duplicate"] == 0, report
    assert report["equal"], report
    assert ledger_faults(world.postgres) == {}
    wait_until("no gap and no incident left open", 120, lambda: not ((status := suite.chain("dev"))["gaps"] or status["incidents"]))
    _, letters, _ = suite.operate("GET", "/admin/v1/dlq")
    assert letters["items"] == [], "dead letters are manual work"
    supervisor.watch(0)
    deaths = {name: n for name, n in supervisor.restarts.items() if n}
    assert deaths, "nothing died: the run proves nothing"
