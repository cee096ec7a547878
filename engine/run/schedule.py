"""Runs at fixed times: schedules, their times, and the systemd timer or crontab line that keeps them.

A schedule is a file in the store's folder `schedules`, which also keeps when it last ran and what was missed.
Times are cron's, in the machine's time zone. What a timer calls is `assay schedule run`.
"""

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

from engine.data.textfile import write_text
from engine.errors import BadInput, CannotRun, is_secret, refused
from engine.servers.address import Address, held
from engine.servers.client import BACKOFF_S
from engine.servers.transport import Broken, NoConnection, RawAnswer, TooLong, Transport
from engine.servers.wire import retry_after
from store.database import prepare
from store.people import user_name

Keeper = Literal["systemd", "cron"]
KEEPERS: tuple[Keeper, ...] = get_args(Keeper)
FOLDER = "schedules"
DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
GRACE_S = 600.0  # after its time, in which a run that has not begun is not yet missed
MOST_MISSED = 50  # times that are kept, the newest
_LOCALTIME = Path("/etc/localtime")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A plan that runs at fixed times, and how it went the last time.

    `cron` has cron's five fields. `against` is as of `assay run`. `hook` is a program with its arguments and
    `webhook` an address, in which `${NAME}` stands for an environment variable; both get the result.
    `started` is when it began last, `due` the time that this run was for, `run` its id, `code` its exit code
    and `error` what else went wrong. `missed` are the times at which nothing ran. Seconds since 1970.
    """

    name: str
    plan: str
    cron: str
    keeper: Keeper
    created: float
    against: str | None = None
    hook: tuple[str, ...] = ()
    webhook: str | None = None
    env_file: str | None = None
    started: float | None = None
    due: float | None = None
    run: int | None = None
    code: int | None = None
    error: str | None = None
    missed: tuple[float, ...] = ()


def now() -> float:
    return time.time()


def zone() -> tzinfo:
    """The machine's time zone, which systemd and cron go by."""
    try:
        with _LOCALTIME.open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return UTC


# Times


def weekly(text: str) -> str:
    """ "mon 03:00", or "mon,thu 03:00", as cron's fields. Raises BadInput for anything else."""
    days, _, clock = text.strip().partition(" ")
    names = [day.strip()[:3].title() for day in days.split(",")]
    wrong = [day for day in days.split(",") if day.strip().lower() not in _day_names()]
    if wrong or not clock:
        raise BadInput(f"--weekly {text!r}: must be a day and a time", 'such as "mon 03:00"')
    return f"{_clock('--weekly', text, clock)} * * {','.join(str(DAYS.index(name)) for name in names)}"


def _day_names() -> set[str]:
    whole = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
    return {*whole, *(day.lower() for day in DAYS)}


def daily(text: str) -> str:
    """ "03:00" as cron's fields. Raises BadInput for anything else."""
    return f"{_clock('--daily', text, text)} * * *"


def _clock(option: str, text: str, clock: str) -> str:
    found = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", clock.strip())
    if found is None:
        raise BadInput(f"{option} {text!r}: must have a time of day", 'such as "03:00"')
    return f"{int(found[2])} {int(found[1])}"


# What every cron can do: some know L, W, # and a step after a single number, others do not.
_NUMBER = r"(?:[0-9]{1,2}|[A-Za-z]{3})"
_PART = rf"(?:\*(?:/[0-9]{{1,2}})?|{_NUMBER}(?:-{_NUMBER}(?:/[0-9]{{1,2}})?)?)"
_FIELD = re.compile(rf"{_PART}(?:,{_PART})*")


def read_cron(text: str) -> str:
    """Cron's five fields, checked and spaced alike. Raises BadInput where they name no time."""
    from cronsim import CronSim, CronSimError

    fields = text.split()
    wrong = len(fields) != 5 or not all(map(_FIELD.fullmatch, fields))
    if not wrong:
        try:
            next(CronSim(" ".join(fields), datetime(2000, 1, 1)))
        except (CronSimError, StopIteration):
            wrong = True
    if wrong:
        raise BadInput(
            f"--cron {text!r}: must have five fields that name a time",
            'minute, hour, day of the month, month, day of the week, such as "0 3 * * 1"',
        )
    return " ".join(fields)


