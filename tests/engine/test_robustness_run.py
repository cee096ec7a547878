"""Examples asked in other forms: who is asked what, what it costs each model, and what is said of that."""

import json
import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
from scipy.stats import binomtest

from engine.compare.comparable import Side
from engine.compare.comparison import Comparison, Scores, compare_measures
from engine.compare.folds import _Column, _fair
from engine.compare.forgetting import DROP, INVARIANCE, NONE_RIGHT, ROBUST, conclusions, forgetting
from engine.compare.runs import compare_pairs
from engine.decision.answers import robust
from engine.decision.facts import RunFacts, cases, own_drop, read
from engine.decision.what_if import GatedRun
from engine.errors import BadInput
from engine.formats.export import export_runs
from engine.gates.figures import interval
from engine.gates.measures import drop_alerts, ruled
from engine.metrics.metric import Measure
from engine.phases.score import measures
from engine.phases.scoring.robustness import _is_same, leading
from engine.phases.work import quick_part
from engine.plan.plan import Gates, parse_plan
from engine.preflight.check import check
from engine.stats.family import holm
from store import database, records
from store.read import history
from store.read.rows import ModelScoreRow
from store.read.slices import lost_variants, with_variants
from store.session import opened
from store.transfer import export
from store.transfer.merge import merge
from store.write import Recorder
from tests.engine.runs import carry_out, lines, queue, recorded_plan
from tests.engine.test_forgetting import GONE, row
from tui.cli.screenful import print_screen
from tui.report import render
from tui.report.json import run_values
from tui.report.markdown import inert_markdown, markdown
from tui.screens.compare.data import forgetting_lines, metric_lines, read_numbers
from tui.screens.compare.lines import brief
from tui.sections.gather import gather
from tui.sections.measures import by_form
from tui.text.output import held

SAMPLES = Path(__file__).parents[2] / "samples"
N = 10
PERTURBED = """
[generation]
max_new_tokens = 4
cache = false
[metrics]
use = ["exact_match", "length", "perplexity"]
[robustness]
perturbations = ["typos", "numbers", "choices"]
rate = 1.0
paraphrase = "base"
"""


def plan_of(folder: Path, rest: str = PERTURBED) -> Path:
    """The sample base and its overfitted fine-tune on sums that the base can do."""
    general = (SAMPLES / "eval" / "general.jsonl").read_text().splitlines()
    (folder / "examples.jsonl").write_text("\n".join(general[:N]))
    base = SAMPLES / "models" / "base"
    overfit = SAMPLES / "models" / "adapters" / "overfit"
    plan = folder / "plan.toml"
    plan.write_text(
        f"""
name = "robust"
judges = []
[data]
examples = "examples.jsonl"
[[models]]
name = "base"
role = "baseline"
path = "{base}"
[[models]]
name = "overfit"
role = "candidate"
path = "{base}"
adapter = "{overfit}"
{rest}"""
    )
    return plan


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    folder = tmp_path_factory.mktemp("robust")
    store = folder / "store"
    run_id = queue(store, plan_of(folder))
    phases = iter([False, True])  # it is paused after the answers, and resumed
    with pytest.raises(Exception, match="pause"):
        carry_out(store, run_id, ends_with_phase=lambda: next(phases))
    recorder = carry_out(store, run_id)
    recorder.set_run(status="finished", finished=1.0)
    return recorder


def models(run: Recorder) -> dict[str, int]:
    return {row.name: row.id for row in run.rows(records.StoredModel, run_id=run.run_id)}


def scores(run: Recorder, model: str) -> dict[str, records.ModelScore]:
    return {row.measure: row for row in run.rows(records.ModelScore, model_id=models(run)[model])}


def test_each_variant_is_linked_to_its_example_and_asked_once_of_each_model(run: Recorder) -> None:
    variants = run.rows(records.StoredVariant, run_id=run.run_id)
    plain = {row.example_id for row in run.rows(records.RunExample, run_id=run.run_id)}
    assert {row.example_id for row in variants} <= plain and len(plain) == N
    kinds = [row.perturbation for row in variants]
    assert kinds.count("typos") == 8 and 0 < kinds.count("numbers") <= N and "choices" not in kinds
    for model in models(run).values():
        answers = run.rows(records.StoredVariantAnswer, model_id=model)
        assert sorted(row.variant_id for row in answers) == sorted(row.id for row in variants)


