"""make bench-gateway: what a request, an idle connection and a push cost the gateway, against raw system calls and other servers in the same run.

Each server has one core, the load generator (tests/bench) the others, with Redis and PostgreSQL. The figure is the CPU of the server's process for
each operation, which a busy machine changes less than rates; wall-clock figures are said with the load. BENCH_GATEWAY: parts to run ("rest users
overload idle fanout delivery kafka"; "hundred" only where it is named). BENCH_ROUNDS (3), BENCH_SECONDS of each measurement (4). BENCH_PEERS=0:
without nginx, nchan, Node, Bun; those that are not installed are left out. BENCH_OUT: a file for the document, too.
"""
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import bench_report
from bench_servers import CLIENT_CORES, SERVER_CORE, Clients, Server, cpu_us, javascript, nginx, on_clients_cores, pin, resident_kb
from stack import ROOT, http_json, wait_until

sys.path.append(str(ROOT / "tests" / "service"))
from gateway_alone import Stores  # noqa: E402
from journal import APPLIED, SEEN, Journal, number, text  # noqa: E402
from kafka_mock import ACTOR, Kafka  # noqa: E402

BUILD = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin")).absolute().parent
PROGRAMS = BUILD / "tests" / "bench"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "4"))
BLOCK = "/v1/chains/dev/blocks/0x" + "11" * 32
BLOCKS = '{"id":1,"method":"subscribe","params":{"chain":"dev","topic":"blocks"}}'
ACCOUNTS = '{"id":1,"method":"subscribe","params":{"chain":"dev","topic":"entries","account":"0x%d"}}'
DEFLATE = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"
# The gateways that tests ask refuse nobody; these do as a gateway does that was told nothing about it.
SETTINGS = {"log": {"level": "warn"}, "gateway": {"shed_after": "20ms", "limit_exempt": "", "key_limit": 10000000, "address_limit": 10000000, "max_websockets": 19800,
                                                   "max_connections": 4096, "http_per_address": 0, "connections_per_address": 0, "connections_per_key": 0}}
BURST = 50
OFFERED, OVERLOAD_USERS = (0.5, 0.8, 1, 1.5, 2, 3, 5), 3000

say = bench_report.speaker("bench-gateway")


def middle(values):
    return round(statistics.median(values), 4)


def program(name, *arguments):
    return json.loads(subprocess.run([PROGRAMS / name, *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True, preexec_fn=on_clients_cores).stdout)


def floor(*arguments):
    """The least of a push: it writes on the servers' core and is read on the clients', as everybody else is."""
    command = [PROGRAMS / "ws_floor", *map(str, arguments), str(min(CLIENT_CORES))]
    facts = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}))
    return json.loads(facts.stdout)["per_message_us"]


class World:
    """Stores with one block, and a gateway that is warm, for one part. A second gateway is another instance. cores: of the stores."""

    def __init__(self, cores=None):
        self.cores = cores

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="weir-bench-gateway-", ignore_cleanup_errors=True)
        os.chmod(self.folder.name, 0o755)
        mine = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self.cores or mine) # which they inherit
        self.stores = Stores(self.folder.name)
        os.sched_setaffinity(0, mine)
        self.sequence = 1
        self.gateways = []
        return self

    def __exit__(self, *_):
        self.stores.stop()
        self.folder.cleanup()

    def gateway(self, settings=None):
        gateway = self.stores.gateway(SETTINGS | {"gateway": SETTINGS["gateway"] | (settings or {})})
        self.gateways.append(gateway)
        return Server(gateway.api.split("//")[1], gateway.process.pid, gateway.stop)

    def key(self):
        status, answer, _ = self.gateways[-1].operate("POST", "keys", {"name": "bench", "scopes": ["read", "stream"]})
        assert status in (200, 201), answer
        header = {"Authorization": f"Bearer {answer['key']}"}
        wait_until("the key", 10, lambda: http_json(self.gateways[-1].api + "/v1/chains", headers=header)[0] == 200)
        return answer["key"]

    def fill(self):
        """Blocks 1 to 300,000."""
        self.stores.sql("insert into weir.blocks (chain, height, branch, hash, parent_hash, timestamp, canonical, transaction_count, entry_count, gas_used, "
                        "endpoints) select c.id, n, 0, sha256(n::text::bytea), sha256((n - 1)::text::bytea), n, true, 0, 0, 0, '{}' from weir.chains c, "
                        "generate_series(1, 300000) n")
        self.stores.sql("update weir.chains set watermark_height = 300000, finalized_height = 300000, safe_height = 300000")
        self.stores.sql("analyze weir.blocks")

    def publish(self, count, rate, burst, accounts=0):
        if self.sequence == 1: # what the gateways take for the end of the journal, which they look at after a silence
            self.stores.sql("update weir.chains set journal_sequence = 1000000000")
        late = program("ledger_events", self.stores.redis.url, "dev", self.sequence, count, rate, burst, accounts)["late_ms"]
        self.sequence += count
        return late


