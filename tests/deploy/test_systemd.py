"""deploy/systemd: valid and hardened, in systemd's own words; and what its helper does between the end of a service and its restart."""
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest
import stack
from conftest import ROOT, run

UNITS = ROOT / "deploy" / "systemd"
BIN = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin")).absolute()
EXPOSURE_AT_MOST = 1.5  # of 10: what systemd calls OK ends at 5


@pytest.fixture
def units(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed: run tools/deps deploy")
    (tmp_path / "weir.target").write_text((UNITS / "weir.target").read_text())
    text = (UNITS / "weir@.service").read_text().replace("/usr/bin/weir-%i", f"{BIN}/weir-%i").replace("/usr/lib/weir/", f"{UNITS}/").replace("User=weir", "User=root").replace("Group=weir", "Group=root")
    for name in stack.SERVICES:
        (tmp_path / f"weir-test-{name}.service").write_text(text.replace("%i", name))
    return tmp_path


def test_systemd_understands_the_units(units):
    for name in stack.SERVICES:
        status, said = run("systemd-analyze", "verify", "--man=no", units / f"weir-test-{name}.service", units / "weir.target")
        ours = [line for line in said.splitlines() if str(units) in line or "weir" in line]
        assert status == 0 and not ours, said


def test_a_mistake_would_be_seen(units):
    path = units / "weir-test-gateway.service"
    path.write_text(path.read_text().replace("ProtectSystem=strict", "ProtectSystem=strictly"))
    _, said = run("systemd-analyze", "verify", "--man=no", path)
    assert "strictly" in said


def test_little_is_exposed(units):
    status, said = run("systemd-analyze", "security", "--offline=true", units / "weir-test-reconciler.service")
    found = re.search(r"Overall exposure level for .*?: ([0-9.]+)", said)
    if not found:
        pytest.skip(f"systemd-analyze cannot judge units here: {said[:200]}")
    assert float(found.group(1)) <= EXPOSURE_AT_MOST, said


def test_it_is_started_again_and_given_time_to_drain():
    text = (UNITS / "weir@.service").read_text()
    said = dict(re.findall(r"(?m)^(\w+)=(.*)$", text))
    assert said["Restart"] == "always" and said["StartLimitIntervalSec"] == "0" and int(said["TimeoutStopSec"]) > 35
    assert said["RestartPreventExitStatus"].split() == ["64", "78"], "docs/errors.md: usage and config"


class Ends:
    """The helper as the unit runs it, with systemd's part played here: its variables, the folder that it keeps or removes. `sleep` and `date` only tell and are
    told: nothing waits."""

    def __init__(self, folder):
        self.state, self.bin, self.slept, self.now = folder / "run", folder / "bin", folder / "slept", 1_700_000_000
        self.state.mkdir()
        self.bin.mkdir()
        for name, text in (("sleep", f'echo "$1" >>{self.slept}'), ("date", 'echo "$NOW"')):
            (self.bin / name).write_text(f"#!/bin/sh\n{text}\n")
            (self.bin / name).chmod(0o755)

    def helper(self, word, **more):
        environment = {"PATH": f"{self.bin}:/usr/bin:/bin", "RUNTIME_DIRECTORY": str(self.state), "NOW": str(self.now)}
        status, said = run(UNITS / "back-off", word, env=environment | more)
        assert status == 0, said
        return said

    def starts(self):
        """How long that waits."""
        self.slept.write_text("")
        said = self.helper("wait")
        seconds = sum(map(int, self.slept.read_text().split()))
        self.now += seconds
        assert ("waiting" in said) == (seconds > 0) and (seconds == 0 or f"waiting {seconds} s" in said), said
        return seconds

    def ends(self, result, after=1):
        self.now += after
        self.helper("ended", SERVICE_RESULT=result)


@pytest.fixture
def service(tmp_path):
    return Ends(tmp_path)


def test_what_keeps_ending_is_started_again_later_and_later(service):
    waits = [service.starts()]
    for _ in range(12):
        service.ends("exit-code")
        waits.append(service.starts())
    said = dict(re.findall(r"(?m)^(\w+)=(.*)$", (UNITS / "weir@.service").read_text()))
    assert [wait + int(said["RestartSec"]) for wait in waits[1:]] == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300] and waits[0] == 0
    assert said["TimeoutStartSec"] == "6min" and said["RuntimeDirectoryPreserve"] == "restart" and said["RuntimeDirectory"] == "weir-%i"


@pytest.mark.parametrize("result", ["signal", "core-dump", "oom-kill", "watchdog", "timeout"])
def test_each_kind_of_failure_counts(service, result):
    for _ in range(3):
        service.starts()
        service.ends(result)
    assert service.starts() == 6


def test_a_long_run_and_a_success_begin_anew(service):
    for _ in range(5):
        service.starts()
        service.ends("exit-code")
    assert service.starts() == 30
    service.ends("exit-code", after=599)
    assert service.starts() == 62
    service.ends("exit-code", after=600)
    assert service.starts() == 0, "the first after a long run"
    service.ends("exit-code")
    assert service.starts() == 2
    service.ends("success")
    assert service.starts() == 0
    service.ends("exit-code")
    assert service.starts() == 0


def test_what_it_cannot_know_makes_nobody_wait(service):
    """A start by hand (systemd has removed the folder's contents), files of something else, no folder at all."""
    assert service.starts() == 0
    (service.state / "ends").write_text("many\n")
    assert service.starts() == 0
    (service.state / "ends").write_text("")
    assert service.starts() == 0
    assert run(UNITS / "back-off", "wait", env={"PATH": "/usr/bin:/bin"})[0] == 64, "which the unit passes over"
    lines = (UNITS / "weir@.service").read_text().splitlines()
    assert [line for line in lines if "back-off" in line] == ["ExecStartPre=-/usr/lib/weir/back-off wait", "ExecStopPost=-/usr/lib/weir/back-off ended"]


def test_the_wait_ends_with_the_service(service):
    """systemd ends it as it ends the service: by SIGTERM to all of it."""
    shutil.copy("/bin/sleep", service.bin / "sleep")
    (service.state / "ends").write_text("20\n")
    environment = {"PATH": f"{service.bin}:/usr/bin:/bin", "RUNTIME_DIRECTORY": str(service.state), "NOW": str(service.now)}
    with subprocess.Popen([UNITS / "back-off", "wait"], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True) as waiting:
        assert "waiting 298 s" in waiting.stdout.readline()
        os.killpg(waiting.pid, signal.SIGTERM)
        assert waiting.wait(60) == -signal.SIGTERM
