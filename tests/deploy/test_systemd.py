"""deploy/systemd: valid and hardened, in systemd's own words."""
import os
import pathlib
import re
import shutil

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
    text = (UNITS / "weir@.service").read_text().replace("/usr/bin/weir-%i", f"{BIN}/weir-%i").replace("User=weir", "User=root").replace("Group=weir", "Group=root")
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


def test_with_a_newer_systemd_it_is_started_again_later_and_later():
    said = dict(re.findall(r"(?m)^(\w+)=(.*)$", (UNITS / "weir@.service.d" / "backoff.conf").read_text()))
    assert said == {"RestartSec": "1", "RestartSteps": "8", "RestartMaxDelaySec": "5min"}, "1 s to 5 min, eight steps: each about twice the one before"
