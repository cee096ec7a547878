"""How many examples an eval set needs, from the command line."""

import json
from pathlib import Path

import pytest

from store.read import history
from store.session import opened
from tests.cli.conftest import Assay


def sizes(text: str) -> list[tuple[float | None, int | None]]:
    (row,) = json.loads(text)["rows"]
    return [(size["difference"], size["examples"]) for size in row["sizes"]]


def test_a_difference_of_shares_takes_so_many_examples(assay: Assay) -> None:
    said = assay("plan-size", "--difference", "0.05")
    assert said.code == 0
    assert "5.0 points       400" in said.out and "on 87.5% of the examples" in " ".join(said.out.split())
    assert sizes(assay("plan-size", "--difference", "0.05", "--json").out) == [(0.05, 400)]


def test_more_agreement_takes_fewer_examples_and_more_looks_take_more(assay: Assay) -> None:
    def takes(*more: str) -> int | None:
        return sizes(assay("plan-size", "--difference", "0.05", "--json", *more).out)[0][1]

    usual, alike, many = takes(), takes("--agreement", "0.95"), takes("--looks", "6")
    assert usual and alike and many and alike < usual < many
    assert takes("--discordant", "0.05") == alike
    assert takes("--deviation", str(0.125**0.5)) == usual


def test_without_a_question_the_usual_sizes_and_what_they_show(assay: Assay) -> None:
    shown = sizes(assay("plan-size", "--json").out)
    assert [count for _, count in shown] == [50, 100, 200, 500, 1000, 2000, 5000]
    assert [difference for difference, _ in shown] == sorted((d or 0 for d, _ in shown), reverse=True)


def test_a_win_rate_takes_fewer_examples_where_the_judge_calls_ties(assay: Assay) -> None:
    said = assay("plan-size", "--win-rate", "0.55")
    assert "   55.0%       790" in said.out
    assert "   55.0%       630" in assay("plan-size", "--win-rate", "0.55", "--ties", "0.2").out


def test_what_models_that_agree_so_much_cannot_show_is_missing(assay: Assay) -> None:
    asked = ("plan-size", "--agreement", "0.95", "--examples", "50")
    assert sizes(assay(*asked, "--json").out) == [(None, 50)]
    assert "more than two such models can differ by" in assay(*asked).out


def test_too_few_examples_for_any_difference_show_none(assay: Assay) -> None:
    asked = ("plan-size", "--looks", "100", "--examples", "18", "--examples", "19", "--difference", "1")
    assert sizes(assay(*asked, "--json").out)[:2] == [(1.0, 19), (None, 18)]
    assert sizes(assay(*asked, "--json").out)[2][0] == pytest.approx(0.983, abs=0.001)


def test_a_run_lends_its_spread(assay: Assay, history_store: Path) -> None:
    asked = ("plan-size", "--run", "2", "--measure", "rougeL", "--store", history_store)
    said = assay(*asked, "--difference", "0.02")
    assert said.code == 0 and "as the 12 of run 2" in " ".join(said.out.split())
    with opened(history_store) as connection:
        (row,) = (
            row
            for row in history.comparisons(connection, 2)
            if (row.measure, row.candidate, row.baseline) == ("rougeL", "good", "base")
        )
    again = assay(*asked, "--examples", row.n, "--looks", 1, "--json")
    first = json.loads(again.out)["rows"][0]
    assert (first["candidate"], first["baseline"], first["n"]) == ("good", "base", 12)
    # The run's own number of examples shows what the run says to be its smallest detectable difference.
    assert first["sizes"][0]["difference"] == pytest.approx(row.smallest_detectable, rel=0.001)


def test_a_win_rate_of_a_run_lends_its_spread(assay: Assay, history_store: Path) -> None:
    said = assay(
        "plan-size", "--run", 2, "--measure", "win rate", "--examples", 200, "--store", history_store
    )
    assert said.code == 0 and "win rate (reference)" in " ".join(said.out.split())


def test_a_measure_whose_spread_nobody_knows_says_why(assay: Assay, plan: object, tmp_path: Path) -> None:
    store = ("--store", tmp_path / "store")
    assert callable(plan)
    assert assay("run", plan(), "--quiet", "--limit", 4, *store).code in (0, 1)
    asked = ("plan-size", "--run", "last", "--measure", "exact_match", "--difference", "0.1", *store)
    assert "after against before: 4 examples are too few" in " ".join(assay(*asked).out.split())
    (row,) = json.loads(assay(*asked, "--json").out)["rows"]
    assert row["sizes"] == [{"difference": 0.1, "examples": None}] and "too few" in row["reason"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--difference nan", "--difference nan is nothing to plan for"),
        ("--difference 0", "nothing to plan for"),
        ("--difference -0.1", "nothing to plan for"),
        ("--difference inf", "nothing to plan for"),
        ("--difference 1.5", "cannot be: it is 1 at most"),
        ("--difference 1e-300", "more than 1,000,000,000 examples"),
        ("--agreement 0.9 --difference 0.2", "cannot be: it is 0.1 at most"),
        ("--agreement 1", "leaves no example"),
        ("--agreement nan", "leaves no example"),
        ("--discordant 2", "is no share"),
        ("--discordant 0", "nothing to plan for"),
        ("--agreement 0.9 --discordant 0.1", "--agreement and --discordant both say"),
        ("--ties 0.1 --deviation 1", "both say how far examples scatter"),
        ("--deviation inf", "nothing to plan for"),
        ("--win-rate 0.5", "nothing to plan for"),
        ("--win-rate 0.9 --ties 0.5", "cannot be with so many ties"),
        ("--examples 7", "must be from 8"),
        ("--run last", "go together"),
        ("--measure rougeL", "go together"),
        ("--run 2 --measure nonsense", "run 2 has no measure 'nonsense'"),
        ("--run 99 --measure rougeL", "there is no run 99"),
    ],
)
def test_nonsense_is_refused_with_a_reason(
    assay: Assay, history_store: Path, arguments: str, said: str
) -> None:
    got = assay("plan-size", *arguments.split(), "--store", history_store)
    assert got.code == 2 and said in got.err and not got.out
