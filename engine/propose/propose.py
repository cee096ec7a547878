"""From the contents of a folder to a plan: the data, the models and their roles, the metrics.

Every guess is listed in `assumed`, so that the person who reads the plan can see it.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from engine.errors import BadInput
from engine.models.recorded import RecordedModel
from engine.plan.paths import HUB_ID, says_little
from engine.plan.plan import Model
from engine.propose.discover import (
    ROWS,
    SHORT_WORDS,
    AdapterFolder,
    DataFile,
    Found,
    ModelFolder,
    TrainingFile,
    inside,
    look_into,
)
from engine.propose.proposal import Proposal, ProposalItem

MOST = 6  # candidates that are in; the others can be taken in
MOST_SAMPLES = 1000  # of an answer, that a plan may ask for
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_BEFORE = {"base", "baseline", "before", "release", "last", "old", "previous", "reference"}


def model_items(
    found: Found, outputs: Sequence[DataFile], folder: Path, assumed: list[str], *, every: bool = False
) -> list[ProposalItem]:
    """The models, baselines first; what nothing in the folder says is added to `assumed`.

    `every` candidate is in, not only those of most interest.
    """
    names = _Names()
    plain = [model for model in found.models if not model.tuned]
    bases = {one.path: _base(one.path, one.base, found, assumed) for one in found.adapters}
    adapters = [adapter for adapter in found.adapters if bases[adapter.path]]
    used = [base for adapter in adapters if (base := bases[adapter.path])]
    checkpoints = [model for model in found.models if model.tuned]
    if not plain and not used:
        used = _named_bases(checkpoints, found, assumed)
    baselines, tuned = _roles(plain, checkpoints, used, assumed)

    items: list[ProposalItem] = []
    for path, on, why in baselines:
        table = {"path": _path(path, folder)}
        items.append(ProposalItem(f"base{len(items)}", "baseline", names.of(Path(path)), table, on, why))
    items += _prompted(items, found, folder, names)
    sources: list[AdapterFolder | ModelFolder] = [*adapters, *tuned]
    kept = sources if every else _kept(sources, assumed)
    for place, source in enumerate(sources):
        table = {"path": _path(source.path, folder)}
        if isinstance(source, AdapterFolder):
            table = {"path": _path(bases[source.path] or "", folder), "adapter": inside(source.path, folder)}
        table |= _config(source.path, found, folder)
        what = "adapter" if isinstance(source, AdapterFolder) else "checkpoint"
        items.append(
            ProposalItem(f"tuned{place}", "candidate", names.of(source.path), table, source in kept, what)
        )
    return items + _recorded(outputs, items, folder, names, assumed)


class _Names:
    """Unique names for models."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, path: Path) -> str:
        """The folder's or file's name; with the one above it where it alone says little."""
        name = path.stem if path.suffix in (".jsonl", ".json") else path.name
        if says_little(name) and path.parent.name:
            name = f"{path.parent.name}-{name}"
        name = "".join(letter if letter.isprintable() else "-" for letter in name).strip()[:60] or "model"
        free, number = name, 1
        while free in self._taken:
            number += 1
            free = f"{name}-{number}"
        self._taken.add(free)
        return free


def _path(path: str | Path, folder: Path) -> str:
    """A folder as the plan names it; a hub id as it stands."""
    return inside(path, folder) if isinstance(path, Path) else path


def _base(path: Path, name: str, found: Found, assumed: list[str]) -> str | Path | None:
    """The model of this name that what lies at a path was trained on: a folder, else a hub id."""
    wanted = Path(name)
    by_path = {model.path.resolve(): model.path for model in found.models}
    for place in (path, *path.parents[:3], found.folder) if name else ():
        if (place / wanted).resolve() in by_path:
            return by_path[(place / wanted).resolve()]
    if wanted.is_absolute() and (wanted / "config.json").is_file():
        return wanted
    named = [model.path for model in found.models if model.path.name == wanted.name]
    if named:
        return named[0]
    plain = [model.path for model in found.models if not model.tuned]
    is_hub = HUB_ID.fullmatch(name) is not None
    if len(plain) == 1 and not (is_hub and "/" in name):
        assumed.append(f"{path.name} was trained on {plain[0].name}: it names {name or 'nothing'}")
        return plain[0]
    if is_hub:
        return name
    way_out = "put that model's folder here, or a link to it" if name else "its configuration names none"
    assumed.append(f"{path.name} is left out: its base {name or '(none)'} is not here; {way_out}")
    return None


