"""One message that ends its service each time: services that really abort (tests/actors/*_crash.c), under a supervisor that starts them again, with two chains
in one process. What an operator sees: the process stays, one dead letter says why, everything else goes on, and a sound program heals it by a replay."""
import os
import pathlib
import signal
import sys

import pytest
import redis as redis_client

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "stack"), str(pathlib.Path(__file__).parent)]
import ledger_oracle  # noqa: E402
import stack  # noqa: E402
import wire  # noqa: E402

CRASHES = 3       # BUS_CRASHES
PATIENCE = 12     # endings after which nothing contains them
ACTORS = pathlib.Path(os.environ.get("WEIR_BIN", stack.ROOT / "build" / "bin")).parent / "tests" / "actors"
NORMALIZED_BLOCK, RAW_BLOCKS = 3, (1, 2)  # message types
SETTINGS = {"bus": {"lease": "1s"}, "reconciler": {"missing_after": "300ms"}}


class World:
    def __init__(self, folder):
        self.nodes = {name: stack.anvil(folder / f"{name}.log") for name in ("dev", "second")}
        self.redis = stack.Redis(folder / "redis").start()
        self.postgres = stack.Postgres(folder / "pg", ["fsync=off"]).start()
        self.suite = stack.Suite(folder / "suite", self.redis.url, self.postgres.url,
                                 [stack.dev_chain(node, name) for name, node in self.nodes.items()], SETTINGS).start()

    def mine(self, chain, n):
        """Blocks with a transfer each. Returns the head's height."""
        node = self.nodes[chain]
        accounts = node.call("eth_accounts")
        for i in range(n):
            node.call("eth_sendTransaction", {"from": accounts[0], "to": accounts[1], "value": hex(1000 + i)})
            node.call("evm_mine")
        return node.height()

    def watermark(self, chain):
        return (self.suite.chain(chain)["watermark"] or {"height": -1})["height"]

    def level(self, chain):
        head = self.nodes[chain].call("eth_getBlockByNumber", "latest", False)
        return (self.suite.chain(chain)["watermark"] or {}).get("hash") == head["hash"]

    def messages(self, topic, *kinds):
        """Messages of chain dev that stand in a topic, by key: (stream, id)."""
        client = redis_client.Redis(unix_socket_path=str(self.redis.socket))
        found = {}
        for name in ("critical", "high", "normal", "low"):
            stream = f"weir:{{dev}}:{topic}:{name}"
            for entry, fields in client.xrange(stream):
                kind, key, _ = wire.frame(fields[b"d"])
                if kind in kinds:
                    found[int(key)] = (stream, entry.decode())
        return found

    def lose(self, height):
        """The message with this block."""
        stream, entry = self.messages("blocks", NORMALIZED_BLOCK)[height]
        self.redis.command("XDEL", stream, entry)

    def letters(self, subscription):
        status, body, _ = self.suite.operate("GET", f"/admin/v1/dlq?subscription={subscription}&reason=crash")
        assert status == 200, body
        return body["items"]

    def gaps(self):
        """What is missing, as an operator sees it: (chain, from, to)."""
        items = self.suite.operate("GET", "/admin/v1/gaps?open=true")[1]["items"]
        return [(gap["chain"], gap["from_height"], gap["to_height"]) for gap in items]

    def order(self, path, body):
        status, answer, _ = self.suite.operate("POST", f"/admin/v1/{path}", body)
        assert status < 300, answer

    def replay(self, subscription):
        self.order("dlq/replay", {"subscription": subscription, "ids": [letter["id"] for letter in self.letters(subscription)]})

    def instead(self, service, **environment):
        """The service stops, and one with a defect takes its place."""
        assert self.suite.processes[service].stop() == 0
        return Tended(self, service, {key.upper(): str(value) for key, value in environment.items()})

    def stop(self):
        statuses = self.suite.stop()
        self.postgres.stop()
        self.redis.stop()
        for node in self.nodes.values():
            node.stop()
        return statuses


class Tended:
    """A service with a defect, started again whenever it ends."""

    def __init__(self, world, service, environment):
        self.world, self.service, self.ends = world, service, []
        self.process = stack.Process(service, [ACTORS / f"{service}_crash", "--config", world.suite.config], world.suite.folder / f"{service}_crash.log",
                                     env=environment)
        self.process.log.unlink(missing_ok=True)
        self.process.start()

    def until(self, what, predicate, seconds=120):
        def tended():
            if not self.process.alive():
                self.ends.append(self.process.child.returncode)
                assert len(self.ends) <= PATIENCE, f"it ends again and again: {self.ends}\n{self.process.tail()}"
                self.process.start()
            return predicate()
        return stack.wait_until(what, seconds, tended)

    def said(self, event):
        return self.process.log.read_text(errors="replace").count(f"event={event} ")

    def stays(self, ends):
        """So many endings, no more: asked of a process that has started."""
        self.until("it is ready", lambda: self.world.suite.ready(self.service))
        assert self.ends == [-signal.SIGABRT] * ends, self.process.tail()

    def again(self):
        assert self.process.stop() == 0, self.process.tail()
        self.process.start()

    def give_way(self):
        """To the sound program."""
        assert self.process.stop() == 0, self.process.tail()
        self.process.check_sanitizers()
        self.world.suite.start([self.service])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("poison"))
    try:
        for chain in world.nodes:
            world.mine(chain, 8)
            stack.wait_until(f"{chain} at its head", 120, lambda name=chain: world.level(name))
        yield world
    finally:
        statuses = world.stop()
    assert set(statuses.values()) == {0}


