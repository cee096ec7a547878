"""Preflight: checks everything that a plan needs before a run starts, without torch or loading a model."""

import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from engine.compare.sweep import cheap_measure, general_measure
from engine.data.example import Example, eval_set_version
from engine.data.examples import data_rows
from engine.data.files import hub_silence
from engine.data.leakage import read_training
from engine.data.messages import turn_text
from engine.data.suites import suite_of
from engine.data.unused import unused_columns
from engine.data.versions import file_hash, refuse_used_test, used_before
from engine.errors import AssayError, BadInput, install
from engine.judges.preflight import cost_findings, judge_findings, left_out
from engine.metrics.calibration import NAME as CALIBRATION
from engine.metrics.calibration import RECORDED, AnswerSet
from engine.metrics.load import CLASH_WAY_OUT, clashes, load_metric
from engine.metrics.perplexity import NEEDS_LOGPROBS, read_corpus
from engine.metrics.suites import unscored
from engine.metrics.text_models import CLASSIFIERS
from engine.models.folder import (
    adapter_notes,
    adapter_of,
    base_of,
    check_adapter,
    check_model_folder,
    check_quantised,
    quantisation,
    quantised_as,
)
from engine.models.gguf_file import is_gguf
from engine.models.holder import served
from engine.models.model import conversation
from engine.models.recorded import RecordedModel, RunAnswers
from engine.phases.score import measures
from engine.phases.scoring.calibration import answers_of, is_asked
from engine.phases.scoring.robustness import leading, made_variants, sampled
from engine.plan.errors import Finding, Level
from engine.plan.metrics import is_own
from engine.plan.paths import read_json
from engine.plan.plan import Data, Model, Plan, lacking
from engine.plan.selection import (
    AskedOfSuites,
    asked,
    asked_of_suites,
    part_name,
    whole_set,
    without_excluded,
)
from engine.plan.training_config import read_training_config
from engine.preflight.estimate import disk_bytes, gain, judge_model, local_judge, memory, time_needed
from engine.preflight.install import disk
from engine.servers.engines import KINDS, PROGRAMS, installed
from engine.servers.transport import NamedServer, reach
from store import database
from store.people import excluded
from store.read import history
from store.read.datasets import test_uses
from store.read.live import SpeedRow, judge_speeds, speeds
from store.records import Exclusion
from store.session import opened

WITH_MODEL = ("bertscore", "embedding", "toxicity", "sentiment")


def metric_findings(plan: Plan) -> Iterator[Finding]:
    """Metrics that read with a model and name none, corpora that cannot be read, and those that can.

    A named model that is not on this machine is reported where the metric is made.
    """
    for name in WITH_MODEL:
        if name in plan.metrics.use and not plan.metrics.settings.get(name, {}).get("model"):
            yield Finding(
                "error",
                f"metrics.{name}",
                "names no model, so every value would be missing",
                f'set {name} = {{ model = "FOLDER or hub id" }} under [metrics], or remove it from `use`'
                + (f"; known by name: {', '.join(CLASSIFIERS)}" if name == "toxicity" else ""),
            )
    for corpus, path in plan.metrics.corpora.items():
        subject = f"metrics.corpora.{corpus}"
        try:
            texts = read_corpus(path)
        except BadInput as error:
            yield Finding("error", subject, error.message, error.hint)
            continue
        if any(model.kind == "local" for model in plan.models):
            yield Finding("ok", subject, f"{len(texts)} texts can be read")
        else:
            yield Finding("warning", subject, "no model of the plan is local, so none can be measured on it")


