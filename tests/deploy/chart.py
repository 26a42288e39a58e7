"""Rendering the chart, and looking at what came out."""
import json
import subprocess

import yaml
from conftest import ROOT, run, tool

CHART = ROOT / "deploy" / "helm" / "weir"
ENVIRONMENTS = ("dev", "staging", "prod")
HERE = ROOT / "tests" / "deploy"
ARROWS = {  # ARCHITECTURE.md: who begins a conversation with whom
    "fetcher": {"dns", "redis", "nodes"}, "normalizer": {"dns", "redis"}, "reconciler": {"dns", "redis", "postgresql", "nodes"},
    "gateway": {"dns", "redis", "postgresql"}, "migrate": {"dns", "postgresql"}, "test": {"dns", "gateway"},
    "redis": set(), "postgresql": set()}


def helm(*words):
    """(exit status, what it said). The info about the link to deploy/monitoring is left out."""
    status, said = run(tool("helm"), *words)
    return status, "\n".join(line for line in said.splitlines() if "found symbolic link" not in line)


def template(values, *more):
    """Every object of a release named weir, with values-<values>.yaml."""
    out = subprocess.run([tool("helm"), "template", "weir", CHART, "--namespace", "weir", "-f", CHART / f"values-{values}.yaml", *more],
                         capture_output=True, text=True, check=False, timeout=60)
    assert out.returncode == 0, out.stderr
    return [document for document in yaml.safe_load_all(out.stdout) if document]


def of(objects, *kinds):
    return [o for o in objects if o["kind"] in kinds]


def named(objects, kind, name):
    return next(o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name)


def pod_templates(objects):
    """(owner, labels, pod spec) of everything that makes pods."""
    for o in objects:
        if o["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield o, o["spec"]["template"]["metadata"]["labels"], o["spec"]["template"]["spec"]
        elif o["kind"] == "Pod":
            yield o, o["metadata"]["labels"], o["spec"]


def component(labels):
    return labels["app.kubernetes.io/component"]


def selects(selector, labels):
    assert set(selector) <= {"matchLabels"}, selector
    return all(labels.get(k) == v for k, v in selector.get("matchLabels", {}).items())


def schema_faults(objects):
    if not (HERE / "node_modules" / "kubernetes-models").exists():
        import pytest

        pytest.skip("kubernetes-models is not in tests/deploy/node_modules: run tools/deps deploy")
    out = subprocess.run(["node", HERE / "kubernetes.mjs"], input=json.dumps(objects), capture_output=True, text=True, check=False, cwd=HERE, timeout=60)
    return out.returncode, out.stdout + out.stderr