def _named_bases(checkpoints: Sequence[ModelFolder], found: Found, assumed: list[str]) -> list[str | Path]:
    """The models that the training configs of full checkpoints name."""
    if not checkpoints:
        return []
    named = (_base(config.path, config.base, found, assumed) for config in found.configs)
    return [base for base in named if base is not None and base not in {one.path for one in checkpoints}]


def _roles(
    plain: list[ModelFolder], tuned: list[ModelFolder], used: Iterable[str | Path], assumed: list[str]
) -> tuple[list[tuple[str | Path, bool, str]], list[ModelFolder]]:
    """Baselines with whether they are in, and full checkpoints that are candidates."""
    bases = list(dict.fromkeys(used))
    if bases:
        others = [model.path for model in plain if model.path not in bases]
        return [*((base, True, "the base of the candidates") for base in bases)] + [
            (path, False, "another model") for path in others
        ], [model for model in tuned if model.path not in bases]
    by_age = sorted(plain, key=lambda model: (model.path.name.lower() not in _BEFORE, model.changed))
    if not tuned and len(by_age) > 1:
        assumed.append(f"{by_age[0].path.name} is the baseline and the base of the others")
        return [(by_age[0].path, True, "")], by_age[1:]
    return [(model.path, place == 0, "") for place, model in enumerate(by_age)], tuned


def _prompted(bases: Sequence[ProposalItem], found: Found, folder: Path, names: _Names) -> list[ProposalItem]:
    """The first base, with a prompt instead of training."""
    base = next((item for item in bases if item.on), None)
    if base is None or not found.prompts:
        return []
    why = "the same weights, with a prompt instead of training"
    return [
        ProposalItem(
            f"prompted{place}",
            "baseline",
            names.of(Path("prompted" if place == 0 else f"prompted-{prompt.stem}")),
            {**base.table, "system": inside(prompt, folder)},
            place == 0,
            why,
        )
        for place, prompt in enumerate(found.prompts)
    ]


def _kept(
    sources: Sequence[AdapterFolder | ModelFolder], assumed: list[str]
) -> list[AdapterFolder | ModelFolder]:
    """The candidates that are in: of each training its end, else its last checkpoint; the newest of many."""
    ends = {source.path for source in sources if not _CHECKPOINT.fullmatch(source.path.name)}
    last: dict[Path, AdapterFolder | ModelFolder] = {}
    for source in sources:
        place = source.path.parent
        if source.path not in ends and (place not in last or _step(source.path) > _step(last[place].path)):
            last[place] = source
    kept = [source for source in sources if source.path in ends]
    kept += [source for place, source in last.items() if place not in ends]
    if len(kept) < len(sources):
        assumed.append("of the checkpoints of one training run, the final or last one is used")
    if len(kept) > MOST:
        assumed.append(f"of {len(kept)} candidates the {MOST} newest are used")
        kept = sorted(kept, key=lambda source: source.changed)[-MOST:]
    return kept


def _step(path: Path) -> int:
    found = _CHECKPOINT.fullmatch(path.name)
    return int(found[1][:18]) if found else 0


def _config(path: Path, found: Found, folder: Path) -> dict[str, str]:
    """The training config that wrote there."""
    for config in found.configs:
        wanted = Path(config.output.lstrip("/"))
        ends = [place for place in (path, *path.parents) if place != found.folder]
        if config.output and any(place.as_posix().endswith(f"/{wanted.as_posix()}") for place in ends):
            return {"training_config": inside(config.path, folder)}
    return {}


