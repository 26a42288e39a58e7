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


def test_there_is_a_page_per_program():
    assert set(MAN.iterdir()) == set(PAGES.values())


@pytest.mark.parametrize("program", [program for program in PAGES if program != "weir-backup"])
def test_page(program):
    text = PAGES[program].read_text().replace("\\-", "-")
    _, shown = run(BIN / program, "--version")
    assert f'"weir {shown.split()[1]}"' in text and f"\n{program} - " in text
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
    assert f'"weir {shown.split()[1]}"' in text and "\nweir-backup - " in text and "PGURL" in said and "PGURL" in text
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