def test_what_changes_nothing_makes_no_variant_and_is_counted(run: Recorder) -> None:
    told = (run.run().data_summary or {})["perturbed"]
    assert told["choices"] == {"variants": 0, "none": {"no lettered choices": N}}
    events = [row.message for row in run.rows(records.Event, run_id=run.run_id) if row.level == "warning"]
    assert f"choices: 0 variants; none for {N} (no lettered choices)" in events
    with opened(run.folder) as connection:
        assert (
            f"choices: 0 variants, none for {N} where no lettered choices"
            in gather(connection, run.run_id).data.variants
        )


def test_a_model_that_cannot_ask_in_other_words_makes_no_variant(run: Recorder) -> None:
    told = (run.run().data_summary or {})["perturbed"]["paraphrase"]
    assert told["variants"] == 0 and sum(told["none"].values()) == N
    assert f"{DROP}paraphrase" not in scores(run, "base")
    done = run.rows(records.Progress, run_id=run.run_id, item="base · paraphrases")
    assert [(row.done, row.total) for row in done] == [(N, N)]  # of the worker before the pause


def test_no_plain_figure_counts_a_variant(run: Recorder) -> None:
    for name in models(run):
        found = scores(run, name)
        assert found["exact_match"].n == found["response_tokens"].n == N
        assert found["exact_match"].missing == 0
    assert len(run.rows(records.StoredResponse, model_id=models(run)["base"])) == N
    assert (run.run().data_summary or {})["selected"] == N
    with opened(run.folder) as connection:
        content = export.run_content(connection, run.run_id)
    assert len(content.examples) == N and len(content.responses) == 2 * N


def values(run: Recorder, model: str) -> dict[str, dict[int, float]]:
    """exact_match by form and plain example, from the rows themselves."""
    place = models(run)[model]
    variants = {row.id: row for row in run.rows(records.StoredVariant, run_id=run.run_id)}
    found: dict[str, dict[int, float]] = {"plain": {}, "typos": {}, "numbers": {}}
    for score in run.rows(records.StoredScore, model_id=place, measure="exact_match"):
        found["plain"][score.example_id] = score.value
    for each in run.rows(records.StoredVariantScore, model_id=place, measure="exact_match"):
        variant = variants[each.variant_id]
        found[variant.perturbation][variant.example_id] = each.value
    return found


def test_a_drop_is_over_plain_examples_each_against_itself(run: Recorder) -> None:
    known = values(run, "base")
    assert fmean(known["plain"].values()) > 0.5
    for name in ("typos", "numbers"):
        here, drop, kept = known[name], *(scores(run, "base")[f"{kind}{name}"] for kind in (DROP, ROBUST))
        assert drop.value == pytest.approx(fmean(known["plain"][one] - here[one] for one in here))
        right = [one for one in here if known["plain"][one]]
        assert kept.value == pytest.approx(fmean(here[one] for one in right))
        assert (drop.n, kept.n, kept.missing) == (len(here), len(right), len(here) - len(right))
    assert {f"{DROP}choices", f"{ROBUST}choices"}.isdisjoint(scores(run, "base"))


@pytest.mark.parametrize("model", ["base", "overfit"])
def test_what_a_form_costs_is_ruled_on_against_the_models_own_plain_form(run: Recorder, model: str) -> None:
    """Paired, by McNemar's exact test and the one rule, corrected over the model's forms (Holm)."""
    known = values(run, model)
    plain = fmean(known["plain"].values())
    lost = {
        name: sum(known["plain"][one] > here for one, here in known[name].items())
        for name in known.keys() - {"plain"}
    }
    won = {
        name: sum(known["plain"][one] < here for one, here in known[name].items())
        for name in known.keys() - {"plain"}
    }
    exact = {name: binomtest(lost[name], n).pvalue if (n := lost[name] + won[name]) else 1.0 for name in lost}
    corrected = dict(zip(exact, holm(list(exact.values())), strict=True))
    for name, p in corrected.items():
        row = scores(run, model)[f"{DROP}{name}"]
        assert row.p == pytest.approx(p)
        assert row.low is not None and row.high is not None and row.low <= row.value <= row.high
        if not plain:
            assert row.standing == "at the floor"
        elif p > 0.05:
            assert row.standing == "inconclusive"
        else:
            assert row.standing == ("worse" if lost[name] > won[name] else "better")
    assert scores(run, model)["exact_match"].standing is None


