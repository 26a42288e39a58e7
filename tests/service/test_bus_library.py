"""libweir-bus as a stranger gets it: installed, found by pkg-config, linked both ways, and the examples run."""
import http.server
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack")]

import stack  # noqa: E402

EXAMPLES = {"basic": "hello, Barbara", "everything": "every order was paid, then shipped, once", "misbehaving": "nothing is missing",
            "switch": "there and back, each event once"}
CURL = ["-lcurl"]  # what traces.c needs beside the library


def run(*command, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, f"{command}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bus")
    run("make", "-s", "-C", ROOT, "-j2", f"BUILD={folder}/build", f"DEPS={os.environ.get('DEPS', ROOT / 'build' / 'deps')}", f"PREFIX={folder}/usr", "install-bus")
    return folder / "usr"


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    server = stack.Redis(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


def flags(installed, *options):
    return run("pkg-config", *options, "weir-bus", env={"PATH": "/usr/bin:/bin", "PKG_CONFIG_PATH": str(installed / "lib/pkgconfig")}).split()


def test_only_what_the_headers_declare_is_visible(installed):
    visible = {line.split()[-1].split("@")[0] for line in run("nm", "-D", "--defined-only", installed / "lib/libweir-bus.so").splitlines()}
    headers = "".join(p.read_text() for p in (installed / "include/weir-bus").rglob("*.h"))
    assert visible, "the library exports nothing"
    assert {"bus_open", "bus_subscription_turn", "dead_letter_list", "RETRY_DEFAULT"} <= visible
    assert [name for name in sorted(visible) if name not in headers] == []
    assert not visible & {"bus_run", "bus_call", "redisCommand", "deliver"}


def test_the_version_is_one(installed):
    version = flags(installed, "--modversion")[0]
    assert (installed / f"lib/libweir-bus.so.{version}").is_file()
    major, minor, _ = version.split(".")
    soname = "libweir-bus.so." + (f"0.{minor}" if major == "0" else major)
    assert re.findall(r"\(SONAME\).*\[(.*)\]", run("readelf", "-d", installed / "lib/libweir-bus.so")) == [soname], "what breaks programs changes the name"
    assert (installed / "lib" / soname).resolve() == (installed / f"lib/libweir-bus.so.{version}").resolve()


def build(installed, folder, example, linking="shared", *more):
    program = folder / example
    libraries = flags(installed, "--libs") if linking == "shared" else [
        installed / "lib/libweir-bus.a", *[f for f in flags(installed, "--static", "--libs") if f != "-lweir-bus"]]
    rpaths = [f"-Wl,-rpath,{installed}/lib", f"-Wl,-rpath,{installed}/lib/weir-bus", f"-Wl,-rpath-link,{installed}/lib/weir-bus"]
    run("gcc", "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", *flags(installed, "--cflags"), ROOT / f"examples/bus/{example}.c",
        "-o", program, *libraries, *more, *rpaths)
    assert ("libweir-bus" in run("readelf", "-d", program)) == (linking == "shared")
    return program


@pytest.mark.parametrize("linking", ["shared", "static"])
@pytest.mark.parametrize("example", EXAMPLES)
def test_example(installed, redis, tmp_path, example, linking):
    program = build(installed, tmp_path, example, linking)
    redis.command("FLUSHALL")
    assert EXAMPLES[example] in run(program, redis.url)


class Collector(http.server.ThreadingHTTPServer):
    """Takes OTLP/HTTP JSON as a collector does; refuses the first requests for the moment where it is told to."""

    def __init__(self, refusals=0):
        super().__init__(("127.0.0.1", 0), CollectorRequest)
        self.url, self.refusals, self.refused, self.requests, self.spans = f"http://127.0.0.1:{self.server_port}", refusals, 0, [], []
        self.thread = threading.Thread(target=self.serve_forever)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.thread.join()
        self.server_close()


class CollectorRequest(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        collector = self.server
        refuse = collector.refused < collector.refusals
        collector.refused += refuse
        if not refuse:
            collector.requests.append((self.path, self.headers["Content-Type"]))
            for resource in body["resourceSpans"]:
                service = attributes(resource["resource"])["service.name"]
                collector.spans += [{**span, "service": service} for scope in resource["scopeSpans"] for span in scope["spans"]]
        self.send_response(503 if refuse else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def attributes(holder):
    return {a["key"]: next(iter(a["value"].values())) for a in holder["attributes"]}


def test_spans_of_a_program_reach_a_collector(installed, redis, tmp_path):
    program = build(installed, tmp_path, "traces", "shared", *CURL)
    redis.command("FLUSHALL")
    with Collector(refusals=2) as collector:
        assert "3 orders paid, 0 spans dropped" in run(program, redis.url, collector.url)
    assert collector.refused == 2 and set(collector.requests) == {("/v1/traces", "application/json")}
    spans = collector.spans
    assert {s["service"] for s in spans} == {"shop"}
    assert all(re.fullmatch("[0-9a-f]{32}", s["traceId"]) and re.fullmatch("[0-9a-f]{16}", s["spanId"]) for s in spans)
    assert len({s["spanId"] for s in spans}) == len(spans), "each span was told once"
    assert all(int(s["startTimeUnixNano"]) <= int(s["endTimeUnixNano"]) for s in spans)

    def below(parent, name):
        found = [s for s in spans if s["parentSpanId"] == parent["spanId"] and s["name"] == name]
        assert all(s["traceId"] == parent["traceId"] for s in found)
        return sorted(found, key=lambda s: int(s["startTimeUnixNano"]))

    first, second = sorted((s for s in spans if s["name"] == "place order"), key=lambda s: int(s["startTimeUnixNano"]))
    assert first["parentSpanId"] == second["parentSpanId"] == "" and first["traceId"] != second["traceId"]

    # One message: refused twice, parked, replayed. All tries are below the one publish span, and the handler's own spans below them.
    publish, = below(first, "publish orders")
    assert publish["kind"] == 4 and attributes(publish)["messaging.operation.type"] == "send" and publish["status"] == {}
    assert attributes(publish)["messaging.destination.name"] == "shop.orders" and attributes(publish)["messaging.system"] == "redis"
    tries = below(publish, "process orders")
    assert [s["kind"] for s in tries] == [5, 5, 5]
    assert [s["status"].get("code") for s in tries] == [2, 2, None] and tries[0]["status"]["message"] == "the bank is closed"
    assert [attributes(s).get("error.type") for s in tries] == ["conflict", "conflict", None]
    assert [bool(attributes(s).get("weir.letter")) for s in tries] == [False, False, True]
    assert {attributes(s)["messaging.message.id"] for s in [publish, *tries]} == {attributes(publish)["messaging.message.id"]}
    charges = [below(s, "charge card")[0] for s in tries]
    assert [s["status"].get("message") for s in charges] == ['the bank says "closed"'] * 2 + [None]

    # Two messages in one call: a create span each, and one publish span of a trace of its own that links to them.
    created = below(second, "create orders")
    batch, = (s for s in spans if s["name"] == "publish orders" and s["links"])
    assert len(created) == 2 and batch["traceId"] not in {first["traceId"], second["traceId"]}
    assert {(k["traceId"], k["spanId"]) for k in batch["links"]} == {(s["traceId"], s["spanId"]) for s in created}
    assert attributes(batch)["messaging.batch.message_count"] == "2"
    assert all(len(below(s, "process orders")) == 1 for s in created)
    assert len(spans) == 2 + 1 + 3 + 3 + 2 + 1 + 2 + 2


def test_a_program_does_not_wait_for_a_collector_that_is_away(installed, redis, tmp_path):
    program = build(installed, tmp_path, "traces", "static", *CURL)
    redis.command("FLUSHALL")
    with Collector() as gone:
        pass
    done = subprocess.run([program, redis.url, gone.url], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "3 orders paid" in done.stdout and "does not take spans" in done.stderr


def test_an_example_without_redis_says_what_to_do(installed, tmp_path):
    program = tmp_path / "basic"
    run("gcc", "-std=gnu17", "-D_GNU_SOURCE", *flags(installed, "--cflags"), ROOT / "examples/bus/basic.c", "-o", program, *flags(installed, "--libs"),
        f"-Wl,-rpath,{installed}/lib", f"-Wl,-rpath-link,{installed}/lib/weir-bus")
    done = subprocess.run([program, f"unix://{tmp_path}/none"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "none" in done.stderr and "Check that the named peer runs" in done.stderr


@pytest.mark.parametrize("page", ["man7/weir-bus.7", "man3/weir-bus.3"])
def test_the_manual_pages_read_clean(installed, page):
    page = installed / "share/man" / page
    assert "weir-bus" in page.read_text()
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-mdoc", "-Tutf8", "-wall", "-z", str(page)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and done.stderr == ""


def test_every_call_has_its_manual(installed):
    page = (installed / "share/man/man3/weir-bus.3").read_text()
    documented = set(re.findall(r"^\.Fo (\w+)$", page, re.M))
    visible = {line.split()[-1].split("@")[0] for line in run("nm", "-D", "--defined-only", installed / "lib/libweir-bus.so").splitlines()}
    calls = {name for name in visible if re.match(r"(bus_(?!metric_)|dead_letter_|message_type_|frame_|envelope_|retry_|breaker_)", name)}
    assert calls - documented == set()
    assert documented - visible <= {"frame_size", "frame_created", "frame_trace", "frame_set_trace"}, "inline functions have no symbol"
    for name in documented:
        assert (installed / f"share/man/man3/{name}.3").resolve().name == "weir-bus.3"


def test_the_example_of_the_manual_runs(installed, redis, tmp_path):
    page = (installed / "share/man/man3/weir-bus.3").read_text()
    shown = page.split(".Sh EXAMPLES\n.Bd -literal\n")[1].split("\n.Ed\n")[0]
    source = tmp_path / "shown.c"
    source.write_text(re.sub(r"\\\[u([0-9A-F]+)\]", lambda m: chr(int(m.group(1), 16)), shown.replace("\\&", "")).replace("\\e", "\\") + "\n")
    run("gcc", "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", *flags(installed, "--cflags"), source, "-o", tmp_path / "shown",
        *flags(installed, "--libs"), f"-Wl,-rpath,{installed}/lib", f"-Wl,-rpath-link,{installed}/lib/weir-bus")
    redis.command("FLUSHALL")
    assert EXAMPLES["basic"] in run(tmp_path / "shown", redis.url)
