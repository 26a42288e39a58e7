"""libweir-bus as a stranger gets it: installed, found by pkg-config, linked both ways, and the examples run."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack")]

import stack  # noqa: E402

EXAMPLES = {"basic": "hello, Barbara", "everything": "every order was paid, then shipped, once", "misbehaving": "nothing is missing",
            "switch": "there and back, each event once"}


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
    assert f"libweir-bus.so.{version.split('.')[0]}" in run("readelf", "-d", installed / "lib/libweir-bus.so")


@pytest.mark.parametrize("linking", ["shared", "static"])
@pytest.mark.parametrize("example", EXAMPLES)
def test_example(installed, redis, tmp_path, example, linking):
    program = tmp_path / example
    libraries = flags(installed, "--libs") if linking == "shared" else [
        installed / "lib/libweir-bus.a", *[f for f in flags(installed, "--static", "--libs") if f != "-lweir-bus"]]
    rpaths = [f"-Wl,-rpath,{installed}/lib", f"-Wl,-rpath,{installed}/lib/weir-bus", f"-Wl,-rpath-link,{installed}/lib/weir-bus"]
    run("gcc", "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", *flags(installed, "--cflags"), ROOT / f"examples/bus/{example}.c",
        "-o", program, *libraries, *rpaths)
    assert ("libweir-bus" in run("readelf", "-d", program)) == (linking == "shared")
    redis.command("FLUSHALL")
    assert EXAMPLES[example] in run(program, redis.url)


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
