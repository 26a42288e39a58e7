"""The Debian package: built from the programs under test, unpacked, looked at and run."""
import hashlib
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import stack
from conftest import ROOT, run

BIN = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin")).absolute()
PROGRAMS = [*(f"weir-{name}" for name in stack.SERVICES), "weirctl"]


def build(folder):
    folder.mkdir()
    status, said = run(ROOT / "deploy" / "deb" / "build", BIN, folder, env=dict(os.environ, SOURCE_DATE_EPOCH="1790000000"))
    assert status == 0, said
    return pathlib.Path(said.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    if not shutil.which("patchelf"):
        pytest.skip("patchelf is not installed: run tools/deps deploy")
    return build(tmp_path_factory.mktemp("deb") / "a")


@pytest.fixture(scope="module")
def root(package, tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return folder


def field(package, name):
    return subprocess.run(["dpkg-deb", "-f", package, name], check=True, capture_output=True, text=True).stdout.strip()


def test_the_programs_run_from_the_package_alone(root):
    """yyjson comes along and is found beside them, wherever the build was."""
    for name in PROGRAMS:
        status, said = run(root / "usr" / "bin" / name, "--version", env={"PATH": "/usr/bin"})
        assert status == 0 and said.startswith(name), said
        assert "[/usr/lib/weir:$ORIGIN/../lib/weir]" in run("readelf", "-d", root / "usr" / "bin" / name)[1]
        used = re.search(r"libyyjson.so.0 => (\S+)", run("ldd", root / "usr" / "bin" / name)[1])
        assert pathlib.Path(used.group(1)).resolve() == (root / "usr" / "lib" / "weir" / "libyyjson.so.0").resolve()


def test_it_depends_on_what_the_programs_need(package):
    depends = {word.split(" ")[0] for word in field(package, "Depends").split(", ")}
    assert {"libc6", "libpq5", "libcurl4", "libmicrohttpd12", "libssl3"} <= depends
    assert field(package, "Version") == run(BIN / "weirctl", "--version")[1].split()[1] and field(package, "Architecture") == "amd64"


def test_the_unit_starts_what_the_package_brings(root):
    unit = (root / "lib" / "systemd" / "system" / "weir@.service").read_text()
    assert "ExecStart=/usr/bin/weir-%i --config /etc/weir/weir.yaml" in unit
    assert re.search(r"^User=weir$", unit, re.M) and (root / "usr" / "lib" / "sysusers.d" / "weir.conf").read_text().splitlines()[-1].startswith("u weir ")
    assert {path.name for path in (root / "usr" / "share" / "man").rglob("*.gz")} == {f"{n}.8.gz" for n in PROGRAMS[:4]} | {"weirctl.1.gz"}
    status, said = run(root / "usr" / "bin" / "weir-gateway", "--print-sample-config")
    assert status == 0 and (root / "usr" / "share" / "doc" / "weir" / "weir.yaml.sample").read_text() == said


def test_installing_starts_nothing(package, tmp_path):
    subprocess.run(["dpkg-deb", "-e", package, tmp_path / "control"], check=True)
    script = tmp_path / "control" / "postinst"
    assert run("sh", "-n", script)[0] == 0
    assert not re.search(r"systemctl (start|enable|restart)", script.read_text())


def test_it_is_reproducible(package, tmp_path):
    assert hashlib.sha256(build(tmp_path / "b").read_bytes()).hexdigest() == hashlib.sha256(package.read_bytes()).hexdigest()