def local_findings(subject: str, model: Model) -> Iterator[Finding]:
    """Findings on one model with a `path`. Raises BadInput when its files, or its adapter's, are no use."""
    assert model.path is not None
    try:
        folder = base_of(model)
    except BadInput as error:
        yield _not_here(subject, model.path, model.revision, error)
        return
    check_model_folder(str(folder))
    check_quantised(folder, model.quantize)
    if not is_gguf(folder):
        yield from _own_code(subject, model, folder)
        yield from _unknown_kind(subject, folder)
    found = quantisation(folder, model.quantize)
    complete = f"its files are complete{f', quantised: {quantised_as(found)}' if found else ''}"
    if model.adapter is None:
        yield Finding("ok", subject, complete)
        return
    try:
        adapter = adapter_of(model)
    except BadInput as error:
        yield _not_here(subject, model.adapter.as_posix(), model.adapter_revision, error)
        return
    assert adapter is not None
    check_adapter(model.path, adapter, folder)
    for note in adapter_notes(folder, adapter, model.quantize):
        yield Finding("warning", subject, note)
    yield Finding("ok", subject, f"{complete}, and the adapter {model.adapter.name} fits them")


def _not_here(subject: str, path: str, revision: str | None, error: BadInput) -> Finding:
    """A hub id that is not in this machine's cache: fetched by the run where there is a network."""
    if "hub cache" not in error.message:
        return Finding("error", subject, error.message, error.hint)
    fetch = f"`hf download {path}{f' --revision {revision}' if revision else ''}` downloads it"
    if why := hub_silence():
        message = f"{path} is not on this machine, and the hub cannot be reached: {why}"
        return Finding("error", subject, message, f"{fetch} with network access; or name a local folder")
    return Finding(
        "warning", subject, f"{path} is not on this machine; the run will download it", f"{fetch} now"
    )


def _own_code(subject: str, model: Model, folder: Path) -> Iterator[Finding]:
    """Whether the folder has code that transformers would have to run to load it."""
    config = read_json(folder / "config.json")
    if "auto_map" not in config or _is_known(str(config.get("model_type"))):
        return
    found = sorted(folder.glob("*.py"))
    if model.trust_remote_code:
        yield from (_will_run(subject, "its own code", file) for file in found)
        if not found:
            yield Finding("warning", subject, "code of another repository will run", READ_IT)
        return
    files = ", ".join(file.name for file in found) or "code of another repository"
    yield Finding(
        "error",
        subject,
        f"transformers does not support it; it has its own code ({files}), which is not trusted",
        "read it; if you trust it, set trust_remote_code = true on the model",
    )


def _is_known(kind: str) -> bool:
    """Whether transformers itself has a model of that type; it then leaves a folder's own code alone."""
    found = find_spec("transformers")
    if found is None or found.origin is None:
        return True
    models = Path(found.origin).parent / "models"
    if (models / kind.replace("-", "_")).is_dir():
        return True
    # Kinds that share a folder with others, such as the text part of one that also sees, are listed here.
    return any(f'"{kind}"' in file.read_text("utf-8") for file in (models / "auto").glob("*.py"))


def _unknown_kind(subject: str, folder: Path) -> Iterator[Finding]:
    """A model type that the installed transformers does not support, without code of its own."""
    config = read_json(folder / "config.json")
    kind = config.get("model_type")
    if "auto_map" in config or not isinstance(kind, str) or _is_known(kind):
        return
    written = config.get("transformers_version")
    saved = f", by which it was saved: {written}" if written else ""
    yield Finding(
        "error",
        subject,
        f"transformers {version('transformers')} knows no model type {kind!r}",
        f"install a newer transformers{saved}; or serve the model, and name the server",
    )


def remaining(examples: list[Example], store: Path) -> list[Example]:
    """The examples that are not excluded in this store."""
    return without_excluded(examples, _excluded(store))[0]


def beside(plan: Plan, store: Path, own: Collection[str], limit: int | None = None) -> AskedOfSuites:
    """The questions of the plan's suites that a run asks. Raises BadInput like `asked_of_suites`."""
    return asked_of_suites(plan.data, store, _excluded(store), own, limit)


def _excluded(store: Path) -> Mapping[tuple[str, str], Exclusion]:
    if not database.exists(store):
        return {}
    with opened(store) as connection:
        return excluded(connection)


