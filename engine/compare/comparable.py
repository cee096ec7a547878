"""What two runs have in common: candidates, examples, measures; and why the rest is left out."""

import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import ValidationError

from engine.data.example import whole_question
from engine.data.unused import READ_ELSEWHERE
from engine.data.versions import example_of
from engine.errors import BadInput
from engine.metrics.calibration import AnswerCalibration
from engine.metrics.load import load_metric
from engine.metrics.metric import Direction, Measure, Metric, mean
from engine.metrics.perplexity import PERPLEXITY
from engine.metrics.suites import suite_measures
from engine.models.model import GENERATION
from engine.plan.checks import NOT_METRICS
from engine.plan.metrics import REGISTRY, is_own
from engine.plan.paths import Context
from engine.plan.plan import Metrics
from store.read import evidence, history
from store.read.rows import ExampleRow, ModelRow
from store.records import StoredMetric
from store.records.run import OF_SUITES

_SHOWN = 40  # characters of a setting
NOT_DECLARED = "no metric of Assay has a measure of that name, and its values are not averages"
NO_EXAMPLES = "they are measured over a whole run or corpus, not per example"
_NUMBERED = re.compile(r"\d{1,3}(;.*)?")  # a version of Assay's own measures; those of a plan are hashes
# Of all examples together, from the probabilities of each.
OF_FORECASTS = {measure.name: measure for measure in AnswerCalibration.of_all}
_OF_A_WHOLE_RUN = re.compile(
    r"(perplexity|bits_per_byte|brier):.+|(ece|accuracy@\d+%)(:.+)?|latency_p\d+_s|tokens_(in|out)_(total|mean)"
)

