"""The times of schedules, and the real files that keep them."""

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadInput, CannotRun
from engine.run import schedule
from engine.run.schedule import GRACE_S, Keeper, Schedule, TimerJob, begun, elapsed, missed, next_time, times
from tests.timers import Hook, add_crontab

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    ZoneInfo(name) for name in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")
]


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def weekly(
    created: str = "2026-03-02 12:00", keeper: Keeper = "systemd", cron: str = "0 3 * * 1"
) -> Schedule:
    return Schedule(name="weekly", plan="/plan.toml", cron=cron, keeper=keeper, created=at(created))


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("mon 03:00", "0 3 * * 1"),
        ("Monday 3:05", "5 3 * * 1"),
        ("sun,thu 23:59", "59 23 * * 0,4"),
        (" SAT  00:00 ", "0 0 * * 6"),
    ],
)
def test_days_and_a_time_of_day_are_cron_fields(text: str, fields: str) -> None:
    assert schedule.weekly(text) == fields


@pytest.mark.parametrize(
    "text", ["", "mon", "03:00", "mon 24:00", "moon 03:00", "mon 3", "mon 03:00 pm", "mon,"]
)
def test_a_week_without_a_day_and_a_time_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--weekly"):
        schedule.weekly(text)


@pytest.mark.parametrize("text", ["0 3 * * 1", "*/15 8-18/2 1,15 jan-MAR mon-fri", "0  3 * *\t0,7"])
def test_cron_fields_that_every_cron_knows_are_taken(text: str) -> None:
    assert schedule.read_cron(text) == " ".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0 3 * *",
        "0 0 3 * * 1",
        "60 3 * * 1",
        "0 24 * * *",
        "0 3 30 2 *",
        "0 3 L * *",
        "0 3 * * 1#2",
        "5/10 3 * * *",
        "@weekly",
        "0 3 * * mon\n* * * * * rm",
        "0 3 * * %",
        "5-1 3 * * *",
        "*/0 3 * * *",
    ],
)
def test_fields_that_name_no_time_or_that_some_cron_lacks_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--cron"):
        schedule.read_cron(text)


def test_the_next_time_is_on_the_clock_of_the_machine_in_summer_and_winter() -> None:
    plan = weekly()
    assert next_time(plan, at("2026-03-23 03:00"), BERLIN) == at("2026-03-30 03:00")
    assert at("2026-03-30 03:00") - at("2026-03-23 03:00") == 7 * 86400 - 3600, "the week of the change"


def test_a_time_that_the_clock_skips_comes_right_after_for_cron_and_not_at_all_for_systemd() -> None:
    after = at("2026-03-28 12:00")
    assert next_time(weekly(keeper="cron", cron="30 2 * * *"), after, BERLIN) == at("2026-03-29 03:00")
    assert next_time(weekly(cron="30 2 * * *"), after, BERLIN) == at("2026-03-30 02:30")


def test_a_time_that_comes_twice_counts_once() -> None:
    plan, first = weekly(cron="30 2 * * *"), at("2026-10-25 02:30")
    assert next_time(plan, at("2026-10-24 12:00"), BERLIN) == first
    for after in (first, at("2026-10-25 02:10", fold=1), at("2026-10-25 02:50", fold=1)):
        assert next_time(plan, after, BERLIN) == at("2026-10-26 02:30")


def test_weeks_in_which_nothing_ran_are_missed_but_not_the_one_that_may_still_begin() -> None:
    plan = weekly()
    assert missed(plan, at("2026-03-09 02:59"), BERLIN) == ()
    assert missed(plan, at("2026-03-09 03:05"), BERLIN) == ()
    assert missed(plan, at("2026-03-09 03:00") + GRACE_S, BERLIN) == (at("2026-03-09 03:00"),)
    assert missed(plan, at("2026-03-24 12:00"), BERLIN) == tuple(
        at(f"2026-03-{day:02} 03:00") for day in (9, 16, 23)
    )


def test_a_run_is_for_the_newest_time_that_passed_and_those_before_it_stay_missed() -> None:
    late = begun(weekly(), at("2026-03-24 12:00"), BERLIN)
    assert late.due == at("2026-03-23 03:00")
    assert late.missed == (at("2026-03-09 03:00"), at("2026-03-16 03:00"))
    on_time = begun(late, at("2026-03-30 03:00") + 1, BERLIN)
    assert on_time.due == at("2026-03-30 03:00") and on_time.missed == late.missed
    by_hand = begun(on_time, at("2026-04-01 10:00"), BERLIN)
    assert by_hand.due is None and by_hand.missed == late.missed
    assert begun(by_hand, at("2026-02-01 10:00"), BERLIN).missed == late.missed, "the clock was put back"


