"""The app in a terminal that a person uses: keys typed in tmux, the screen read back from it."""

import os
import re
import secrets
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import psutil
import pytest
from rich.cells import set_cell_size

from store import database
from store.read import history
from tests.e2e.conftest import ROOT, reader
from tests.judges.scripted import Answer, Json, JudgeServer, says
from tests.tui.history import HOSTILE, build
from tests.tui.terminal import terminal as in_pty
from tui.app.terminal import Painted

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed: apt install tmux"),
]

SIZES = [(80, 24), (160, 48)]
DEADLINE = 240.0  # seconds; what a busy machine needs at most, no measure of anything
PROMPT = "shell>"
# Key, title, and what must stand there of run 2 of the demo history, at any size.
SCREENS = {
    "L": ("Live", "tickets-v2 #2", "12/12 examples", "not a language model", "H: why"),
    "C": ("Compare", "tickets-v2 #2", "good against base", "+0.871", "+ better", "arithmetic · acc", "0.82"),
    "V": (
        "Review",
        "tickets-v2 #2",
        "1/12",
        "base baseline",
        "good candidate",
        "not a language model",
        "+ win",
    ),
    "S": ("Splits", "tickets-v2 #2", "1 of 12 evaluated examples leaked", "t-003", "65-point change"),
    "A": ("Alerts", "tickets-v2 #2", "!! critical", "overfit", "arithmetic", "−0.620 [−0.720, −0.520]"),
}


class Tmux:
    """One tmux server with one shell in it, apart from any other on this machine."""

    def __init__(self, columns: int, lines: int, record: Path | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tmux-")  # a socket's path has to be short
        self._words = ["tmux", "-S", f"{self._folder.name}/socket", "-f", os.devnull]
        self._environment = {
            **os.environ,
            "LC_ALL": "C.UTF-8",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }
        self._environment.pop("TMUX", None)
        self(
            "new-session",
            "-d",
            "-x",
            str(columns),
            "-y",
            str(lines),
            f"env PS1='{PROMPT} ' bash --norc --noprofile",
        )
        if record is not None:
            self("pipe-pane", f"cat > {shlex.quote(str(record))}")

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            [*self._words, *words],
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=DEADLINE,
        )
        return done.stdout

    def assay(self, store: Path, *words: str) -> None:
        command = [sys.executable, "-m", "assay", *words, "--store", str(store)]
        self("send-keys", "-l", shlex.join(command))
        self("send-keys", "Enter")

    def press(self, *keys: str) -> None:
        self("send-keys", *keys)

    def screen(self) -> str:
        return self("capture-pane", "-p")

    def until(self, *texts: str) -> str:
        """The screen once all of these stand on it."""
        return self.when(lambda screen: all(text in screen for text in texts), str(texts))

    def on(self, name: str, *texts: str) -> str:
        """The screen of this name, marked among the tabs or named where there are none, with these texts."""
        named = re.compile(rf"assay  {name}\b|\[\w {name}\]")
        return self.when(
            lambda screen: named.search(screen) is not None and all(text in screen for text in texts),
            f"{name} with {texts}",
        )

    def when(self, condition: Callable[[str], bool], wanted: str) -> str:
        deadline = time.monotonic() + DEADLINE
        while not condition(screen := self.screen()):
            assert time.monotonic() < deadline, f"waited for {wanted}; there was:\n{screen}"
            time.sleep(0.05)
        return screen

    def app(self) -> int:
        """The process id of the app that runs in it."""
        shell = psutil.Process(int(self("display-message", "-p", "#{pane_pid}")))
        return int(next(child.pid for child in shell.children(recursive=True) if "assay" in child.cmdline()))

    def close(self) -> None:
        subprocess.run([*self._words, "kill-server"], env=self._environment, capture_output=True, check=False)
        self._folder.cleanup()


@pytest.fixture
def tmux() -> Iterator[Callable[..., Tmux]]:
    opened: list[Tmux] = []

    def start(columns: int = 80, lines: int = 24, record: Path | None = None) -> Tmux:
        opened.append(Tmux(columns, lines, record))
        opened[-1].until(PROMPT)
        return opened[-1]

    yield start
    for server in opened:
        server.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("terminal") / "store")


def gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.05)


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
def test_every_screen_is_a_key_away_and_q_gives_the_terminal_back(
    tmux: Callable[..., Tmux], store: Path, size: tuple[int, int]
) -> None:
    terminal = tmux(*size)
    modes = "#{alternate_on}#{cursor_flag}#{mouse_any_flag}#{keypad_flag}"
    before = terminal("display-message", "-p", modes)
    terminal.assay(store)
    shown = terminal.on("Runs", "tickets-v1", "tickets-v2", "tickets-v3", "▶", "+ passed")
    assert "gate failed" in shown and "86.4%" in shown and "q quit" in shown
    terminal.press("j")
    terminal.when(lambda screen: re.search(r"› +#2", screen) is not None, "the cursor on run 2")
    for key, (title, *facts) in SCREENS.items():
        terminal.press(key)
        shown = terminal.on(title, *facts)
        assert len(shown.splitlines()) == size[1] and "? help" in shown.splitlines()[-1]
        terminal.press("?")
        terminal.on("Help", "R  Runs: the history")
        terminal.press("Escape")
        terminal.on(title, *facts)
    terminal.press("Escape")
    terminal.on("Runs", "tickets-v1")
    terminal.press("/")
    terminal.press(*"v3", "Enter")
    terminal.when(
        lambda screen: "tickets-v3" in screen and "tickets-v1" not in screen, "one run left by the filter"
    )
    terminal.press("Escape")
    terminal.until("tickets-v1")
    terminal.press("q")
    terminal.when(lambda screen: screen.rstrip().endswith(PROMPT) and "Runs" not in screen, "the shell")
    assert terminal("display-message", "-p", modes) == before
    terminal(
        "send-keys", "-l", 'echo "rc $?"; stty -a | tr " ;" "\\n\\n" | grep -x -e icanon -e echo -e isig'
    )
    terminal.press("Enter")
    terminal.until("rc 0", "\nicanon", "\necho", "\nisig")


