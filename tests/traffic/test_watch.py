"""Watching traffic: a planted change is told with its cause, and no change is not."""

from collections.abc import Callable
from pathlib import Path

from engine.data.example import Example
from engine.traffic.alerts import Alarm, episodes
from engine.traffic.periods import DAY, TrafficWatch
from engine.traffic.watch import watch
from store import people
from store.read.monitor import alerts
from tests.engine.runs import carry_out, queue, recorded_plan
from tests.traffic.made import ANSWER, FIRST, MORE, NOW, TOPICS, Week, changed, store

NEW = "Which vegan recipes with lentils and spinach do you recommend for {n} guests on Sunday?"


def watched(folder: Path, week_of: Callable[[int], Week], **asked: object) -> TrafficWatch:
    return watch(store(folder, week_of), now=NOW, **asked)  # type: ignore[arg-type]


def told(found: TrafficWatch) -> dict[str, tuple[str | None, int]]:
    """Each alert's cause, and the week from which on it holds."""
    return {a.measure: (a.cause, round((a.start - FIRST) / (7 * DAY))) for a in found.alerts}


def test_traffic_that_stays_as_it_was_raises_no_alert(tmp_path: Path) -> None:
    found = watched(tmp_path, lambda _: Week())
    assert found.alerts == []
    assert [row.tested for row in found.rows] == [False] * 4 + [True] * 4
    assert [row.is_reference for row in found.rows] == [True] * 4 + [False] * 4


def test_a_model_that_was_shipped_by_mistake_is_named(tmp_path: Path) -> None:
    found = watched(tmp_path, changed(5, model="overfit", version="v2", refused=0.6, thumbs_up=0.2))
    assert told(found)["refused"] == ("model", 5)
    assert told(found)["thumbs_up"] == ("model", 5)
    (alert,) = [one for one in found.alerts if one.measure == "refused"]
    assert alert.evidence["models"] == {"overfit v2": 60}


def test_new_questions_are_told_and_are_the_cause_of_longer_answers(tmp_path: Path) -> None:
    found = watched(tmp_path, changed(6, new_topic=NEW, longer_on_new=9))
    assert told(found)["questions"] == ("input", 6)
    assert told(found)["length"] == ("input", 6)


def test_broken_format_latency_and_what_nothing_tells(tmp_path: Path) -> None:
    found = watched(tmp_path / "format", changed(5, json=True, malformed=0.6))
    assert told(found)["well_formed"] == ("format", 5)
    found = watched(tmp_path / "latency", changed(5, latency=2.0))
    assert told(found)["latency_median"] == ("latency", 5)
    found = watched(tmp_path / "thumbs", changed(5, thumbs_up=0.1))
    assert told(found) == {"thumbs_up": (None, 5)}


def test_a_new_cluster_that_the_eval_set_has_nothing_of(tmp_path: Path) -> None:
    asked = [
        Example(str(n), text.format(n=n), ({"role": "user", "content": text.format(n=n)},))
        for n, text in enumerate(TOPICS * 8)
    ]
    found = watched(tmp_path, changed(6, new_topic=NEW), evaluation=("eval.jsonl", asked))
    (cluster,) = found.uncovered
    print(cluster)
    assert all("vegan" in text for _, text in cluster.examples)
    assert cluster.first >= FIRST + 6 * 7 * DAY


def test_the_accepted_candidate_of_a_run_is_the_reference_where_it_is_named(tmp_path: Path) -> None:
    asked = {f"q{n}": text.format(n=n) for n, text in enumerate(TOPICS * 12)}
    answer = ANSWER.format(more=MORE)
    plan = recorded_plan(
        tmp_path,
        [{"id": key, "query": query, "reference": answer} for key, query in asked.items()],
        {name: dict.fromkeys(asked, answer) for name in ("base", "tuned")},
        '[metrics]\nuse = ["exact_match"]',
    )
    folder = tmp_path / "store"
    run_id = queue(folder, plan)
    carry_out(folder, run_id)
    connection = store(folder, changed(5, refused=0.6))
    people.mark(connection, run_id, "accept", "tuned", "ana")
    found = watch(connection, now=NOW, reference="accepted")
    assert found.reference == f"run {run_id}, tuned"
    assert all(row.tested and not row.is_reference for row in found.rows)
    assert found.references[""].figures["refused"].value == 0.0
    assert told(found)["refused"] == (None, 5)


def test_an_alert_stays_what_it_is_when_it_is_looked_at_again(tmp_path: Path) -> None:
    connection = store(tmp_path, changed(5, latency=2.0))
    (first,) = {
        (a.id, a.created, a.measure)
        for a in watch(connection, now=NOW).alerts
        if a.measure == "latency_median"
    }
    watch(connection, now=NOW)
    (again,) = {(a.id, a.created, a.measure) for a in alerts(connection) if a.measure == "latency_median"}
    assert again == first