def one_letter(world, subscription, kind):
    def listed():
        found = world.letters(subscription)
        assert len(found) <= 1, found
        return found and found[0]
    letter = listed()
    if letter:
        assert (letter["chain"], letter["type"]) == ("dev", kind) and "ended" in letter["error"]
    return letter


def test_a_block_that_ends_the_reconciler_is_left_out_and_healed_by_a_replay(world):
    poison = world.watermark("dev") + 4
    # It comes before the block that it follows, so that it waits: what ends the process is not the message that was read last.
    world.suite.processes["normalizer"].stop()
    for chain in world.nodes:
        world.mine(chain, 8)
    stack.wait_until("the blocks are fetched", 60, lambda: poison + 4 in world.messages("raw", *RAW_BLOCKS))
    world.suite.processes["reconciler"].stop()
    world.suite.processes["normalizer"].start()
    stack.wait_until("the blocks wait", 60, lambda: {poison - 1, poison, poison + 4} <= set(world.messages("blocks", NORMALIZED_BLOCK)))
    world.lose(poison - 1)
    tended = world.instead("reconciler", crash_chain="dev", crash_at_block=poison)
    letter = tended.until("the letter", lambda: one_letter(world, "reconciler", "normalized_block"))
    tended.stays(1 + CRASHES)  # of the first one nobody had noted what it was at
    tended.until("the other chain at its head", lambda: world.level("second"))
    tended.until("the blocks before it are applied", lambda: world.watermark("dev") == poison - 1)
    tended.until("its gap", lambda: world.gaps() == [("dev", poison, poison)])

    # It is fetched again and again: neither an end nor a second letter.
    tended.until("it came again", lambda: tended.said("bus_poison_left_out") >= 1)
    world.mine("second", 3)
    tended.until("the other chain goes on", lambda: world.level("second"))
    left_out = tended.said("bus_poison_left_out")
    tended.again()
    tended.until("it came again after an orderly restart", lambda: tended.said("bus_poison_left_out") > left_out)
    tended.stays(1 + CRASHES)
    assert one_letter(world, "reconciler", "normalized_block")["id"] == letter["id"]

    # A replay is a new try, and ends it once more.
    world.replay("reconciler")
    tended.until("the replay ended it, and is a letter again",
                 lambda: len(tended.ends) == 2 + CRASHES and (found := one_letter(world, "reconciler", "normalized_block")) and found["id"] != letter["id"])
    tended.stays(2 + CRASHES)

    tended.give_way()
    world.replay("reconciler")
    stack.wait_until("the ledger at the head", 120, lambda: world.level("dev"))
    stack.wait_until("no letter", 60, lambda: world.letters("reconciler") == [])
    assert world.gaps() == []
    assert ledger_oracle.unsound(world.postgres) == {}
    node = world.nodes["dev"]
    assert world.suite.get(f"/v1/chains/dev/blocks/{poison}")[1]["hash"] == node.call("eth_getBlockByNumber", hex(poison), False)["hash"]


def test_a_command_that_ends_the_reconciler_is_left_out(world):
    tended = world.instead("reconciler", crash_at_question=1)
    account = world.nodes["dev"].call("eth_accounts")[1]
    world.order("chains/dev/reconcile", {"account": account, "asset": "native"})
    tended.until("the letter", lambda: one_letter(world, "reconciler", "command"))
    tended.stays(1 + CRASHES)
    for chain in world.nodes:
        world.mine(chain, 3)
        tended.until(f"{chain} goes on", lambda name=chain: world.level(name))

    tended.give_way()
    world.replay("reconciler")
    stack.wait_until("the command is obeyed", 60, lambda: world.letters("reconciler") == [])


def test_a_command_that_ends_the_fetcher_is_left_out(world):
    tended = world.instead("fetcher", crash_at_block=3)
    world.order("chains/dev/refetch", {"from_height": 3, "to_height": 3, "reason": "to see it end"})
    tended.until("the letter", lambda: one_letter(world, "fetcher", "command"))
    tended.stays(1 + CRASHES)
    for chain in world.nodes:
        world.mine(chain, 3)
        tended.until(f"{chain} goes on", lambda name=chain: world.level(name))

    tended.give_way()
    world.replay("fetcher")
    stack.wait_until("no letter", 60, lambda: world.letters("fetcher") == [])
    stack.wait_until("it is fetched again", 60, lambda: "from=3 to=3" in world.suite.processes["fetcher"].log.read_text())
