"""make bench: speed, always against a limit or a peer measured in the same run. Says what it does on stderr; one JSON document on stdout.

BENCH: parts to run ("normalize ledger backfill latency"). BENCH_OUT: a file for the document, too. BENCH_ENTRIES and BENCH_GROWN: rows of
the ledger's measurements (1000000), and to grow the table to (10000000). More in bench_backfill.py and bench_latency.py. The document has
what each part measured, and "figures": name, value, target and whether it is met. A figure that was not measured is not in it.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import bench_backfill
import bench_latency
from stack import ROOT

BUILD = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin")).absolute().parent


def say(*words):
    print("bench:", *words, file=sys.stderr, flush=True)


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


# part, value's name, what it is, "at most" or "at least", target
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


def figures(results):
    rows = []
    for part, name, what, direction, target in TARGETS:
        value = results.get(part, {}).get(name)
        if value is None:
            continue
        row = {"part": part, "name": name, "what": what, "value": round(value, 3)}
        if direction:
            row.update(target=f"{direction} {target}", met=value <= target if direction == "<=" else value >= target)
        rows.append(row)
    return rows


def main():
    parts = {"normalize": normalize, "ledger": ledger, "backfill": bench_backfill.run, "latency": bench_latency.run}
    wanted = os.environ.get("BENCH", " ".join(parts)).split()
    unknown = [name for name in wanted if name not in parts]
    if unknown:
        raise SystemExit(f"bench: no part is called {', '.join(unknown)}; there are: {' '.join(parts)}")
    results = {"cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 2)}
    for part in wanted:
        say(part)
        with tempfile.TemporaryDirectory(prefix=f"weir-bench-{part}-", ignore_cleanup_errors=True) as folder:
            os.chmod(folder, 0o755)
            results[part] = parts[part](pathlib.Path(folder), BUILD, say)
        if part == "backfill":
            results[part].update(backfill_figures(results[part]))
        for name, value in results[part].items():
            if name == "failed":
                say(f"{part} failed: {value}")
    results["figures"] = figures(results)
    for row in results["figures"]:
        verdict = {True: "met", False: "MISSED", None: ""}[row.get("met")]
        say(f"{row['what']:<58} {row['value']:>12} {row.get('target', ''):>12}  {verdict}")
    document = json.dumps(results)
    if os.environ.get("BENCH_OUT"):
        pathlib.Path(os.environ["BENCH_OUT"]).write_text(document + "\n", encoding="utf-8")
    print(document)


if __name__ == "__main__":
    main()