def test_a_drop_is_compared_where_both_had_something_to_lose(run: Recorder) -> None:
    """Else a base that knows nothing would be more robust than a fine-tune that learned the task."""
    ours, theirs = values(run, "overfit"), values(run, "base")
    rows = run.rows(records.StoredComparison, candidate_id=models(run)["overfit"])
    by_name = {row.measure: row for row in rows}
    for name in ("typos", "numbers"):
        both = [one for one in ours[name] if ours["plain"].get(one) and theirs["plain"].get(one)]
        row = by_name[f"{DROP}{name}"]
        assert row.n == len(both)
        if both:
            assert row.baseline_value == pytest.approx(1 - fmean(theirs[name][one] for one in both))
        else:
            assert row.delta is None and row.reason is not None


def test_runs_are_compared_on_a_drop_as_models_of_one_run_are(run: Recorder) -> None:
    known = {row.measure: row for row in run.rows(records.StoredComparison, measure=f"{DROP}typos")}
    with opened(run.folder) as connection:
        side = Side(connection, run.run_id)
        found = compare_pairs((side, side), [(side.models["base"], side.models["overfit"])])
        same = compare_pairs((side, side), [(side.models["base"], side.models["base"])])
    [between] = [item for item in found.metrics if item.measure == f"{DROP}typos"]
    assert (between.n, between.delta) == (known[f"{DROP}typos"].n, known[f"{DROP}typos"].delta)
    [itself] = [item for item in same.metrics if item.measure == f"{DROP}typos"]
    right = [one for one in values(run, "base")["typos"] if values(run, "base")["plain"][one]]
    assert itself.n == len(right)


def test_where_the_older_run_got_nothing_right_a_drop_says_so(run: Recorder) -> None:
    with opened(run.folder) as connection:
        side = Side(connection, run.run_id)
        found = compare_pairs((side, side), [(side.models["overfit"], side.models["base"])])
    assert not any(values(run, "overfit")["plain"].values())
    told = {item.measure: (item.delta, item.reason) for item in found.metrics}
    assert told[f"{DROP}typos"] == told[f"{DROP}numbers"] == (None, NONE_RIGHT)
    assert told[f"{DROP}paraphrase"][1] != NONE_RIGHT, "nobody was asked in other words"


def test_folds_are_compared_on_a_drop_where_something_was_right() -> None:
    drop, kept = (
        Measure(f"{kind}typos", "lower", -1.0, 1.0, "share", frozenset(), "1", "", "")
        for kind in (DROP, ROBUST)
    )
    parts = {"a": (1.0, 1.0), "wrong": (0.0, 1.0)}
    columns = {
        ("base", drop.name): _Column("base", drop, (parts, parts)),
        ("base", kept.name): _Column("base", kept, ({"a": (0.0, 1.0)}, {})),
    }
    assert _fair(columns["base", drop.name], columns).folds == ({"a": (1.0, 1.0)}, {})
    assert _fair(columns["base", kept.name], columns) == columns["base", kept.name]


def test_the_words_of_another_model_are_another_measurement(run: Recorder) -> None:
    rows = {row.measure: row.settings for row in run.rows(records.StoredMetric, run_id=run.run_id)}
    assert rows[f"{DROP}paraphrase"]["paraphrase"] == rows[INVARIANCE]["paraphrase"] == "base"
    assert "paraphrase" not in rows[f"{DROP}typos"]


def test_checkpoints_of_a_training_are_held_to_no_limit_on_variants(tmp_path: Path) -> None:
    limits = f'[gates.metrics]\nexact_match = 0.1\n"{DROP}typos" = 0.1\ninvariance = 0.1\n'
    text = plan_of(tmp_path, PERTURBED + limits).read_text()
    part = quick_part(parse_plan(text, tmp_path))
    assert part.robustness is None and list(part.gates.metrics) == ["exact_match"]


