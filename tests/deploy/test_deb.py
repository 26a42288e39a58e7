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
    assert field(package, "Version") == run(BIN / "weirctl", "--version")[1].split()[1].replace("+", "~") and field(package, "Architecture") == "amd64"


def test_the_unit_starts_what_the_package_brings(root):
    unit = (root / "lib" / "systemd" / "system" / "weir@.service").read_text()
    assert "ExecStart=/usr/bin/weir-%i --config /etc/weir/weir.yaml" in unit
    assert re.search(r"^User=weir$", unit, re.M) and (root / "usr" / "lib" / "sysusers.d" / "weir.conf").read_text().splitlines()[-1].startswith("u weir ")
    assert {path.name for path in (root / "usr" / "share" / "man").rglob("*.gz")} == {f"{n}.8.gz" for n in PROGRAMS[:4]} | {"weirctl.1.gz", "weir-backup.8.gz"}
    status, said = run(root / "usr" / "bin" / "weir-gateway", "--print-sample-config")
    assert status == 0 and (root / "usr" / "share" / "doc" / "weir" / "weir.yaml.sample").read_text() == said


def test_installing_starts_nothing(package, tmp_path):
    subprocess.run(["dpkg-deb", "-e", package, tmp_path / "control"], check=True)
    script = tmp_path / "control" / "postinst"
    for name in ("postinst", "prerm", "postrm"):
        assert run("sh", "-n", tmp_path / "control" / name)[0] == 0
    assert not re.search(r"systemctl (start|enable|restart)", script.read_text())


def test_what_operations_md_names_is_in_it(root):
    """The paths below /usr that the manual tells to use, and what the unit starts."""
    named = set(re.findall(r"/usr/share/[\w./-]+", (ROOT / "docs" / "operations.md").read_text()))
    assert [path for path in named if path.startswith("/usr/share/doc/weir") and not (root / path[1:]).is_file()] == []
    started = re.findall(r"(?m)^Exec\w+=-?(\S+)", (root / "lib/systemd/system/weir@.service").read_text().replace("%i", "gateway"))
    assert len(started) == 3 and all(os.access(root / path[1:], os.X_OK) for path in started), started


class Machine:
    """A root for dpkg alone; its scripts run outside of it, with systemd's commands written down instead of carried out."""

    def __init__(self, folder):
        self.root, self.bin, self.log = folder / "machine", folder / "bin", folder / "log"
        for part in ("var/lib/dpkg/updates", "var/lib/dpkg/info", "run/systemd/system"):
            (self.root / part).mkdir(parents=True)
        (self.root / "var/lib/dpkg/status").touch()
        self.bin.mkdir()
        for name in ("systemctl", "deb-systemd-invoke", "systemd-sysusers"):
            (self.bin / name).write_text(f'#!/bin/sh\necho "{name} $*" >>"{self.log}"\n')
            (self.bin / name).chmod(0o755)

    def dpkg(self, *words):
        """What it made systemd do."""
        self.log.write_text("")
        status, said = run("dpkg", f"--root={self.root}", "--force-script-chrootless", "--force-depends", "--force-not-root", *words,
                           env=dict(os.environ, PATH=f"{self.bin}:{os.environ['PATH']}:/usr/sbin:/sbin"))
        assert status == 0, said
        return self.log.read_text().splitlines()

    def enable(self):
        units = self.root / "etc/systemd/system"
        for wants, unit in (("multi-user.target.wants", "weir.target"), *(("weir.target.wants", f"weir@{name}.service") for name in stack.SERVICES)):
            (units / wants).mkdir(parents=True, exist_ok=True)
            (units / wants / unit).symlink_to("/lib/systemd/system/" + re.sub("@.*[.]", "@.", unit))

    def enabled(self):
        return {path.name for path in (self.root / "etc/systemd/system").rglob("*.wants/*")}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to root, as dpkg does")
def test_removing_stops_it_purging_forgets_it_and_an_upgrade_does_neither(package, tmp_path):
    machine = Machine(tmp_path)
    everything = {"weir.target", *(f"weir@{name}.service" for name in stack.SERVICES)}
    installed = machine.dpkg("-i", package)
    assert f"systemd-sysusers --root={machine.root}/ weir.conf" in installed and not [line for line in installed if " stop" in line or " start" in line]
    machine.enable()
    (machine.root / "etc/weir/weir.yaml").write_text("chains: []\n")
    upgraded = machine.dpkg("-i", package)
    assert [line.split()[1] for line in upgraded if "@" in line] == ["try-restart"] * 4 and not [line for line in upgraded if "invoke" in line]
    assert machine.enabled() == everything
    removed = machine.dpkg("-r", "weir")
    stops = [set(line.split()[2:]) for line in removed if line.startswith("deb-systemd-invoke stop ")]
    assert stops == [everything] and removed[-1] == "systemctl daemon-reload", removed
    assert machine.enabled() == everything and not (machine.root / "usr/bin/weir-gateway").exists()
    machine.dpkg("-i", package)
    assert [line for line in machine.dpkg("-P", "weir") if " stop " in line], "purged at once, it is stopped, too"
    assert machine.enabled() == set() and (machine.root / "etc/weir/weir.yaml").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to root, as dpkg does")
def test_where_systemd_does_not_run_it_is_asked_nothing(package, tmp_path):
    machine = Machine(tmp_path)
    (machine.root / "run/systemd/system").rmdir()
    for words in (("-i", package), ("-r", "weir"), ("-P", "weir")):
        assert not [line for line in machine.dpkg(*words) if "sysusers" not in line]


def test_it_is_reproducible(package, tmp_path):
    assert hashlib.sha256(build(tmp_path / "b").read_bytes()).hexdigest() == hashlib.sha256(package.read_bytes()).hexdigest()
