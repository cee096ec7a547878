"""Weekly runs: which answers are drawn, and that judges and people find an ordinary run."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from engine.errors import BadInput
from engine.plan.plan import read_plan
from engine.traffic.weeks import RANDOM, WORST, Reviewed, last_week, review, scoring_judges
from store import people, reviewing
from store.read import evidence, history, weeks
from store.read.monitor import ratings
from store.session import opened
from tests.engine.runs import carry_out
from tests.judges.scripted import JudgeServer, says
from tests.traffic.played import WEEK_1, WEEK_S, play

NOW = WEEK_1 + 30 * WEEK_S
WEEK_5 = WEEK_1 + 4 * WEEK_S


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return play(tmp_path / "store", weeks=(1, 5))


def drawn(store: Path, purpose: str, start: float = WEEK_5, *, now: float = NOW, n: int = 50) -> Reviewed:
    with opened(store) as connection:
        return review(connection, store, start, "", purpose, now=now, n=n)


def ids(store: Path, run_id: int) -> list[str]:
    with opened(store) as connection:
        folder = Path(history.run(connection, run_id).plan_folder)
    return [json.loads(line)["id"] for line in (folder / "examples.jsonl").read_text().splitlines()]


def test_the_random_sample_is_the_same_again_and_opens_the_same_run(store: Path, tmp_path: Path) -> None:
    found = drawn(store, RANDOM)
    assert (found.n, found.is_new) == (50, True) and len(set(ids(store, found.run_id))) == 50
    again = drawn(store, RANDOM)
    assert asdict(again) == {**asdict(found), "is_new": False}
    elsewhere = play(tmp_path / "elsewhere", weeks=(5,))
    assert ids(elsewhere, drawn(elsewhere, RANDOM).run_id) == ids(store, found.run_id)


def test_a_week_with_fewer_answers_gives_all_of_them(store: Path) -> None:
    assert drawn(store, RANDOM, WEEK_1, n=10_000).n == 168


def test_the_worst_are_those_that_somebody_complains_of(store: Path) -> None:
    found = drawn(store, WORST, n=500)
    with opened(store) as connection:
        bad = weeks.worst(connection, WEEK_5, WEEK_5 + WEEK_S, "")
        downs = {
            row[0] for row in connection.execute("SELECT event_id FROM trafficfeedback WHERE thumbs < 0")
        }
    order = ids(store, found.run_id)
    assert set(order) == set(bad) and [bad[each] for each in order] == sorted(bad.values(), reverse=True)
    assert {each for each in order if bad[each] >= 8} == downs & set(order)
    beside = (store / "weeks/2026-02-02-worst/corrections.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["response"] is not None for line in beside) == 12


def test_a_week_that_is_not_over_has_no_random_sample_and_its_worst_are_drawn_anew(store: Path) -> None:
    during = WEEK_5 + 3 * 86_400
    with pytest.raises(BadInput, match=r"is not over.*\n.*draw it from 2026-02-09") as raised:
        drawn(store, RANDOM, now=during)
    assert raised.value.exit_code == 2
    first = drawn(store, WORST, now=during)
    with opened(store) as connection:
        connection.execute("UPDATE run SET created = ?", (during,))
    assert drawn(store, WORST, now=during + 3_600).run_id == first.run_id
    assert drawn(store, WORST, now=during + 86_400).is_new, "the next day"
    with opened(store) as connection:
        connection.execute("UPDATE run SET created = ?", (during + 86_400,))
    later = drawn(store, WORST, now=WEEK_5 + WEEK_S)
    assert later.is_new
    with opened(store) as connection:
        assert [row.run_id for row in weeks.weeks(connection)] == [later.run_id]


def test_what_cannot_be_drawn_is_said(store: Path) -> None:
    with pytest.raises(BadInput, match="week of 2026-01-12 has no answer to be seen"):
        drawn(store, RANDOM, WEEK_1 + WEEK_S)
    with opened(store) as connection, pytest.raises(BadInput, match="of the variant 'b'"):
        review(connection, store, WEEK_5, "b", RANDOM, now=NOW)
    with opened(store) as connection, pytest.raises(BadInput, match="no week that is over has traffic"):
        last_week(connection, "", WEEK_1 + 1)
    with opened(store) as connection:
        assert last_week(connection, "", NOW) == WEEK_5


def test_a_deleted_run_is_made_anew(store: Path) -> None:
    first = drawn(store, RANDOM)
    with opened(store) as connection:
        people.delete(connection, first.run_id, "ann")
    assert drawn(store, RANDOM).run_id != first.run_id


def test_judges_score_the_answers_one_by_one_and_people_label_them(
    store: Path, tmp_path: Path, server: JudgeServer
) -> None:
    server.answers(says('{"reasoning": "so", "score": 6}'))
    plan = tmp_path / "judging.toml"
    judge = f'[[judges]]\nname = "gpt"\nserver = "{server.url}"\nmodel = "m"\nkind = "{{kind}}"\n'
    head = 'name = "j"\n[data]\nexamples = "eval.jsonl"\n'
    (tmp_path / "eval.jsonl").write_text('{"id": "1", "query": "why?"}\n')
    (tmp_path / "a.jsonl").write_text('{"id": "1", "response": "so"}\n')
    for role in ("baseline", "candidate"):
        head += f'[[models]]\nname = "{role}"\nrole = "{role}"\noutputs = "a.jsonl"\n'
    plan.write_text(head + judge.format(kind="pairwise"))
    with pytest.raises(BadInput, match=r"'gpt' compares pairs"):
        scoring_judges(plan)
    plan.write_text(head + judge.format(kind="pointwise"))
    with opened(store) as connection:
        found = review(connection, store, WEEK_5, "", RANDOM, now=NOW, n=20, judges=scoring_judges(plan))
    carry_out(store, found.run_id)
    with opened(store) as connection:
        (row,) = weeks.weeks(connection)
        assert (row.n, row.graded, row.labelled) == (20, 20, 0)
        assert len(ratings(connection)) == 20, "corrections are no answers of this week"
        example = evidence.run_examples(connection, found.run_id)[0]
        for model, value in zip(history.models(connection, found.run_id), ("up", "down"), strict=True):
            reviewing.annotate(
                connection, found.run_id, example.id, "thumbs", value, left_id=model.id, annotator="ann"
            )
        (row,) = weeks.weeks(connection)
        assert (row.labelled, row.up, row.down) == (1, 0, 1)
    written = read_plan(store / "weeks/2026-02-02-random/plan.toml")
    assert [model.name for model in written.models] == ["corrections", "production"]


def test_hostile_variants_and_answers_make_a_readable_plan(tmp_path: Path) -> None:
    variant = '\x1b[31m"\n[[models]]\u202e'
    store = play(tmp_path / "store", weeks=(5,), variant=variant)
    with opened(store) as connection:
        connection.execute("UPDATE trafficevent SET response = ?", ("\x1b]52;c;aGk=\x07 [/b] \x00 \u202e",))
        found = review(connection, store, WEEK_5, variant, RANDOM, now=NOW)
    carry_out(store, found.run_id)
    with opened(store) as connection:
        assert [model.name for model in history.models(connection, found.run_id)][1:] == ["production"]
        assert history.run(connection, found.run_id).status == "running"
