"""Speed, always against a limit or a peer measured in the same run. Prints what it does to stderr and one JSON object to stdout.

BENCH: parts to run ("normalize ledger backfill latency"). BENCH_PEERS=0 leaves Ponder and Subsquid out (their npm packages are
installed on first use, for this only). BENCH_BLOCKS: length of the chain for backfill (2000). BENCH_SECONDS: length of latency (30).
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from stack import CHAIN_LAB, ROOT, Postgres, Process, Redis, Suite, anvil, dev_chain, http_json, wait_until

PEERS = ROOT / "tests" / "bench" / "peers"
BUILD = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin")).parent
TICK = os.sysconf("SC_CLK_TCK")


def say(*words):
    print("bench:", *words, file=sys.stderr, flush=True)


def tree(pid):
    """A process and all its descendants, by /proc."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parent = int(pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(entry))
            except (OSError, IndexError):
                pass
    found, queue = [], [pid]
    while queue:
        found.append(queue.pop())
        queue += children.get(found[-1], [])
    return found


class Meter(threading.Thread):
    """CPU seconds and peak resident memory of process trees, sampled each 50 ms (what ends between two samples is missed)."""

    def __init__(self, **roots):
        super().__init__(daemon=True)
        self.roots, self.cpu, self.peak, self.done, self.base = roots, {}, {}, threading.Event(), {}
        for name, pid in roots.items():
            self._sample(name, pid)
        self.base = {name: dict(pids) for name, pids in self.cpu.items()}

    def _sample(self, name, root):
        total = 0
        for pid in tree(root):
            try:
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                self.cpu.setdefault(name, {})[pid] = (int(fields[11]) + int(fields[12])) / TICK
                total += int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
            except (OSError, IndexError):
                pass
        self.peak[name] = max(self.peak.get(name, 0), total)

    def run(self):
        while not self.done.wait(0.05):
            for name, pid in self.roots.items():
                self._sample(name, pid)

    def stop(self):
        self.done.set()
        self.join()
        for name, pid in self.roots.items():
            self._sample(name, pid)
        cpu = {name: round(sum(seconds - self.base.get(name, {}).get(pid, 0) for pid, seconds in pids.items()), 2)
               for name, pids in self.cpu.items()}
        return cpu, {name: round(peak / 1e6, 1) for name, peak in self.peak.items()}


def program(name):
    path = BUILD / "tests" / "bench" / name
    if not path.exists():
        return {"skipped": f"{path} was not built"}
    out = subprocess.run([path], capture_output=True, text=True, check=False, cwd=ROOT)
    for line in reversed(out.stdout.splitlines()):
        if line.startswith("{"):
            return json.loads(line)
    return {"failed": (out.stderr or out.stdout)[-500:]}


def fresh_database(postgres, name):
    subprocess.run([postgres.bin / "dropdb", "--if-exists", "-h", str(postgres.sockets), "-U", "weir", name], check=True, cwd="/",
                   stderr=subprocess.DEVNULL)
    subprocess.run([postgres.bin / "createdb", "-h", str(postgres.sockets), "-U", "weir", name], check=True, cwd="/")
    return f"host={postgres.sockets} user=weir dbname={name}", f"postgresql://weir@localhost/{name}?host={postgres.sockets}"


def query(postgres, conninfo, sql):
    out = subprocess.run([postgres.bin / "psql", "-XAtq", "-d", conninfo, "-c", sql], capture_output=True, text=True, check=False, cwd="/")
    return out.stdout.strip()


def balances(node, token, accounts):
    """What the chain says: the answer that every indexer must have."""
    calls = [{"jsonrpc": "2.0", "id": i, "method": "eth_call",
              "params": [{"to": token, "data": "0x70a08231" + a[2:].lower().rjust(64, "0")}, "latest"]} for i, a in enumerate(accounts)]
    answers = {}
    for at in range(0, len(calls), 500):
        _, body, _ = http_json(node.rpc, "POST", calls[at:at + 500], timeout=120)
        answers.update({accounts[item["id"]].lower(): int(item["result"], 16) for item in body})
    return answers


def timed_weir(folder, redis, postgres, node, height):
    conninfo, _ = fresh_database(postgres, "weir")
    redis.command("FLUSHALL")
    suite = Suite(folder / "suite", redis.url, conninfo, [dev_chain(node, chain_id=1)])
    started = time.monotonic()
    suite.start(("reconciler", "normalizer", "fetcher"), wait=0)
    meter = Meter(node=node.facts["pid"], redis=redis.process.pid, postgres=postgres.process.pid,
                  **{name: process.pid for name, process in suite.processes.items()})
    meter.base = {name: meter.base[name] for name in ("node", "redis", "postgres")}
    meter.start()
    wait_until("weir at the head", 300, lambda: query(postgres, conninfo, "select watermark_height from weir.chains") == str(height), 0.01)
    wall = time.monotonic() - started
    cpu, peak = meter.stop()
    suite.stop()
    facts = {"wall_s": round(wall, 2), "cpu_s": cpu, "peak_mb": peak, "entries": int(query(postgres, conninfo, "select count(*) from weir.entries"))}
    own = ("fetcher", "normalizer", "reconciler")
    facts["own_cpu_s"] = round(sum(cpu[name] for name in own) + cpu["redis"], 2)
    facts["own_peak_mb"] = round(sum(peak[name] for name in own), 1)
    return facts, conninfo