def _recorded(
    outputs: Sequence[DataFile],
    models: Sequence[ProposalItem],
    folder: Path,
    names: _Names,
    assumed: list[str],
) -> list[ProposalItem]:
    """Answers made elsewhere; the oldest are the baseline where there is no other."""
    words = {data.path: set(re.split(r"[^a-z]+", data.path.stem.lower())) for data in outputs}
    before = [data for data in outputs if words[data.path] & _BEFORE]
    if not before and outputs and not any(item.kind == "baseline" and item.on for item in models):
        before = [min(outputs, key=lambda data: data.path.stat().st_mtime_ns)]
        assumed.append(f"{before[0].path.name}, the oldest answers, is the baseline")
    return [
        ProposalItem(
            f"recorded{place}",
            "baseline" if data in before else "candidate",
            names.of(data.path),
            {"outputs": inside(data.path, folder)},
            True,
            data.what,
        )
        for place, data in enumerate(sorted(outputs, key=lambda data: data not in before))
    ]


_EVALUATION = {
    "eval",
    "evals",
    "evaluation",
    "test",
    "tests",
    "dev",
    "val",
    "valid",
    "validation",
    "holdout",
    "gold",
}
_TRAINING = {"train", "training", "sft", "finetune", "finetuning", "dpo", "instruct"}
_OUTPUTS = {"outputs", "output", "answers", "responses", "predictions", "generations", "preds", "results"}
_LARGER = 5  # how many times the size of the examples unnamed training data is


def propose(found: Found, folder: Path, *, every: bool = False) -> Proposal:
    """The plan for the findings, to be written into `folder`; with `every` candidate, or the main ones."""
    assumed: list[str] = []
    outputs = [data for data in found.data if _is_output(data, found.data)]
    data = [item for item in found.data if item not in outputs]
    training = [item for item in data if _part(item, found) == "train"]
    evaluation = [item for item in data if item.asks and _part(item, found) == "eval"]
    unnamed = [item for item in data if item not in training and item not in evaluation]
    models = model_items(found, outputs, folder, assumed, every=every)
    local = any(item.on and "path" in item.table for item in models)
    examples = _examples(evaluation, unnamed, training, assumed)
    chosen = examples[0] if examples else None
    trains = _trains(training, unnamed, chosen, assumed)
    data_items = _data_items(examples, trains, training, folder)
    fitting = {
        item.key: tuple(_fitting(one, found, folder, local, bool(trains)))
        for item, one in zip(data_items, examples, strict=False)
    }
    items = (*models, *data_items, *_benchmarks(found, folder))
    first = fitting[data_items[0].key] if examples else ()
    if chosen is not None and chosen.labels and chosen.more:
        assumed.append(f"the first {ROWS:,} records of the examples contain every label")
    if chosen is not None and not (chosen.references or chosen.calls):
        assumed.append("without references no metric can tell which answer is right: name a judge")
    return Proposal(
        str(folder), _plan_name(found.folder), (*items, *first), fitting, tuple(assumed), found.left_out,
        _samples(outputs),
    )  # fmt: skip


def propose_named(
    base: str, adapters: Sequence[Path], data: Path, metrics: Sequence[str], folder: Path
) -> Proposal:
    """The plan for a base model, adapters of it and data that a person names, to be written into `folder`.

    `base` is a folder or a hub id; `metrics` are those in use, left empty those that fit the data. Raises
    BadInput for what is not there, or is something else.
    """
    place = Path(base).expanduser()
    is_here = place.is_dir()
    if not is_here and not HUB_ID.fullmatch(base):
        raise BadInput(f"--model {base}: is no folder and no hub id", "give a model's folder, or ORG/NAME")
    if not data.is_file():
        raise BadInput(f"--data {data}: {'is a folder' if data.is_dir() else 'no such file'}", "give a file")
    for adapter in adapters:
        if not (adapter / "adapter_config.json").is_file():
            raise BadInput(
                f"--adapter {adapter}: has no adapter_config.json",
                "give the folder that PEFT saved; `assay plan DIR` makes a plan of fully tuned models",
            )
    examples, paths = data.absolute(), list(dict.fromkeys(adapter.absolute() for adapter in adapters))
    held = look_into(examples)
    named = str(place.absolute()) if is_here else base
    found = Found(
        examples.parent,
        models=(ModelFolder(place.absolute(), False, 0.0),) if is_here else (),
        adapters=tuple(AdapterFolder(path, named, float(order)) for order, path in enumerate(paths)),
        # A file is what a training config says it is, whatever its name.
        configs=(TrainingFile(examples, named, "", (), (examples.name,)),),
        data=() if held is None else (held,),
    )
    proposal = propose(found, folder, every=True)
    items = list(proposal.items)
    if metrics:
        fitting = {item.name: item for item in items if item.kind == "metric"}
        own = {name: ProposalItem(f"metric:{name}", "metric", name, {}) for name in metrics}
        used = [replace(fitting.get(name, item), on=True) for name, item in own.items()]
        items = [item for item in items if item.kind != "metric"] + used
    return replace(proposal, name=_plan_name(folder), items=tuple(items))


