"""docs/bus-threads.md names tests: each exists and is run, and each test of threads_test.c stands there."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = (ROOT / "docs" / "bus-threads.md").read_text()


def named():
    return {tuple(name.split(": ")) for name in re.findall(r"`([\w./]+: \w+)`", TABLE)}


def test_each_test_in_the_table_exists_and_is_run():
    assert len(named()) > 30
    for program, name in named():
        if program.endswith(".py"):
            assert f"def {name}(" in (ROOT / program).read_text(), (program, name)
            continue
        text = (ROOT / "tests" / "unit" / "bus" / f"{program}.c").read_text()
        assert re.search(rf"static void {name}\(void \*\*state\)", text), (program, name)
        assert re.search(rf"(TEST|cmocka_unit_test\w*|X)\({name}\b", text), f"{program}: {name} is not in its list of tests"


def test_each_row_has_a_test():
    rows = [line for line in TABLE.splitlines() if line.startswith("| ") and not line.startswith("| thread")]
    assert len(rows) > 25 and all(re.search(r"`[\w./]+: \w+`", row) for row in rows)


def test_each_staged_thread_is_in_the_table():
    text = (ROOT / "tests" / "unit" / "bus" / "threads_test.c").read_text()
    staged = set(re.findall(r"static void (\w+)\(void \*\*state\)", text))
    assert staged == {name for program, name in named() if program == "threads_test"}
