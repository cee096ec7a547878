"""Which of the models that a folder holds is a baseline and which a candidate of a proposed plan."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from engine.propose.discover import AdapterFolder, Found, ModelFolder, inside
from engine.propose.discover_data import DataFile
from engine.propose.proposal import Item

MOST = 6  # candidates that are in; the others can be taken in
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_VAGUE = re.compile(
    r"checkpoint-?\d*|final|last|best|output|outputs|adapter|lora|model|merged", re.IGNORECASE
)
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_BEFORE = {"base", "baseline", "before", "release", "last", "old", "previous", "reference"}


def model_items(found: Found, outputs: Sequence[DataFile], folder: Path, assumed: list[str]) -> list[Item]:
    """The models, baselines first; what nothing in the folder says is added to `assumed`."""
    names = _Names()
    plain = [model for model in found.models if not model.tuned]
    bases = {one.path: _base(one.path, one.base, found, assumed) for one in found.adapters}
    adapters = [adapter for adapter in found.adapters if bases[adapter.path]]
    used = [base for adapter in adapters if (base := bases[adapter.path])]
    checkpoints = [model for model in found.models if model.tuned]
    if not plain and not used:
        used = _named_bases(checkpoints, found, assumed)
    baselines, tuned = _roles(plain, checkpoints, used, assumed)

    items: list[Item] = []
    for path, on, why in baselines:
        table = {"path": _path(path, folder)}
        items.append(Item(f"base{len(items)}", "baseline", names.of(Path(path)), table, on, why))
    items += _prompted(items, found, folder, names)
    sources: list[AdapterFolder | ModelFolder] = [*adapters, *tuned]
    kept = _kept(sources, assumed)
    for place, source in enumerate(sources):
        table = {"path": _path(source.path, folder)}
        if isinstance(source, AdapterFolder):
            table = {"path": _path(bases[source.path] or "", folder), "adapter": inside(source.path, folder)}
        table |= _config(source.path, found, folder)
        what = "adapter" if isinstance(source, AdapterFolder) else "checkpoint"
        items.append(Item(f"tuned{place}", "candidate", names.of(source.path), table, source in kept, what))
    return items + _recorded(outputs, items, folder, names, assumed)


class _Names:
    """Names for models, each once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, path: Path) -> str:
        """The folder's or file's name; with the one above it where it alone says little."""
        name = path.stem if path.suffix in (".jsonl", ".json") else path.name
        if _VAGUE.fullmatch(name) and path.parent.name:
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
    is_hub = _HUB_ID.fullmatch(name) is not None
    if len(plain) == 1 and not (is_hub and "/" in name):
        assumed.append(f"{path.name} was trained on {plain[0].name}: it names {name or 'nothing'}")
        return plain[0]
    if is_hub:
        return name
    assumed.append(f"{path.name} is left out: its base {name or '(none)'} is not here")
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
        return [*((base, True, "what the candidates were made from") for base in bases)] + [
            (path, False, "another model") for path in others
        ], [model for model in tuned if model.path not in bases]
    by_age = sorted(plain, key=lambda model: (model.path.name.lower() not in _BEFORE, model.changed))
    if not tuned and len(by_age) > 1:
        assumed.append(f"{by_age[0].path.name} is the baseline and the others were made from it")
        return [(by_age[0].path, True, "")], by_age[1:]
    return [(model.path, place == 0, "") for place, model in enumerate(by_age)], tuned


def _prompted(bases: Sequence[Item], found: Found, folder: Path, names: _Names) -> list[Item]:
    """The first base, told what to do instead of trained for it."""
    base = next((item for item in bases if item.on), None)
    if base is None or not found.prompts:
        return []
    why = "the same weights, told what to do instead of trained for it"
    return [
        Item(
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
        assumed.append("of the checkpoints of one training its end or the last one is meant")
    if len(kept) > MOST:
        assumed.append(f"of {len(kept)} candidates the {MOST} newest are meant")
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
    outputs: Sequence[DataFile], models: Sequence[Item], folder: Path, names: _Names, assumed: list[str]
) -> list[Item]:
    """Answers made elsewhere; the oldest are the baseline where there is no other."""
    words = {data.path: set(re.split(r"[^a-z]+", data.path.stem.lower())) for data in outputs}
    before = [data for data in outputs if words[data.path] & _BEFORE]
    if not before and outputs and not any(item.kind == "baseline" and item.on for item in models):
        before = [min(outputs, key=lambda data: data.path.stat().st_mtime_ns)]
        assumed.append(f"{before[0].path.name}, the oldest answers, is the baseline")
    return [
        Item(
            f"recorded{place}",
            "baseline" if data in before else "candidate",
            names.of(data.path),
            {"outputs": inside(data.path, folder)},
            True,
            data.what,
        )
        for place, data in enumerate(sorted(outputs, key=lambda data: data not in before))
    ]
