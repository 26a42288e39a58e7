"""Backfill of a chain of token transfers from a real node: weir, Ponder and Subsquid side by side, and the download alone.

All use the same node and the same PostgreSQL, one after the other, in BENCH_ROUNDS rounds (3); each figure is the median of its rounds.
BENCH_BLOCKS: length of the chain (2000). BENCH_PEERS=0: without Ponder and Subsquid (their npm packages are installed on first use).
"""
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import time

from bench_meter import Meter, Sql
from stack import CHAIN_LAB, ROOT, Postgres, Process, Redis, Suite, anvil, dev_chain, http_json, wait_until

PEERS = ROOT / "tests" / "bench" / "peers"
TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
NOBODY = "0x" + 40 * "0"
TRANSFERS = 50
LIMIT = 300


def fresh_database(postgres, name):
    """(conninfo, url) of an empty database."""
    at = ["-h", str(postgres.sockets), "-U", "weir", name]
    subprocess.run([postgres.bin / "dropdb", "--if-exists", "--force", *at], check=True, cwd="/", stderr=subprocess.DEVNULL)
    subprocess.run([postgres.bin / "createdb", *at], check=True, cwd="/")
    subprocess.run([postgres.bin / "psql", "-Xq", "-d", f"host={postgres.sockets} user=weir dbname={name}", "-c", "checkpoint"], check=True, cwd="/")
    return f"host={postgres.sockets} user=weir dbname={name}", f"postgresql://weir@localhost/{name}?host={postgres.sockets}"


class Chain:
    """The node with the made chain, and what it says about it: the answer that every indexer must have."""

    def __init__(self, folder, blocks):
        self.node = anvil(folder / "anvil.log", "--chain-id", "1", "--timestamp", "1700000000")
        subprocess.run(["node", CHAIN_LAB / "workload.mjs", "--rpc", self.node.rpc, "--bulk", "--blocks", str(blocks), "--transfers",
                        str(TRANSFERS), "--clock", "seeded", "--out", folder / "journal.json"], check=True, stderr=subprocess.DEVNULL)
        journal = json.loads((folder / "journal.json").read_text())
        self.height, self.token = self.node.height(), journal["tokens"][0]["address"].lower()
        logs = self.node.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest", "address": self.token, "topics": [TRANSFER]})
        self.transfers, self.last = len(logs), int(logs[-1]["blockNumber"], 16)
        self.balances = self._balances([a if isinstance(a, str) else a["address"] for a in journal["accounts"]])

    def _balances(self, accounts):
        calls = [{"jsonrpc": "2.0", "id": i, "method": "eth_call",
                  "params": [{"to": self.token, "data": "0x70a08231" + a[2:].lower().rjust(64, "0")}, "latest"]} for i, a in enumerate(accounts)]
        answers = {}
        for at in range(0, len(calls), 500):
            _, body, _ = http_json(self.node.rpc, "POST", calls[at:at + 500], timeout=120)
            answers.update({accounts[item["id"]].lower(): int(item["result"], 16) for item in body})
        return answers

    def agrees(self, sql, account, amount, table):
        """Does this table hold the balance of each account that has one, as the chain says? (The zero address has none: it is what mints
        are taken from.)"""
        text = sql.one(f"select coalesce(string_agg({account} || '=' || {amount}, ' '), '') from {table}")
        ours = dict(pair.split("=", 1) for pair in text.lower().split() if "=" in pair)
        return all(int(ours.get(who, 0)) == amount for who, amount in self.balances.items() if who != NOBODY)


def weir_round(folder, redis, postgres, chain):
    conninfo, _ = fresh_database(postgres, "weir")
    redis.command("FLUSHALL")
    sql = Sql(postgres, conninfo)
    names = ("reconciler", "normalizer", "fetcher")
    suite = Suite(folder, redis.url, conninfo, [dev_chain(chain.node, chain_id=1)])
    started = time.monotonic()
    suite.start(names, wait=0)
    meter = Meter({"node": chain.node.facts["pid"], "redis": redis.process.pid, "postgres": postgres.process.pid,
                   **{name: process.pid for name, process in suite.processes.items()}}, fresh=names)
    try:
        wait_until(f"weir at the head (logs in {folder})", LIMIT,
                   lambda: sql.one("select coalesce((select watermark_height from weir.chains), -1)") == str(chain.height), 0.02)
        wall = time.monotonic() - started
    finally:
        cpu, peak = meter.stop()
        suite.stop()
    facts = {"wall_s": round(wall, 2), "own_cpu_s": round(sum(cpu[n] for n in names) + cpu["redis"], 2), "postgres_cpu_s": cpu["postgres"],
             "own_peak_mb": round(sum(peak[n] for n in names), 1), "largest_peak_mb": max(peak[n] for n in names), "redis_peak_mb": peak["redis"],
             "cpu_s": cpu, "peak_mb": peak, "rows": int(sql.one("select count(*) from weir.entries")),
             "correct": chain.agrees(sql, "'0x' || encode(c.address, 'hex')", "b.amount",
                                     "weir.balances b join weir.accounts c on c.id = b.account join weir.assets s on s.id = b.asset "
                                     "where s.standard = 2")}
    sql.close()
    return facts