def load(server, users, rate, seconds, path, *headers):
    before = cpu_us(server.pid)
    facts = program("http_load", server.address, users, rate, seconds, path, *headers)
    if not facts["good"] or facts["failed"]:
        say(f"{path}: {facts}")
    return facts | {"server_us": round((cpu_us(server.pid) - before) / max(facts["answered"], 1), 3)}


# ---- requests --------------------------------------------------------------------------------------------------------------------------------

def rest():
    """CPU for each request of 64 users. nginx answers with as many bytes as the block has, from its settings."""
    with World() as world, world.gateway() as gateway, tempfile.TemporaryDirectory() as folder:
        key = f"Authorization: Bearer {world.key()}"
        world.fill()
        answer = urllib.request.urlopen(f"http://{gateway.address}{BLOCK}").read().decode()
        etag = http_json(f"http://{gateway.address}{BLOCK}")[2].get("ETag", "")
        os.chmod(folder, 0o755)
        peers = {"nginx": nginx(pathlib.Path(folder), answer, 0), "node": javascript("node", "http", answer), "bun": javascript("bun", "http", answer)}
        subjects = {name: (peer, "/") for name, peer in peers.items() if peer}
        subjects |= {"cached": (gateway, BLOCK, key), "row": (gateway, "/v1/chains/dev/blocks/%d", key), "unchanged": (gateway, BLOCK, key, f"If-None-Match: {etag}"),
                     "nothing": (gateway, "/nothing", key)}
        costs = {name: [] for name in subjects}
        load(gateway, 64, 0, 1, BLOCK, key)
        for _ in range(ROUNDS):
            for name, subject in subjects.items():
                costs[name].append(program_cost(name, subject))
        for peer in filter(None, peers.values()):
            peer.stop()
    facts = {f"{name}_us": middle(values) for name, values in costs.items()} | {"all": costs, "answer_bytes": len(answer)}
    if "nginx" in costs:
        for name in ("cached", "row", "unchanged", "nothing"):
            facts[f"{name}_over_nginx"] = middle([a / b for a, b in zip(costs[name], costs["nginx"])])
    return facts


def program_cost(name, subject):
    server, path, *headers = subject
    before = cpu_us(server.pid)
    facts = program("http_load", server.address, 64, 0, SECONDS, path, *headers)
    if facts["given_up"] or facts["refused"] or (facts["failed"] and facts["status"] != 404):
        raise RuntimeError(f"{name}: {facts}")
    return round((cpu_us(server.pid) - before) / facts["answered"], 3)


def users():
    """500 users who together ask 2,000 times a second for a block."""
    with World() as world, world.gateway() as gateway:
        key = f"Authorization: Bearer {world.key()}"
        load(gateway, 64, 0, 1, BLOCK, key)
        rounds = [load(gateway, 500, 2000, SECONDS, BLOCK, key) for _ in range(ROUNDS)]
    return {"p99_ms": middle([r["p99_us"] / 1000 for r in rounds]), "p50_ms": middle([r["p50_us"] / 1000 for r in rounds]), "rounds": rounds}


def overload():
    """What is answered in time when more is asked than can be, and how long operators wait for a sign of life meanwhile. Reads that go to the ledger.

    The gateway and its stores have one core together, so that whoever asks has the other one alone and can ask for five times as much as can be answered."""
    with World({SERVER_CORE}) as world, world.gateway() as gateway:
        world.fill()
        key, path = f"Authorization: Bearer {world.key()}", "/v1/chains/dev/accounts/0x" + "1" * 40 + "/balances?height=%d" # each another: none is kept
        load(gateway, 64, 0, 1, path, key)
        share_evenly(world.stores.postgres.process.pid)
        rounds = [overload_round(world.gateways[0], gateway, path, key) for _ in range(ROUNDS)]
    curve = [{name: middle([r["curve"][i][name] for r in rounds]) for name in rounds[0]["curve"][i]} for i in range(len(OFFERED))]
    at3 = curve[OFFERED.index(3)]
    return {"peak": middle([r["peak"] for r in rounds]), "curve": curve, "goodput_at_3": at3["goodput"], "health_p99_ms": at3["health_p99_ms"],
            "answered_p99_ms": at3["p99_ms"], "rounds": rounds}


