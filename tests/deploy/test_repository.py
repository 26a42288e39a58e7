"""The repository as a place to work: workflows, templates, owners. What GitHub would find out too late."""
import os
import re
import sys

import pytest
import stack
import yaml
from conftest import ROOT, run

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))


def make_targets(script):
    """What `make` is asked for: words that are neither options nor settings."""
    lines = [re.split(r"[;&|]", line[line.index("make ") + 5:])[0] for line in re.sub(r"\$\{\{.*?\}\}|\"[^\"]*\"", "", script).splitlines()
             if re.match(r"(.*&& )?make ", line)]
    return {word for line in lines for word in line.split() if word[0] != "-" and "=" not in word}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows(path):
    flow = yaml.safe_load(path.read_text())
    assert flow["permissions"] == {"contents": "read"}, "more only where a job needs it"
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    for job in flow["jobs"].values():
        assert job["timeout-minutes"] and ":latest" not in str(job.get("container", "")) and "-latest" not in job["runs-on"]
        commands = "\n".join(what["command"] for what in job.get("strategy", {}).get("matrix", {}).get("what", []))
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert "uses" not in step or re.search(r"@(v\d+|[0-9a-f]{40})$", step["uses"]), step
            text = step.get("run", "") + str(job.get("strategy", ""))
            assert "github.event." not in text and "github.head_ref" not in text, "what strangers write is no shell code"
            assert make_targets(f"{step.get('run', '')}\n{commands}") <= targets
            for script in re.findall(r"(?:^|[ &])((?:\.ci|docker|tools)/[\w-]+)", step.get("run", "")):
                assert os.access(ROOT / script, os.X_OK) or script.endswith("Dockerfile"), script


def test_what_runs_the_tests_may_mount():
    """Full disks, pods and names that rebind need mounts and network namespaces, which an ordinary container may not make."""
    found = 0
    for path in WORKFLOWS:
        for name, job in yaml.safe_load(path.read_text())["jobs"].items():
            if any(word in str(job) for word in (".ci/run", "make check", "make newcomer", "make images-run")):
                assert job["container"]["options"] == "--privileged", (path.name, name)
                found += 1
    assert found >= 2


def released():
    return yaml.safe_load((GITHUB / "workflows" / "release.yml").read_text())["jobs"]


def test_what_fails_the_tests_is_not_released():
    jobs = released()
    waits_for = jobs["release"]["needs"]
    tested = yaml.safe_load((GITHUB / "workflows" / "ci.yml").read_text())["jobs"]["check"]
    assert jobs[waits_for]["steps"] == tested["steps"] and jobs[waits_for]["container"] == tested["container"]
    assert "permissions" not in jobs[waits_for] and "continue-on-error" not in str(jobs), "the tests may only read"