def data_findings(
    plan: Plan, whole: Sequence[Example], examples: Sequence[Example], store: Path
) -> Iterator[Finding]:
    """Of the test lock, of exclusions, and of what the plan names beside examples and training data.

    `whole` are the file's examples, `examples` those that remain.
    """
    data = plan.data
    if left := len(whole) - len(examples):
        message = f"{left} of {len(whole)} examples are left out, excluded by people"
        if examples:
            yield Finding("ok", "data.examples", message)
        else:
            yield Finding("error", "data.examples", message, "restore some: x on the Splits screen")
    if data.split == "test" and examples:
        yield _lock(data, whole, examples, store)
    for key, file in [*(("data.earlier", file) for file in data.earlier), ("data.queries", data.queries)]:
        if file is not None:
            yield _readable(key, file, data)
    if data.embedding_model is not None:
        yield _embedding(data, data.embedding_model)


def _lock(data: Data, whole: Sequence[Example], examples: Sequence[Example], store: Path) -> Finding:
    version, uses = eval_set_version(examples), []
    if database.exists(store):
        with opened(store) as connection:
            uses = test_uses(connection, version, eval_set_version(whole))
    try:
        refuse_used_test(version, uses, data.final)
    except BadInput as error:
        return Finding("error", "data.split", error.message, error.hint)
    if uses:
        message = f"the test split was used {used_before(uses)}; final = true allows another use"
        return Finding("warning", "data.split", message, "each use makes its numbers less trustworthy")
    return Finding(
        "ok", "data.split", "the test split was not used before; this run will be recorded as its first use"
    )


def _readable(key: str, file: Path, data: Data) -> Finding:
    try:
        next(data_rows(file, data.fields), None)
    except BadInput as error:
        return Finding("error", key, error.message, error.hint)
    return Finding("ok", key, f"{file.name} can be read")


def _embedding(data: Data, folder: Path) -> Finding:
    if not (folder / "config.json").is_file():
        return Finding(
            "error",
            "data.embedding_model",
            f"{folder}: holds no model (no config.json)",
            "name the folder of a sentence-transformers model that was downloaded before",
        )
    if data.train is None:
        return Finding(
            "warning", "data.embedding_model", "finds nothing without training data", "name them as `train`"
        )
    return Finding("ok", "data.embedding_model", f"{folder} holds a model")


TRAINING_RECORDS = 1000  # how many of a training file are read here; a run reads all
_OF_ONE_FOLD = ("time", "store", "memory")  # folds are alike in these
READ_IT = "a run executes it with your permissions: read it first"


def check(plan: Plan, store: Path, *, allow_code: bool = False) -> list[Finding]:
    """All findings, right ones too: data, metrics, models, servers, disk and memory.

    Own metrics are named with the hash of their file, and loaded only where code is allowed.
    """
    findings: list[Finding] = []
    whole = _read_examples(plan, findings)
    examples = remaining(whole, store)
    findings += [*_data(plan, examples), *data_findings(plan, whole, examples, store)]
    of_suites = _suites(plan, store, {example.id for example in whole}, findings)
    findings += [*_metrics(plan, examples, allow_code), *metric_findings(plan)]
    findings += _calibration(plan, asked(examples, plan.data))
    for model in plan.models:
        findings += [*_model(model, plan, store), *_training_config(model)]
    chosen = asked(examples, plan.data)
    silent = left_out(plan, chosen)
    findings += _servers(plan, silent)
    findings += [*_judges(plan, chosen, silent), *judge_findings(plan, chosen, of_suites)]
    findings += [*_sweep(plan, examples, allow_code), *_compute(plan), *_track(plan)]
    findings += [Finding(*found) for found in cost_findings(plan, chosen, of_suites)]
    said, variants = _variants(plan, chosen, allow_code)
    whole_run = [*chosen, *of_suites, *variants]
    findings += [*_local_judges(plan, chosen, whole_run, store), *said]
    findings += [disk(store, disk_bytes(plan, whole_run)), *memory(plan, whole_run)]
    past = _past(store, speeds)
    findings += _engine(plan, past)
    taken = time_needed(plan, len(whole_run), past)
    return [*findings, *([taken] if taken else [])]


