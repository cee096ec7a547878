"""The page on the architecture names what is there, and the code keeps the shape that it describes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.house import LIMITS, entries, survey

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()


def test_every_path_on_the_page_is_there() -> None:
    named = re.findall(r"`((?:tui|engine|store|tests|bench)/[\w./]*)`", PAGE)
    assert len(named) > 40
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_statement_on_security_names_a_test_that_is_there() -> None:
    rows = [row for row in (ROOT / "docs/security.md").read_text().splitlines() if row.startswith("| ")]
    statements = [row for row in rows if not row.startswith("| statement")]
    assert len(statements) > 10
    for row in statements:
        tests = re.findall(r"`(tests/[\w./]+)`", row)
        assert tests and all((ROOT / test).is_file() for test in tests), row


@pytest.mark.parametrize("floor", ["tui", "engine", "store"])
def test_every_room_is_on_the_page(floor: str) -> None:
    rooms = {
        f"{folder.relative_to(ROOT)}/"
        for folder in (ROOT / floor).iterdir()
        if (folder / "__init__.py").exists()
    }
    assert {room for room in rooms if f"| `{room}` |" not in PAGE} == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert survey().circles == []


def test_a_class_name_means_one_thing() -> None:
    assert survey().doubled == {}


def test_no_folder_holds_more_than_a_newcomer_can_survey() -> None:
    assert {folder: entries(folder) for folder in LIMITS if entries(folder) > LIMITS[folder]} == {}


# Where files are written outside of `engine/data/textfile.py`, which writes them whole or not at all.
WRITERS = {
    "assay/pytest_plugin.py": "which run a test session has, for its own processes, in its temporary folder",
    "engine/data/textfile.py": "the one that everybody else uses",
    "engine/sandbox/limits.py": "the kernel's own files of a control group",
    "engine/sandbox/jail.py": "the kernel's own files under /proc",
    "engine/run/launch.py": "a log, which grows line by line",
    "engine/run/remote.py": "a run that arrives, which the next try goes on with",
    "store/transfer/merge.py": "a run's log, beside the store that takes the run in",
    "tui/app/terminal.py": "a copied text, for its owner alone and never through a link",
    "tui/cli/run.py": "the summary of a CI job, which other steps add to as well",
    "tui/screens/review/aside.py": "a draft for the editor, in a folder of its own, gone afterwards",
    "engine/traffic/events.py": "a secret, its owner's alone from the first byte, linked into place",
    "store/migrations/__init__.py": "databases, built aside by SQLite and linked into place",
}
_MOVES = {"rename", "renames", "replace", "move", "copyfile", "link", "mkstemp", "NamedTemporaryFile"}
_MAY_WRITE = re.compile(r"open\(|write_(?:text|bytes)|\b(?:os|shutil|tempfile)\.")


def writes(tree: ast.AST) -> Iterator[ast.Call]:
    """The calls by which a file comes into being or gets another content."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        module = getattr(getattr(call.func, "value", None), "id", "")
        given = [node for part in (*call.args, *call.keywords) for node in ast.walk(part)]
        texts = [str(node.value) for node in given if isinstance(node, ast.Constant)]
        if (
            (name in ("open", "fdopen") and any(re.fullmatch(r"[rbt]*[wax+][bt+]*", text) for text in texts))
            or (name in ("write_text", "write_bytes") and isinstance(call.func, ast.Attribute))
            or (name in _MOVES and module in ("os", "shutil", "tempfile"))
        ):
            yield call


def test_files_that_people_keep_are_written_by_one_helper_whole_or_not_at_all() -> None:
    found = {
        str(path.relative_to(ROOT))
        for floor in ("assay", "tui", "engine", "store")
        for path in (ROOT / floor).rglob("*.py")
        if _MAY_WRITE.search(text := path.read_text("utf-8")) and any(writes(ast.parse(text)))
    }
    assert found == WRITERS.keys()


@pytest.mark.parametrize(
    "code",
    ['p.open("w")', 'open(p, mode="ab")', "p.write_text(t)", "p.write_bytes(b)", 'os.fdopen(f, "w")',
     'gzip.open(p, "xt")', "os.rename(a, b)", "shutil.move(a, b)"],
)  # fmt: skip
def test_every_way_to_write_a_file_is_found(code: str) -> None:
    assert list(writes(ast.parse(code)))


def test_every_process_that_the_product_starts_has_a_main_module() -> None:
    floors = ("assay", "tui", "engine", "store")
    texts = [path.read_text("utf-8") for floor in floors for path in (ROOT / floor).rglob("*.py")]
    started = {name for text in texts for name in re.findall(r'"-m", "([\w.]+)"', text)}
    ours = {name for name in started if name.partition(".")[0] in floors}
    assert {"assay", "engine.run"} <= ours
    assert [name for name in ours if not (ROOT / name.replace(".", "/") / "__main__.py").is_file()] == []