def times(cron: str, after: float, where: tzinfo, *, in_gaps: bool = True) -> Iterator[float]:
    """The times after a moment, without end. Where the clock is put back, the first of two counts.

    A time that the clock skips when it is put forward comes right after the gap, as cron does it; without
    `in_gaps` not at all, as systemd does it.
    """
    from cronsim import CronSim

    simulated = CronSim(cron, datetime.fromtimestamp(after, where))
    for moment in simulated:
        skipped = moment.minute not in simulated.minutes or moment.hour not in simulated.hours
        if (seconds := moment.timestamp()) > after and (in_gaps or not skipped):
            yield seconds


def next_time(schedule: Schedule, after: float, where: tzinfo) -> float | None:
    return next(times(schedule.cron, after, where, in_gaps=schedule.keeper == "cron"), None)


def elapsed(schedule: Schedule, until: float, where: tzinfo) -> list[float]:
    """The times from when it last began, or was added, up to a moment; the newest if there are very many."""
    found: list[float] = []
    for moment in times(schedule.cron, schedule.started or schedule.created, where):
        if moment > until:
            break
        found.append(moment)
        del found[: -MOST_MISSED - 1]
    return found


def missed(schedule: Schedule, until: float, where: tzinfo) -> tuple[float, ...]:
    """The newest times at which nothing ran, those before its last run with those since."""
    since = elapsed(schedule, until - GRACE_S, where)
    return (*schedule.missed, *since)[-MOST_MISSED:]


def begun(schedule: Schedule, moment: float, where: tzinfo) -> Schedule:
    """The schedule once it begins to run: for the last time that has passed, those before it being missed."""
    since = elapsed(schedule, moment, where)
    gone = (*schedule.missed, *since[:-1])[-MOST_MISSED:]
    due = since[-1] if since else None
    return replace(schedule, started=moment, due=due, missed=gone, run=None, code=None, error=None)


# Schedules in the store


def named(text: str) -> str:
    """A schedule's name, made of a plan's where that has other characters."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-_.")[:64] or "plan"


def refuse_name(name: str) -> None:
    """Raises BadInput for a name that could not be a unit's."""
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"--name {name!r}: must have letters, digits, '-', '_' and '.' alone", "and at most 64 of them"
        )


def file_of(store: Path, name: str) -> Path:
    return store / FOLDER / f"{name}.json"


def lock_of(store: Path, name: str) -> Path:
    return store / FOLDER / f"{name}.lock"


def read(store: Path, name: str) -> Schedule:
    """Raises BadInput where there is none of that name, or its file is damaged."""
    file = file_of(store, name)
    if not _NAME.fullmatch(name) or not file.is_file():
        raise BadInput(f"there is no schedule {name!r} in {store}", "`assay schedule list` shows them")
    from pydantic import TypeAdapter

    try:
        found = TypeAdapter(Schedule).validate_json(file.read_bytes())
        read_cron(found.cron)
    except (ValueError, BadInput) as error:
        raise BadInput(
            f"{file} is no schedule", f"`assay schedule remove {name}` removes it; then add it again"
        ) from error
    return found


def names(store: Path) -> list[str]:
    return sorted(file.name.removesuffix(".json") for file in (store / FOLDER).glob("*.json"))


def read_all(store: Path) -> list[Schedule]:
    return [read(store, name) for name in names(store)]


def keep(store: Path, schedule: Schedule) -> None:
    """Writes a schedule, whole or not at all."""
    prepare(store)
    file = file_of(store, schedule.name)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    write_text(file, json.dumps(asdict(schedule), indent=2) + "\n")


def renew(store: Path, schedule: Schedule) -> None:
    """Writes a schedule anew, unless somebody has removed it meanwhile."""
    if file_of(store, schedule.name).exists():
        keep(store, schedule)


def forget(store: Path, name: str) -> None:
    file_of(store, name).unlink(missing_ok=True)
    lock_of(store, name).unlink(missing_ok=True)


# Timers


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerJob:
    """What systemd or cron starts: a command of Assay at cron's times, or, without them, with the machine."""

    name: str
    about: str
    words: Sequence[str]
    store: Path
    cron: str | None = None
    env_file: str | None = None

    @property
    def unit(self) -> str:
        return f"assay-{self.name}"

    @property
    def argv(self) -> tuple[str, ...]:
        """`env` comes first, since systemd refuses programs with unusual characters in their paths."""
        return ("/usr/bin/env", f"ASSAY_STORE={self.store}", sys.executable, "-P", "-m", "assay", *self.words)