def test_two_alerts_that_late_events_join_are_told_from_the_first_on() -> None:
    def alarms(*weeks: int) -> list[Alarm]:
        return [Alarm(7 * DAY * week, "length", None, {"until": 7 * DAY * (week + 1)}) for week in weeks]

    looked = [7 * DAY * week for week in range(4)]
    apart = episodes(alarms(1, 3), looked, "", 7, "so", ())
    assert [alert.start for alert in apart] == [7 * DAY, 21 * DAY]
    newest_first = apart[::-1]
    (joined,) = episodes(alarms(1, 2, 3), looked, "", 7, "so", newest_first)
    assert (joined.start, joined.evidence["until"]) == (7 * DAY, 28 * DAY)


def test_a_period_that_is_not_over_is_shown_and_not_tested(tmp_path: Path) -> None:
    found = watch(store(tmp_path, changed(7, refused=0.9)), now=NOW - DAY)
    assert not found.rows[-1].is_over and not found.rows[-1].tested and found.rows[-1].events == 60
    assert found.alerts == []


def test_each_variant_has_its_own_reference_and_alerts(tmp_path: Path) -> None:
    found = watch(
        store(tmp_path, lambda _: Week(variant="A"), lambda n: Week(variant="B", latency=1.0 + (n > 4))),
        now=NOW,
    )
    assert found.variants == ["A", "B"]
    assert {alert.variant for alert in found.alerts} == {"B"}
    assert watch(store(tmp_path), now=NOW, variant="A").alerts == []


def test_too_few_events_are_no_reference(tmp_path: Path) -> None:
    found = watch(store(tmp_path, lambda _: Week(events=6)), now=NOW)
    assert found.references == {} and not any(row.tested for row in found.rows)
    assert "nothing is tested yet: 0 of the 4 periods" in found.remarks[0]
    assert found.rows[0].figures["refused"].reason == "fewer than 10 events tell it (6)"


def test_alerts_of_another_reference_are_not_this_ones(tmp_path: Path) -> None:
    connection = store(tmp_path, changed(5, latency=2.0))
    assert watch(connection, now=NOW).open_alerts
    assert {alert.reference for alert in watch(connection, now=NOW, reference=3).alerts} == {
        "the first 3 weeks"
    }
    assert watch(connection, now=NOW, days=14, reference=1).reference == "the first period of 14 days"
    assert {alert.reference for alert in alerts(connection)} >= {"the first 3 weeks", "the first 4 weeks"}


def test_questions_without_a_word_are_watched_too(tmp_path: Path) -> None:
    found = watch(
        store(tmp_path, lambda _: Week(events=30, topics=("\U0001f600 ?!", "...", " "))),
        now=NOW,
        evaluation=("eval.jsonl", [Example("1", "?", ({"role": "user", "content": "?"},))]),
    )
    assert len(found.rows) == 8 and found.alerts == [] and list(found.uncovered) == []


def test_a_correction_that_repeats_the_answer_corrects_nothing(tmp_path: Path) -> None:
    connection = store(tmp_path, lambda _: Week(corrected=1.0), weeks=1)
    connection.execute(
        "UPDATE trafficfeedback SET correction = ' ' || "
        "(SELECT response FROM trafficevent e WHERE e.id = event_id) WHERE event_id < 'e-None-0-4'"
    )
    same, other = (
        connection.execute(
            f"SELECT count(*) FROM trafficfeedback WHERE event_id {sign} 'e-None-0-4'"
        ).fetchone()[0]
        for sign in ("<", ">=")
    )
    (row,) = watch(connection, now=NOW).rows
    assert same > 2 and row.figures["corrected"].value == other / 60


def test_weeks_before_people_could_say_anything_have_no_share_of_corrected_answers(tmp_path: Path) -> None:
    connection = store(tmp_path, lambda week: Week(corrected=0.0 if week < 5 else 0.5), weeks=8)
    connection.execute(
        "DELETE FROM trafficfeedback WHERE event_id IN (SELECT id FROM trafficevent WHERE time < ?)",
        (FIRST + 3 * 7 * DAY,),
    )
    shares = [row.figures["corrected"] for row in watch(connection, now=NOW).rows]
    assert [share.value for share in shares[:5]] == [None, None, None, 0.0, 0.0]
    assert all(share.value for share in shares[5:])
    assert {share.reason for share in shares[:3]} == {"nobody has corrected any answer yet"}


def test_a_week_without_events_is_a_row_and_no_period_of_the_reference(tmp_path: Path) -> None:
    found = watched(tmp_path, lambda week: Week(events=0 if week in (1, 6) else 60))
    assert [row.events for row in found.rows] == [60, 0, 60, 60, 60, 60, 0, 60]
    empty = found.rows[6]
    assert not empty.tested and empty.is_over and empty.units == 0 and empty.models == {}
    assert empty.figures["events"].value == 0
    assert {figure.value for name, figure in empty.figures.items() if name != "events"} == {None}
    assert [row.is_reference for row in found.rows] == [True, False, True, True, True, False, False, False]
    assert found.rows[7].tested
