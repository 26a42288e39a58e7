"""make bench: speed, always against a limit or a peer measured in the same run. Says what it does on stderr; one JSON document on stdout.

BENCH: parts to run ("normalize ledger backfill latency"). BENCH_OUT: a file for the document, too. BENCH_ENTRIES and BENCH_GROWN: rows of
the ledger's measurements (1000000), and to grow the table to (10000000). More in bench_backfill.py and bench_latency.py. The document has
what each part measured, and "figures": name, value, target and whether it is met. A figure that was not measured is not in it.
"""
import json
import os
import pathlib
import subprocess
import tempfile

import bench_backfill
import bench_latency
import bench_report
from stack import ROOT

BUILD = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin")).absolute().parent


say = bench_report.speaker("bench")


def program(name, *arguments):
    """A program of tests/bench: one JSON object on stdout."""
    path = BUILD / "tests" / "bench" / name
    if not path.exists():
        return {"failed": f"{path} was not built: make bench-bins"}
    out = subprocess.run([path, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    if out.returncode != 0:
        return {"failed": (out.stderr or out.stdout)[-500:]}
    return json.loads(out.stdout[out.stdout.index("{"):])


def normalize(_folder, _build, _say):
    return program("normalize")


def ledger(_folder, _build, say):
    """The round with the middle rate, and the growth from one more, whose ratio is its own."""
    entries = os.environ.get("BENCH_ENTRIES", 1000000)
    rounds = [program("ledger", entries, 0) for _ in range(3)]
    grown = program("ledger", entries, os.environ.get("BENCH_GROWN", 10000000))
    broken = [r for r in [*rounds, grown] if "failed" in r]
    if broken:
        return broken[0]
    rounds.sort(key=lambda r: r["apply_entries_per_second"])
    say("ledger, entries a second:", ", ".join(str(r["apply_entries_per_second"]) for r in rounds))
    return {**rounds[1], "rates": [r["apply_entries_per_second"] for r in rounds],
            **{key: grown[key] for key in ("grown_to", "apply_grown_entries_per_second", "grown_over_empty")}}


def backfill_figures(facts):
    """Derived: each from one run's values."""
    weir, out = facts.get("weir", {}), {}
    if "wall_s" not in weir:
        return out
    out["weir_over_download"] = weir["wall_s"] / facts["download_s"]
    out["largest_process_mb"] = weir["largest_peak_mb"]
    for peer in ("ponder", "subsquid"):
        other = facts.get(peer, {})
        if "wall_s" in other:
            out[f"{peer}_wall_over_weir"] = other["wall_s"] / weir["wall_s"]
            out[f"weir_cpu_over_{peer}"] = weir["own_cpu_s"] / other["own_cpu_s"]
            out[f"weir_cpu_over_{peer}_with_postgres"] = (weir["own_cpu_s"] + weir["postgres_cpu_s"]) / (other["own_cpu_s"] + other["postgres_cpu_s"])
            out[f"weir_memory_over_{peer}"] = weir["own_peak_mb"] / other["own_peak_mb"]
    return out


# part, path of the value, what it is, "at most" or "at least", target
TARGETS = [
    ("normalize", "ratio", "CPU of normalising / (parsing + hashing)", "<=", 2.0),
    ("ledger", "apply_over_copy", "ledger rate / plain COPY's rate", ">=", 0.3),
    ("ledger", "apply_entries_per_second", "ledger, entries a second", ">=", 100000),
    ("ledger", "grown_over_empty", "rate on the grown table / on an empty one", ">=", 0.7),
    ("ledger", "replay_over_apply", "blocks recognised as applied / blocks applied, a second", ">=", 10),
    ("backfill", "ponder_wall_over_weir", "Ponder's time / weir's", ">=", 8),
    ("backfill", "subsquid_wall_over_weir", "Subsquid's time / weir's", ">=", 3),
    ("backfill", "weir_cpu_over_ponder", "weir's CPU / Ponder's", "<=", 0.2),
    ("backfill", "weir_memory_over_ponder", "weir's memory / Ponder's", "<=", 0.1),
    ("backfill", "weir_over_download", "weir's time / the download alone", None, None),
    ("backfill", "largest_process_mb", "largest process in backfill, MB", "<=", 64),
    ("latency", "over_node_p99_ms", "head to client beyond the node's own answer, P99, ms", "<=", 10),
]


def in_folder(part, measure):
    def run():
        with tempfile.TemporaryDirectory(prefix=f"weir-bench-{part}-", ignore_cleanup_errors=True) as folder:
            os.chmod(folder, 0o755)
            facts = measure(pathlib.Path(folder), BUILD, say)
        return facts | backfill_figures(facts) if part == "backfill" else facts
    return run


def main():
    parts = {"normalize": normalize, "ledger": ledger, "backfill": bench_backfill.run, "latency": bench_latency.run}
    wanted = os.environ["BENCH"].split() if "BENCH" in os.environ else None
    bench_report.run("bench", {name: in_folder(name, measure) for name, measure in parts.items()}, wanted, TARGETS)


if __name__ == "__main__":
    main()