def asked_in_all(plan: Plan, store: Path, limit: int | None = None) -> list[Example]:
    """All that a run asks: its examples, the questions of suites, and variants, as `check` counts them.

    Raises BadInput for data that cannot be used.
    """
    whole = whole_set(plan.data)
    chosen = asked(remaining(whole, store), plan.data, limit)
    of_suites = beside(plan, store, {example.id for example in whole}, limit).questions
    return [*chosen, *of_suites, *_variants(plan, chosen, allow_code=False)[1]]


def _variants(
    plan: Plan, examples: Sequence[Example], allow_code: bool
) -> tuple[list[Finding], list[Example]]:
    """How many variants the examples get, and the variants."""
    if plan.robustness is None or not examples:
        return [], []
    try:
        if allow_code or not any(map(is_own, plan.metrics.use)):
            leading(plan, measures(plan))
        found, none = made_variants(plan, examples)
    except BadInput as error:
        return [_wrong("robustness", error)], []
    counts = Counter(each.perturbation for each in found)
    told = ", ".join(f"{name} {counts[name]}" for name in none)
    variants = [each.example for each in found]
    if (model := plan.robustness.paraphrase) is not None:
        chosen = sampled(plan, examples)
        told += f"; {model} asks up to {len(chosen)} in other words"
        variants += chosen
    findings = [Finding("ok", "robustness", f"{len(found)} variants are asked beside the examples: {told}")]
    findings += [
        Finding("warning", "robustness", f"no example has a variant with {name}: {told.most_common(1)[0][0]}")
        for name, told in none.items()
        if not counts[name]
    ]
    return findings, variants


def check_folds(plans: Sequence[Plan], store: Path, *, allow_code: bool = False) -> list[Finding]:
    """The findings of `check` on a plan's folds: common ones once, the others by fold.

    The time is that of the first.
    """
    first, *others = (check(plan, store, allow_code=allow_code) for plan in plans)
    if not others:
        return first
    shared = {finding for finding in first if all(finding in found for found in others)}
    own = [
        replace(finding, subject=f"fold {plan.data.fold}, {finding.subject}")
        for plan, found in zip(plans, (first, *others), strict=True)
        for finding in found
        if finding not in shared and finding.subject not in _OF_ONE_FOLD
    ]
    return [finding for finding in first if finding in shared or finding.subject in _OF_ONE_FOLD] + own


def measured(plan: Plan, store: Path) -> list[Finding]:
    """How fast each model answers, by asking it a few of the run's questions; weights are loaded for that."""
    from engine.preflight.estimate import measure

    return list(measure(plan, asked_in_all(plan, store)))


def check_benchmarks(plan: Plan) -> list[Finding]:
    """Whether lm-eval knows the plan's tasks and has their data here; importing it takes seconds."""
    if plan.benchmarks is None:
        return []
    from engine.benchmarks.tasks import check_tasks, own_functions

    tasks, include = plan.benchmarks.tasks, plan.benchmarks.include
    code = [
        _will_run("benchmarks", f"{function} of the task files", file)
        for function, file in (own_functions(tasks, include) if include else {}).items()
    ]
    problems = check_tasks(tasks, include)
    if not problems:
        return [*code, Finding("ok", "benchmarks", f"{len(tasks)} tasks and their data are here")]
    return code + [Finding("error", "benchmarks", problem.message, problem.hint) for problem in problems]


PROMPTS = 50  # of each model, that are made here; a run makes all
SERVER_PROMPTS = "the server applies its own chat template to these messages"