def job_of(schedule: Schedule, store: Path) -> TimerJob:
    return TimerJob(
        name=schedule.name,
        about=f"assay schedule {schedule.name}",
        words=("schedule", "run", schedule.name),
        store=store,
        cron=schedule.cron,
        env_file=schedule.env_file,
    )


def choose_keeper(*, systemd: bool, crontab: bool) -> Keeper:
    """The one that is asked for, else systemd where it answers, else cron. Raises BadInput where neither."""
    if systemd and crontab:
        raise BadInput("--systemd and --cron-tab exclude each other", "give one of them")
    if systemd or (not crontab and answers()):
        return "systemd"
    if shutil.which("crontab") is None:
        raise BadInput(
            "no systemd answers for this user, and there is no crontab",
            "install cron, or write the units anyway with --systemd",
        )
    return "cron"


def answers() -> bool:
    """Whether this user's systemd is running."""
    return shutil.which("systemctl") is not None and not _run("systemctl", "--user", "show-environment")[0]


def _run(*argv: str, text: bytes | None = None) -> tuple[int, bytes, str]:
    """The exit code, output and errors of a program, in English."""
    try:
        done = subprocess.run(argv, input=text, capture_output=True, env={**os.environ, "LC_ALL": "C"})
    except OSError as error:
        raise CannotRun(f"{argv[0]} cannot be started: {refused(error)}") from error
    return done.returncode, done.stdout, done.stderr.decode(errors="replace").strip()


