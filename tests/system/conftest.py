"""A whole suite per test: private Redis, PostgreSQL, a real node, the four services. All stopped by process id."""
import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack"), str(ROOT / "tests" / "service")]
import ledger_oracle  # noqa: E402
import stack  # noqa: E402

FULL = os.environ.get("WEIR_SIZE") == "full"


@pytest.fixture
def size():
    """Picks the figure for CI or for torture: size(small, full)."""
    return lambda small, full: full if FULL else small


@pytest.fixture
def world(tmp_path):
    """Redis, PostgreSQL and what tests add with world.keep(…); stopped in reverse."""

    class World:
        def __init__(self):
            self.parts = []
            os.chmod(tmp_path, 0o755)
            self.folder = tmp_path
            self.redis = self.keep(stack.Redis(tmp_path / "redis").start())
            self.postgres = self.keep(stack.Postgres(tmp_path / "postgres").start())

        def keep(self, part):
            self.parts.append(part)
            return part

        def anvil(self, *arguments):
            return self.keep(stack.anvil(tmp_path / f"anvil{len(self.parts)}.log", *arguments))

        def suite(self, chains, settings=None):
            return self.keep(stack.Suite(tmp_path / "suite", self.redis.url, self.postgres.url, chains, settings))

        def workload(self, node, *arguments, **options):
            flags = [part for name, value in options.items() for part in (f"--{name}", value)]
            self.journal = tmp_path / "journal.json"
            return self.keep(stack.Process("workload", ["node", stack.CHAIN_LAB / "workload.mjs", "--rpc", node.rpc, "--out", self.journal, *arguments,
                                                        *flags], tmp_path / "workload.log").start())

        def oracle(self, node, suite, count=25, seconds=300):
            """The comparison that shares no code with weir. Its report."""
            import json
            import subprocess

            out = subprocess.run(["node", stack.CHAIN_LAB / "oracle.mjs", "--rpc", node.rpc, "--gateway", suite.api, "--chain", "dev", "--journal",
                                  self.journal, "--count", str(count), "--seed", "1", "--wait-ms", "30000"], capture_output=True, text=True,
                                 timeout=seconds, check=False)
            assert out.stdout.strip(), f"the oracle said nothing: {out.stderr[-2000:]}"
            return json.loads(out.stdout.strip().splitlines()[-1])

    world = World()
    yield world
    for part in reversed(world.parts):
        part.stop()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """On failure, the end of each service's log: what an operator would look at first."""
    report = (yield).get_result()
    world = item.funcargs.get("world") if hasattr(item, "funcargs") else None
    if report.when == "call" and report.failed and world:
        for part in world.parts:
            for name, process in getattr(part, "processes", {}).items():
                report.sections.append((f"weir-{name}", process.tail(25)))


def caught_up(suite, node, seconds=180):
    """The ledger has reached the node's head and agrees about its hash."""

    def reached():
        watermark = suite.chain("dev")["watermark"]
        head = node.call("eth_getBlockByNumber", "latest", False)
        return watermark and watermark["height"] == int(head["number"], 16) and watermark["hash"] == head["hash"]

    stack.wait_until("the ledger at the node's head", seconds, reached, 0.1)


def ledger_faults(postgres):
    """Rules of the ledger that do not hold in its own tables (sums, running balances, holes, proofs): {} when it is sound."""
    return ledger_oracle.unsound(postgres)