def test_a_machine_that_moves_to_another_zone_has_missed_nothing() -> None:
    plan, york = begun(weekly(), at("2026-03-09 03:00") + 1, BERLIN), ZoneInfo("America/New_York")
    assert elapsed(plan, at("2026-03-09 04:00"), york) == []
    assert next_time(plan, at("2026-03-09 04:00"), york) == at("2026-03-09 03:00", york)


moments = st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1)).map(lambda moment: moment.timestamp())
clocks = st.builds("{} {} * * {}".format, st.integers(0, 59), st.integers(0, 23), st.sampled_from("*0136"))


@given(clocks, moments, st.sampled_from(ZONES), st.integers(1, 400))
def test_times_rise_fit_the_clock_and_none_lies_between_a_moment_and_the_next(
    cron: str, after: float, zone: ZoneInfo, hours: int
) -> None:
    found = list(islice(times(cron, after, zone), 5))
    assert after < found[0] and found == sorted(set(found))
    for moment in islice(times(cron, after, zone, in_gaps=False), 5):
        local = datetime.fromtimestamp(moment, zone)
        assert (local.minute, local.hour) == tuple(map(int, cron.split()[:2]))
    plan = Schedule(name="x", plan="/p", cron=cron, keeper="cron", created=after)
    assert elapsed(plan, found[0] - 1, zone) == []
    until = after + hours * 3600
    assert elapsed(plan, until, zone) == [
        moment for moment in islice(times(cron, after, zone), hours) if moment <= until
    ]


needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@needs_systemd
@pytest.mark.parametrize(
    "cron",
    ["0 3 * * 1", "30 2 * * *", "*/20 22-23 1-7 * mon", "5 4 1,15 2-4 *", "0 0 13 * 5", "59 23 * jan 0,7"],
)
def test_systemd_takes_the_times_for_those_that_cron_means(cron: str) -> None:
    start, far = datetime(2026, 3, 20, tzinfo=UTC), 12
    ours = list(islice(times(cron, start.timestamp(), BERLIN, in_gaps=False), far))
    theirs: set[float] = set()
    for line in schedule.on_calendar(cron):
        words = ["systemd-analyze", "calendar", f"--iterations={far}", f"{line} Europe/Berlin"]
        told = subprocess.run(
            [*words, "--base-time=2026-03-20 00:00:00 UTC"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "TZ": "Europe/Berlin"},
        ).stdout
        for moment in re.findall(r"\(in UTC\): \w+ ([\d-]+ [\d:]+) UTC", told):
            theirs.add(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp())
    assert ours == sorted(theirs)[:far]


# Files

HARD = "a b%n$HOME\"'\\x`id`;ä"


def job(tmp_path: Path, **more: str) -> TimerJob:
    return TimerJob(
        name="weekly", about="assay schedule weekly", words=("schedule", "run", "weekly"),
        store=tmp_path / HARD, cron="0 3 * * 1", **more,
    )  # fmt: skip


@pytest.fixture
def crontab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of this user's crontab; no systemd answers."""
    return add_crontab(tmp_path, monkeypatch)


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    (tmp_path / "runtime").mkdir(mode=0o700)
    for each in (
        job(tmp_path, env_file=str(tmp_path / "100% my keys.env")),
        TimerJob(name="queue", about="assay queue work", words=("queue", "work"), store=tmp_path),
    ):
        for name, text in schedule.units(each).items():
            (tmp_path / name).write_text(text)
    files = sorted(str(file) for file in tmp_path.glob("assay-*"))
    assert [Path(file).suffix for file in files] == [".service", ".service", ".timer"]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", *files],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path / "runtime")},
    )
    of_ours = [line for line in done.stderr.splitlines() if line.startswith(("assay-", f"{tmp_path}/assay-"))]
    assert done.returncode == 0 and of_ours == []


def unescaped(words: str) -> list[str]:
    """What systemd makes of ExecStart's words: specifiers, then quotes, then variables."""
    text = words.replace("%%", "\0")
    assert "%" not in text, "a specifier"
    found = [
        re.sub(r"\\(.)", r"\1", word) for word in re.findall(r'"((?:[^"\\]|\\.)*)"', text.replace("\0", "%"))
    ]
    assert not any(re.search(r"(?<!\$)\$(?!\$)", word.replace("$$", "")) for word in found), "a variable"
    return [word.replace("$$", "$") for word in found]


def test_a_unit_starts_this_pythons_assay_on_this_store_whatever_is_in_their_paths(tmp_path: Path) -> None:
    service = schedule.units(job(tmp_path))["assay-weekly.service"]
    (line,) = re.findall(r"^ExecStart=(.*)$", service, re.MULTILINE)
    assert unescaped(line) == list(job(tmp_path).argv)
    timer = schedule.units(job(tmp_path))["assay-weekly.timer"]
    assert "OnCalendar=Mon *-*-* 03:00:00\n" in timer and "Persistent=true\n" in timer