def unit_folder() -> Path:
    """Where this user's units are."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "systemd" / "user"


def _mark(name: str) -> str:
    return f"# assay {name}"


def units(job: TimerJob) -> dict[str, str]:
    """The unit files of a job, by name."""
    _refuse_control(job)
    quoted = " ".join(map(_quoted, job.argv))
    service = ["[Service]", f"Type={'exec' if job.cron is None else 'oneshot'}"]
    if job.env_file is not None:
        if any(sign in job.env_file for sign in "*?["):
            raise BadInput(
                f"{job.env_file!r}: systemd takes it for a pattern", "rename the file, without *?["
            )
        service.append("EnvironmentFile=" + job.env_file.replace("%", "%%"))
    service.append(f"ExecStart={quoted}")
    about = ["[Unit]", f"Description={job.about}", ""]
    if job.cron is None:
        # A restart of the queue leaves the runs alone that it has started.
        service += ["Restart=on-failure", "RestartSec=30", "KillMode=process"]
        service += ["", "[Install]", "WantedBy=default.target"]
        return {f"{job.unit}.service": "\n".join([_mark(job.name), *about, *service, ""])}
    when = [f"OnCalendar={line}" for line in on_calendar(job.cron)]
    timer = ["[Timer]", *when, "Persistent=true", "", "[Install]", "WantedBy=timers.target"]
    return {
        f"{job.unit}.service": "\n".join([_mark(job.name), *about, *service, ""]),
        f"{job.unit}.timer": "\n".join([_mark(job.name), *about, *timer, ""]),
    }


def _quoted(word: str) -> str:
    """A word of ExecStart that systemd reads as it is: no specifier, no variable."""
    for plain, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        word = word.replace(plain, written)
    return f'"{word}"'


def _refuse_control(job: TimerJob) -> None:
    for word in (*job.argv, job.env_file or ""):
        if not word.isprintable() or word.endswith("\\") or (word == sys.executable and "=" in word):
            raise BadInput(
                f"{word!r} cannot stand in a unit or a crontab",
                "rename it: no line break, no backslash at its end, and no = in Python's path",
            )


def on_calendar(cron: str) -> list[str]:
    """Cron's fields as systemd's calendar events, which are alternatives.

    Cron takes the day of the month and that of the week as alternatives where neither begins with a star;
    systemd asks for both.
    """
    from cronsim import CronSim

    found = CronSim(cron, datetime(2000, 1, 1))
    weekdays = {day % 7 for day in found.weekdays if isinstance(day, int)}
    names = "" if len(weekdays) == 7 else ",".join(DAYS[day] for day in sorted(weekdays)) + " "
    months, days = _listed(found.months, 12), _listed(found.days, 31)
    clock = f"{_listed(found.hours, 24)}:{_listed(found.minutes, 60)}:00"
    if found.day_and:
        return [f"{names}*-{months}-{days} {clock}"]
    return [f"*-{months}-{days} {clock}", f"{names}*-{months}-* {clock}"]


def _listed(numbers: set[int], all_of: int) -> str:
    return "*" if len(numbers) == all_of else ",".join(f"{number:02}" for number in sorted(numbers))


_LONGEST = 990  # characters of a crontab's command


def crontab_line(job: TimerJob) -> str:
    """The line of a job. Raises BadInput where cron would cut it."""
    _refuse_control(job)
    command = shlex.join(job.argv)
    if job.env_file is not None:
        command = f"set -a && . {shlex.quote(job.env_file)} && set +a && {command}"
    command = f"{command} {_mark(job.name)}".replace("%", "\\%")
    if len(command.encode()) > _LONGEST:
        raise BadInput("the paths are too long for a line of a crontab", "use --systemd, or shorter ones")
    return f"{job.cron or '@reboot'} {command}"


def written(job: TimerJob, keeper: Keeper) -> str:
    """What `install` would write, for people."""
    if keeper == "cron":
        return f"the line for `crontab`:\n{crontab_line(job)}\n"
    return "\n".join(f"{unit_folder() / name}:\n{text}" for name, text in units(job).items())


def install(job: TimerJob, keeper: Keeper) -> str | None:
    """Writes the units or the line; returns what else a person has to do, if anything.

    Raises BadInput where something of that name is there, and CannotRun where it cannot be put in force.
    """
    if job.name in (taken := installed(keeper)):
        raise BadInput(
            f"there is a {keeper} entry {job.name!r} already, maybe of another store",
            f"give another --name; there are {', '.join(sorted(taken))}",
        )
    if keeper == "cron":
        before = _crontab()
        gap = b"" if not before or before.endswith(b"\n") else b"\n"
        _write_crontab(before + gap + crontab_line(job).encode() + b"\n")
        return None
    files = units(job)
    unit_folder().mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_text(unit_folder() / name, text)
    first = next(name for name in reversed(files))
    commands = (("daemon-reload",), ("enable", "--now", first))
    if not answers():
        said = " && ".join(shlex.join(("systemctl", "--user", *words)) for words in commands)
        return f"systemd does not answer for this user; once it does: {said}"
    for words in commands:
        code, _, said = _run("systemctl", "--user", *words)
        if code:
            uninstall(job.name, keeper)
            raise CannotRun(f"systemctl --user {shlex.join(words)} failed: {said}", "nothing was kept")
    if _lingers():
        return None
    return "it runs while you are logged in; `loginctl enable-linger` has it run without you"


def _lingers() -> bool:
    return (Path("/var/lib/systemd/linger") / user_name()).exists()


def uninstall(name: str, keeper: Keeper) -> None:
    """Removes what `install` wrote, and nothing else; nothing where it is gone already."""
    if keeper == "cron":
        before = _crontab()
        mine = _mark(name).encode()
        lines = before.splitlines(keepends=True)
        kept = b"".join(line for line in lines if not line.rstrip().endswith(b" " + mine))
        if kept != before:
            _write_crontab(kept)
        return
    files = [file for file in unit_folder().glob(f"assay-{name}.*") if _is_ours(file, name)]
    if files and answers():
        _run("systemctl", "--user", "disable", "--now", max(file.name for file in files))
    for file in files:
        for link in (file, *unit_folder().glob(f"*.wants/{file.name}")):
            link.unlink(missing_ok=True)
    if files and answers():
        _run("systemctl", "--user", "daemon-reload")


def installed(keeper: Keeper) -> set[str]:
    """The names of all jobs that are installed."""
    if keeper == "cron":
        if shutil.which("crontab") is None:
            return set()
        return set(re.findall(r" # assay (\S+)$", _crontab().decode(errors="replace"), re.MULTILINE))
    files = unit_folder().glob("assay-*.service")
    return {name for file in files if _is_ours(file, name := file.stem.removeprefix("assay-"))}


def _is_ours(file: Path, name: str) -> bool:
    with file.open(encoding="utf-8", errors="replace") as lines:
        return file.suffix in (".service", ".timer") and lines.readline().strip() == _mark(name)


def _crontab() -> bytes:
    code, content, said = _run("crontab", "-l")
    if code and "no crontab for" not in said:
        raise CannotRun(f"crontab -l failed: {said}", "nothing was changed")
    return b"" if code else content


def _write_crontab(content: bytes) -> None:
    code, _, said = _run("crontab", "-", text=content)
    if code:
        raise CannotRun(f"crontab refuses the line: {said}", "nothing was changed")


# Telling of a result

_TRIES = 5
_TIMEOUT_S = 30.0
_HOOK_S = 600.0
_AGAIN = (408, 425, 429)
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def read_hook(command: str) -> tuple[str, ...]:
    """A program with its arguments. Raises BadInput where it is none, or a key stands in it."""
    try:
        first, *others = shlex.split(command)
    except ValueError as error:
        raise BadInput(f"--hook {command!r}: is no command", "quote its words as in a shell") from error
    _refuse_secret("--hook", command)
    found = shutil.which(Path(first).expanduser())
    if found is None:
        raise BadInput(f"--hook: there is no program {first!r}", "give its path")
    return (str(Path(found).absolute()), *others)


def refuse_webhook(address: str) -> None:
    """Raises BadInput for what is no address, or has a key in it that would be stored."""
    if _VARIABLE.fullmatch(address):
        return
    parts = _web_address(_VARIABLE.sub("x", address))
    if parts is None:
        raise BadInput(
            "--webhook: must be an address", "such as https://ci.example.org/hooks/assay, or ${NAME}"
        )
    if parts.username or parts.password:
        raise BadInput(
            "--webhook: has a password in it, which would be stored", "put it in a variable: ${NAME}"
        )
    _refuse_secret("--webhook", address)


def _web_address(text: str) -> SplitResult | None:
    """The parts of an address that can be posted to; None for anything else."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        return None
    return parts if usable and text.isprintable() and " " not in text else None