@dataclass(frozen=True, slots=True)
class ShownPrompts:
    """The prompts that a model would be asked with: the first one's `text`, special tokens included.

    `tokens` are the first one's. `notes` are remarks on all that were made; `refused` could not be: each the
    example's id and why. `reason`: why there is no text, or no tokens.
    """

    model: str
    text: str | None
    tokens: int | None = None
    notes: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    reason: str | None = None


def prompts(plan: Plan, found: Sequence[Finding], allow_code: bool = False) -> list[ShownPrompts]:
    """The prompts of the plan's models, made of its first examples; tokenizers are loaded, weights are not.

    `found` are the findings so far: a model with an error among them has no prompt.
    """
    wrong = {finding.subject: finding.message for finding in found if finding.level == "error"}
    examples = [] if "data.examples" in wrong else asked(_read_examples(plan, []), plan.data, PROMPTS)
    shown = []
    for model in plan.models:
        reason = None if examples else "no example can be read"
        if reason := reason or wrong.get(f"model {model.name}"):
            shown.append(ShownPrompts(model.name, None, reason=reason))
        else:
            shown.append(_prompts(model, examples, allow_code))
    return shown


def _prompts(model: Model, examples: Sequence[Example], allow_code: bool) -> ShownPrompts:
    if model.kind == "recorded":
        return ShownPrompts(model.name, None, reason="its outputs are recorded: it is asked nothing")
    if model.kind == "server":
        turns = conversation(examples[0], model.system)
        text = "\n\n".join(f"{turn['role']}: {turn_text(turn)}" for turn in turns)
        return ShownPrompts(model.name, text, reason=SERVER_PROMPTS)
    if model.trust_remote_code and not allow_code:
        return ShownPrompts(model.name, None, reason="its own code would run: allow that with --allow-code")
    from engine.models.local import LocalBase
    from engine.models.prompt import PromptError

    assert model.path is not None
    try:
        base_of(model)
        adapter_of(model)
    except BadInput as error:  # the run may download it
        return ShownPrompts(model.name, None, reason=error.message)
    try:
        base = LocalBase(model.path, dtype="float32", device="cpu", revision=model.revision)
        opened = base.generator(model)
        first: list[int] = []
        refused = []
        for example in examples:
            try:
                ids = opened.prompt(example)
            except PromptError as error:
                refused.append((example.id, str(error)))
            else:
                first = first or ids
        shown: str | None = opened.tokenizer.decode(first) if first else None
    except BadInput as error:
        return ShownPrompts(model.name, None, notes=(error.message,), reason=error.message)
    refusal = None if first else refused[0][1]
    notes = (*base.notes, *opened.prompt_notes)
    return ShownPrompts(model.name, shown, len(first) or None, notes, tuple(refused), refusal)


def prompt_findings(shown: Sequence[ShownPrompts]) -> Iterator[Finding]:
    """What the prompts show before a run; the run remarks on it too, and checks every prompt."""
    from engine.models.prompt import HARMLESS, UNREAD_SYSTEM

    for item in shown:
        subject = f"prompts of {item.model}"
        for note in item.notes:
            level: Level = "ok" if note in HARMLESS else "warning"
            hint = "its scores would be those without a system text" if note == UNREAD_SYSTEM else ""
            yield Finding(level, subject, note, hint)
        if item.refused:
            name, why = item.refused[0]
            count = len(item.refused)
            said = f"{count} of the first {PROMPTS} examples cannot be asked; the first, {name}: {why}"
            yield Finding("warning", subject, said, "a run gives them no answer, and counts them")


def _will_run(subject: str, what: str, file: Path | None) -> Finding:
    """Names code that a run of the plan executes with the user's permissions."""
    if file is None:
        return Finding("warning", subject, f"{what} will run: it is an installed package's", READ_IT)
    return Finding("warning", subject, f"{what} will run: {file}, SHA-256 {file_hash(file)}", READ_IT)


def _wrong(subject: str, error: AssayError) -> Finding:
    return Finding("error", subject, error.message, error.hint)