def test_every_measure_has_each_form_its_average_and_its_worst(run: Recorder) -> None:
    place = models(run)["base"]
    rows = run.rows(records.SliceScore, model_id=place)
    forms = {
        (row.measure, row.slice.removeprefix("perturbed: ")): row for row in rows if "perturbed" in row.slice
    }
    known = values(run, "base")
    examples = known["plain"]
    variants = {
        one: [known[name][one] for name in ("typos", "numbers") if one in known[name]] for one in examples
    }
    wanted = {
        "typos": fmean(known["typos"].values()),
        "numbers": fmean(known["numbers"].values()),
        "average": fmean(fmean(each) for each in variants.values()),
        "worst": fmean(min(examples[one], *each) for one, each in variants.items()),
    }
    for name, value in wanted.items():
        assert forms["exact_match", name].value == pytest.approx(value), name
    assert forms["exact_match", "worst"].n == N and forms["exact_match", "typos"].p is None
    assert ("response_tokens", "typos") in forms and ("response_tokens", "worst") not in forms  # no worse end
    assert not any(measure == "perplexity" for measure, _ in forms)  # of the plain form alone
    with opened(run.folder) as connection:
        assert with_variants(connection, run.run_id, "perturbed: typos") == known["typos"].keys()
        assert len(with_variants(connection, run.run_id, "perturbed: worst")) == N
    compared = {row.slice for row in run.rows(records.SliceComparison, candidate_id=models(run)["overfit"])}
    assert {"perturbed: typos", "perturbed: average", "perturbed: worst"} <= compared


def test_how_often_an_answer_stays_is_a_share_of_the_variants(run: Recorder) -> None:
    same = scores(run, "base")[INVARIANCE]
    assert same.n == N and 0 <= same.value <= 1
    assert _is_same("The answer", "the  ANSWER", {}) and not _is_same("yes", "no", {})
    moved = {"A": "B", "B": "A"}
    assert _is_same("A. iron", "B", moved) and not _is_same("A", "A", moved)
    assert _is_same("An iron", "an iron", moved)
    for said in ("({})", "**{}**", "The answer is {}.", "Answer: {}", "{}) iron", " {}\n"):
        assert _is_same(said.format("A"), said.format("B"), moved), said
        assert not _is_same(said.format("A"), said.format("A"), moved), said
    assert _is_same("a metal", "A metal", moved) and _is_same("It is a dog", "It is a dog", moved)


def test_it_is_told_in_the_decision_the_table_of_forgetting_and_the_report(run: Recorder) -> None:
    with opened(run.folder) as connection:
        found = gather(connection, run.run_id)
        every = lost_variants(connection, run.run_id, DROP)
    known = values(run, "base")
    missed = [one for one, value in known["typos"].items() if known["plain"][one] and not value]
    assert len([row for row in every if (row.model, row.perturbation) == ("base", "typos")]) == min(
        3, len(missed)
    )
    assert "robust to typos" in {row.aspect for row in found.forgetting.rows}
    lost = [row for row in found.slices.lost if row.perturbation == "typos"]
    assert all(row.model == "overfit" and row.loss > 0 and row.query != row.perturbed_query for row in lost)
    [verdict] = found.decision
    assert "As robust as base?" in {answer.question for answer in verdict.answers}


def test_what_a_form_costs_a_model_itself_is_told_wherever_the_run_is(run: Recorder) -> None:
    with opened(run.folder) as connection:
        found = gather(connection, run.run_id)
        numbers = read_numbers(connection, run.run_id)
        own = by_form(numbers.metrics, numbers.scores)
    lost = {row.model: row for row in found.forgetting.own if row.measure == f"{DROP}numbers"}
    assert (lost["base"].standing, lost["overfit"].standing) == ("worse", "at the floor")
    row = lost["base"]
    spread, p = interval(row.low, row.high), f"{row.p:.3f}"
    ruled = f"worse than its own plain form (p {p})"
    assert own_drop(row) == f"numbers cost base {row.value:.3f} {spread}, n {row.n}: {ruled}"
    assert f"n {lost['overfit'].n}: {NONE_RIGHT}" in render(found, "junit")
    cells = ("base", "numbers", f"{row.value:.3f}", spread, str(row.n), p, "worse")
    assert " | ".join(cells) in render(found, "md").replace("\\", "")
    assert " ".join(cells) in " ".join(re.sub(r"<[^>]+>", " ", render(found, "html")).split())
    [score] = [
        row
        for row in run_values(found)["scores"]
        if (row["model"], row["metric"]) == ("base", f"{DROP}numbers")
    ]
    assert (score["standing"], score["p"]) == ("worse", row.p)
    [line] = [each for each in metric_lines(numbers, "overfit", "base") if each.name == f"{DROP}numbers"]
    assert line.cells[0].own == ruled
    assert own["base", "exact_match", "perturbed: numbers"] == line.cells[0].own
    _, forgot = forgetting_lines(numbers, "overfit", "base")
    [form] = [each for each in forgot if each.row.aspect == "robust to numbers as words"]
    assert [text.plain for text in brief(form, 200)][1:] == [own_drop(lost["overfit"])]


