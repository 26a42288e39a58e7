"""Every alert fires when it should and is silent when it should (promtool, on Prometheus' own engine), and has its page."""
import json
import re
import subprocess

import pytest
import yaml
from alert_cases import CASES, MORE
from conftest import MONITORING, ROOT, RULES, rules, run, tool

RUNBOOK = ROOT / "docs" / "runbook"


def expectation(alert, labels, minute):
    """ALERTS is what Prometheus itself records about its alerts."""
    query = f'count by ({",".join(["alertname", *(labels or {})])}) (ALERTS{{alertname="{alert}", alertstate="firing"}})'
    shown = ", ".join(f'{k}="{v}"' for k, v in {"alertname": alert, **(labels or {})}.items())
    return {"expr": query, "eval_time": f"{minute}m", "exp_samples": [] if labels is None else [{"labels": f"{{{shown}}}", "value": 1}]}


def promtool_test(folder, path, cases):
    """A running promtool. cases: (alert, labels or None: silent, minutes, series)."""
    tests = [{"interval": "1m", "input_series": [{"series": name, "values": values} for name, values in series.items()],
              "promql_expr_test": [expectation(alert, labels, minute) for minute in minutes]} for alert, labels, minutes, series in cases]
    file = folder / f"{path.stem}.yml"
    file.write_text(json.dumps({"rule_files": [str(path)], "evaluation_interval": "3m" if path.stem == "slo" else "1m", "tests": tests}))
    return subprocess.Popen([tool("promtool"), "test", "rules", file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """All files' cases at the same time: they take seconds each."""
    running = {}
    for path in RULES:
        here = {rule["alert"] for rule in rules("alert", [path])}
        cases = [case for alert, (labels, minute, bad, good) in CASES.items() if alert in here
                 for case in ((alert, labels, [minute], bad), (alert, None, [minute // 2, minute, minute + 15], good))]
        running[path] = promtool_test(tmp_path_factory.mktemp("cases"), path, cases + [case for case in MORE if case[0] in here])
    return running


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_each_alert_fires_and_is_silent_as_it_should(verdicts, path):
    said, _ = verdicts[path].communicate(timeout=240)
    assert verdicts[path].returncode == 0, said[-6000:]


def test_a_case_that_is_wrong_is_noticed(tmp_path):
    """promtool compares: the healthy series do not make the alert fire, and saying so must fail."""
    labels, minute, _, good = CASES["WeirGap"]
    path = next(path for path in RULES if path.stem == "health")
    promtool = promtool_test(tmp_path, path, [("WeirGap", labels, [minute], good)])
    said, _ = promtool.communicate(timeout=60)
    assert promtool.returncode != 0 and "FAILED" in said


def test_every_alert_has_its_cases():
    assert {rule["alert"] for rule in rules("alert")} == set(CASES)


@pytest.mark.parametrize("command", [["check", "rules", *RULES], ["check", "config", MONITORING / "prometheus" / "prometheus.yml"]])
def test_prometheus_takes_its_files(command):
    status, said = run(tool("promtool"), *command)
    assert status == 0 and "FAILED" not in said, said


def test_alertmanager_takes_its_file_and_routes():
    config = MONITORING / "alertmanager" / "alertmanager.yml"
    status, said = run(tool("amtool"), "check-config", config)
    assert status == 0, said
    for severity, receiver in (("page", "on-call"), ("ticket", "tickets")):
        status, said = run(tool("amtool"), "config", "routes", "test", f"--config.file={config}", "alertname=WeirGap", f"severity={severity}")
        assert status == 0 and said.split()[-1] == receiver, said


def test_every_alert_names_a_page_that_names_it():
    for rule in rules("alert"):
        note, severity = rule["annotations"], rule["labels"]["severity"]
        assert severity in ("page", "ticket") and note["summary"] and note["description"], rule["alert"]
        page = ROOT / note["runbook"]
        assert page.parent == RUNBOOK and page.is_file(), f"{rule['alert']}: {note['runbook']} is missing"
        assert f"`{rule['alert']}`" in page.read_text(), f"{page.name} does not say that it is about {rule['alert']}"


def test_every_page_says_what_a_page_must():
    for page in RUNBOOK.glob("*.md"):
        text = page.read_text()
        if page.name in ("README.md", "errors.md"):
            continue
        assert text.startswith(f"# {page.stem}: "), page.name
        for part in ("**What it means.**", "**Look at.**", "**Do.**", "**Over when**"):
            assert part in text, f"{page.name} lacks {part}"
        assert page.name in (RUNBOOK / "README.md").read_text(), f"{page.name} is not in the index"


def test_every_error_code_is_covered():
    codes = re.findall(r"^\| `(\w+)` \| -?\d+ \|", (ROOT / "docs" / "errors.md").read_text(), re.M)
    covered = re.findall(r"^\| `(\w+)` \|", (RUNBOOK / "errors.md").read_text(), re.M)
    assert len(codes) > 20 and covered == codes


def test_no_link_of_the_runbook_is_dead():
    for page in RUNBOOK.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+\.md)[)#]", page.read_text()):
            assert (page.parent / target).is_file(), f"{page.name}: {target}"


def test_rules_are_yaml_without_doubles():
    names = [rule["alert"] for rule in rules("alert")]
    assert len(names) == len(set(names))
    for path in RULES:
        assert yaml.safe_load(path.read_text())["groups"]