Parts = dict[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Incomparable:
    """Something of one run that was not compared, and why."""

    what: str
    reason: str


class Side:
    """One of the two runs: what is read of it."""

    def __init__(self, connection: history.Connection, run_id: int) -> None:
        self.connection = connection
        self.run = history.run(connection, run_id)
        self.models = {model.name: model for model in history.models(connection, run_id)}
        self.candidates = [model for model in self.models.values() if model.role == "candidate"]
        self.metrics = {metric.measure: metric for metric in history.metrics(connection, run_id)}
        self.examples = evidence.examples_by_name(connection, run_id)

    def label(self, model: ModelRow) -> str:
        return f"{model.name} (run {self.run.id})"

    def parts(self, model: ModelRow, keys: Mapping[int, str]) -> dict[str, Parts]:
        """Additive parts by measure and shared example."""
        found: dict[str, Parts] = {}
        for measure, rows in evidence.scores(self.connection, model.id):
            shared = [row for row in rows if row[0] in keys]
            if shared:
                found[measure] = {keys[row[0]]: _parts(row) for row in shared}
        return found


def _parts(row: evidence.ScoreParts) -> tuple[float, ...]:
    return tuple((json.loads(row[2] or "null") if len(row) == 3 else None) or (row[1], 1.0))


Sides = tuple[Side, Side]
Pair = tuple[ModelRow, ModelRow]
Keys = tuple[dict[int, str], dict[int, str]]


def shared_examples(older: Side, newer: Side) -> tuple[Keys, list[Incomparable]]:
    """Each run's row ids of the shared examples, by the examples' own ids; and what is not shared."""
    before, after = older.examples, newer.examples
    both = before.keys() & after.keys()
    # Most runs share the eval set's very rows: only differing ones are read.
    moved = {name for name in both if before[name] != after[name]}
    said = evidence.contents(older.connection, {side[name] for side in (before, after) for name in moved})
    changed = {name for name in moved if _content(said[before[name]]) != _content(said[after[name]])}
    same = both - changed
    keys = (
        {before[name]: name for name in same},
        {after[name]: name for name in same},
    )
    skipped = []
    for side, names in ((older, before.keys() - both), (newer, after.keys() - both)):
        if names:
            skipped.append(Incomparable(f"{len(names)} examples", f"only run {side.run.id} evaluated them"))
    if len(both) > len(same):
        skipped.append(
            Incomparable(
                f"{len(both) - len(same)} examples",
                "their question, references, schema, tests, tools or right calls have changed",
            )
        )
    return keys, skipped


def _content(example: ExampleRow) -> tuple[Any, ...]:
    """What it asks, and what metrics and judges compare the answer with."""
    found = example_of(example)
    read = {name: value for name, value in found.extra.items() if name.lower() in READ_ELSEWHERE}
    return whole_question(found), found.references, found.label, found.tests, example.right_calls, read


def paired_candidates(older: Side, newer: Side) -> tuple[list[Pair], list[Incomparable]]:
    """Candidates of the same name, or each run's only one, as (older, newer); and the rest."""
    before = {model.name: model for model in older.candidates}
    pairs = [(before[model.name], model) for model in newer.candidates if model.name in before]
    if not pairs and len(older.candidates) == len(newer.candidates) == 1:
        return [(older.candidates[0], newer.candidates[0])], []
    paired = {model.name for _, model in pairs}
    return pairs, [
        Incomparable(model.name, f"only run {side.run.id} has a candidate of that name")
        for side in (older, newer)
        for model in side.candidates
        if model.name not in paired
    ]


# What decides a model's answers beside its weights, as its details keep it.
_ASKED = ("system", "chat_template_kwargs", "template", "rejected")


def settings_apart(sides: Sides, pairs: Sequence[Pair]) -> list[str]:
    """A sentence for each pair whose models were asked with different settings."""
    said = []
    for pair in pairs:
        before, after = (_asked(model) for model in pair)
        if any(model.kind == "recorded" for model in pair):
            # How recorded answers were asked for is known in part.
            both = before.keys() & after.keys()
            before, after = (
                {name: asked[name] for name in asked if name in both} for asked in (before, after)
            )
        apart = [
            f"{name} {_shown(before.get(name))} and {_shown(after.get(name))}"
            for name in dict.fromkeys((*before, *after))
            if before.get(name) != after.get(name)
        ]
        if apart and before and after:
            labels = " and ".join(side.label(model) for side, model in zip(sides, pair, strict=True))
            said.append(f"{labels} answered with different settings: {', '.join(apart)}")
    return said


def _asked(model: ModelRow) -> dict[str, Any]:
    details = model.details or {}
    own = {name: details[name] for name in _ASKED if details.get(name)}
    if model.kind == "local":
        own["engine"] = details.get("engine", "transformers")
    return own | (details.get(GENERATION) or {}) if GENERATION in details else {}


def _shown(value: Any) -> str:
    text = "none" if value in (None, [], "") else " ".join(str(value).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def shared_measures(older: Side, newer: Side) -> tuple[dict[str, Measure], list[Incomparable]]:
    """The measures that both runs took in the same way, and how to combine them."""
    declared, unloadable = declared_measures((older, newer))
    measures: dict[str, Measure] = {}
    differing: list[Incomparable] = []
    named = dict.fromkeys((*older.metrics, *newer.metrics))
    declared |= OF_FORECASTS
    whole = [name for name in named if _OF_A_WHOLE_RUN.fullmatch(name) and name not in OF_FORECASTS]
    if whole:
        differing.append(Incomparable(f"{len(whole)} measures such as {whole[0]}", NO_EXAMPLES))
    for name in (name for name in named if name not in whole):
        known = declared.get(name) or _judged(newer.metrics.get(name))
        reason = _difference(older.metrics.get(name), newer.metrics.get(name), (older, newer))
        reason = reason or _unknown(older.metrics[name], known, unloadable)
        if reason:
            differing.append(Incomparable(name, reason))
        elif known:
            measures[name] = known
    return measures, differing


def _judged(row: StoredMetric | None) -> Measure | None:
    """The measure that a judge's scores are; its version names the judge's model and prompt."""
    if row is None or not row.measure.startswith("judge:"):
        return None
    return as_stored(row, cast(Direction, row.direction))


def as_stored(row: StoredMetric, direction: Direction) -> Measure:
    """The measure that a row describes, its values averaged."""
    return Measure(
        row.measure, direction, row.low, row.high, row.unit, frozenset(), row.version, row.source, row.meaning
    )


def _difference(before: StoredMetric | None, after: StoredMetric | None, sides: Sides) -> str | None:
    if before is None or after is None:
        return f"only run {sides[0].run.id if before else sides[1].run.id} measured it"
    if before.version != after.version:
        return f"measured by different versions: {before.version} and {after.version}"
    if before.settings != after.settings:
        return "measured with different settings"
    return None


def _unknown(row: StoredMetric, known: Measure | None, unloadable: Sequence[str]) -> str | None:
    """Why there is no rule here for combining what both runs measured."""
    if known is None:
        return "; ".join((NOT_DECLARED, *unloadable))
    # Assay's own means and perplexities are combined alike, whichever version both runs were measured by.
    alike = known.combine in (mean, PERPLEXITY.combine)
    numbered = _NUMBERED.fullmatch(known.version) and _NUMBERED.fullmatch(row.version)
    if known.version != row.version and not (alike and numbered):
        return f"both runs used version {row.version}; this Assay has version {known.version}"
    return None


def declared_measures(sides: Sequence[Side] = ()) -> tuple[dict[str, Measure], list[str]]:
    """Every measure that Assay and the plans of these runs declare, by name.

    A run may come from another store: no Python that its plan names is imported. A plan's own measures are
    included where they are stored as averages. Also: a sentence for each metric that cannot be loaded.
    """
    built_in = [measure for name in REGISTRY for measure in load_metric(name, {}).measures]
    measures = {measure.name: measure for measure in (*built_in, *suite_measures())}
    unloadable: dict[str, None] = {}
    for side in sides:
        for name, settings in _planned(side).items():
            if is_own(name):
                continue
            try:
                found = _load(name, settings, Path(side.run.plan_folder))
            except (BadInput, ValidationError) as error:
                unloadable[f"{name}: {_said(error)}"] = None
            else:
                measures |= {measure.name: measure for measure in found.measures}
    return measures | _averaged(sides, measures), list(unloadable)


def _averaged(sides: Sequence[Side], declared: Mapping[str, Measure]) -> dict[str, Measure]:
    """The stored measures that nothing here declares, where each model's value is the mean of its scores."""
    rows = {name: row for side in sides for name, row in side.metrics.items()}
    asked = {
        name: row
        for name, row in rows.items()
        if (known := declared.get(name)) is None
        or (known.version != row.version and not _NUMBERED.fullmatch(row.version))
        if not name.startswith("judge:") and not _OF_A_WHOLE_RUN.fullmatch(name)
    }
    for side in sides if asked else ():
        values = {
            (score.model, score.measure): score.value
            for score in history.model_scores(side.connection, side.run.id)
            if score.value is not None
        }
        names = {row: name for name, row in side.examples.items()}
        for model in side.models.values():
            parts = side.parts(model, names)
            for name in [name for name in asked if (model.name, name) in values]:
                sums = [sum(part) for part in zip(*parts.get(name, {}).values(), strict=True)]
                if len(sums) != 2 or not math.isclose(
                    sums[0], values[model.name, name] * sums[1], abs_tol=1e-9
                ):
                    del asked[name]
    return {
        name: as_stored(row, direction)
        for name, row in asked.items()
        for direction in get_args(Direction)
        if direction == row.direction
    }


def _planned(side: Side) -> dict[str, Any]:
    """The settings of the metrics that a run's plan names, by name; None for one without settings."""
    try:
        table = tomllib.loads(side.run.plan).get("metrics", {})
        named = dict.fromkeys((*table.get("use", ()), *(key for key in table if key not in NOT_METRICS)))
        return {name: table.get(name) for name in named if isinstance(name, str)}
    except (tomllib.TOMLDecodeError, TypeError, AttributeError):
        return {}  # an imported run has no plan, and that of another store may be anything


def _load(name: str, settings: Any, folder: Path) -> Metric:
    """A plan's metric, its paths taken as the plan took them."""
    table = {"use": [name]} if settings is None else {"use": [name], name: settings}
    metrics = Metrics.model_validate(table, context=Context(folder))
    return load_metric(metrics.use[0], metrics.settings.get(metrics.use[0], {}))


def _said(error: BadInput | ValidationError) -> str:
    if isinstance(error, BadInput):
        return error.message
    return "; ".join(item["msg"].removeprefix("Value error, ") for item in error.errors())


@dataclass(frozen=True, slots=True)
class SharedSets:
    """Both versions, and how many examples both runs evaluated in the same words (`shared`), in other words
    (`edited`), and only one of them. Questions of suites are none of an eval set, and not counted.
    """

    older_version: str | None
    newer_version: str | None
    shared: int
    edited: int
    only_older: int
    only_newer: int

    @property
    def said(self) -> str:
        """A sentence where not every example counts; empty also for a run without an eval set."""
        if self.older_version is None or self.newer_version is None:
            return ""
        left_out = {
            "were edited between them": self.edited,
            "only the older run evaluated": self.only_older,
            "only the newer run evaluated": self.only_newer,
        }
        named = [f"{count} {what}" for what, count in left_out.items() if count]
        if not named:
            return ""
        versions = (
            f"The eval set changed from version {self.older_version} to {self.newer_version}"
            if self.older_version != self.newer_version
            else f"Both runs used eval set version {self.newer_version}, not the same part of it"
        )
        return f"{versions}: only the {self.shared} shared examples are compared; {', '.join(named)}."


def shared_sets(connection: history.Connection, older: int, newer: int) -> SharedSets:
    """Raises StoreError for an unknown run."""
    sides = Side(connection, older), Side(connection, newer)
    keys, _ = shared_examples(*sides)
    before, after = (
        set(side.examples) - evidence.in_split(connection, side.run.id, OF_SUITES) for side in sides
    )
    both = before & after
    shared = len(both & set(keys[0].values()))
    return SharedSets(
        sides[0].run.eval_set,
        sides[1].run.eval_set,
        shared,
        len(both) - shared,
        len(before - after),
        len(after - before),
    )