def test_a_run_on_one_screen_tells_where_its_candidates_lose_in_another_form(run: Recorder) -> None:
    with opened(run.folder) as connection:
        found = gather(connection, run.run_id)
    with held() as lines:
        print_screen(found)
    assert not any("own plain form" in line for line in lines)  # overfit has nothing to lose
    own = [replace(row, model="overfit") for row in found.forgetting.own if row.model == "base"]
    with held() as lines:
        print_screen(replace(found, forgetting=replace(found.forgetting, own=own)))
    at = lines.index("Worse than in the own plain form: assay show 1 --section robustness")
    rows = sorted(own, key=lambda row: -(row.value or 0.0))
    assert [line.strip() for line in lines[at + 1 : at + 1 + len(rows)]] == [
        f"{row.measure.removeprefix(DROP)}: overfit loses {row.value:.3f} {interval(row.low, row.high)}"
        for row in rows
    ]


def scores_read(facts: RunFacts, model: str) -> dict[str, ModelScoreRow]:
    return {row.measure: row for row in facts.scores if row.model == model}


def test_a_base_with_nothing_to_lose_leaves_the_question_to_the_own_plain_form(run: Recorder) -> None:
    with opened(run.folder) as connection:
        facts = read(connection, run.run_id)
    other = {"baseline": "candidate", "candidate": "baseline"}
    swapped = replace(
        facts,
        models=[replace(model, role=other[model.role]) for model in facts.models],
        comparisons=[
            replace(row, candidate=row.baseline, baseline=row.candidate, delta=None, reason=NONE_RIGHT)
            for row in facts.comparisons
            if row.measure.startswith(DROP)
        ],
    )
    [case] = cases(swapped)
    answer = robust(case)
    assert answer is not None and answer.standing == "bad"
    assert answer.question == "As good in other forms?"
    lost = own_drop(scores_read(facts, "base")[f"{DROP}numbers"])
    because = "overfit gets nothing right in the plain form, so it has nothing to lose"
    assert answer.answer == f"no, by 2 of 2 perturbations: {lost}; {because}"
    kept = [replace(row, standing="no worse") for row in swapped.scores if row.standing]
    [case] = cases(replace(swapped, scores=kept))
    found = robust(case)
    assert found is not None and (found.standing, found.lead) == ("good", "yes")


def test_what_was_lost_in_another_form_is_in_the_markdown_report_with_both_answers(run: Recorder) -> None:
    with opened(run.folder) as connection:
        lost = lost_variants(connection, run.run_id, DROP)
        found = gather(connection, run.run_id)
    assert lost and all(row.model == "base" for row in lost)  # a report tells those of candidates
    report = markdown(replace(found, slices=replace(found.slices, lost=lost)))
    for each in lost:
        assert f"- base, {each.perturbation}, {each.example}: -1.000\n" in report
        for question, answer in ((each.query, each.answer), (each.perturbed_query, each.perturbed_answer)):
            assert f"  - {inert_markdown(question)} → {inert_markdown(answer or '–')}\n" in report


