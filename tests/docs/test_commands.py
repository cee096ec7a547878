"""Every command in the README and the manual runs as it is written."""

import io
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from bench.terminal import Terminal
from engine.run import launch
from tests.data.test_suites import downloaded
from tests.e2e.conftest import write_plan
from tests.engine.checkpoints import make_checkpoints
from tests.engine.runs import work_here
from tests.formats import files
from tests.judges.local_model import START, make_judge
from tests.timers import add_crontab
from tui.cli.main import command, guarded

ROOT = Path(__file__).parents[2]
MANUAL = sorted((ROOT / "docs").rglob("*.md"))
FIRST = [ROOT / "README.md", ROOT / "docs/tasks.md"]  # as people read them: later pages speak of their runs
# What is imported is the last run from then on, and other pages speak of the last run of a plan.
REST = sorted(set(MANUAL) - set(FIRST), key=lambda page: ("assay import" in page.read_text(), page))
PAGES = [*FIRST, *REST]
BLOCK = re.compile(r"^ *```sh\n(.*?)```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(assay [^`]+)`")
SCREENS = {"watch", "review"}
SERVERS = {"collect": b" at http://"}  # what they say when they listen

pytestmark = pytest.mark.e2e


def commands(page: Path) -> list[list[str]]:
    """The assay commands of a page in their order: of its shell blocks, and of its tables and sentences."""
    text = page.read_text()
    lines = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    lines += [line for line in INLINE.findall(text) if not re.search(r"\b[A-Z]{3,}\b|…", line)]
    found = [shlex.split(line, comments=True) for line in lines if line.split()[:1] == ["assay"]]
    return [words for place, words in enumerate(found) if words not in found[:place]]


