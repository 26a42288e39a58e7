"""An older weir, for upgrades: the programs of the release before this commit, or until there is one, of a commit whose schema is one change behind. Built from
git's history into $BUILD/older, with little optimisation (some 35 s of one CPU); only what is needed, and once for each commit."""
import os
import pathlib
import re
import shutil
import subprocess

import stack
from conftest import ROOT

BEFORE_A_RELEASE = "7bfde2b5fbdf6d89700721583644f0378ade55a1"  # the last one without migration 10
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build")).absolute()


def git(*words):
    out = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=False)
    return out.stdout if out.returncode == 0 else b""


def commit():
    """Its id; None where this clone does not have it."""
    tag = git("describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^").decode().strip()
    return git("rev-parse", "--verify", "--quiet", f"{tag or BEFORE_A_RELEASE}^{{commit}}").decode().strip() or None


def migrations(name):
    return len(re.findall(r"\.sql$", git("ls-tree", "--name-only", name, "services/reconciler/migrations/").decode(), re.M))


def build(name):
    """The folder of its programs."""
    folder = BUILD / "older" / name
    programs = [f"build/bin/weir-{service}" for service in stack.SERVICES]
    if not all((folder / program).exists() for program in programs):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        subprocess.run(["tar", "-x", "-C", folder], input=git("archive", name), check=True)
        deps = os.environ.get("DEPS", ROOT / "build" / "deps")
        out = subprocess.run(["make", "-j2", f"DEPS={pathlib.Path(deps).absolute()}", "BUILD=build", "OPT=-O0", "HARD=", "WARN=-w", *programs], cwd=folder, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=900, env={k: v for k, v in os.environ.items() if not k.startswith("MAKE")})
        assert out.returncode == 0, f"{name} does not build: {out.stdout[-2000:]}"
    return folder / "build" / "bin"