def _samples(outputs: Iterable[DataFile]) -> int:
    """How many answers the files have of one example at most, as far as a run can take them."""
    found = [1]
    for data in outputs:
        with suppress(BadInput):  # which `assay check` tells
            model = Model.model_construct(name=data.path.name, outputs=data.path)
            found.append(RecordedModel(model, MOST_SAMPLES).most)
    return min(max(found), MOST_SAMPLES)


def _plan_name(folder: Path) -> str:
    name = folder.resolve().name
    return name[:60] if name.strip() and name.isprintable() else "evaluation"


def _words(data: DataFile, found: Found) -> list[str]:
    """The words of its path below the folder, those of its name first."""
    parts = [*data.path.relative_to(found.folder).parts[::-1]]
    return [word for part in parts for word in re.split(r"[^a-z]+", part.lower()) if word]


def _part(data: DataFile, found: Found) -> str:
    """The purpose of a file by a training config or its own name: "train", "eval" or empty."""
    for config in found.configs:
        for names, part in ((config.train, "train"), (config.evaluation, "eval")):
            if any(data.path.as_posix().endswith(f"/{Path(name).as_posix().lstrip('/')}") for name in names):
                return part
    for word in _words(data, found):
        if word in _TRAINING or word in _EVALUATION:
            return "train" if word in _TRAINING else "eval"
    return ""


def _is_output(data: DataFile, others: Sequence[DataFile]) -> bool:
    """Answers that bear ids alone, are called so, or answer what another file asks."""
    if not data.answers:
        return False
    named = set(re.split(r"[^a-z]+", f"{data.path.parent.name} {data.path.stem}".lower())) & _OUTPUTS
    asked = (other for other in others if other.asks and not other.answers)
    return (
        not data.asks
        or bool(named)
        or any(len(data.keys & other.keys) * 2 >= len(data.keys) for other in asked)
    )


def _examples(
    evaluation: list[DataFile], unnamed: list[DataFile], training: list[DataFile], assumed: list[str]
) -> list[DataFile]:
    """The data that can be asked, the best first."""
    small = sorted((item for item in unnamed if item.asks), key=lambda item: item.size)
    if evaluation:
        return sorted(evaluation, key=_fitness, reverse=True) + small
    if small:
        assumed.append(f"{small[0].path.name} is eval data: no file name says so")
        return small
    held_out = [item for item in training if item.asks]
    if held_out:
        assumed.append(f"a test split of {held_out[0].path.name} is held out: there is no other eval data")
    return held_out


def _fitness(data: DataFile) -> tuple[int, int]:
    held = (data.references, bool(data.labels), data.tests, data.schemas, data.json_references, data.calls)
    return sum(held), data.rows


def _trains(
    training: list[DataFile], unnamed: list[DataFile], examples: DataFile | None, assumed: list[str]
) -> list[DataFile]:
    found = sorted(
        (item for item in training if item is not examples), key=lambda item: item.size, reverse=True
    )
    if not found and examples is not None:
        found = [item for item in unnamed if item is not examples and item.size >= _LARGER * examples.size]
        assumed += [
            f"{item.path.name} is training data: it is much larger than the examples" for item in found[:1]
        ]
    return found


def _data_items(
    examples: list[DataFile], trains: list[DataFile], training: list[DataFile], folder: Path
) -> list[ProposalItem]:
    items = []
    for place, data in enumerate(examples):
        table = {"examples": inside(data.path, folder)}
        if data in training:
            table["split"] = "test"
        items.append(
            ProposalItem(f"examples{place}", "examples", data.path.name, table, place == 0, data.what)
        )
    for place, data in enumerate(trains):
        table = {"train": inside(data.path, folder)}
        items.append(ProposalItem(f"train{place}", "train", data.path.name, table, place == 0, data.what))
    return items


