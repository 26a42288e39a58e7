"""deploy/man: well formed, and about the programs that there are."""
import os
import pathlib
import re
import shutil

import pytest
import stack
from conftest import ROOT, run

MAN = ROOT / "deploy" / "man"
BIN = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin"))
PAGES = {f"weir-{name}": MAN / f"weir-{name}.8" for name in stack.SERVICES} | {"weirctl": MAN / "weirctl.1", "weir-backup": MAN / "weir-backup.8"}
BACKUP = ROOT / "deploy" / "backup" / "weir-backup"


def released(shown):
    """Of what --version prints: the release that the build is, or is on the way to."""
    return shown.split()[1].partition("+")[0]


def test_there_is_a_page_per_program():
    assert set(MAN.iterdir()) == set(PAGES.values())


@pytest.mark.parametrize("program", [program for program in PAGES if program != "weir-backup"])
def test_page(program):
    text = PAGES[program].read_text().replace("\\-", "-")
    _, shown = run(BIN / program, "--version")
    assert f'"weir {released(shown)}"' in text and f"\n{program} - " in text
    _, helped = run(BIN / program, "--help")
    variables = set(re.findall(r"WEIR_[A-Z]+", helped))
    assert variables <= set(re.findall(r"WEIR_[A-Z]+", text))
    if program != "weirctl":
        assert set(re.findall(r"--[a-z-]+", helped)) <= set(re.findall(r"--[a-z-]+", text))


def test_page_of_the_backup():
    """It is a script: its usage has its commands and exit statuses."""
    text = PAGES["weir-backup"].read_text().replace("\\-", "-")
    status, said = run(BACKUP)
    _, shown = run(BIN / "weirctl", "--version")
    assert f'"weir {released(shown)}"' in text and "\nweir-backup - " in text and "PGURL" in said and "PGURL" in text
    commands = re.findall(r"(?m)^  weir-backup (\w+)  *FILE", said)
    assert sorted(commands) == ["backup", "restore", "verify"] and all(f".BI {command} " in text for command in commands), commands
    statuses = set(re.findall(r"\b(6\d|7\d)\b", BACKUP.read_text()[:1500])) | {str(status)}
    assert statuses == {"64", "65", "73"} == set(re.findall(r"\b(\d\d)\b", text.partition(".SH EXIT STATUS")[2].partition(".SH")[0]))


@pytest.mark.parametrize("program", PAGES)
def test_page_is_well_formed(program):
    if not shutil.which("mandoc"):
        pytest.skip("mandoc is not installed: run tools/deps deploy")
    _, said = run("mandoc", "-Tlint", "-Wwarning", PAGES[program])
    assert not [line for line in said.splitlines() if "referenced manual not found" not in line], said


RUNBOOK = ROOT / "docs" / "runbook"
MEANT = {"ID": "1-1", "NAME": "normalizer", "TEXT": "x", "HEIGHT": "5", "START-1": "4", "CHAIN": "dev", "REASON": "invalid", "ACCOUNT": "0x" + "12" * 20, "ASSET": "native",
         "N": "1", "…": "x", "FILE": "/dev/null"}


def test_every_weirctl_of_the_runbook_is_understood(tmp_path):
    """As it stands, with a word of its kind for each placeholder: there is no gateway here, so what is understood ends with "no answer", what is not with "usage"."""
    lines = {(page.name, line) for page in RUNBOOK.glob("*.md") for line in re.findall(r"`(weirctl [^`]+)`", page.read_text().replace("\n   ", " ").replace("\n", " "))}
    assert len(lines) > 30
    refused = []
    for page, line in sorted(lines):
        words = [MEANT.get(word, word) for word in re.sub(r"\$(\w+)", r"\1", line).replace('"', "").split()[1:]]
        status, said = run(BIN / "weirctl", "--api", "http://127.0.0.1:1", "--admin", "http://127.0.0.1:1", "--key", "a-key-of-nobody", *words, cwd=tmp_path)
        if status != 69:
            refused.append((page, line, status, said.strip()))
    assert not refused
