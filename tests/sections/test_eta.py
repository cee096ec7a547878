import pytest

from store.records import Progress
from tests.tui.test_live import progress
from tui.screens.live.lines import phases
from tui.sections.eta import Recent, rate, time_left, whole_time_left


def seen(*looks: tuple[int, float], resumed_from: int = 0) -> tuple[Recent, Progress]:
    """A piece of work as it was looked at: how much was done, after how many seconds of its own."""
    recent = Recent()
    row = progress("generate", "good", 0, 1000)
    for done, seconds in looks:
        row = progress("generate", "good", done, 1000, seconds=seconds, resumed_from=resumed_from)
        recent.look([row])
    return recent, row


def test_the_pace_is_that_of_late_and_a_stall_or_a_burst_does_not_move_it() -> None:
    slow_start = [(10, 100.0)]
    steady = [(10 + 20 * step, 100.0 + 10 * step) for step in range(1, 7)]
    recent, row = seen(*slow_start, *steady)
    assert rate([row], recent) == pytest.approx(2.0)
    assert rate([row]) == pytest.approx(130 / 160), "the mean since the start still has the slow start in it"
    assert time_left([row], recent) == pytest.approx(870 / 2.0)
    stalled, row = seen(*slow_start, *steady, (131, 1_000.0), (151, 1_010.0))
    assert rate([row], stalled) == pytest.approx(2.0)
    burst, row = seen(*slow_start, *steady, (630, 168.0))
    assert rate([row], burst) == pytest.approx(2.0)


def test_what_came_out_of_a_cache_or_was_there_before_is_no_pace() -> None:
    recent = Recent()
    for step in range(6):
        cached = 500 if step > 2 else 0
        done = 20 * step + cached
        row = progress("generate", "good", done, 1000, seconds=10.0 * step, resumed_from=cached)
        recent.look([row])
    assert rate([row], recent) == pytest.approx(2.0)


def test_until_enough_was_seen_or_once_it_begins_anew_the_mean_stands() -> None:
    recent, row = seen((20, 10.0), (40, 20.0))
    assert rate([row], recent) == pytest.approx(2.0) and recent.rate(row) is None
    again, row = seen(*[(20 * step, 10.0 * step) for step in range(6)], (3, 1.0))
    assert again.rate(row) is None


def test_the_whole_run_is_timed_as_far_as_its_phases_are_known() -> None:
    rows = [
        progress("generate", "good", 60, 100, resumed_from=40),
        progress("score", "rouge", 0, 100, started=None, seconds=0.0),
        progress("judge", "gpt", 0, 48, started=None, seconds=0.0),
    ]
    whole = whole_time_left(rows, {"score": 50.0})
    assert whole.seconds == pytest.approx(8.0 + 2.0) and whole.unknown == ("judge",)
    heading = phases(rows, 100, running=True, whole=whole)[0].plain
    assert heading.startswith("Phases  ETA ~10s, excluding judge")
    assert "ETA" not in phases(rows, 100, whole=whole)[0].plain