def test_the_picture_follows_the_size_of_the_terminal(
    tmux: Callable[..., Tmux], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the shell has exported a size, as some do: a shell in a terminal keeps it for its own."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    terminal = tmux(160, 48)
    terminal.assay(store)
    terminal.until("tickets-v2", "q quit")
    for columns, lines in ((80, 24), (40, 10), (10, 3), (160, 48)):
        terminal("resize-window", "-x", str(columns), "-y", str(lines))
        shown = terminal.when(partial(_shows_runs, columns, lines), f"Runs on {columns}x{lines}")
        assert len(shown.splitlines()) == lines
    assert "[R Runs]" in terminal.until("tickets-v2", "q quit")
    terminal.press("q")
    assert PROMPT in terminal.when(lambda screen: "Runs" not in screen and PROMPT in screen, "the shell")


def _shows_runs(columns: int, lines: int, screen: str) -> bool:
    shown = screen.splitlines()
    tabs = "[R Runs]" in screen
    return len(shown) == lines and any("›" in line for line in shown[:4]) and tabs == (columns >= 100)


def test_two_people_on_one_store_see_what_the_other_does(
    tmux: Callable[..., Tmux], store: Path, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(store, tmp_path / "store"))
    ours, theirs = tmux(), tmux(120, 36)
    for terminal in (ours, theirs):
        terminal.assay(own)
        terminal.until("tickets-v2", "3 crit")
        terminal.press("j", "A")
        terminal.until("!! critical", "not acknowledged yet")
    ours.press("a")
    ours.press(*"seen", "Enter")
    for terminal in (ours, theirs):
        assert "not acknowledged yet" not in terminal.until("seen by")
    for terminal in (ours, theirs):
        terminal.press("q")
        terminal.when(lambda screen: "Alerts" not in screen and PROMPT in screen, "the shell")


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
def test_nothing_of_a_hostile_corpus_acts_on_the_terminal(
    tmux: Callable[..., Tmux], store: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    own = Path(shutil.copytree(store, tmp_path / "store"))
    hostile = "MARK" + HOSTILE + "\x1b]2;MARK\x07\x1bc\x1b[?1049l"
    with closing(sqlite3.connect(own / database.FILE)) as connection, connection:
        connection.execute("UPDATE run SET name = substr(?, 1, 60) WHERE id = 2", (hostile,))
        connection.execute("UPDATE model SET name = name || ? WHERE run_id = 2", (hostile,))
        connection.execute("UPDATE response SET text = ? || text", (hostile,))
        connection.execute("UPDATE judgment SET reasoning = ?", (hostile,))
        connection.execute("UPDATE example SET query = ? || query", (hostile,))
        connection.execute("UPDATE alert SET message = ?, measure = ?", (hostile, hostile))
        connection.execute("UPDATE leak SET excerpt = ?", (hostile,))
    record = tmp_path / "bytes"
    terminal = tmux(*size, record)
    terminal("set-buffer", "as it was")
    title = terminal("display-message", "-p", "#{pane_title}")
    terminal.assay(own)
    terminal.until("MARK␛[31mr")
    terminal.press("j")
    for key in SCREENS:
        terminal.press(key)
        terminal.on(SCREENS[key][0], "MARK␛[31mred")
    terminal.press("V", "o")
    terminal.until("MARK␛[31mred")
    assert terminal("display-message", "-p", "#{alternate_on} #{pane_title}") == f"1 {title}"
    assert terminal("show-buffer") == "as it was"
    terminal.press("q")
    terminal.when(lambda screen: PROMPT in screen and "Review" not in screen, "the shell")
    written = record.read_bytes()
    for sequence in (b"\x1b[31mred", b"\x1b]52", b"\x1b]2;MARK", b"\x1bc", b"\x00", "\u202e".encode()):
        assert sequence not in written, sequence


class Held:
    """A model server that does not answer before it is released."""

    def __init__(self) -> None:
        self.asked, self.release = threading.Event(), threading.Event()
        self._server = JudgeServer()
        self._server.script = self._answer
        self.url = self._server.url

    def _answer(self, body: Json, number: int) -> Answer:
        self.asked.set()
        self.release.wait()
        return says("It is so.")

    def stop(self) -> None:
        self.release.set()
        self._server.stop()


@pytest.fixture
def held() -> Iterator[Held]:
    server = Held()
    yield server
    server.stop()


def test_closing_the_terminal_ends_the_app_and_not_the_run(
    tmux: Callable[..., Tmux], tmp_path: Path, held: Held
) -> None:
    """Its window, for the app that started the run, and by the signal alone, for another that shows it."""
    own = build(tmp_path / "store")
    terminal, other = tmux(), tmux()
    terminal.assay(own)
    terminal.until("tickets-v2")
    terminal.press("s", "p")
    terminal("send-keys", "-l", str(plan_of(tmp_path, held.url)))
    terminal.press("Enter", "Enter")
    assert held.asked.wait(DEADLINE), terminal.screen()  # the check and the run are processes of their own
    terminal.until("served")
    other.assay(own)
    other.until("served")
    with closing(reader(own)) as connection:
        run = history.run(connection, 4)
        assert run.status == "running" and run.worker_pid
        starter, shower = terminal.app(), other.app()
        terminal("kill-window")
        os.kill(shower, signal.SIGHUP)
        wait_for(lambda: gone(starter) and gone(shower), "the apps' end")
        assert not gone(run.worker_pid)
        held.release.set()
        wait_for(lambda: history.run(connection, 4).status == "finished", "the run's end")


def plan_of(folder: Path, server: str) -> Path:
    """A plan with one candidate that a server answers for."""
    (folder / "eval.jsonl").write_text('{"id": "e0", "query": "Is it so?", "reference": "It is so."}\n')
    (folder / "before.jsonl").write_text('{"id": "e0", "response": "No idea."}\n')
    plan = folder / "p.toml"
    plan.write_text(
        f"""name = "served"
judges = []
[data]
examples = "eval.jsonl"
[[models]]
name = "before"
role = "baseline"
outputs = "before.jsonl"
[[models]]
name = "after"
role = "candidate"
server = "{server}"
model = "m"
[generation]
cache = false
[metrics]
use = ["exact_match"]
"""
    )
    return plan


def test_ctrl_c_pauses_and_a_second_one_leaves_the_run_alone(
    tmux: Callable[..., Tmux], tmp_path: Path, held: Held
) -> None:
    terminal = tmux()
    terminal.assay(tmp_path / "store", "run", str(plan_of(tmp_path, held.url)))
    assert held.asked.wait(DEADLINE), terminal.screen()
    terminal.until("generate")
    terminal.press("C-c")
    terminal.until("pausing after the current piece of work")
    terminal.press("C-c")
    terminal.when(lambda screen: screen.rstrip().endswith(PROMPT), "the shell")
    with closing(reader(tmp_path / "store")) as connection:
        run = history.run(connection, 1)
        # The pause takes effect in its own time, with the answer or without it; nobody has killed the worker.
        assert run.status == "paused" or (run.worker_pid and not gone(run.worker_pid))
        held.release.set()
        wait_for(lambda: history.run(connection, 1).status in ("paused", "finished"), "the run's end")


def test_ctrl_z_gives_the_terminal_back_and_fg_the_app(tmux: Callable[..., Tmux], store: Path) -> None:
    terminal = tmux()
    terminal.assay(store)
    terminal.until("tickets-v2", "q quit")
    terminal.press("C-z")
    terminal.when(lambda screen: "Stopped" in screen and "tickets-v2" not in screen, "the shell")
    assert terminal("display-message", "-p", "#{alternate_on}").strip() == "0"
    terminal.press(*"fg", "Enter")
    terminal.until("tickets-v2", "q quit")
    terminal.press("j")
    terminal.when(lambda screen: re.search(r"› +#2", screen) is not None, "the cursor on run 2")
    terminal.press("q")
    terminal.when(lambda screen: "Runs" not in screen and PROMPT in screen, "the shell")


def test_nothing_but_ascii_reaches_a_terminal_that_has_nothing_else(
    tmux: Callable[..., Tmux], store: Path, tmp_path: Path
) -> None:
    record = tmp_path / "bytes"
    terminal = tmux(record=record)
    terminal("send-keys", "-l", shlex.join([sys.executable, "-m", "assay", "--ascii", "--store", str(store)]))
    terminal.press("Enter")
    terminal.on("Runs", "tickets-v2", "+ passed")
    terminal.press("j")
    for key, (title, *_) in SCREENS.items():
        terminal.press(key)
        terminal.on(title)
    terminal.press("?")
    terminal.on("Help")
    terminal.press("Escape")
    terminal.when(lambda screen: "assay  Help" not in screen, "the screen before")
    terminal.press("q")
    terminal.when(lambda screen: PROMPT in screen and "Help" not in screen, "the shell")
    written = record.read_bytes()
    assert b"Help" in written
    assert written.isascii()


SCRIPTS = [
    "नमस्ते! आपका पार्सल कल पहुँचेगा, कृपया प्रतीक्षा कीजिए।",
    "สวัสดีค่ะ น้ำหนักพัสดุของคุณถูกต้อง กรุณารอสักครู่",
    "مرحبًا، سَيَصِلُ الطَّرْدُ غدًا",
    "שָׁלוֹם, הַחֲבִילָה תַּגִּיעַ מָחָר",
    "包裹明天到，请稍等。谢谢！",
    "소포는 내일 도착합니다. 한글",
    "お荷物は明日届きます。ｶﾞﾊﾟ",
    "வணக்கம், உங்கள் பொதி நாளை வரும்",
    "მოგესალმებით, ვაშა Z̷̢̛a̵͝l̸͘g̶͠o̷͝ é",
    "👩‍👩‍👧‍👦 👍🏽 🇩🇪 ❤️ ok ☎️ 🫠",
]


def after(picture: Tmux, file: Path, written: bytes) -> str:
    """The screen of a terminal that these bytes were written to."""
    file.write_bytes(written)
    title = secrets.token_hex(4)
    picture("respawn-pane", "-k", f"cat {file}; printf '\\033]2;{title}\\007'; read line")
    wait_for(
        lambda: picture("display-message", "-p", "#{pane_title}") == f"{title}\n", "the end of the bytes"
    )
    return picture.screen()


@pytest.mark.parametrize("text", SCRIPTS)
def test_a_piece_of_a_line_leaves_what_stands_behind_it(
    tmux: Callable[..., Tmux], tmp_path: Path, text: str
) -> None:
    """Also where the terminal counts more cells than the app does, before or after."""
    picture, long = tmux(40, 5), f"{text} {text} {text}"

    def piece(row: int, column: int, cells: int, drawn: str) -> str:
        return f"\x1b[{row};{column}H\x1b[1m{set_cell_size(drawn, cells)}\x1b[0m"

    shown, start = Painted(), "\x1b[?1049h\x1b[?7l\x1b[2J"
    whole = "".join(f"{piece(row, 1, 38, long)}\x1b[1m|.\x1b[0m" for row in (1, 2))
    part = piece(1, 1, 38, f"ok {long}") + piece(2, 1, 38, "ok")
    behind = piece(1, 39, 2, "|.") + piece(2, 39, 2, "|.")
    screens = [shown.needed(start + whole) + shown.needed(part), Painted().needed(start + part + behind)]
    left, wanted = (after(picture, tmp_path / "bytes", written.encode()) for written in screens)
    assert left == wanted
    assert left.count("|.") == 2


def test_no_script_leaves_something_of_itself_under_the_next(
    tmux: Callable[..., Tmux], store: Path, tmp_path: Path
) -> None:
    """What a walk through the answers leaves on a terminal is what a fresh drawing puts there."""
    own = Path(shutil.copytree(store, tmp_path / "store"))
    with closing(sqlite3.connect(own / database.FILE)) as connection, connection:
        for place, text in enumerate(SCRIPTS):
            answer = "\n".join([text, f"{text} {text}", *SCRIPTS[: place + 1]])
            example = "SELECT id FROM example WHERE position = ?"
            connection.execute(
                f"UPDATE response SET text = ? WHERE example_id = ({example})", (answer, place)
            )
            connection.execute(f"UPDATE example SET query = ? WHERE id = ({example})", (text, place))
    picture = tmux(120, 36)

    def shown(written: bytes) -> str:
        return after(picture, tmp_path / "bytes", written)

    with in_pty(own, "review") as walked, in_pty(own, "review") as redrawn:
        walk, modes = walked.until("1/12"), redrawn.until("1/12")
        for _ in SCRIPTS[1:]:
            walk += walked.press("j")
            redrawn.press("j")
            fresh, end = modes + redrawn.press("\x0c"), time.monotonic() + DEADLINE
            while (left := shown(walk)) != (wanted := shown(fresh)) and time.monotonic() < end:
                walk += walked.rest()
                fresh += redrawn.rest()
            assert left == wanted
