"""The bus between processes on real Redis servers, while everything is killed: producer, consumers, Redis itself; stopped and woken as zombies;
connections cut and left half open; a lagging replica made master; everything flushed; no memory left. Nothing may be missing, nothing have
its effect twice, nothing of a key out of order. WEIR_SIZE=full: 200 faults over a million events. The processes are tests/actors/bus_actor.c."""
import collections
import json
import mmap
import os
import pathlib
import random
import selectors
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest
import redis as redis_client

import stack

ROOT = pathlib.Path(__file__).resolve().parents[2]
FULL = os.environ.get("WEIR_SIZE") == "full"
FAULTS, EVENTS, PAUSE = (200, 500_000, 0.5) if FULL else (20, 30_000, 0.3)  # events of each of two flows
PATIENCE = 900 if FULL else 120
SEED = int(os.environ.get("BUS_SEED", random.randrange(1 << 30)))
ROLES = ["produce", "own-a", "own-a", "work-b", "work-b", "own-r", "own-r", "operate"]
COUNTERS = ("produced_a", "produced_b", "effects_a", "effects_b", "repeated_a", "repeated_b", "misplaced", "doubled", "gaps", "parked", "replayed",
            "takeovers", "allowed")


class Server:
    """A Redis on a TCP port of its own. Its data stays until it is wiped."""

    def __init__(self, folder):
        self.folder, self.port, self.child = folder, stack.free_port(), None
        folder.mkdir(parents=True)

    def start(self, master=None):
        extra = ["--replicaof", "127.0.0.1", str(master.port)] if master else []
        with open(self.folder / "log", "ab") as log:
            self.child = subprocess.Popen(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
                                           "--appendonly", "yes", "--appendfsync", "everysec", "--repl-diskless-sync", "yes",
                                           "--repl-diskless-sync-delay", "0", "--repl-timeout", "10", *extra], stdout=log, stderr=log)
        stack.wait_until("redis answers", 60, self.answers, 0.02)
        return self

    def client(self):
        return redis_client.Redis(port=self.port, socket_timeout=20)

    def answers(self):
        try:
            return self.client().ping()
        except redis_client.exceptions.ConnectionError:
            return False

    def send(self, number):
        self.child.send_signal(number)

    def kill(self):
        self.child.kill()
        self.child.wait()

    def wipe(self):
        subprocess.run(["rm", "-rf", str(self.folder / "appendonlydir"), str(self.folder / "dump.rdb")], check=True)


class Proxy:
    """What the actors connect to: passes bytes on to the master of the moment, or holds them back, or forgets that a connection was there."""

    def __init__(self):
        self.target, self.pairs, self.lock = None, {}, threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.closing = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.closing:
            for key, _ in self.selector.select(0.1):
                with self.lock:
                    if key.fileobj is self.listener:
                        self.accept()
                    elif key.fileobj in self.pairs:
                        self.move(key.fileobj)

    def accept(self):
        near, _ = self.listener.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self.target), timeout=2)
        except OSError:
            near.close()
            return
        for one, other in ((near, far), (far, near)):
            one.settimeout(5)
            self.pairs[one] = other
            self.selector.register(one, selectors.EVENT_READ)

    def move(self, one):
        try:
            data = one.recv(1 << 18)
            if data:
                self.pairs[one].sendall(data)
        except OSError:
            data = b""
        if not data:
            self.drop(one)

    def drop(self, one):
        other = self.pairs.pop(one, None)
        self.pairs.pop(other, None)
        for s in (one, other):
            if s:
                try:
                    self.selector.unregister(s)
                except (KeyError, ValueError):
                    pass
                s.close()

    def cut(self):
        with self.lock:
            for one in list(self.pairs):
                self.drop(one)

    def half_open(self, rng):
        """The server's side ends, the client is not told: it waits for answers that never come. Its socket is closed a little later."""
        with self.lock:
            victims = [one for one in self.pairs if rng.random() < 0.5]
            held = []
            for one in victims:
                if one in self.pairs:
                    other = self.pairs[one]
                    near, far = (one, other) if one.getsockname()[1] == self.port else (other, one)
                    for s in (near, far):
                        self.selector.unregister(s)
                        self.pairs.pop(s)
                    far.close()
                    held.append(near)
        threading.Timer(3, lambda: [s.close() for s in held]).start()

    def stop(self):
        self.closing = True
        self.thread.join()
        self.cut()
        self.listener.close()