def names(page: Path) -> list[list[str]]:
    """Commands that the page only speaks of, without what they take."""
    return [line.split() for line in INLINE.findall(page.read_text()) if len(line.split()) == 2]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the manual's readers have: the samples, a plan, data, outputs made elsewhere."""
    folder = tmp_path_factory.mktemp("workplace")
    samples(folder / "samples")
    domain = (ROOT / "samples/eval/domain.jsonl").read_text().splitlines(keepends=True)
    (folder / "eval.jsonl").write_text("".join(domain[:20]))
    (folder / "data.jsonl").write_text("".join(domain))
    shutil.copy(ROOT / "samples/train/tickets.jsonl", folder / "train.jsonl")
    trained = map(json.loads, (folder / "train.jsonl").read_text().splitlines())
    turns = [turn for row in trained for turn in row["messages"] if turn["role"] == "user"]
    asked = [{"text": turn["content"]} for turn in turns]
    (folder / "log.jsonl").write_text("".join(json.dumps(query) + "\n" for query in asked))
    asking = {"ask": "Who came?", "article": "A ship came in.", "answer": "A ship"}
    (folder / "records.jsonl").write_text(json.dumps(asking) + "\n")
    (folder / "outputs.jsonl").write_text(
        '{"query": "What is 2 plus 2?", "response": "4", "references": ["4"], "label": "4"}\n'
    )
    chat = {"id": "req-1", "time": "2026-03-01T12:00:00Z", "prompt": "Where is it?", "response": "Here."}
    (folder / "traffic.jsonl").write_text(json.dumps(chat | {"user": "u-17", "thumbs": "down"}) + "\n")
    (folder / "chats.csv").write_text("when,asked,said\n2026-03-01 12:00,Where is it?,Lost.\n")
    (folder / "production.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in production()))
    for name, file in (("xstest", "xstest_prompts.csv"), ("strongreject", "strongreject_dataset.csv")):
        downloaded(folder, name).rename(folder / file)
    (folder / "templates.jsonl").write_text('{"id": "loan", "query": "A {age} {gender} asks for a loan."}\n')
    written = {"question": "Who signs a ticket twice?", "answer": "The clerk.", "quote": ticket_words()}
    make_judge(folder / "models/writer", {START: {json.dumps(written): 1.0}})
    files.mt_bench(folder / "data/mt_bench")
    files.alpaca_eval(folder / "results/annotations.json", [1.0, 1.9, 2.0])
    files.prometheus(folder / "graded.jsonl")
    files.judgelm(folder / "judgments.jsonl")
    files.verdicts(folder)
    files.evaluations(folder)
    for step, checkpoint in enumerate(make_checkpoints(folder / "outputs", 2), start=1):
        (checkpoint / "trainer_state.json").write_text(f'{{"global_step": {step}, "max_steps": 2}}')
    (folder / "keys.env").write_text("HOOK_PATH=here\n")
    plan = write_plan(folder, sample=6)
    plan.write_text(re.sub(r"\[benchmarks\].*?(?=\[gates\])", "", plan.read_text(), flags=re.DOTALL))
    for name in ("first", "second"):
        assert run(folder, ["run", "plan.toml", "--quiet"])[0] in (0, 1), name
    shutil.copytree(folder / "store", folder / "work/tickets/.assay")  # on another machine, says the page
    return folder


def ticket_words() -> str:
    """What a model can quote from the document of the manual's example."""
    return " ".join((ROOT / "samples/prompts/tickets.md").read_text().split()[:5])


SSH_HERE = f"""#!/bin/sh
# In place of ssh: what is to run on another machine, its last argument, runs here.
for command; do :; done
PATH={Path(sys.executable).parent}:$PATH exec sh -c "$command"
"""


def production() -> Iterator[dict[str, object]]:
    """Traffic of two variants and a shadow candidate, with what people said of it."""
    corrections = {"Do you ship lamps to Norway?": "Yes.", "Is the blue chair sold out?": "Since May."}
    for place, (question, correction) in enumerate(corrections.items()):
        asked = {"prompt": question, "response": "No idea.", "time": f"2026-03-02T0{place}:00Z"}
        yield asked | {"variant": "now", "correction": correction}
    for number in range(60):
        asked = {"prompt": f"Where is order {number}?", "time": f"2026-03-02T{number % 20:02}:30Z"}
        said = {"response": "On its way.", "user": f"user {number}", "thumbs": "up" if number % 3 else "down"}
        yield asked | said | {"variant": ("now", "next")[number % 2]}
        yield asked | {"response": "It comes.", "variant": "candidate", "shadow": True}


def samples(folder: Path) -> None:
    """The samples, of whose benchmarks the plan asks a few questions only."""
    (folder / "plans").mkdir(parents=True)
    for path in (ROOT / "samples").iterdir():
        if path.name != "plans":
            (folder / path.name).symlink_to(path)
    plan = (ROOT / "samples/plans/quickstart.toml").read_text()
    assert "[benchmarks]\n" in plan
    (folder / "plans/quickstart.toml").write_text(plan.replace("[benchmarks]\n", "[benchmarks]\nlimit = 4\n"))


def run(folder: Path, arguments: list[str]) -> tuple[int, str]:
    """The exit code of a command line in that folder, and what it said on standard error."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()), redirect_stderr(said):
        patch.chdir(folder)
        patch.setenv("ASSAY_STORE", str(folder / "store"))
        patch.setenv("ASSAY_SSH", f"sh -c {shlex.quote(SSH_HERE)} ssh")
        add_crontab(folder, patch)
        patch.setattr(launch, "start", work_here)
        return guarded(lambda: command(arguments)), said.getvalue()


def opens(folder: Path, arguments: list[str]) -> bool:
    """Whether a command opens the workbench."""
    return _says(folder, arguments, b"assay")


def _says(folder: Path, arguments: list[str], words: bytes) -> bool:
    store = f"ASSAY_STORE={folder / 'store'}"
    environment = ["env", f"PYTHONPATH={ROOT}", store, "ASSAY_COLLECT_TOKEN=x", f"--chdir={folder}"]
    with Terminal([*environment, sys.executable, "-m", "assay", *arguments]) as terminal:
        terminal.read_until(words)
        return b"Traceback" not in terminal.received


@pytest.fixture(scope="module")
def seen() -> set[str]:
    """The command lines that an earlier page has had run."""
    return set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_the_page_runs(page: Path, workplace: Path, seen: set[str]) -> None:
    for words in commands(page):
        line = shlex.join(words)
        if line in seen:
            continue
        seen.add(line)
        arguments = words[1:]
        if not arguments or arguments[0] in SCREENS:
            assert opens(workplace, arguments), line
            continue
        if arguments[0] in SERVERS and words not in names(page):
            assert _says(workplace, arguments, SERVERS[arguments[0]]), line
            continue
        code, said = run(workplace, [arguments[0], "--help"] if words in names(page) else arguments)
        assert code in (0, 1), f"{line}\n{said}"
