"""From the chart before to this one: rendered both, nothing differs that Kubernetes would refuse to change in place.

The whole difference is in $BUILD/check/chart-upgrade-*.diff. Before: the newest release that is not this commit itself, or as long as there is none,
the first chart of all. A shallow clone without it has nothing to compare with.
"""
import difflib
import os
import pathlib
import subprocess

import pytest
import yaml
from chart import CHART, ENVIRONMENTS, helm, template
from conftest import ROOT

FIXED = {  # what an update may not touch
    "Deployment": lambda spec: spec["selector"],
    "StatefulSet": lambda spec: (spec["selector"], spec["serviceName"], spec["volumeClaimTemplates"]),
    "PersistentVolumeClaim": lambda spec: spec,
    "Service": lambda spec: spec.get("clusterIP"),
}


def git(*words, clone=ROOT):
    out = subprocess.run(["git", *words], cwd=clone, capture_output=True, check=False)
    return out.stdout if out.returncode == 0 else b""


def earlier(clone=ROOT):
    """What names the chart before in this clone; None without one. Tags of HEAD itself do not count: a release is compared with the one before it."""
    found = git("describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^", clone=clone) \
        or git("log", "--diff-filter=A", "--format=%H", "--", "deploy/helm/weir/Chart.yaml", clone=clone)
    name = found.split()[-1].decode() if found else "HEAD"
    return name if git("rev-parse", f"{name}^{{commit}}", clone=clone) != git("rev-parse", "HEAD", clone=clone) else None


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    found = earlier()
    archive = git("archive", found, "deploy") if found else b""
    if not archive:
        pytest.skip("no earlier chart in this clone")
    folder = tmp_path_factory.mktemp("before")
    subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
    return folder / "deploy" / "helm" / "weir"


def refused(old, new):
    old = {(o["kind"], o["metadata"]["name"]): o for o in old}
    return [f"{kind} {o['metadata']['name']}" for o in new for kind in [o["kind"]] if kind in FIXED and (kind, o["metadata"]["name"]) in old
            and FIXED[kind](o["spec"]) != FIXED[kind](old[kind, o["metadata"]["name"]]["spec"])]


def difference(old, new):
    """What an upgrade changes, object by object, for a person to read."""
    def text(objects):
        return {f"{o['kind']}/{o['metadata']['name']}": yaml.safe_dump(o).splitlines(keepends=True) for o in objects}

    old, new = text(old), text(new)
    return "".join(line for name in sorted(old | new) for line in difflib.unified_diff(old.get(name, []), new.get(name, []), f"before/{name}", f"after/{name}"))


@pytest.mark.parametrize("values", ENVIRONMENTS)
def test_an_upgrade_changes_nothing_that_cannot_be_changed(before, values):
    """With the values of before: they must still be understood."""
    status, said = helm("template", "weir", before, "--namespace", "weir", "-f", before / f"values-{values}.yaml")
    assert status == 0, said
    old = [o for o in yaml.safe_load_all(said) if o]
    status, said = helm("template", "weir", CHART, "--namespace", "weir", "-f", before / f"values-{values}.yaml", "--is-upgrade")
    assert status == 0, said
    new = [o for o in yaml.safe_load_all(said) if o]
    folder = pathlib.Path(os.environ.get("BUILD", ROOT / "build")) / "check"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"chart-upgrade-{values}.diff").write_text(difference(old, new))
    assert not refused(old, new)
    assert {(o["kind"], o["metadata"]["name"]) for o in old if o["kind"] == "StatefulSet"} <= {(o["kind"], o["metadata"]["name"]) for o in new}


def test_a_release_is_not_compared_with_itself(tmp_path):
    def commit(tag=None):
        chart = tmp_path / "deploy" / "helm" / "weir" / "Chart.yaml"
        chart.parent.mkdir(parents=True, exist_ok=True)
        chart.write_text(f"{chart.read_text() if chart.exists() else ''}#\n")
        for words in (["add", "."], ["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "c"], *([["tag", tag]] if tag else [])):
            subprocess.run(["git", *words], cwd=tmp_path, check=True)
        return git("rev-parse", "HEAD", clone=tmp_path).decode().strip()

    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    first = commit()
    assert earlier(tmp_path) is None, "also a shallow clone's only commit"
    commit()
    assert earlier(tmp_path) == first
    commit("v0.1.0")
    assert earlier(tmp_path) == first
    commit()
    assert earlier(tmp_path) == "v0.1.0"
    commit("v0.2.0")
    assert earlier(tmp_path) == "v0.1.0"


def test_such_a_change_would_be_seen():
    old, new = template("dev"), template("dev")
    next(o for o in new if o["kind"] == "Deployment")["spec"]["selector"]["matchLabels"]["more"] = "x"
    assert len(refused(old, new)) == 1 and not refused(old, template("dev"))
    assert difference(old, new).count("\n+") >= 2 and not difference(old, old)