class World:
    def __init__(self, folder):
        self.rng = random.Random(SEED)
        self.folder, self.proxy = folder, Proxy()
        self.master, self.replica = Server(folder / "one").start(), Server(folder / "two")
        self.replica.start(self.master)
        self.proxy.target = self.master.port
        self.state = folder / "state"
        size = 8 * (len(COUNTERS) + 64 + EVENTS + 1)
        self.state.write_bytes(bytes(size))
        self.file = open(self.state, "r+b")
        self.map = mmap.mmap(self.file.fileno(), size)
        self.allow(EVENTS // 10)
        self.names, self.actors, self.log = collections.Counter(), {}, open(folder / "actors.log", "ab")
        for slot, role in enumerate(ROLES):
            self.spawn(slot, role)

    def spawn(self, slot, role):
        self.names[slot] += 1
        self.actors[slot] = subprocess.Popen([ROOT_BUILD / "tests" / "actors" / "bus_actor", role, f"redis://127.0.0.1:{self.proxy.port}", self.state,
                                              str(EVENTS), f"{role}-{slot}-{self.names[slot]}"], stderr=self.log)

    def allow(self, events):
        """Production goes on as far as that: there is always something under way when a fault comes."""
        struct.pack_into("Q", self.map, 8 * COUNTERS.index("allowed"), events)

    def counters(self):
        return dict(zip(COUNTERS, struct.unpack_from(f"{len(COUNTERS)}Q", self.map, 0)))

    def replicated(self):
        try:
            info = self.replica.client().info("replication")
            return info["role"] == "slave" and info["master_link_status"] == "up"
        except redis_client.exceptions.RedisError:
            return False

    # -- faults: each leaves the world whole again ---------------------------------------------------------------------------------------

    def kill_producer(self):
        self.actors[0].kill()
        self.actors[0].wait()
        self.spawn(0, ROLES[0])

    def kill_consumer(self):
        slot = self.rng.randrange(1, len(ROLES))
        self.actors[slot].kill()
        self.actors[slot].wait()
        self.spawn(slot, ROLES[slot])

    def stop_actor(self):
        """Longer than its lease: it wakes as a zombie."""
        actor = self.actors[self.rng.randrange(len(ROLES))]
        actor.send_signal(signal.SIGSTOP)
        time.sleep(self.rng.choice([0.2, 1.3, 1.6]))
        actor.send_signal(signal.SIGCONT)

    def kill_redis(self):
        self.master.kill()
        self.proxy.cut()
        time.sleep(self.rng.random() * 0.2)
        self.master.start()

    def stop_redis(self):
        self.master.send(signal.SIGSTOP)
        time.sleep(self.rng.choice([0.2, 1.2]))
        self.master.send(signal.SIGCONT)

    def client_kill(self):
        for _ in range(5):
            self.master.client().client_kill_filter(_type="normal", skipme=True)
            time.sleep(0.02)

    def promote_lagging_replica(self):
        stack.wait_until("a replica in step", 60, self.replicated, 0.05)
        self.replica.send(signal.SIGSTOP)
        time.sleep(0.1 + self.rng.random() * 0.4)
        self.master.kill()
        self.replica.send(signal.SIGCONT)
        self.replica.client().replicaof("NO", "ONE")
        self.master, self.replica = self.replica, self.master
        self.proxy.target = self.master.port
        self.proxy.cut()
        self.replica.wipe()
        self.replica.start(self.master)

    def flushall(self):
        self.master.client().flushall()

    def memory_squeeze(self):
        client = self.master.client()
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 65536)
        time.sleep(0.5)
        client.config_set("maxmemory", 0)

    def half_open(self):
        self.proxy.half_open(self.rng)

    FAULT_NAMES = ("kill_producer", "kill_consumer", "kill_redis", "stop_actor", "stop_redis", "client_kill", "promote_lagging_replica", "flushall",
                   "memory_squeeze", "half_open")

    def stop(self):
        for actor in self.actors.values():
            actor.send_signal(signal.SIGCONT)
            actor.kill()
            actor.wait()
        self.proxy.stop()
        for server in (self.master, self.replica):
            server.send(signal.SIGCONT)
            server.kill()
        self.map.close()
        self.file.close()
        self.log.close()


ROOT_BUILD = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin")).resolve().parent


@pytest.fixture
def torture(tmp_path):
    if not (actor := ROOT_BUILD / "tests" / "actors" / "bus_actor").exists():
        subprocess.run(["make", "-s", "-C", ROOT, f"BUILD={ROOT_BUILD}", actor], check=True, timeout=600)
    world = World(tmp_path)
    yield world
    world.stop()


def test_nothing_is_missing_doubled_or_out_of_order(torture):
    world, done, begin = torture, collections.Counter(), time.monotonic()
    said = lambda: f"seed {SEED}: {dict(done)} {world.counters()}\n" + (world.folder / "actors.log").read_text()[-3000:]  # noqa: E731
    stack.wait_until("the first effects", 60, lambda: world.counters()["effects_a"] and world.counters()["effects_b"])
    names = []
    for number in range(FAULTS):
        if not names:  # each kind before any comes again
            names = world.rng.sample(World.FAULT_NAMES, len(World.FAULT_NAMES))
        name = names.pop()
        world.allow(EVENTS * (number + 2) // (FAULTS + 2))
        getattr(world, name)()
        done[name] += 1
        for slot, actor in world.actors.items():
            assert actor.poll() is None, f"{ROLES[slot]} ended by itself, status {actor.returncode}, after fault {number} ({name})\n{said()}"
        now = world.counters()
        assert now["misplaced"] == 0 and now["doubled"] == 0, f"after fault {number} ({name}): {said()}"
        time.sleep(PAUSE * world.rng.random())
    # No more faults: what is missing now is missing.
    world.allow(EVENTS)
    deadline, last = time.monotonic() + PATIENCE, None
    while world.counters()["effects_a"] < EVENTS or world.counters()["effects_b"] < EVENTS:
        if time.monotonic() > deadline:
            pytest.fail(f"missing: {said()}")
        if last != (last := world.counters()["effects_a"] + world.counters()["effects_b"]):
            deadline = time.monotonic() + PATIENCE  # it goes on
        time.sleep(0.05)
    end = world.counters()
    assert end["misplaced"] == 0 and end["doubled"] == 0 and end["effects_a"] == end["effects_b"] == EVENTS, said()
    assert sum(done.values()) == FAULTS and (FAULTS < 10 or len(done) == len(World.FAULT_NAMES))
    print(json.dumps({"seed": SEED, "seconds": round(time.monotonic() - begin), "events": 2 * EVENTS, "faults": dict(done), **end}))