def _refuse_secret(option: str, text: str) -> None:
    if is_secret(text):
        raise BadInput(
            f"{option}: a key is in it, which would be stored", "name a variable that holds it: ${NAME}"
        )


def tell_hook(argv: Sequence[str], values: str, folder: Path) -> str | None:
    """Gives the values to a program on its standard input; returns what went wrong."""
    try:
        done = subprocess.run(argv, input=values.encode(), cwd=folder, timeout=_HOOK_S)
    except subprocess.TimeoutExpired:
        return f"the hook {argv[0]} was ended after {_HOOK_S:g} s"
    except OSError as error:
        return f"the hook {argv[0]} cannot be started: {refused(error)}"
    return f"the hook {argv[0]} ended with exit code {done.returncode}" if done.returncode else None


def tell_webhook(address: str, values: Mapping[str, Any]) -> str | None:
    """Posts the values, several times where the server is busy or away; returns what went wrong."""
    lacking = [name for name in _VARIABLE.findall(address) if not held(name)]
    if lacking:
        return f"the webhook was not told: the environment variable {lacking[0]} is not set"
    whole = _web_address(_VARIABLE.sub(lambda name: held(name[1]), address))
    if whole is None:
        return "the webhook was not told: its environment variable makes no address of it"
    shown = f"{whole.scheme}://{whole.hostname}{f':{whole.port}' if whole.port else ''}"
    reason = asyncio.run(_posted(whole.geturl(), Address(base=shown, query=(), shown=shown), values))
    return reason and f"the webhook at {shown} was not told: {reason}"


async def _posted(url: str, address: Address, values: Mapping[str, Any]) -> str | None:
    transport = Transport(address, None)
    try:
        for attempt in range(1, _TRIES + 1):
            wait = BACKOFF_S * 2**attempt
            try:
                answer = await transport.post(url, values, _TIMEOUT_S)
            except TooLong as error:
                return str(error)
            except NoConnection as error:
                reason = "no connection"
                if error.wrong:
                    return f"{reason}: its name or certificate is wrong"
            except (Broken, TimeoutError):
                reason = f"no answer within {_TIMEOUT_S:g} s, or a broken one"
            else:
                if answer.status < 300:
                    return None
                reason = f"it answered with status {answer.status}"
                if not _is_passing(answer):
                    return reason
                wait = min(retry_after(answer.headers) or wait, 60.0)
            if attempt < _TRIES:
                await asyncio.sleep(wait)
        return f"{reason}, {_TRIES} times"
    finally:
        await transport.close()


def _is_passing(answer: RawAnswer) -> bool:
    return answer.status in _AGAIN or answer.status >= 500