def test_an_export_of_records_has_the_variants_with_every_answer_and_score(
    run: Recorder, tmp_path: Path
) -> None:
    with opened(run.folder) as connection:
        export_runs(connection, [run.run_id], tmp_path)
    made = {
        name: [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        for name in ("variants", "variant_answers", "variant_scores")
    }
    asked = {(row["example"], row["perturbation"]): row["query"] for row in made["variants"]}
    assert len(asked) == len(run.rows(records.StoredVariant, run_id=run.run_id))
    for model, of in models(run).items():
        told = {
            asked[row["example"], row["perturbation"]]: row["text"]
            for row in made["variant_answers"]
            if row["model"] == model
        }
        query = {row.id: row.query for row in run.rows(records.StoredVariant, run_id=run.run_id)}
        answers = run.rows(records.StoredVariantAnswer, model_id=of)
        assert told == {query[row.variant_id]: row.text for row in answers}
        given = [row["value"] for row in made["variant_scores"] if row["model"] == model]
        assert len(given) == len(run.rows(records.StoredVariantScore, model_id=of)) > 0


def test_its_limits_can_be_moved_where_they_are_measured(run: Recorder) -> None:
    with opened(run.folder) as connection:
        asked = GatedRun(connection, run.run_id)
        looks = asked.looks({"max_robustness_drop": 0.3})
    for name in ("max_robustness_drop", "warn_robustness_drop"):
        assert [look.said.partition(" ")[0] for look in looks[name]] == [f"{DROP}typos", f"{DROP}numbers"]
    assert not any("drop:" in look.said for look in looks["max_metric_drop"])


def test_a_store_takes_variants_along(run: Recorder, tmp_path: Path) -> None:
    database.prepare(tmp_path / "other")
    with closing(database.connect(tmp_path / "other")) as connection:
        merge(connection, run.folder)
    with opened(tmp_path / "other") as connection:
        counts = [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("variant", "variantanswer", "variantscore")
        ]
        orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
        texts = connection.execute(
            "SELECT a.text FROM variantanswer a JOIN model m ON m.id = a.model_id "
            "JOIN variant v ON v.id = a.variant_id JOIN example e ON e.id = v.example_id "
            "ORDER BY m.name, e.example, v.perturbation"
        ).fetchall()
    with opened(run.folder) as connection:
        before = connection.execute(
            "SELECT a.text FROM variantanswer a JOIN model m ON m.id = a.model_id "
            "JOIN variant v ON v.id = a.variant_id JOIN example e ON e.id = v.example_id "
            "ORDER BY m.name, e.example, v.perturbation"
        ).fetchall()
    assert not orphans and counts[0] > N and counts[1] == 2 * counts[0]
    assert [tuple(row) for row in texts] == [tuple(row) for row in before]


def drop(ours: list[float], theirs: list[float], name: str = "typos") -> tuple[Measure, Comparison]:
    measure = Measure(f"{DROP}{name}", "lower", -1.0, 1.0, "share", frozenset(), "1", "", "")
    sides = ({str(at): (value, 1.0) for at, value in enumerate(each)} for each in (ours, theirs))
    [found] = compare_measures("tuned", "base", [Scores(measure, *sides)])
    return measure, found


def alerts(ours: list[float], theirs: list[float], **limits: float | None) -> list[tuple[str, str]]:
    measure, found = drop(ours, theirs)
    gates, known = Gates(**limits), {measure.name: measure}  # type: ignore[arg-type]
    decided, _ = ruled([found], [], gates, known)
    assert decided[0].ruling is not None and decided[0].ruling.family == "robustness"
    return [(alert.kind, alert.severity) for alert in drop_alerts(decided, [], gates, known)]


def test_that_it_loses_no_more_than_allowed_takes_an_interval_within_the_limit() -> None:
    measure, found = drop([0.0] * 300, [0.0] * 300)
    decided, _ = ruled([found], [], Gates(), {measure.name: measure})
    assert decided[0].ruling is not None and decided[0].ruling.standing == "no worse"


def test_a_limit_of_its_own_is_what_no_worse_means() -> None:
    measure, found = drop([0.3] * 300, [0.25] * 300)  # 0.05 more: within the 0.1 that warns
    gates = Gates(metrics={measure.name: {"max": 0.1}})  # type: ignore[dict-item]
    [ruled_alone], _ = ruled([found], [], Gates(), {measure.name: measure})
    [held], _ = ruled([found], [], gates, {measure.name: measure})
    assert (ruled_alone.allowed, held.allowed) == (pytest.approx(0.1), pytest.approx(0.025))


FRAGILE, STEADY = [1.0] * 30 + [0.0] * 70, [0.0] * 100


def test_the_gate_is_on_what_it_costs_beyond_what_it_costs_the_baseline() -> None:
    assert alerts(FRAGILE, STEADY) == [("robustness_drop", "warning")]
    assert alerts(FRAGILE, STEADY, max_robustness_drop=0.2) == [("robustness_drop", "critical")]
    assert alerts(FRAGILE, STEADY, max_robustness_drop=0.4, warn_robustness_drop=None) == []
    assert alerts(FRAGILE, FRAGILE, max_robustness_drop=0.2) == []  # the base is as fragile
    assert alerts([1.0, *[0.0] * 4], [0.0] * 5, max_robustness_drop=0.1) == [("robustness_drop", "note")]
    assert alerts(FRAGILE, STEADY, warn_robustness_drop=None) == []


def test_a_model_without_a_right_answer_had_nothing_to_forget() -> None:
    lost = row("metric", f"{ROBUST}typos", "higher", 0.92, -0.21, 0.08, 0.0001)
    [found] = forgetting([lost])
    assert (found.aspect, found.said) == ("robust to typos", "forgotten")
    assert (found.baseline_value, found.candidate_value) == (0.92, pytest.approx(0.71))
    floor = replace(GONE, measure=f"{ROBUST}names", reason=NONE_RIGHT, baseline_value=None)
    [found] = forgetting([floor])
    assert (found.aspect, found.standing) == ("robust to other names", "at the floor")
    assert [item.verdict for item in conclusions(forgetting([floor]))] == ["at the floor"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("perturbations = []", "robustness.perturbations"),
        ('perturbations = ["typo"]', 'did you mean "typos"?'),
        ("perturbations = [3]", "found 3; allowed: case, choices"),
        ('perturbations = ["typos"]\nrate = 2.0', "robustness.rate"),
        ('perturbations = ["typos"]\nmeasure = "exact_mach"', 'did you mean "exact_match"?'),
        ('perturbations = ["typos"]\npertubations = 1', "robustness.pertubations"),
        ('perturbations = ["typos"]\nparaphrase = "bas"', 'did you mean "base"?'),
    ],
)
def test_a_plan_that_cannot_be_meant_says_what_is_wrong(tmp_path: Path, table: str, said: str) -> None:
    text = plan_of(tmp_path, f'[metrics]\nuse = ["exact_match"]\n[robustness]\n{table}\n').read_text()
    with pytest.raises(BadInput, match="robustness") as error:
        parse_plan(text, tmp_path)
    assert said in str(error.value)


