"""What builds are called: tools/version in small clones, and what the programs under test say."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest
from conftest import ROOT, run

BIN = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin"))
SEMVER = r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?"  # semver.org
BUILD = r"1\.2\.3\+\d{14}\.g[0-9a-f]{12}"


@pytest.fixture
def clone(tmp_path):
    """A repository with the script and a header, one commit; git(…) and version() in it."""
    class Clone:
        folder = tmp_path / "weir"

        def git(self, *words, when="2026-11-23T04:22:11+09:00"):
            identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
            return subprocess.run(["git", *identity, *words], cwd=self.folder, check=True, capture_output=True, text=True,
                                  env=dict(os.environ, GIT_AUTHOR_DATE=when, GIT_COMMITTER_DATE=when, GIT_CEILING_DIRECTORIES=str(tmp_path))).stdout.strip()

        def version(self, folder=None):
            status, said = run((folder or self.folder) / "tools" / "version", env=dict(os.environ, GIT_CEILING_DIRECTORIES=str(tmp_path)))
            assert status == 0, said
            return said.strip()

    made = Clone()
    (made.folder / "tools").mkdir(parents=True)
    (made.folder / "lib" / "base").mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "version", made.folder / "tools")
    (made.folder / "lib" / "base" / "version.h").write_text('#define WEIR_RELEASE "1.2.3" /* … */\n')
    made.git("init", "-q")
    made.git("add", ".")
    made.git("commit", "-qm", "first")
    return made


def test_a_build_is_called_by_its_commit_and_a_release_by_its_number(clone):
    first = clone.version()
    assert re.fullmatch(BUILD, first) and first.startswith("1.2.3+20261122192211.g" + clone.git("rev-parse", "HEAD")[:12])
    assert clone.version() == first
    clone.git("commit", "-q", "--allow-empty", "-m", "second", when="2026-11-23T05:00:00+00:00")
    assert clone.version() > first, "the later commit sorts later"
    (clone.folder / "untracked").write_text("x")
    assert re.fullmatch(BUILD, clone.version())
    clone.git("tag", "v1.2.2")
    assert re.fullmatch(BUILD, clone.version()), "another release's tag"
    clone.git("tag", "-a", "-m", "release", "v1.2.3")
    assert clone.version() == "1.2.3"
    with open(clone.folder / "lib" / "base" / "version.h", "a", encoding="utf-8") as file:
        file.write("/* changed */\n")
    assert re.fullmatch(BUILD + r"\.dirty", clone.version()), "not what was released"


def test_a_shallow_clone_says_the_same_and_an_archive_the_number(clone, tmp_path):
    clone.git("commit", "-q", "--allow-empty", "-m", "second")
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{clone.folder}", tmp_path / "shallow"], check=True)
    assert clone.version(tmp_path / "shallow") == clone.version()
    shutil.copytree(clone.folder, tmp_path / "archive", ignore=shutil.ignore_patterns(".git"))
    assert clone.version(tmp_path / "archive") == "1.2.3"
    shutil.copytree(tmp_path / "archive", clone.folder / "vendor" / "weir")
    assert clone.version(clone.folder / "vendor" / "weir") == "1.2.3", "that commit is another's"


def test_the_programs_agree_and_say_what_semantic_versioning_and_debian_understand():
    said = {run(BIN / name, "--version")[1].split()[1] for name in ("weir-fetcher", "weir-normalizer", "weir-reconciler", "weir-gateway", "weirctl")}
    (version,) = said
    assert re.fullmatch(SEMVER, version) and version.split("+")[0] in (ROOT / "lib" / "base" / "version.h").read_text()
    if "+" in version:
        older = [version.replace("+", "~"), version.partition("+")[0]]
        assert subprocess.run(["dpkg", "--compare-versions", older[0], "lt", older[1]], check=False).returncode == 0, "the release comes after what led to it"