@pytest.mark.parametrize("pushed", [True, False])
def test_the_chart_is_signed_as_it_was_pushed(tmp_path, pushed):
    """The step as it stands, with stand-ins for helm and cosign: there is no registry here, and nobody to sign as."""
    (step,) = (step["run"] for step in released()["release"]["steps"] if "helm push" in step.get("run", ""))
    digest = "sha256:" + "3f" * 32
    said = f'printf "Pushed: ghcr.io/o/weir/charts/weir:1.2.3\\nDigest: {digest}\\n" >&2' if pushed else "echo refused >&2; exit 1"
    for name, text in (("helm", f'case $1 in push) {said} ;; esac'), ("cosign", f'echo "$*" >>{tmp_path}/signed')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    environment = dict(os.environ, PATH=f"{tmp_path}:{os.environ['PATH']}", VERSION="1.2.3", REGISTRY="ghcr.io/o/weir")
    status, output = run("bash", "-e", "-c", re.sub(r"\$\{\{.*?\}\}", "x", step), env=environment, cwd=tmp_path)
    assert (status == 0) == pushed, output
    assert not pushed or (tmp_path / "signed").read_text() == f"sign --yes ghcr.io/o/weir/charts/weir@{digest}\n"
    assert pushed or not (tmp_path / "signed").exists()


@pytest.mark.parametrize("tags, expected", [({"v0.0.1": "HEAD~2", "v0.0.2": "HEAD"}, "v0.0.1"), ({"v0.0.1": "HEAD~2", "v0.0.2": "HEAD~1"}, "v0.0.2"),
                                            ({"v0.0.2": "HEAD"}, "a commit")])
def test_messages_are_compared_with_the_release_before(tmp_path, tags, expected):
    """Also while a release is checked, whose tag is the commit's own. A stand-in for buf tells what it is to compare with."""
    clone = tmp_path / "clone"
    if run("git", "clone", "-q", "--no-tags", ROOT, clone)[0] != 0 or run("git", "-C", clone, "rev-parse", "HEAD~2")[0] != 0:
        pytest.skip("this is no clone with history")
    for tag, commit in tags.items():
        assert run("git", "-C", clone, "tag", tag, commit)[0] == 0
    (clone / "tools" / "lint" / "run").write_text((ROOT / "tools" / "lint" / "run").read_text())
    (clone / "tools" / "deps").write_text("#!/bin/sh\n")
    (tmp_path / "buf").write_text(f'#!/bin/sh\necho "$4" >{tmp_path}/against\n')
    (tmp_path / "buf").chmod(0o755)
    status, said = run(clone / "tools" / "lint" / "run", cwd=clone, env=dict(os.environ, PATH=f"{tmp_path}:{os.environ['PATH']}", LINT_ONLY="buf-breaking"))
    assert status == 0, said
    assert (tmp_path / "against").read_text() == f".git#ref={expected},subdir=proto\n" or expected == "a commit"


def asked_for_a_disk(*wrapper, kind="tmpfs"):
    program = f"import stack; stack.Disk.KIND = {kind!r}; print(stack.Disk.refused(), flush=True); stack.Disk(1).stop()"
    return run(*wrapper, sys.executable, "-c", program, env=os.environ | {"PYTHONPATH": str(ROOT / "tools" / "stack")})


@pytest.mark.skipif(os.geteuid() != 0, reason="root's rights cannot be taken from who has none")
def test_only_where_mounting_is_refused_is_a_small_disk_done_without():
    said = asked_for_a_disk("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin")[1]
    assert said.startswith("root may not mount a small disk here (mount: Operation not permitted)"), said
    if stack.Disk.refused():
        pytest.skip(stack.Disk.refused())
    assert asked_for_a_disk() == (0, "None\n")
    status, said = asked_for_a_disk(kind="no-such-kind")
    assert status != 0 and said.startswith("None\n") and "no-such-kind" in said, said


def test_what_ci_lacks_fails_and_what_others_lack_is_skipped(tmp_path):
    def without_tools(**more):
        return run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", ROOT / "tests" / "deploy" / "test_manual.py",
                   "-k", "well_formed and weirctl", env={k: v for k, v in os.environ.items() if k != "CHECK_TOOLS"} | {"PATH": str(tmp_path)} | more)

    status, said = without_tools()
    assert status == 0 and "1 skipped" in said, said
    status, said = without_tools(CHECK_TOOLS="required")
    assert status == 1 and "mandoc is not installed: run tools/deps deploy" in said and re.search(r"1 (failed|error)", said), said
    assert "CHECK_TOOLS=required make check" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_the_shell_in_workflows(path, tmp_path):
    if run("sh", "-c", "command -v shellcheck")[0] != 0:
        pytest.skip("shellcheck is not installed: run tools/deps deploy")
    for name, job in yaml.safe_load(path.read_text())["jobs"].items():
        for i, step in enumerate(job["steps"]):
            if "run" in step:
                script = tmp_path / f"{name}-{i}.sh"
                script.write_text("#!/bin/bash\nset -e\n" + re.sub(r"\$\{\{.*?\}\}", "value", step["run"]) + "\n")
                status, said = run("shellcheck", "-S", "warning", "-e", "SC2155", script)
                assert status == 0, said


def test_templates_and_owners():
    for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(path.read_text())
        if path.name != "config.yml":
            assert form["name"] and form["description"] and all(part["type"] in ("markdown", "textarea", "input") for part in form["body"])
    for line in (GITHUB / "CODEOWNERS").read_text().splitlines():
        if line and line[0] != "#":
            pattern, *owners = line.split()
            assert owners and (pattern == "*" or (ROOT / pattern.strip("/")).exists()), line
    for update in yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"]:
        assert (ROOT / update["directory"].strip("/")).is_dir()


def test_labels_that_are_used_are_made():
    labels = {label["name"]: label for label in yaml.safe_load((GITHUB / "labels.yml").read_text())}
    for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml"):
        assert set(yaml.safe_load(path.read_text()).get("labels", [])) <= set(labels), path.name
    for label in labels.values():
        assert re.fullmatch(r"[0-9a-f]{6}", label["color"]) and len(label["description"]) <= 100, label


def test_links_in_what_operators_read():
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "deploy" / "helm" / "weir" / "README.md"]:
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_a_failed_test_of_node_is_told_with_its_reason(tmp_path):
    """What make check prints of it, and once more at its end: a machine that is gone leaves nothing else to look at."""
    (tmp_path / "some.test.mjs").write_text("""
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
describe('a suite', () => {
  test('one that passes', () => {});
  test('one that fails', async () => { assert.fail('two were given up: not within 60 s\\nphotograph: some.png'); });
  test('another that passes', () => {});
});
describe('one that does not begin', () => {
  before(() => { throw new Error('the suite did not start'); });
  test('one that was not run', () => {});
});
""")
    status, report = run("node", "--test", "--test-reporter=tap", cwd=tmp_path)
    assert status == 1
    (tmp_path / "report").write_text(report)
    _, told = run(ROOT / "tools" / "tap-failures", tmp_path / "report")
    assert re.findall(r"(?m)^ *not ok \d+ - (.*)$", told) == ["one that fails", "one that was not run", "one that does not begin"]
    for words in ("two were given up: not within 60 s", "photograph: some.png", "some.test.mjs:6:", "the suite did not start"):
        assert words in told, words
    assert "passes" not in told and "subtestsFailed" not in told and "cancelledByParent" not in told