def test_a_limit_without_perturbations_and_recorded_answers_are_refused(tmp_path: Path) -> None:
    text = plan_of(tmp_path, "[gates]\nmax_robustness_drop = 0.1\n").read_text()
    with pytest.raises(BadInput, match=r"gates.max_robustness_drop: does not apply without \[robustness\]"):
        parse_plan(text, tmp_path)
    rows = [{"id": "e", "query": "What is it?", "reference": "4"}]
    plan = recorded_plan(tmp_path, rows, {"base": {"e": "4"}}, '[robustness]\nperturbations = ["typos"]')
    with pytest.raises(BadInput, match="robustness: applies to models that can be asked"):
        parse_plan(plan.read_text(), tmp_path)


def test_a_check_counts_the_variants_and_refuses_what_has_none(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    found = [item.message for item in check(parse_plan(plan.read_text(), tmp_path), tmp_path / "store")]
    [said] = [message for message in found if "variants are asked beside the examples: typos 8" in message]
    assert said.endswith(f"; base asks up to {N} in other words")
    assert "no example has a variant with choices: no lettered choices" in found
    lines(tmp_path / "examples.jsonl", [{"query": "12", "reference": "12"}])
    errors = [
        item.message
        for item in check(parse_plan(plan.read_text(), tmp_path), tmp_path / "store")
        if item.level == "error"
    ]
    assert any("no example has a variant (typos: no word may be changed" in message for message in errors)


def test_a_measure_that_is_no_share_cannot_lead(tmp_path: Path) -> None:
    rest = '[metrics]\nuse = ["length"]\n[robustness]\nperturbations = ["typos"]\n'
    found = check(parse_plan(plan_of(tmp_path, rest).read_text(), tmp_path), tmp_path / "store")
    [error] = [item for item in found if item.level == "error"]
    assert "none of the plan's measures is from 0 to 1" in error.message and "exact_match" in (
        error.hint or ""
    )


def test_a_measure_of_likelihoods_cannot_lead_since_variants_have_none(tmp_path: Path) -> None:
    def led(rest: str) -> str:
        text = plan_of(tmp_path, f'{rest}[robustness]\nperturbations = ["typos"]\n').read_text()
        plan = parse_plan(text, tmp_path)
        return leading(plan, measures(plan)).name

    assert led('[metrics]\nuse = ["calibration", "rouge"]\n').startswith("rouge")
    with pytest.raises(BadInput, match="none of the plan's measures is from 0 to 1"):
        led('[metrics]\nuse = ["calibration"]\n')


def test_the_history_of_a_run_lists_no_variant(run: Recorder) -> None:
    with opened(run.folder) as connection:
        assert {row.measure for row in history.model_scores(connection, run.run_id)} >= {
            f"{DROP}typos",
            f"{ROBUST}numbers",
            INVARIANCE,
        }
