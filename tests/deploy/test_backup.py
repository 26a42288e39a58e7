"""docs/backup-and-restore.md, done: a ledger restored to an older point catches up by itself; an unsound backup is recognised."""
import os
import subprocess

import pytest
import stack
from conftest import ROOT, level

BACKUP = ROOT / "deploy" / "backup" / "weir-backup"


@pytest.fixture
def world(tmp_path):
    tmp_path.chmod(0o755)

    class World:
        parts = []

        def backup(self, *words):
            environment = dict(os.environ, PGURL=self.postgres.url, PATH=f"{self.postgres.bin}:{os.environ['PATH']}")
            out = subprocess.run([BACKUP, *words], env=environment, capture_output=True, text=True, check=False, timeout=60)
            return out.returncode, out.stderr

        def level(self):
            stack.wait_until("the ledger at the node's head", 40, lambda: level(self.suite.api, self.node))

    w = World()
    try:
        w.parts.append(redis := stack.Redis(tmp_path / "redis").start())
        w.parts.append(postgres := stack.Postgres(tmp_path / "postgres").start())
        w.parts.append(node := stack.anvil(tmp_path / "anvil.log"))
        w.parts.append(suite := stack.Suite(tmp_path / "suite", redis.url, postgres.url, [stack.dev_chain(node)]).start())
        w.redis, w.postgres, w.node, w.suite = redis, postgres, node, suite
        w.node.call("anvil_mine", "0x14")
        w.level()
        yield w
    finally:
        for part in reversed(w.parts):
            part.stop()


def recreate(postgres):
    for command in ("dropdb", "createdb"):
        subprocess.run([postgres.bin / command, "-h", str(postgres.sockets), "-U", "weir", "weir"], check=True, cwd="/")


def test_a_ledger_restored_to_an_older_point_catches_up(world, tmp_path):
    file = tmp_path / "ledger.dump"
    status, said = world.backup("backup", file)
    assert status == 0 and file.exists(), said
    status, said = world.backup("verify", file)
    assert status == 0 and "is sound: dev at" in said, said
    world.node.call("anvil_mine", "0xf")
    world.level()
    status, said = world.backup("restore", file)
    assert status == 73 and "nothing was changed" in said

    for name in ("gateway", "reconciler"):
        assert world.suite.processes[name].stop() == 0
    recreate(world.postgres)
    status, said = world.backup("restore", file)
    assert status == 0 and "restored: dev at" in said, said
    world.redis.command("FLUSHALL")
    world.node.call("anvil_mine", "0x3")
    world.suite.start(("reconciler", "gateway"))
    world.level()
    assert world.postgres.query("select count(*) from weir.blocks where canonical") == [[str(world.node.height() + 1)]]


def test_an_unsound_backup_is_recognised(world, tmp_path):
    file = tmp_path / "ledger.dump"
    world.suite.stop()
    world.postgres.query("update weir.blocks set canonical = false where height = 7")
    assert world.backup("backup", file)[0] == 0
    status, said = world.backup("verify", file)
    assert status == 65 and "no canonical block" in said, said
    assert world.postgres.query("select count(*) from pg_database where datname like 'weir_verify%'") == [["0"]]
    assert world.backup("verify")[0] == 64
