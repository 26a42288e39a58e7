"""make bench-bus: the bus' speed against raw commands, redis-benchmark and peer queues. Words on stderr; one JSON document on stdout.

Each measurement has a private Redis of its own (append-only file, a unix socket), and what is compared takes turns on the same machine in
BENCH_ROUNDS rounds (3); a ratio is that of one round, and each figure the median of its rounds, all of which are in the document. Beside the
rates stands the CPU that Redis took for each event, which a busy machine changes less.

BENCH_BUS: parts to run ("publish fsync bulk ordered shared latency letters handlers queues"; "soak" only where it is named: BENCH_SOAK seconds, 600).
BENCH_EVENTS: for each measurement (300000), BENCH_LETTERS: dead letters (1000000). BENCH_OUT: a file for the document, too. BENCH_PEERS=0: without BullMQ and redis-smq (their npm packages are installed on first use).
"""
import csv
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

import bench_report
from stack import ROOT, Redis

BUILD = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin")).absolute().parent
BUS = BUILD / "tests" / "bench" / "bus"
LETTERS = BUILD / "tests" / "bench" / "bus_dead_letter"
HANDLERS = BUILD / "tests" / "bench" / "bus_handler"
QUEUES = ROOT / "tests" / "bench" / "queues"
EVENTS = int(os.environ.get("BENCH_EVENTS", "300000"))
MANY_LETTERS = int(os.environ.get("BENCH_LETTERS", "1000000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
FRAME = 200 + 4 + 68  # body, key, header and checksum: what is stored for one event
KEY = "weir:{bench}:events:normal"
CALL = 8192
READ = 512


say = bench_report.speaker("bench-bus")


class Server:
    """A Redis for one measurement; its data is gone afterwards."""

    def __init__(self, fsync="everysec"):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-bench-bus-"))
        self.redis = Redis(self.folder)
        self.fsync = fsync

    def __enter__(self):
        self.redis.start()
        self.redis.command("CONFIG", "SET", "auto-aof-rewrite-percentage", "0", "appendfsync", self.fsync)
        return self

    def __exit__(self, *_):
        self.redis.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.redis.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def file_size(self):
        return int(re.search(r"aof_current_size:(\d+)", self.redis.command("INFO", "persistence")).group(1))

    def bus(self, part, events=EVENTS, most=READ):
        """One part of tests/bench/bus.c: what it says, and Redis' CPU for each event in microseconds."""
        before = self.cpu()
        facts = json.loads(subprocess.run([BUS, part, self.redis.url, str(events), str(most)], check=True, stdout=subprocess.PIPE, text=True).stdout)
        return {**facts, "redis_us": (self.cpu() - before) / events * 1e6}

    def redis_benchmark(self, pipeline):
        before = self.cpu()
        out = subprocess.run(["redis-benchmark", "-s", str(self.redis.socket), "--csv", "-n", str(EVENTS), "-P", str(pipeline), "-c", "8", "XADD", KEY,
                              "*", "d", FRAME * "x"], check=True, stdout=subprocess.PIPE, text=True).stdout
        rate = float(list(csv.reader(out.splitlines()))[-1][1])
        return {"events_per_second": rate, "pipeline": pipeline, "redis_us": (self.cpu() - before) / EVENTS * 1e6}


def one(fsync, measure):
    with Server(fsync) as server:
        return measure(server)


def middle(values):
    return round(statistics.median(values), 4)


def compare(subject, peer):
    """Both in turns. Medians of the rates and of each round's ratios."""
    rounds = []
    for i in range(ROUNDS):
        pair = {}
        for name, measure in ((("subject", subject), ("peer", peer)) if i % 2 else (("peer", peer), ("subject", subject))):
            pair[name] = measure()
        rounds.append(pair)
    rates = {who: [round(r[who]["events_per_second"]) for r in rounds] for who in ("subject", "peer")}
    cpu = {who: [round(r[who]["redis_us"], 3) for r in rounds] for who in ("subject", "peer")}
    return {"events_per_second": middle(rates["subject"]), "peer_events_per_second": middle(rates["peer"]),
            "ratio": middle([a / b for a, b in zip(rates["subject"], rates["peer"])]), "redis_us": middle(cpu["subject"]), "peer_redis_us": middle(cpu["peer"]),
            "rates": rates, "redis_us_all": cpu}


def publish():
    pipelines = {p: one("everysec", lambda s, p=p: s.redis_benchmark(p)) for p in (16, 64, 256)}
    best = max(pipelines, key=lambda p: pipelines[p]["events_per_second"])
    facts = compare(lambda: one("everysec", lambda s: s.bus("publish", most=CALL)), lambda: one("everysec", lambda s: s.redis_benchmark(best)))
    return {**facts, "pipeline": best}


def fsync():
    rounds = [one("always", lambda s: s.bus("publish", most=CALL)) for _ in range(ROUNDS)]
    rates = [round(r["events_per_second"]) for r in rounds]
    return {"events_per_second": middle(rates), "rates": rates}


def bulk():
    facts = {}
    for pack in (64, 256):
        rounds = [one("everysec", lambda s, pack=pack: s.bus("bulk", EVENTS * 8, pack)) for _ in range(ROUNDS)]
        rates = [round(r["events_per_second"]) for r in rounds]
        facts[f"pack_{pack}"] = {"events_per_second": middle(rates), "rates": rates, "redis_us": middle([r["redis_us"] for r in rounds])}
    return {"events_per_second": facts["pack_256"]["events_per_second"], **facts}


def ordered():
    """Fill, then read and commit; the growth of the file is what one more subscription costs."""

    def measure(server):
        server.bus("publish", most=CALL)
        size = server.file_size()
        facts = server.bus("consume", most=1024)
        return {**facts, "bytes": (server.file_size() - size) / EVENTS}

    rounds = [one("everysec", measure) for _ in range(ROUNDS)]
    rates = [round(r["events_per_second"]) for r in rounds]
    return {"events_per_second": middle(rates), "rates": rates, "redis_us": middle([r["redis_us"] for r in rounds]),
            "owner_cpu_us": middle([r["own_cpu_s"] / EVENTS * 1e6 for r in rounds]), "bytes_per_event": middle([r["bytes"] for r in rounds])}


def shared():
    def measure(part):
        def fill_and_run(server):
            server.bus("publish", most=CALL)
            return server.bus(part)
        return one("everysec", fill_and_run)

    return compare(lambda: measure("work"), lambda: measure("group"))


def latency():
    rounds = [one("everysec", lambda s: s.bus("latency", 50000, 6)) for _ in range(ROUNDS)]
    return {**{name: middle([r[name] / 1000 for r in rounds]) for name in ("p50_us", "p99_us", "p999_us", "max_us")},
            "rounds": [{k: v for k, v in r.items() if k.endswith("_us") and k != "redis_us"} for r in rounds]}


def queues():
    if os.environ.get("BENCH_PEERS") == "0":
        return {}
    if not (QUEUES / "node_modules").exists():
        say("installing the peers from npm (development only)")
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=QUEUES, check=True, stdout=sys.stderr)

    def peer(name):
        def run(server):
            before, events = server.cpu(), max(EVENTS // 15, 2000)
            out = subprocess.run(["node", QUEUES / "peer.mjs", name, str(server.redis.socket), str(events)], check=True, stdout=subprocess.PIPE,
                                 text=True, timeout=300).stdout
            return {**json.loads(out), "redis_us": (server.cpu() - before) / events * 1e6}
        return run

    return {name: compare(lambda: one("everysec", lambda s: s.bus("both")), lambda name=name: one("everysec", peer(name))) for name in ("bullmq", "redis-smq")}


# part, path of the value, what it is, "at most" or "at least", target
TARGETS = [
    ("publish", "ratio", "publishing / redis-benchmark's XADD of the same size", ">=", 0.85),
    ("publish", "events_per_second", "published a second, everysec", None, None),
    ("fsync", "events_per_second", "published a second, one fsync for each batch before its answer", ">=", 150000),
    ("bulk", "events_per_second", "bulk topic, publisher to owner, events a second", ">=", 1000000),
    ("ordered", "events_per_second", "read and committed a second by one owner", ">=", 500000),
    ("ordered", "bytes_per_event", "file growth for one more ordered subscription, bytes an event", "<=", 1),
    ("shared", "ratio", "shared lane / XREADGROUP + XACK", ">=", 0.9),
    ("latency", "p50_us", "end to end at 50,000/s, P50, ms", "<=", 1),
    ("latency", "p99_us", "the same, P99, ms", "<=", 5),
    ("latency", "p999_us", "the same, P99.9, ms", "<=", 15),
    ("letters", "list.slowest_ms", "dead letters, slowest page of 100 by any filter, ms", "<=", 100),
    ("letters", "replay.replayed_per_second", "dead letters replayed by a job, shared lane", ">=", 10000),
    ("letters", "ordered.replayed_per_second", "the same, ordered lane, one owner", ">=", 10000),
    ("letters", "fill.parked_per_second", "messages parked as dead letters", None, None),
    ("handlers", "breaker.calls_per_second", "calls of a closed breaker a second", ">=", 10000000),
    ("handlers", "serialise.written_per_second", "envelopes and frames written a second, one core", ">=", 1000000),
    ("handlers", "serialise.read_per_second", "the same, read and checked", ">=", 1000000),
    ("handlers", "breaker_share", "a breaker's share of what an event costs in a subscription", "<=", 0.01),
    ("handlers", "subscription.events_per_second", "events a second through an ordered subscription, empty handler", ">=", 500000),
    ("handlers", "handover.p99_ms", "planned hand-over, P99, ms", "<=", 50),
    ("handlers", "takeover.worst_ms", "take-over after a crash, worst, ms", "<=", 6000),
    ("handlers", "held.resident_mb", "memory of a reader for which 1 M events wait, MB", "<=", 100),
    ("soak", "growth.resident_mb", "soak, resident memory: second half / first", "<=", 1.1),
    ("soak", "growth.descriptors", "the same, descriptors", "<=", 1),
    ("soak", "growth.stream_length", "the same, longest stream", "<=", 1.5),
    ("soak", "growth.redis_mb", "the same, memory of Redis", "<=", 1.5),
    ("soak", "p99_us", "end to end during the soak, P99, us", None, None),
    ("queues", "bullmq.ratio", "published and consumed, shared lane / BullMQ", ">=", 5),
    ("queues", "redis-smq.ratio", "published and consumed, shared lane / redis-smq", ">=", 5),
]


def letters():
    """One Redis with very many dead letters: they are parked, found by every kind of filter, and a share of them is replayed."""
    def measure(server):
        def run(part, *numbers):
            before = server.cpu()
            facts = json.loads(subprocess.run([LETTERS, part, server.redis.url, *map(str, numbers)], check=True, stdout=subprocess.PIPE, text=True).stdout)
            return {**facts, "redis_us": round((server.cpu() - before) / numbers[0] * 1e6, 3)}
        some = min(MANY_LETTERS, 200000)
        return {"fill": run("fill", MANY_LETTERS), "list": run("list", 100), "replay": run("replay", some),
                "ordered_fill": run("ordered_fill", some // 4, 1000), "ordered": run("ordered", some // 4)}
    return one("everysec", measure)


def handlers():
    """What a subscription adds to its lane, and how long nobody owns it."""
    def run(part, *numbers):
        def measure(server):
            return json.loads(subprocess.run([HANDLERS, part, server.redis.url, *map(str, numbers)], check=True, stdout=subprocess.PIPE, text=True).stdout)
        return one("everysec", measure)
    facts = {"breaker": run("breaker"), "serialise": run("serialise"), "subscription": run("subscription", EVENTS * 2), "handover": run("handover", 200), "takeover": run("takeover", 5),
             "held": run("held", 1000000)}
    facts["breaker_share"] = facts["breaker"]["ns"] * facts["subscription"]["events_per_second"] / 1e9
    return facts


def soak():
    """50,000 events a second for minutes: does anything grow? Samples every five seconds; the second half against the first, warm-up left out."""
    seconds = int(os.environ.get("BENCH_SOAK", "600"))

    def sample(server, pid):
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        info = server.redis.command("INFO", "memory")
        return {"resident_mb": int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024, "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
                "stream_length": int(server.redis.command("XLEN", KEY).strip(":\r\n")),
                "redis_mb": int(re.search(r"used_memory:(\d+)", info).group(1)) / 2**20}

    def measure(server):
        server.redis.command("CONFIG", "SET", "auto-aof-rewrite-percentage", "100")
        process = subprocess.Popen([BUS, "soak", server.redis.url, "50000", str(seconds)], stdout=subprocess.PIPE, text=True)
        samples = []
        while process.poll() is None:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                samples.append(sample(server, process.pid))
        facts = json.loads(process.stdout.read())
        warm = samples[len(samples) // 10:]
        first, second = warm[:len(warm) // 2], warm[len(warm) // 2:]
        growth = {name: round(max(s[name] for s in second) / max(s[name] for s in first), 3) for name in first[0]}
        return {**facts, "seconds": seconds, "samples": samples, "growth": growth, "largest": {n: max(s[n] for s in warm) for n in first[0]}}

    return one("everysec", measure)


def main():
    parts = {f.__name__: f for f in (publish, fsync, bulk, ordered, shared, latency, letters, handlers, queues, soak)}
    wanted = os.environ.get("BENCH_BUS", " ".join(name for name in parts if name != "soak")).split()
    bench_report.run("bench-bus", parts, wanted, TARGETS, {"events": EVENTS, "frame_bytes": FRAME})


if __name__ == "__main__":
    main()