def timed_peer(name, command, cwd, environment, node, postgres, finished):
    process = Process(name, command, pathlib.Path(tempfile.gettempdir()) / f"weir-bench-{name}.log", env=environment, cwd=cwd)
    started = time.monotonic()
    process.start()
    meter = Meter(node=node.facts["pid"], postgres=postgres.process.pid, own=process.pid)
    meter.base.pop("own", None)
    meter.start()
    try:
        wait_until(f"{name} at the head (log {process.log})", 300, finished, 0.02)
        wall = time.monotonic() - started
    finally:
        cpu, peak = meter.stop()
        process.stop(10)
    return {"wall_s": round(wall, 2), "own_cpu_s": cpu["own"], "cpu_s": cpu, "own_peak_mb": peak["own"]}


def download(node, height):
    """The same answers, thrown away: what no indexer can beat. curl, eight connections, both calls a block."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-dl-"))
    config = folder / "config"
    with open(config, "w", encoding="ascii") as out:
        for h in range(height + 1):
            for method, params in (("eth_getBlockByNumber", f'[\\"{hex(h)}\\",true]'), ("eth_getBlockReceipts", f'[\\"{hex(h)}\\"]')):
                out.write(f'next\nurl = "{node.rpc}"\nheader = "Content-Type: application/json"\noutput = "/dev/null"\n'
                          f'data = "{{\\"jsonrpc\\":\\"2.0\\",\\"id\\":1,\\"method\\":\\"{method}\\",\\"params\\":{params}}}"\n')
    started = time.monotonic()
    subprocess.run(["curl", "-s", "--parallel", "--parallel-max", "8", "-K", config], check=True)
    wall = time.monotonic() - started
    shutil.rmtree(folder)
    return round(wall, 2)


def bench_backfill(folder):
    blocks = int(os.environ.get("BENCH_BLOCKS", 2000))
    redis, postgres = Redis(folder / "redis").start(), Postgres(folder / "postgres", ["shared_buffers=1GB", "max_wal_size=8GB"]).start()
    node = anvil(folder / "anvil.log", "--chain-id", "1", "--timestamp", "1700000000")
    try:
        say(f"making {blocks} blocks of 50 token transfers")
        subprocess.run(["node", CHAIN_LAB / "workload.mjs", "--rpc", node.rpc, "--bulk", "--blocks", str(blocks), "--transfers", "50", "--clock",
                        "seeded", "--out", folder / "journal.json"], check=True, stderr=subprocess.DEVNULL)
        journal = json.loads((folder / "journal.json").read_text())
        token, height = journal["tokens"][0]["address"].lower(), node.height()
        accounts = [a if isinstance(a, str) else a["address"] for a in journal["accounts"]]
        truth = balances(node, token, accounts)
        facts = {"blocks": height + 1, "download_s": download(node, height)}
        say("weir")
        weir, conninfo = timed_weir(folder, redis, postgres, node, height)
        wrong = 0
        for line in query(postgres, conninfo, "select '0x' || encode(c.address, 'hex'), b.amount from weir.balances b join weir.accounts c on "
                                              "c.id = b.account join weir.assets s on s.id = b.asset where s.standard = 2").splitlines():
            account, amount = line.split("|")
            wrong += truth.get(account, int(amount)) != int(amount)
        weir["correct"] = wrong == 0
        facts["weir"] = weir
        if os.environ.get("BENCH_PEERS", "1") != "0":
            facts.update(bench_peers(folder, postgres, node, token, height))
        facts["ratios"] = ratios(facts)
        return facts
    finally:
        node.stop()
        postgres.stop()
        redis.stop()


def bench_peers(folder, postgres, node, token, height):
    if not (PEERS / "node_modules").exists():
        say("installing the peers from npm (development only)")
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=PEERS, check=True)
    facts = {}
    expected = int(http_json(node.rpc, "POST", {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []})[1]["result"], 16)
    say("Ponder with its limiter lifted")
    work = folder / "ponder"
    shutil.copytree(PEERS, work / "peers", symlinks=True)
    for path in (work / "peers" / "node_modules" / "ponder").rglob("*.js"):
        text = path.read_text(errors="replace")
        if "INITIAL_MAX_RPS = 20" in text:
            path.write_text(text.replace("INITIAL_MAX_RPS = 20", "INITIAL_MAX_RPS = 100000").replace("MAX_RPS = 500", "MAX_RPS = 100000"))
    conninfo, url = fresh_database(postgres, "ponder")
    environment = {"DATABASE_URL": url, "RPC_URL": node.rpc, "TOKEN": token, "PONDER_TELEMETRY_DISABLED": "true", "CI": "true"}
    logs = lambda: query(postgres, conninfo, "select count(*) from public.transfer")
    total = query_transfers(node, token)
    try:
        facts["ponder"] = timed_peer("ponder", ["node", work / "peers" / "node_modules" / "ponder" / "dist" / "esm" / "bin" / "ponder.js", "start",
                                                "--schema", "public", "--root", work / "peers" / "ponder", "--port", "0"],
                                     work / "peers" / "ponder", environment, node, postgres, lambda: logs() == str(total))
    except TimeoutError as error:
        facts["ponder"] = {"failed": str(error)}
    say("Subsquid")
    conninfo, url = fresh_database(postgres, "subsquid")
    query(postgres, conninfo, "create table transfer (id text primary key, height int, sender text, recipient text, value numeric); "
                              "create table balance (id text primary key, amount numeric)")
    environment = {"DB_URL": url, "RPC_URL": node.rpc, "TOKEN": token, "TO": str(expected), "NODE_PATH": str(PEERS / "node_modules")}
    try:
        facts["subsquid"] = timed_peer("subsquid", ["node", "index.cjs"], PEERS / "subsquid", environment, node, postgres,
                                       lambda: query(postgres, conninfo, "select count(*) from transfer") == str(total))
    except TimeoutError as error:
        facts["subsquid"] = {"failed": str(error)}
    return facts


def query_transfers(node, token):
    logs = node.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest", "address": token,
                                     "topics": ["0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"]})
    return len(logs)


def ratios(facts):
    weir, out = facts["weir"], {"weir_to_download": round(facts["weir"]["wall_s"] / facts["download_s"], 2)}
    for peer in ("ponder", "subsquid"):
        if "wall_s" in facts.get(peer, {}):
            out[f"faster_than_{peer}"] = round(facts[peer]["wall_s"] / weir["wall_s"], 2)
            out[f"cpu_of_{peer}"] = round(weir["own_cpu_s"] / facts[peer]["own_cpu_s"], 3)
            out[f"memory_of_{peer}"] = round(weir["own_peak_mb"] / facts[peer]["own_peak_mb"], 3)
    return out


def bench_latency(folder):
    """Head to client at one block a second of 200 transactions, against the node's own time to answer for the block."""
    from demo import Latency

    seconds = int(os.environ.get("BENCH_SECONDS", 30))
    redis, postgres = Redis(folder / "redis").start(), Postgres(folder / "postgres").start()
    node = anvil(folder / "anvil.log")
    suite = Suite(folder / "suite", redis.url, postgres.url, [dev_chain(node)])
    traffic = None
    try:
        suite.start()
        latency = Latency(node.ws, suite.api.replace("http", "ws") + "/v1/ws", "dev")
        latency.start()
        traffic = Process("rate", ["node", CHAIN_LAB / "workload.mjs", "--rpc", node.rpc, "--rate", "--blocks", str(seconds), "--out",
                                   folder / "journal.json"], folder / "workload.log").start()
        own, seen = [], None
        while traffic.alive():
            head = node.call("eth_blockNumber")
            if head != seen:
                seen = head
                begin = time.monotonic()
                threads = [threading.Thread(target=node.call, args=call) for call in
                           (("eth_getBlockByNumber", head, True), ("eth_getBlockReceipts", head), ("trace_block", head))]
                for t in threads:
                    t.start()
                for t in threads:
                    t.join()
                own.append((time.monotonic() - begin) * 1000)
            time.sleep(0.05)
        time.sleep(1)
        samples, own = sorted(latency.samples), sorted(own)
        at = lambda values, share: round(values[min(len(values) - 1, int(len(values) * share))], 1) if values else None
        return {"blocks": len(samples), "p50_ms": at(samples, 0.5), "p99_ms": at(samples, 0.99), "node_p50_ms": at(own, 0.5), "node_p99_ms": at(own, 0.99)}
    finally:
        if traffic:
            traffic.stop(10)
        suite.stop()
        node.stop()
        postgres.stop()
        redis.stop()


def main():
    parts = os.environ.get("BENCH", "normalize ledger backfill latency").split()
    facts = {"cores": os.cpu_count(), "load_before": os.getloadavg()[0]}
    for part in parts:
        say(part)
        with tempfile.TemporaryDirectory(prefix=f"weir-bench-{part}-", ignore_cleanup_errors=True) as folder:
            os.chmod(folder, 0o755)
            run = {"normalize": lambda _: program("normalize"), "ledger": lambda _: program("ledger"), "backfill": bench_backfill,
                   "latency": bench_latency}[part]
            facts[part] = run(pathlib.Path(folder))
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