def _read_examples(plan: Plan, findings: list[Finding]) -> list[Example]:
    try:
        skipped: list[BadInput] = []
        examples = whole_set(plan.data, skipped)
    except BadInput as error:
        findings.append(_wrong("data.examples", error))
        return []
    if skipped:
        message = f"{len(skipped)} records are left out (skip_bad); the first: {skipped[0].message}"
        findings.append(Finding("warning", "data.examples", message))
    findings += [
        Finding("warning", "data.examples", found.message, found.way_out)
        for found in unused_columns(examples, plan.data.fields)
    ]
    return examples


def _suites(plan: Plan, store: Path, own: Collection[str], findings: list[Finding]) -> list[Example]:
    """The questions of the plan's suites, and findings on them."""
    if not plan.data.suites:
        return []
    try:
        asked_too = beside(plan, store, own)
    except BadInput as error:
        findings.append(_wrong("data.suites", error))
        return []
    found = asked_too.questions
    counted = Counter(map(suite_of, found))
    said = ", ".join(f"{name} {count:,}" for name, count in counted.items())
    out = f"; {asked_too.excluded} left out, excluded by people" if asked_too.excluded else ""
    findings.append(Finding("ok", "data.suites", f"{len(found):,} questions, measured apart: {said}{out}"))
    rubrics = [judge.rubric for judge in plan.judges if judge.kind == "pointwise"]
    for name, needed in unscored(found, plan.metrics.settings, rubrics).items():
        findings.append(Finding("warning", "data.suites", f"nothing scores {name}", f"add {needed}"))
    return found


def _data(plan: Plan, examples: list[Example]) -> Iterator[Finding]:
    data = plan.data
    if examples:
        chosen = asked(examples, data)
        sampled = "" if data.sample is None else f", {data.sample} at most sampled"
        message = f"{len(examples)} examples, {len(chosen)} selected: {part_name(data)}{sampled}"
        if chosen:
            yield Finding("ok", "data.examples", message)
        else:
            way_out = "fewer folds" if data.folds else 'split = "all"'
            yield Finding("error", "data.examples", message, f"use {way_out}, or more examples")
    if data.train is not None:
        try:
            read = sum(1 for _ in islice(read_training(data.train, data.fields), TRAINING_RECORDS))
        except BadInput as error:
            yield _wrong("data.train", error)
        else:
            yield Finding("ok", "data.train", f"its first {read} records can be read")


def _metrics(plan: Plan, examples: list[Example], allow_code: bool) -> Iterator[Finding]:
    needing = []
    loaded = {}
    for name in plan.metrics.use:
        if is_own(name):
            file, _, attribute = name.rpartition(":")
            yield _will_run(f"metrics.{Path(name).name}", attribute, Path(file))
            if not allow_code:
                continue
        try:
            metric = load_metric(name, plan.metrics.settings.get(name, {}))
        except BadInput as error:
            yield _wrong(f"metrics.{name}", error)
        else:
            loaded[name] = metric
            needing += [name] * any("references" in measure.needs for measure in metric.measures)
    for problem in clashes(loaded):
        yield Finding("error", "metrics", problem, CLASH_WAY_OUT)
    if "tool_calls" in loaded and examples and all(example.calls is None for example in examples):
        yield Finding(
            "warning",
            "metrics",
            "no example names the tool calls that are right: tool_calls says only whether calls are valid",
            "end conversations with the right call, or name them in `answers`",
        )
    bare = sum(not example.references for example in examples)
    if needing and bare:
        yield Finding(
            "warning",
            "metrics",
            f"{bare} of {len(examples)} examples have no reference: no {', '.join(needing)} there",
            "add references, or remove the metrics from `use`",
        )