def share_evenly(postmaster):
    """Each of PostgreSQL's processes is a session, for each of which the kernel's autogroups have as large a share of the core as for the whole gateway. Eight that
    are nice by 9 have it together, as two containers would."""
    for pid in pathlib.Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
        with contextlib.suppress(OSError): # no autogroups here, or the process has just ended
            pathlib.Path(f"/proc/{pid}/autogroup").write_text("9")


def overload_round(process, gateway, path, key):
    """At best, and then the curve: the machine is not the same an hour later."""
    best = load(gateway, 64, 0, SECONDS, path, key)
    peak = best["good"] / best["seconds"]
    return {"peak": round(peak), "curve": [point(process, gateway, peak, times, path, key) for times in OFFERED]}


def point(process, gateway, peak, times, path, key):
    waits, done = [], threading.Event()

    def look():
        on_clients_cores()
        while not done.wait(0.02):
            began = time.monotonic()
            urllib.request.urlopen(process.ops + "/healthz", timeout=10).read()
            waits.append((time.monotonic() - began) * 1000)
    looker = threading.Thread(target=look)
    looker.start()
    facts = load(gateway, OVERLOAD_USERS, peak * times, max(SECONDS, 3), path, key)
    done.set()
    looker.join()
    waits.sort()
    asked = peak * times * facts["seconds"]
    return {"offered": times, "goodput": round(facts["good"] / facts["seconds"] / peak, 3), "refused": round(facts["refused"] / asked, 3),
            "asked_late": round((facts["late"] + facts["given_up"]) / asked, 3), "generator": round(facts["cpu_us"] / facts["seconds"] / 1e6, 2),
            "p99_ms": round(facts["p99_us"] / 1000, 1), "server_us": facts["server_us"], "health_p99_ms": round(waits[int(len(waits) * 0.99)], 2),
            "health_p50_ms": round(waits[len(waits) // 2], 2)}


# ---- the live end ------------------------------------------------------------------------------------------------------------------------------

def idle_of(server, path, count, message=None, extension=None):
    """Memory and CPU of connections on which nothing happens, for twice as long as pings are apart."""
    time.sleep(1)
    before = resident_kb(server.pid)
    with Clients(PROGRAMS / "ws_clients", server, path, count, message, extension) as clients:
        time.sleep(1)
        kb = resident_kb(server.pid) - before
        cpu, began = cpu_us(server.pid), time.monotonic()
        time.sleep(51)
        us = (cpu_us(server.pid) - cpu) / (time.monotonic() - began)
        assert clients.ask()["closed"] == 0
    return {"connections": count, "kb_each": round(kb / count, 3), "cpu_us_each_s": round(us / count, 3)}


def idle():
    facts = {}
    for name, arguments in {"weir": (19000,), "weir_subscribed": (10000, BLOCKS), "weir_compressed": (10000, BLOCKS, DEFLATE)}.items():
        with World() as world, world.gateway() as gateway:
            quiet = cpu_us(gateway.pid)
            time.sleep(5)
            quiet = (cpu_us(gateway.pid) - quiet) / 5
            facts[name] = idle_of(gateway, "/v1/ws", *arguments)
            facts[name]["cpu_us_each_s"] = round(facts[name]["cpu_us_each_s"] - quiet / facts[name]["connections"], 3)
            if len(arguments) > 1: # after pushes have gone out
                with Clients(PROGRAMS / "ws_clients", gateway, "/v1/ws", 2000, *arguments[1:]) as clients:
                    world.publish(200, 100, 1)
                    time.sleep(1)
                    facts[name]["pushed_frames"] = clients.ask()["frames"]
                    facts[name]["pushed_resident_kb"] = resident_kb(gateway.pid)
    facts["compression_kb_each"] = round(facts["weir_compressed"]["kb_each"] - facts["weir_subscribed"]["kb_each"], 3)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        for name, make, path in (("bun", lambda: javascript("bun", "ws", "400"), "/"), ("node_ws", lambda: javascript("node", "ws", "400"), "/"),
                                 ("nchan", lambda: nginx(pathlib.Path(folder), "", 400), "/sub")):
            server = make()
            if server and server.tell:
                with server:
                    facts[name] = idle_of(server, path, 10000)
    return facts


def fan(server, clients, send, count, messages):
    """CPU for each delivery; send(): the messages go out."""
    clients.ask()
    before = cpu_us(server.pid)
    send()
    deadline, got, reads, size = time.monotonic() + 30, 0, 0, 0
    while got < count * messages and time.monotonic() < deadline:
        time.sleep(0.2)
        facts = clients.ask()
        got, reads, size = got + facts["frames"], reads + facts["reads"], size + facts["bytes"]
    if got != count * messages:
        raise RuntimeError(f"{got} of {count * messages} messages arrived")
    return {"us": round((cpu_us(server.pid) - before) / got, 4), "bytes": round(size / got), "messages_a_read": round(got / reads, 1)}


def tell_slowly(server, times, n, pause):
    for _ in range(times):
        server.tell(n)
        time.sleep(pause)


def fanout():
    """One message to each of 1,000 subscribers, and bursts of 50; the least is a write by an epoll server that does nothing else."""
    count, facts = 1000, {}
    with World() as world, world.gateway() as gateway, Clients(PROGRAMS / "ws_clients", gateway, "/v1/ws", count, BLOCKS) as clients:
        world.publish(20, 20, 1)
        time.sleep(1)
        facts["single"], facts["floor"] = [], []
        for _ in range(ROUNDS): # in turn, so that a slow moment of the machine is one of both
            facts["single"].append(fan(gateway, clients, lambda: world.publish(100, 20, 1), count, 100))
            facts["floor"].append(floor(count, 100, facts["single"][0]["bytes"], 1))
        facts["burst"] = [fan(gateway, clients, lambda: world.publish(20 * BURST, 5 * BURST, BURST), count, 20 * BURST) for _ in range(ROUNDS)]
    size = facts["single"][0]["bytes"]
    facts["floor_burst"] = [floor(count, 20, size, BURST) for _ in range(ROUNDS)]
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        for name, make, path in (("bun", lambda: javascript("bun", "ws", str(size)), "/"), ("node_ws", lambda: javascript("node", "ws", str(size)), "/"),
                                 ("nchan", lambda: nginx(pathlib.Path(folder), "", size), "/sub")):
            server = make()
            if server and server.tell:
                with server, Clients(PROGRAMS / "ws_clients", server, path, count) as clients:
                    tell_slowly(server, 5, 1, 0.05)
                    time.sleep(1)
                    facts[name] = {"single": fan(server, clients, lambda s=server: tell_slowly(s, 100, 1, 0.05), count, 100)["us"]}
                    if name != "nchan": # one request for each message: nothing to coalesce
                        facts[name]["burst"] = fan(server, clients, lambda s=server: tell_slowly(s, 20, BURST, 0.2), count, 20 * BURST)["us"]
    single, burst = middle([f["us"] for f in facts["single"]]), middle([f["us"] for f in facts["burst"]])
    ratio = middle([s["us"] / f for s, f in zip(facts["single"], facts["floor"])])
    return facts | {"single_us": single, "burst_us": burst, "floor_us": middle(facts["floor"]), "single_over_floor": round(ratio, 3)}


def delivery():
    """From when an event is published to its frame: 10,000 clients, each for an account of its own, 1,000 events a second."""
    count, seconds = 10000, 10
    with World() as world, world.gateway() as gateway, Clients(PROGRAMS / "ws_clients", gateway, "/v1/ws", count, ACCOUNTS) as clients:
        world.publish(1000, 1000, 1, count)
        time.sleep(3)
        clients.ask()
        rounds = []
        for _ in range(ROUNDS):
            before = cpu_us(gateway.pid)
            late = world.publish(1000 * seconds, 1000, 1, count)
            time.sleep(1)
            rounds.append(clients.ask() | {"late_ms": late, "server_us": round((cpu_us(gateway.pid) - before) / 1000 / seconds, 2)})
    if any(r["frames"] != 1000 * seconds or r["closed"] for r in rounds):
        raise RuntimeError(f"not everything arrived: {rounds}")
    return {"p99_ms": middle([r["p99_us"] / 1000 for r in rounds]), "p50_ms": middle([r["p50_us"] / 1000 for r in rounds]),
            "us_each_event": middle([r["server_us"] for r in rounds]), "rounds": rounds}


def ledger_of_entries(stores, blocks, each):
    """Blocks of so many entries each, of 1,000 accounts, and their journal."""
    journal = Journal(stores)
    for height in range(1, blocks + 1):
        applied = journal.apply(height.to_bytes(32, "big"))
        journal.sequence -= 1
        applied[1] = journal._event(APPLIED, height, height.to_bytes(32, "big"), 0,
                                    text(2, (height - 1).to_bytes(32, "big") if height > 1 else b"\x11" * 32) + number(4, 0) + number(5, SEEN) + number(7, each) + number(13, 1))
        journal.write(applied)
    stores.sql("create table weir.entries_dev partition of weir.entries default")
    stores.sql("insert into weir.accounts (chain, address) select c.id, decode(lpad(to_hex(n), 40, '0'), 'hex') from weir.chains c, generate_series(1, 1000) n")
    stores.sql("insert into weir.assets (chain, standard, contract, first_height) select id, 1, '', 0 from weir.chains")
    stores.sql("insert into weir.entries (chain, height, branch, ordinal, tx_index, kind, asset, account, delta, balance, path)"
               " select c.id, h, 0, n, -1, 1, s.id, a.id, n + 1, 0, '' from weir.chains c, weir.assets s, generate_series(1, %s) h, generate_series(0, %s) n"
               " join weir.accounts a on a.id = (select min(id) from weir.accounts) + n %% 1000", blocks, each - 1)
    stores.sql("analyze weir.entries")


def kafka():
    """The whole ledger to Kafka (librdkafka's mock cluster, which has the other core, as PostgreSQL has), beside a bare producer with the same records."""
    blocks, each, topic, partitions = 100, 800, "weir.dev.ledger", 12
    cluster, rounds = Kafka(), []
    with World() as world, tempfile.TemporaryFile() as records:
        try:
            ledger_of_entries(world.stores, blocks, each)
            for name in (topic, "bare"):
                cluster.tell(f"topic {name} {partitions}")
            gateway = world.stores.gateway(SETTINGS | {"kafka": {"url": cluster.url}})
            pin(gateway.process.pid, {SERVER_CORE})

            def export():
                return gateway.operate("GET", "status")[1]["chains"][0].get("kafka")

            def sent(at_least=blocks * (each + 1)):
                status = export()
                return status and status["lag"] == 0 and status["records"] >= at_least and status["records"]
            so_far = wait_until("the ledger in Kafka", 120, sent, 0.01)
            subprocess.run([ACTOR, "read", cluster.hosts, topic, str(partitions), str(so_far)], check=True, stdout=records)
            for _ in range(ROUNDS):
                records.seek(0)
                bare = json.loads(subprocess.run([PROGRAMS / "kafka_produce", cluster.hosts, "bare"], check=True, stdin=records, stdout=subprocess.PIPE,
                                                 preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE})).stdout)
                until = so_far + blocks * (each + 1)
                gateway.operate("POST", "chains/dev/kafka/restart", {"why": "bench"})
                wait_until("the gateway knows of it", 60, lambda: export()["lag"] > 0, 0.005)  # when it renews its lease next
                began, before = time.monotonic(), cpu_us(gateway.process.pid)
                so_far = wait_until("the ledger in Kafka again", 120, lambda until=until: sent(until), 0.01)
                seconds, cpu = time.monotonic() - began, (cpu_us(gateway.process.pid) - before) / bare["records"]
                rounds.append({"a_second": bare["records"] / seconds, "bare_a_second": bare["records"] / bare["seconds"], "us": cpu,
                               "bare_us": bare["cpu_us"] / bare["records"], "bytes": bare["bytes"] / bare["records"]})
        finally:
            cluster.close()
    facts = {name: middle([r[name] for r in rounds]) for name in rounds[0]}
    return facts | {"over_bare": middle([r["a_second"] / r["bare_a_second"] for r in rounds]), "us_over_bare": middle([r["us"] / r["bare_us"] for r in rounds]),
                    "rounds": rounds}


def hundred():
    """100,000 connections over six gateways, and one event to all of them."""
    each, facts = 16700, {}
    with World() as world:
        gateways = [world.gateway() for _ in range(6)]
        before = [resident_kb(g.pid) for g in gateways]
        groups = [Clients(PROGRAMS / "ws_clients", g, "/v1/ws", each, BLOCKS) for g in gateways]
        time.sleep(2)
        facts = {"connections": 6 * each, "kb_each": round(sum(resident_kb(g.pid) - b for g, b in zip(gateways, before)) / 6 / each, 3)}
        world.publish(20, 1, 1)
        time.sleep(5)
        answers = [g.ask() for g in groups]
        facts |= {"frames": sum(a["frames"] for a in answers), "p99_ms": max(a["p99_us"] for a in answers) / 1000, "p50_ms": middle([a["p50_us"] / 1000 for a in answers])}
        for group in groups:
            group.__exit__()
    return facts | {"lost": facts["connections"] * 20 - facts["frames"]}


TARGETS = [
    ("rest", "cached_over_nginx", "GET of a block, key + scopes + limit, CPU / nginx's static answer", "<=", 2),
    ("rest", "row_over_nginx", "read of one row of the ledger, CPU / nginx's static answer", "<=", 5),
    ("rest", "unchanged_over_nginx", "the same block, If-None-Match: 304, CPU / nginx's static answer", None, None),
    ("rest", "nothing_over_nginx", "a path that there is not, CPU / nginx's static answer", None, None),
    ("rest", "cached_us", "GET of a block, CPU, us", None, None),
    ("rest", "row_us", "read of one row, CPU, us", None, None),
    ("rest", "nginx_us", "nginx, CPU, us", None, None),
    ("rest", "bun_us", "Bun, CPU, us", None, None),
    ("rest", "node_us", "Node, CPU, us", None, None),
    ("users", "p99_ms", "500 users, 2,000 requests a second, P99, ms", "<=", 5),
    ("overload", "peak", "reads of the ledger at best, a second", None, None),
    ("overload", "goodput_at_3", "answered in time at 3 times as many / at best", ">=", 0.9),
    ("overload", "health_p99_ms", "health meanwhile, P99, ms", "<=", 10),
    ("overload", "answered_p99_ms", "the answers meanwhile, P99, ms", None, None),
    ("idle", "weir.connections", "WebSockets in one process", ">=", 19000),
    ("idle", "weir.kb_each", "idle WebSocket, KB", "<=", 1),
    ("idle", "weir.cpu_us_each_s", "idle WebSocket, CPU, us a second", "<=", 0.5),
    ("idle", "weir_subscribed.kb_each", "idle WebSocket with a subscription, KB", None, None),
    ("idle", "compression_kb_each", "compression agreed on, KB more", "<=", 0.05),
    ("idle", "bun.kb_each", "idle WebSocket of Bun, KB", None, None),
    ("idle", "node_ws.kb_each", "idle WebSocket of ws, KB", None, None),
    ("idle", "nchan.kb_each", "idle WebSocket of nchan, KB", None, None),
    ("fanout", "single_over_floor", "a push to 1,000 clients, CPU each / raw write", "<=", 1.1),
    ("fanout", "single_us", "a push to 1,000 clients, CPU each, us", None, None),
    ("fanout", "burst_us", "50 at a time, CPU each, us", "<=", 0.6),
    ("fanout", "bun.single", "Bun, one at a time, us", None, None),
    ("fanout", "bun.burst", "Bun, 50 at a time, us", None, None),
    ("fanout", "node_ws.single", "ws, one at a time, us", None, None),
    ("fanout", "nchan.single", "nchan, one at a time, us", None, None),
    ("delivery", "p99_ms", "published to frame, 10,000 clients, 1,000 events/s, P99, ms", "<=", 10),
    ("delivery", "p50_ms", "the same, P50, ms", None, None),
    ("delivery", "us_each_event", "the same, CPU for each event, us", None, None),
    ("kafka", "over_bare", "the ledger to Kafka, records a second / a bare producer with the same records", None, None),
    ("kafka", "us_over_bare", "the same, CPU of the gateway / the bare producer's", None, None),
    ("kafka", "a_second", "records a second to Kafka", None, None),
    ("kafka", "bare_a_second", "the bare producer's, a second", None, None),
    ("kafka", "us", "a record to Kafka, CPU of the gateway, us", None, None),
    ("kafka", "bare_us", "the bare producer's, CPU, us", None, None),
    ("hundred", "connections", "WebSockets over six processes", ">=", 100000),
    ("hundred", "kb_each", "the same, KB each", None, None),
    ("hundred", "lost", "the same, of 20 events to each: lost", "<=", 0),
]


def main():
    parts = {f.__name__: f for f in (rest, users, overload, idle, fanout, delivery, kafka, hundred)}
    wanted = os.environ.get("BENCH_GATEWAY", " ".join(name for name in parts if name != "hundred")).split()
    bench_report.run("bench-gateway", parts, wanted, TARGETS, {"rounds": ROUNDS})


if __name__ == "__main__":
    main()