def test_a_crontab_line_starts_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cron turns `\\%` into `%` and gives the rest to a shell."""
    keys = tmp_path / "100% my keys.env"
    keys.write_text("SECRET='of the file'\n")
    shown = tmp_path / "shown"
    # A shell runs the real line, with `env` put in the place of the program that env starts.
    line = schedule.crontab_line(job(tmp_path, env_file=str(keys)))
    fields, command = line.split(" ", 5)[:5], line.split(" ", 5)[5]
    assert fields == ["0", "3", "*", "*", "1"]
    assert not re.search(r"(?<!\\)%", command)
    said = command.replace("\\%", "%")
    program = said.index(shlex.quote(job(tmp_path).argv[2]))
    subprocess.run(["sh", "-c", f"{said[:program]} env > {shlex.quote(str(shown))}"], check=True)
    given = dict(row.split("=", 1) for row in shown.read_text().splitlines() if "=" in row)
    assert given["ASSAY_STORE"] == str(tmp_path / HARD) and given["SECRET"] == "of the file"
    assert shlex.split(said[program:], comments=True) == list(job(tmp_path).argv[2:])
    assert line.endswith(" # assay weekly")


@pytest.mark.parametrize("name", ["line\nbreak", "bell\a"])
def test_a_path_that_no_timer_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    each = TimerJob(name="x", about="x", words=(), store=tmp_path / name, cron="0 3 * * 1")
    for write in (schedule.units, schedule.crontab_line):
        with pytest.raises(BadInput, match="cannot stand"):
            write(each)


def test_a_line_that_cron_would_cut_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="too long"):
        schedule.crontab_line(
            TimerJob(name="x", about="x", words=(), store=tmp_path / ("x/" * 500), cron="* * * * *")
        )


def test_units_are_written_and_removed_and_those_of_others_stay(tmp_path: Path, crontab: Path) -> None:
    folder = schedule.unit_folder()
    folder.mkdir(parents=True)
    (folder / "assay-weekly.path").write_text("another's")
    (folder / "assay-weekly.b.service").write_text("# assay weekly.b\n")
    assert "once it does: systemctl --user daemon-reload" in (
        schedule.install(job(tmp_path), "systemd") or ""
    )
    assert {"weekly", "weekly.b"} == schedule.installed("systemd")
    with pytest.raises(BadInput, match="already"):
        schedule.install(job(tmp_path), "systemd")
    schedule.uninstall("weekly", "systemd")
    schedule.uninstall("weekly", "systemd")
    assert sorted(file.name for file in folder.iterdir()) == ["assay-weekly.b.service", "assay-weekly.path"]


def test_a_crontab_gets_one_line_and_loses_exactly_that(tmp_path: Path, crontab: Path) -> None:
    before = (
        b"# mine \xff\nMAILTO=me\n0 1 * * * backup # assay weekly report\n1 1 * * * x # assay other-weekly"
    )
    crontab.write_bytes(before)
    assert schedule.install(job(tmp_path), "cron") is None
    assert crontab.read_bytes() == before + b"\n" + schedule.crontab_line(job(tmp_path)).encode() + b"\n"
    assert "weekly" in schedule.installed("cron")
    with pytest.raises(BadInput, match="already"):
        schedule.install(job(tmp_path), "cron")
    schedule.uninstall("weekly", "cron")
    assert crontab.read_bytes() == before + b"\n"
    schedule.uninstall("weekly", "cron")
    assert crontab.read_bytes() == before + b"\n"


def test_the_first_crontab_of_a_user(tmp_path: Path, crontab: Path) -> None:
    schedule.install(job(tmp_path), "cron")
    assert crontab.read_text() == schedule.crontab_line(job(tmp_path)) + "\n"


def test_a_crontab_that_cannot_be_read_is_not_written_over(tmp_path: Path, crontab: Path) -> None:
    program = Path(shutil.which("crontab") or "")
    program.write_text(
        "#!/bin/sh\n[ $1 = -l ] && { echo 'you are not allowed' >&2; exit 1; }\ncat > $CRONTAB_FILE\n"
    )
    with pytest.raises(CannotRun, match="not allowed"):
        schedule.install(job(tmp_path), "cron")
    assert not crontab.exists()


def test_systemd_is_taken_where_it_answers_and_cron_elsewhere(tmp_path: Path, crontab: Path) -> None:
    assert schedule.choose_keeper(systemd=False, crontab=False) == "cron"
    assert schedule.choose_keeper(systemd=True, crontab=False) == "systemd"
    systemctl = crontab.parent / "bin/systemctl"
    systemctl.write_text("#!/bin/sh\nexit 0\n")
    systemctl.chmod(0o755)
    assert schedule.choose_keeper(systemd=False, crontab=False) == "systemd"
    assert schedule.choose_keeper(systemd=False, crontab=True) == "cron"
    with pytest.raises(BadInput, match="exclude"):
        schedule.choose_keeper(systemd=True, crontab=True)


def test_a_schedule_is_read_as_it_was_kept(tmp_path: Path) -> None:
    kept = begun(weekly(), at("2026-03-24 12:00"), BERLIN)
    schedule.keep(tmp_path / "store", kept)
    assert schedule.read_all(tmp_path / "store") == [kept]
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700
    for name in ("other", "../weekly", ""):
        with pytest.raises(BadInput, match="no schedule"):
            schedule.read(tmp_path / "store", name)
    file = schedule.file_of(tmp_path / "store", "weekly")
    for wrong in ('{"name": 1}', "{", file.read_text().replace("0 3 * * 1", "L"), file.read_text() * 2):
        file.write_text(wrong)
        with pytest.raises(BadInput, match=r"weekly\.json is no schedule"):
            schedule.read(tmp_path / "store", "weekly")


# Telling


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Hook]]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(schedule, "BACKOFF_S", 0.0)
    made: list[Hook] = []
    yield made
    for hook in made:
        hook.shutdown()
        hook.server_close()


def test_a_webhook_gets_the_values_at_its_very_address(
    hooks: list[Hook], monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks.append(hook := Hook(503, 429, 204))
    monkeypatch.setenv("HOOK_PATH", "T0/s3cret")
    assert schedule.tell_webhook(hook.url + "/in/${HOOK_PATH}?a=b&c=d", {"passed": True}) is None
    assert [path for path, _ in hook.got] == ["/in/T0/s3cret?a=b&c=d"] * 3
    assert json.loads(hook.got[0][1]) == {"passed": True}
    monkeypatch.setenv("WHOLE", hook.url + "/whole")
    assert schedule.tell_webhook("${WHOLE}", {}) is None and hook.got[-1][0] == "/whole"


@pytest.mark.parametrize(("status", "times"), [(404, 1), (302, 1), (500, 5)])
def test_a_webhook_that_refuses_is_named_without_its_path(hooks: list[Hook], status: int, times: int) -> None:
    hooks.append(hook := Hook(status))
    said = schedule.tell_webhook(hook.url + "/s3cret?key=s3cret", {}) or ""
    assert f"{hook.url} was not told: it answered with status {status}" in said and "s3cret" not in said
    assert len(hook.got) == times


def test_a_webhook_without_its_variable_or_its_server(hooks: list[Hook]) -> None:
    assert "NO_SUCH is not set" in (schedule.tell_webhook("https://example.org/${NO_SUCH}", {}) or "")
    hooks.append(hook := Hook(200))
    hook.server_close()
    assert "no connection, 5 times" in (schedule.tell_webhook(hook.url, {}) or "")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "example.org/x",
        "ftp://example.org",
        "http://",
        "http://a:b@example.org/",
        "http://h:99999/",
        "http://h/a b",
    ],
)
def test_what_is_no_web_address_is_refused(address: str) -> None:
    with pytest.raises(BadInput, match="--webhook"):
        schedule.refuse_webhook(address)


def test_a_key_in_a_hook_or_webhook_is_refused_since_it_would_be_stored() -> None:
    key = "sk-" + "a1b2c3d4e5f6g7h8"
    with pytest.raises(BadInput, match="a key is in it") as hook:
        schedule.read_hook(f"echo {key}")
    with pytest.raises(BadInput, match="a key is in it") as webhook:
        schedule.refuse_webhook(f"https://example.org/?key={key}")
    assert key not in str(hook.value) + str(webhook.value)
    schedule.refuse_webhook("https://10.0.0.7:8443/${KEY}")


def test_a_hook_gets_the_values_without_a_shell(tmp_path: Path) -> None:
    argv = schedule.read_hook("""sh -c 'cat > got; echo "$1" >> got' x '$HOME; id'""")
    assert schedule.tell_hook(argv, '{"passed": true}\n', tmp_path) is None
    assert (tmp_path / "got").read_text() == '{"passed": true}\n$HOME; id\n'
    assert schedule.tell_hook(schedule.read_hook("false"), "{}", tmp_path) is not None
    assert "cannot be started" in (schedule.tell_hook(("/no/such",), "{}", tmp_path) or "")
    for wrong in ("", "no-such-program-here x", "sh 'open"):
        with pytest.raises(BadInput, match="--hook"):
            schedule.read_hook(wrong)


def test_days_pass_without_end() -> None:
    plan = weekly(cron="* * * * *")
    start = plan.created
    assert len(missed(plan, start + timedelta(days=3).total_seconds(), BERLIN)) == schedule.MOST_MISSED
