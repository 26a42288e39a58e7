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
        assert re.search(rf"(TEST|cmocka_unit_test\w*|fixture_threads)\({name}\b", text), f"{program}: {name} is not in its list of tests"


def threads_of(cell):
    """"redis#9211, redis#5774" → both; words behind a colon say what they have in common."""
    return [thread.strip() for thread in cell.split(":")[0].split(",")]


def test_each_test_is_named_after_its_threads():
    """What a test stands for is said where its result is read."""
    for row in TABLE.splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        for program, name in re.findall(r"`(\w+): (\w+)`", cells[-1]):
            text = (ROOT / "tests" / "unit" / "bus" / f"{program}.c").read_text()
            registered = re.search(rf"fixture_threads\({name},[^\"]*\"([^\"]*)\"", text)
            said = registered.group(1) if registered else name
            for thread in threads_of(cells[0]) if registered or program != "threads_test" else []:
                assert thread in said, f"{program}: {name} does not say that it stands for {thread}"


def test_each_row_has_a_test():
    rows = [line for line in TABLE.splitlines() if line.startswith("| ") and not line.startswith("| thread")]
    assert len(rows) > 25 and all(re.search(r"`[\w./]+: \w+`", row) for row in rows)


def test_each_staged_thread_is_in_the_table():
    text = (ROOT / "tests" / "unit" / "bus" / "threads_test.c").read_text()
    staged = set(re.findall(r"static void (\w+)\(void \*\*state\)", text))
    assert staged == {name for program, name in named() if program == "threads_test"}