def _calibration(plan: Plan, examples: Sequence[Example]) -> Iterator[Finding]:
    """How many examples have answers whose probabilities can be measured, and what that costs."""
    if not is_asked(plan) or not examples:
        return
    try:
        subject, found = f"metrics.{CALIBRATION}", answers_of(plan, examples).values()
    except BadInput:  # wrong labels, which is said of the metric that has them
        return
    known = [len(answers.texts) for answers in found if isinstance(answers, AnswerSet)]
    reasons = Counter(answers for answers in found if isinstance(answers, str))
    local, servers = (sum(model.kind == kind for model in plan.models) for kind in ("local", "server"))
    if not known:
        yield Finding(
            "warning",
            subject,
            f"has no value for any example: {reasons.most_common(1)[0][0]}",
            "remove it from `use`; `calibration = true` under [benchmarks] is for the benchmarks",
        )
        return
    if not (local or servers):
        yield Finding("warning", subject, f"has no value for any model: {RECORDED}")
        return
    costs = [f"{sum(known) * local:,} prompts with an answer to read"] if local else []
    costs += [f"{len(known) * servers:,} further answers of one token from servers"] if servers else []
    message = f"{len(known):,} of {len(examples):,} examples have answers to weigh: {', '.join(costs)}"
    yield Finding("ok", subject, message)


def _model(model: Model, plan: Plan, store: Path) -> Iterator[Finding]:
    subject = f"model {model.name}"
    try:
        if model.run is not None:
            answers = RunAnswers(model, store, plan.name, None, plan.generation.samples)
            yield Finding("ok", subject, f"the answers of {answers.describe()['model']} in {answers.label}")
        elif model.kind == "recorded":
            RecordedModel(model, plan.generation.samples)
            yield Finding("ok", subject, f"{model.outputs} can be read")
        elif model.kind == "local":
            yield from local_findings(subject, model)
    except BadInput as error:
        yield _wrong(subject, error)


def _training_config(model: Model) -> Iterator[Finding]:
    if model.training_config is None:
        return
    subject = f"model {model.name}"
    try:
        found = read_training_config(model.training_config)
    except BadInput as error:
        yield _wrong(subject, error)
    else:
        yield Finding("ok", subject, f"its training config {found.file} has {len(found.values)} settings")


def _sweep(plan: Plan, examples: list[Example], allow_code: bool) -> Iterator[Finding]:
    checkpoints = sum(model.sweep is not None for model in plan.models)
    if not checkpoints:
        return
    own = [name for name in plan.metrics.use if is_own(name) and not allow_code]
    try:
        measure = cheap_measure(plan, leave_out=own)
    except BadInput as error:
        if own:
            message = f"whether its own metrics give {plan.sweep.by} is known once they run"
            yield Finding("warning", "sweep", message, "`assay check --allow-code` runs them")
        else:
            yield _wrong("sweep", error)
        return
    if "references" in measure.needs and examples and not any(item.references for item in examples):
        message = f"no example has a reference, which {measure.name} needs"
        yield Finding("error", "sweep", message, "choose another measure under [sweep], by = …")
        return
    sweep = plan.sweep
    held = general_measure(plan)
    among = f", among those that forgot least by {held.name}" if held else ""
    message = f"{checkpoints} checkpoints, the best {sweep.keep} by {measure.name} go on{among}"
    yield Finding("ok", "sweep", message)


def _compute(plan: Plan) -> Iterator[Finding]:
    if plan.compute.engine == "ray" and find_spec("ray") is None:
        yield Finding("error", "compute", 'engine = "ray" needs the package ray', install("ray"))


def _track(plan: Plan) -> Iterator[Finding]:
    for tracker in dict.fromkeys(plan.track.to if plan.track else ()):
        if lacks := lacking(tracker):
            yield Finding("warning", "track", f"{lacks[0]}: the run is not sent to {tracker}", lacks[1])
        else:
            yield Finding("ok", "track", f"the run is sent to {tracker} when it has ended")