def peer_round(name, command, cwd, environment, log, postgres, chain, conninfo):
    sql = Sql(postgres, conninfo)
    process = Process(name, command, log, env=environment, cwd=cwd)
    started = time.monotonic()
    process.start()
    meter = Meter({"node": chain.node.facts["pid"], "postgres": postgres.process.pid, "own": process.pid}, fresh=("own",))

    def finished():
        # The newest row by its key first: counting them all is dear. Both write ids that sort as the chain does.
        return (sql.one("select coalesce((select height from transfer order by id desc limit 1), -1)") == str(chain.last)
                and sql.one("select count(*) from transfer") == str(chain.transfers))

    try:
        wait_until(f"{name} at the head (log {log})", LIMIT, finished, 0.05)
        wall = time.monotonic() - started
    finally:
        cpu, peak = meter.stop()
        process.stop(10)
    column = "account" if name == "ponder" else "id"
    facts = {"wall_s": round(wall, 2), "own_cpu_s": cpu["own"], "postgres_cpu_s": cpu["postgres"], "own_peak_mb": peak["own"], "cpu_s": cpu,
             "rows": chain.transfers, "correct": chain.agrees(sql, column, "amount", "balance")}
    sql.close()
    return facts


def lift_limiter(modules):
    """Ponder asks at most 20 times a second at first, 500 at last, whatever the node can do: that would measure the limiter."""
    lifted = 0
    for path in (modules / "ponder" / "dist").rglob("*.js"):
        text = path.read_text(errors="replace")
        if "INITIAL_MAX_RPS = 20" in text:
            path.write_text(text.replace("INITIAL_MAX_RPS = 20", "INITIAL_MAX_RPS = 100000").replace("MAX_RPS = 500", "MAX_RPS = 100000"))
            lifted += 1
    if lifted == 0:
        raise RuntimeError("ponder: its request limiter was not found; this release is another than the one that the bench knows")


def install_peers(folder, say):
    if not (PEERS / "node_modules").exists():
        say("installing the peers from npm (development only)")
        # The lock decides the versions here as well; "npm ci" of npm 11 also wants builds for foreign systems in it, which not every registry has.
        subprocess.run(["npm", "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=PEERS, check=True)
    copy = folder / "peers"
    shutil.copytree(PEERS, copy, symlinks=True)
    lift_limiter(copy / "node_modules")
    return copy


def ponder_round(peers, log, postgres, chain):
    conninfo, url = fresh_database(postgres, "ponder")
    environment = {"DATABASE_URL": url, "RPC_URL": chain.node.rpc, "TOKEN": chain.token, "PONDER_TELEMETRY_DISABLED": "true", "CI": "true"}
    shutil.rmtree(peers / "ponder" / ".ponder", ignore_errors=True)
    return peer_round("ponder", ["node", peers / "node_modules" / "ponder" / "dist" / "esm" / "bin" / "ponder.js", "start", "--schema", "public",
                                 "--root", peers / "ponder", "--port", "0"], peers / "ponder", environment, log, postgres, chain, conninfo)


def subsquid_round(peers, log, postgres, chain):
    conninfo, url = fresh_database(postgres, "subsquid")
    sql = Sql(postgres, conninfo)
    sql.one("create table transfer (id text primary key, height int, sender text, recipient text, value numeric); "
            "create table balance (id text primary key, amount numeric); select 1")
    sql.close()
    environment = {"DB_URL": url, "RPC_URL": chain.node.rpc, "TOKEN": chain.token, "TO": str(chain.height)}
    return peer_round("subsquid", ["node", "index.cjs"], peers / "subsquid", environment, log, postgres, chain, conninfo)


def middle(rounds):
    """The round with the median time, whole: figures of different rounds do not mix."""
    good = sorted((r for r in rounds if "wall_s" in r), key=lambda r: r["wall_s"])
    if not good:
        return rounds[0]
    return {**good[(len(good) - 1) // 2], "walls_s": [r.get("wall_s") for r in rounds]}


def attempt(work):
    try:
        return work()
    except TimeoutError as error:
        return {"failed": str(error)}


def download(build, chain):
    out = subprocess.run([build / "tests" / "bench" / "download", chain.node.rpc, str(chain.height)], capture_output=True, text=True, check=True)
    return json.loads(out.stdout)


def run(folder, build, say):
    blocks, rounds = int(os.environ.get("BENCH_BLOCKS", 2000)), int(os.environ.get("BENCH_ROUNDS", 3))
    redis = Redis(folder / "redis").start()
    postgres = Postgres(folder / "postgres", ["shared_buffers=1GB", "max_wal_size=8GB"]).start()
    logs = pathlib.Path(os.environ.get("BENCH_LOGS", folder))
    say(f"making {blocks} blocks of {TRANSFERS} token transfers")
    chain = Chain(folder, blocks)
    try:
        peers = install_peers(folder, say) if os.environ.get("BENCH_PEERS", "1") != "0" else None
        results = {"weir": [], "ponder": [], "subsquid": []} if peers else {"weir": []}
        downloads = []
        for n in range(rounds):
            downloads.append(download(build, chain))
            results["weir"].append(attempt(lambda n=n: weir_round(logs / f"weir-{n}", redis, postgres, chain)))
            if peers:
                results["subsquid"].append(attempt(lambda n=n: subsquid_round(peers, logs / f"subsquid-{n}.log", postgres, chain)))
                results["ponder"].append(attempt(lambda n=n: ponder_round(peers, logs / f"ponder-{n}.log", postgres, chain)))
            say(f"round {n + 1} of {rounds}:", ", ".join(f"{name} {r[-1].get('wall_s', 'failed')} s" for name, r in results.items()))
        facts = {name: middle(r) for name, r in results.items()}
        facts["blocks"], facts["transfers"] = chain.height + 1, chain.transfers
        facts["download_s"] = statistics.median(d["seconds"] for d in downloads)
        facts["download_without_traces_s"] = statistics.median(d["seconds_without_traces"] for d in downloads)
        facts["download_bytes"] = downloads[0]["bytes"]
        return facts
    finally:
        chain.node.stop()
        postgres.stop()
        redis.stop()
