"""How every bench ends: parts are run one after the other, their figures held against the targets and said, one JSON document on stdout.

A target is (part, path of the value, what it is, "<=" or ">=" or None, number or None). A figure that was not measured is not in the document.
"""
import json
import os
import pathlib
import subprocess
import sys


def speaker(bench):
    return lambda *words: print(f"{bench}:", *words, file=sys.stderr, flush=True)


def figures(results, targets):
    rows = []
    for part, path, what, direction, target in targets:
        value = results.get(part)
        for name in path.split("."):
            value = (value or {}).get(name)
        if value is None:
            continue
        row = {"part": part, "name": path, "what": what, "value": round(value, 3)}
        if direction:
            row.update(target=f"{direction} {target}", met=value <= target if direction == "<=" else value >= target)
        rows.append(row)
    return rows


def processor_times():
    """(stolen by the machine's host, used or stolen), in ticks of all cores since the start; None where the kernel doesn't tell (proc(5), /proc/stat)."""
    try:
        with open("/proc/stat", encoding="ascii") as stat:
            user, nice, system, _, _, irq, softirq, stolen = map(int, stat.readline().split()[1:9])
    except (OSError, ValueError):
        return None
    return stolen, user + nice + system + irq + softirq + stolen


def stolen_share(before, after):
    """Of the processor time that was wanted, what a virtual machine's host gave to others: times and percentiles mean little beside a tenth of it."""
    if before is None or after is None or after[1] == before[1]:
        return None
    return round((after[0] - before[0]) / (after[1] - before[1]), 3)


def run(bench, parts, wanted, targets, facts=None):
    """parts: {name: function that measures and returns a dict}; wanted: names, or None for all. BENCH_OUT: a file for the document, too."""
    say, results = speaker(bench), {"cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 2), **(facts or {})}
    wanted = list(parts) if wanted is None else wanted
    unknown = [name for name in wanted if name not in parts]
    if unknown:
        raise SystemExit(f"{bench}: no part is called {', '.join(unknown)}; there are: {' '.join(parts)}")
    for part in wanted:
        say(part)
        before = processor_times()
        try:
            results[part] = parts[part]()
        except (subprocess.SubprocessError, OSError, TimeoutError, RuntimeError) as error:
            results[part] = {"failed": str(error)[-500:]}
        if "failed" in results[part]:
            say(f"{part} failed: {results[part]['failed']}")
        results[part]["stolen"] = stolen_share(before, processor_times())
        if (results[part]["stolen"] or 0) > 0.02:
            say(f"{part}: the machine's host took {results[part]['stolen']:.0%} of the processor time that was wanted")
    results["load_after"] = round(os.getloadavg()[0], 2)
    results["figures"] = figures(results, targets)
    for row in results["figures"]:
        verdict = {True: "met", False: "MISSED", None: ""}[row.get("met")]
        say(f"{row['what']:<76} {row['value']:>12} {row.get('target', ''):>12}  {verdict}")
    document = json.dumps(results)
    if os.environ.get("BENCH_OUT"):
        pathlib.Path(os.environ["BENCH_OUT"]).write_text(document + "\n", encoding="utf-8")
    print(document)