def _engine(plan: Plan, past: Sequence[SpeedRow]) -> Iterator[Finding]:
    """Whether the plan's engine is here, which models it answers for, and how much faster it was before; of
    one that a plan does not name but could, the same.
    """
    asked = plan.generation.engine != "transformers"
    local = [model for model in plan.models if model.kind == "local"]
    files = all(is_gguf(Path(str(model.path))) for model in local)
    key = plan.generation.engine if asked else "llama.cpp" if files else "vllm"
    here = plan.compute.engine == "local" and shutil.which(PROGRAMS[key])
    if not (asked or (local and here)):
        return
    name = KINDS[key].name
    try:
        engine = installed(key, plan.compute)
    except BadInput as error:
        if asked:
            yield _wrong("engine", error)
        return
    try:
        groups, others = served(local, engine)
    except BadInput as error:  # which is an error, or what a run downloads, as the model's finding says
        if asked:
            yield Finding(
                "warning", "engine", f"what {name} answers for is known with the files: {error.message}"
            )
        return
    names = ", ".join(model.name for group in groups for model in group)
    gained = gain(key, local, past)
    told = f"; {gained}" if gained else ""
    if not asked:
        if names:
            hint = f'engine = "{key}" under [generation]'
            said = f"{name} {engine.version} is here, and can answer for {names}{told}"
            yield Finding("ok", "engine", said, hint)
        return
    if names:
        yield Finding("ok", "engine", f"{name} {engine.version} answers for {names}{told}")
        yield from _unread(plan, engine.reads, names)
    for model, why in others.items():
        yield Finding("warning", f"model {model}", f"transformers answers, and not {name}: {why}")


def _unread(plan: Plan, reads: bool, names: str) -> Iterator[Finding]:
    """What an engine that tells no likelihoods cannot measure of what the plan asks for."""
    metrics = plan.metrics
    asked = {
        "perplexity": "perplexity" in metrics.use or bool(metrics.corpora),
        "benchmarks": plan.benchmarks is not None,
    }
    if not reads and (lost := [name for name, is_asked in asked.items() if is_asked]):
        yield Finding("warning", "engine", f"{names}: no {' and no '.join(lost)}: {NEEDS_LOGPROBS}")


def _servers(plan: Plan, silent: Mapping[str, str]) -> Iterator[Finding]:
    servers = [
        NamedServer(f"model {model.name}", model.server, model.model, model.api_key_env)
        for model in plan.models
        if model.server is not None
    ] + [
        NamedServer(f"judge {judge.name}", judge.server, judge.model, judge.api_key_env)
        for judge in plan.judges
        if judge.server is not None and judge.name not in silent
    ]
    for answer in reach(servers):
        yield Finding(answer.level, answer.server.subject, answer.message, answer.hint)


def _judges(plan: Plan, examples: list[Example], silent: Mapping[str, str]) -> Iterator[Finding]:
    bare = sum(not example.references for example in examples)
    for judge in plan.judges:
        if not judge.embedded or judge.name in silent:
            continue
        yield Finding(
            "ok", f"judge {judge.name}", "the embedded rule: needs no server, is not a language model"
        )
        if bare:
            yield Finding(
                "warning",
                f"judge {judge.name}",
                f"{bare} of {len(examples)} examples have no reference, which it needs",
                "add references, or a judge with a server",
            )


def _local_judges(
    plan: Plan, examples: Sequence[Example], in_all: Sequence[Example], store: Path
) -> Iterator[Finding]:
    local = [judge for judge in plan.judges if judge.local is not None]
    past = _past(store, judge_speeds) if local else []
    for judge in local:
        subject = f"judge {judge.name}"
        try:
            yield from local_findings(subject, judge_model(judge))
            yield local_judge(plan, judge, examples, in_all, past)
        except BadInput as error:
            yield _wrong(subject, error)


def _past(store: Path, read: Callable[[history.Connection], list[SpeedRow]]) -> list[SpeedRow]:
    """How fast models answered or judges judged in the runs of this store, where there is one."""
    if not database.exists(store):
        return []
    database.schema_of(store)  # says so where the file is another program's
    connection = history.attach(database.connect(store))
    try:
        return read(connection)
    finally:
        connection.close()