def _fitting(data: DataFile, found: Found, folder: Path, local: bool, trained: bool) -> list[ProposalItem]:
    """Metrics, judge and gates for these examples."""
    items = [
        ProposalItem(f"metric:{name}", "metric", name, table, on, why)
        for name, table, on, why in _metrics(data, found, folder, local)
    ]
    if data.references:
        why = "a rule: closer to the reference wins; not a language model"
        items.append(ProposalItem("judge:reference", "judge", "reference", {}, True, why))
    gates = [("min_win_rate", 0.55, data.references, "against every baseline, ties as half")]
    gates += [("max_metric_drop", 0.05, True, "of any metric")]
    gates += (
        [("max_perplexity_rise", 0.10, True, "relative to the baseline")] if local and data.references else []
    )
    gates += [("min_format_compliance", 0.95, False, "answers of the schema")] if data.schemas else []
    gates += [("max_leakage", 0.10, True, "examples that appear in the training data")] if trained else []
    gates += [("max_benchmark_drop", 0.05, True, "more: it forgot something")] if found.tasks else []
    return items + [
        ProposalItem(f"gate:{name}", "gate", name, {name: limit}, on, why) for name, limit, on, why in gates
    ]


def _metrics(
    data: DataFile, found: Found, folder: Path, local: bool
) -> list[tuple[str, dict[str, object], bool, str]]:
    chosen: list[tuple[str, dict[str, object], bool, str]] = []
    if data.tests:
        chosen.append(("code", {}, True, "the answer is a program: run against the tests"))
    if data.calls:
        chosen.append(("tool_calls", {}, True, "references are tool calls"))
    if data.labels:
        table: dict[str, object] = {"labels": list(data.labels)}
        if data.label_field is not None:
            table["field"] = data.label_field
        chosen.append(("classification", table, True, f"{len(data.labels)} labels"))
    if schema := _schema(data, found):
        chosen.append(("format", {"schema": inside(schema, folder)}, True, "answers are JSON of this schema"))
    elif data.schemas:
        chosen.append(("format", {}, True, "each example has its schema"))
    if data.json_references:
        chosen.append(("json_fields", {}, True, "JSON references: field by field"))
    if data.references:
        chosen += [] if data.tests else _overlap(data)
        if local:
            chosen.append(("perplexity", {}, True, "of the references, under each model"))
    chosen.append(("length", {}, True, "in words and tokens"))
    if local:
        chosen.append(("efficiency", {}, True, "time and tokens a second"))
    return chosen


def _overlap(data: DataFile) -> list[tuple[str, dict[str, object], bool, str]]:
    """Metrics of closeness to the reference, chosen by the kind of references."""
    long = data.reference_words > SHORT_WORDS
    fits = {
        "numeric": (data.numbers, True, "references are numbers"),
        "exact_match": (True, True, "the reference itself"),
        "contains": (not long and not data.json_references, True, "the reference in the answer"),
        "token_f1": (not data.numbers, True, "words in common"),
        "rouge": (True, long, "overlap of longer texts"),
        "bleu": (True, long, "overlap of longer texts"),
        "chrf": (True, False, "overlap of characters"),
    }
    return [(name, {}, on, why) for name, (fit, on, why) in fits.items() if fit]


def _schema(data: DataFile, found: Found) -> Path | None:
    """The schema file for JSON answers: the one beside the data, else the only one."""
    if not data.json_references or data.schemas:
        return None
    beside = [path for path in found.schemas if path.parent == data.path.parent]
    alone = beside or list(found.schemas)
    return alone[0] if len(alone) == 1 else None


def _benchmarks(found: Found, folder: Path) -> list[ProposalItem]:
    if not found.tasks:
        return []
    places = {task.path.parent for task in found.tasks}
    place = min(places)
    names = sorted(task.name for task in found.tasks if task.path.parent == place)
    table = {"tasks": names, "include": inside(place, folder), "apply_chat_template": True}
    return [ProposalItem("benchmarks", "benchmark", "local tasks", table, True, f"{len(names)} local tasks")]
