"""When a server is left alone, and when it is tried again."""

from engine.servers.control import CALLS, FAILURES, REFUSALS, Breaker, Outage


def fail(breaker: Breaker, times: int, *, calls: int = CALLS, refused: bool = False) -> Outage | None:
    outages = [
        breaker.failure(number % calls, "500 kaputt", refused=refused, era=breaker.era)
        for number in range(times)
    ]
    assert outages[:-1] == [None] * (times - 1)
    return outages[-1]


def test_failures_in_a_row_open_it() -> None:
    breaker = Breaker()
    outage = fail(breaker, FAILURES)
    assert outage is not None
    assert breaker.outage is outage
    assert (outage.reason, outage.wait, outage.over) == ("500 kaputt", 1.0, False)


def test_a_success_between_keeps_it_closed() -> None:
    breaker = Breaker()
    for _ in range(3):
        assert fail(breaker, FAILURES - 1) is None
        breaker.success()
    assert breaker.outage is None


def test_one_question_that_upsets_its_server_is_no_outage() -> None:
    assert fail(Breaker(), 50, calls=CALLS - 1) is None


def test_refused_connections_open_it_whatever_was_asked() -> None:
    assert fail(Breaker(), REFUSALS, calls=1, refused=True) is not None


def test_each_try_that_fails_doubles_the_wait_to_a_minute() -> None:
    breaker = Breaker()
    fail(breaker, FAILURES)
    waits = []
    for _ in range(8):
        outage = breaker.failure(1, "still", refused=False, era=breaker.era)
        assert outage is not None
        waits.append(outage.wait)
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


def test_what_began_before_a_wait_says_nothing_about_it() -> None:
    breaker = Breaker()
    before = breaker.era
    fail(breaker, FAILURES)
    assert breaker.failure(9, "late", refused=False, era=before) is None
    assert breaker.outage is not None
    assert breaker.outage.wait == 1.0


def test_a_success_closes_it() -> None:
    breaker = Breaker()
    fail(breaker, FAILURES)
    breaker.success()
    assert breaker.outage is None
    assert fail(breaker, FAILURES - 1) is None


def test_patience_ends() -> None:
    breaker = Breaker(scale=0.0)
    fail(breaker, FAILURES)
    outage = breaker.failure(1, "still", refused=False, era=breaker.era)
    assert outage is not None
    assert outage.over


def test_people_are_told_why_and_until_when() -> None:
    outage = fail(Breaker(), FAILURES)
    assert outage is not None
    text = outage.text("http://judge:8000/v1")
    assert text.startswith("http://judge:8000/v1 has not answered since ")
    assert "(500 kaputt); next try at " in text
