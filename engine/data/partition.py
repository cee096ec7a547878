"""One data file into train, validation and test files, or folds, with a manifest."""

import gc
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from engine.data.duplicates import duplicates
from engine.data.example import Example
from engine.data.examples import Account, data_rows
from engine.data.files import data_suffix
from engine.data.reading import read_records
from engine.data.split import RATIOS, SPLITS, Member, Ratios, assign, member
from engine.data.textfile import text_lines, writing
from engine.data.versions import MANIFEST, Manifest, earlier_places, file_hash, refuse_other
from engine.errors import BadInput

Progress = Callable[[int], None]
EVERY = 10_000
# Below it a tenth is too few to compare models on; k folds evaluate every example once.
FEW = 1_000


@dataclass(frozen=True, slots=True)
class Options:
    """How to split: `group` is a column; `near` keeps copies together; `folds` replace the ratios.

    `columns` maps our names to the file's columns, as in `read_examples`.
    """

    ratios: Ratios = RATIOS
    seed: int = 0
    group: str | None = None
    near: bool = False
    stratify: bool = False
    folds: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"fold-{n}" for n in range(1, self.folds + 1)) if self.folds else SPLITS

    @property
    def shares(self) -> tuple[float, ...]:
        return (1.0,) * self.folds if self.folds else self.ratios

    @property
    def fields(self) -> dict[str, str]:
        return {**self.columns, "group": self.group} if self.group else dict(self.columns)


@dataclass(frozen=True, slots=True)
class Partition:
    """Where each row of a file goes: `places[i]` is the place in `options.names` of the i-th readable row."""

    source: Path
    options: Options
    lines: Sequence[int]
    places: Sequence[int]
    counts: dict[str, int]
    by_category: dict[str, dict[str, int]]
    units: int


def partition(
    source: Path,
    options: Options,
    earlier: Path | None = None,
    account: Account | None = None,
    progress: Progress | None = None,
) -> Partition:
    """Decides where every row goes; writes nothing.

    `earlier` is a folder that `write` made before: its rows stay where they are. One pass over the file;
    memory is a few words per row, and with `near` the texts. Raises BadInput for an id that stands twice, a
    group column that no row has, and for more test than train where train was to be larger.
    """
    members: list[Member] = []
    lines: list[int] = []
    kept: list[Example] = []
    ids: dict[str, int] = {}
    grouped = False
    with _uncollected():
        for row in data_rows(source, options.fields, account=account):
            if row.id and not _new_id(source, row, ids, account):
                continue
            members.append(member(row, options.seed))
            lines.append(row.line)
            grouped = grouped or row.group is not None
            if options.near:
                kept.append(row)
            if progress and len(members) % EVERY == 0:
                progress(len(members))
        _refuse_empty(source, options, members, grouped)
        groups = duplicates(kept) if options.near else []
        together = [(group.places[0], place) for group in groups for place in group.places[1:]]
        before = _before(earlier, options, members) if earlier else {}
        places = assign(members, options.shares, together, before, options.stratify)
        made = _summed(source, options, lines, places, members)
    _refuse_more_test(made)
    return made


@contextmanager
def _uncollected() -> Iterator[None]:
    """Leaves the search for cycles until later: rows have none, and it would go through all of them again
    and again as they become more.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _before(earlier: Path, options: Options, members: Sequence[Member]) -> dict[int, int]:
    ratios = None if options.folds else options.ratios
    places = earlier_places(earlier, options.names, ratios, options.seed, options.fields, options.folds)
    if not any(key in places for row in members for key in row.keys):
        raise BadInput(
            f"{earlier}: holds a split of other data, none of which is in this file",
            "Split into another folder with --out DIR.",
        )
    return places


def _new_id(source: Path, row: Example, ids: dict[str, int], account: Account | None) -> bool:
    first = ids.setdefault(row.id, row.line)
    if first == row.line:
        return True
    error = BadInput(
        f'{source}:{row.line}: id "{row.id}" is already the id of line {first}',
        "Give each example an id of its own, leave the ids out, or leave such rows out with --skip-bad.",
    )
    if account is None:
        raise error
    account.read -= 1
    account.skip(error)
    return False


def _refuse_empty(source: Path, options: Options, members: Sequence[Member], grouped: bool) -> None:
    if not members:
        raise BadInput(f"{source}: holds no example", "Write one JSON object per line.")
    if options.group and not grouped:
        raise BadInput(f'{source}: no row has the column "{options.group}"', "Name another with --group.")


def _summed(
    source: Path, options: Options, lines: Sequence[int], places: Sequence[int], members: Sequence[Member]
) -> Partition:
    names = options.names
    cells = Counter((row.category or "", place) for row, place in zip(members, places, strict=True))
    categories = sorted({category for category, _ in cells})
    return Partition(
        source,
        options,
        lines,
        places,
        {name: places.count(place) for place, name in enumerate(names)},
        {
            category: {name: cells[category, place] for place, name in enumerate(names)}
            for category in categories
        },
        len({row.identity for row in members}),
    )


def _refuse_more_test(made: Partition) -> None:
    train, _, test = made.options.ratios
    if made.options.folds or train <= test or made.units == len(made.places):
        return
    if made.counts["test"] > made.counts["train"]:
        raise BadInput(
            f"{made.source}: after grouping, test has {made.counts['test']} rows and train "
            f"{made.counts['train']}: the {made.units} groups are too few or too unequal for these ratios",
            "Split by another --group, try --stratify, or use --folds.",
        )


def write(made: Partition, folder: Path, progress: Progress | None = None) -> Manifest:
    """Writes a file for each split and `manifest.json`, whole files in place of old ones, the manifest last.

    Raises BadInput where the folder holds such files that no manifest speaks of or a split that was made
    otherwise, and where it cannot be written.
    """
    options, names = made.options, made.options.names
    ratios = None if options.folds else options.ratios
    if (folder / MANIFEST).exists():
        refuse_other(folder, ratios, options.seed, options.group, options.folds)
    else:
        for name in names:
            if (folder / f"{name}.jsonl").exists():
                raise BadInput(
                    f"{folder / name}.jsonl exists already, and is not of an earlier split",
                    "Choose an empty folder with --out DIR.",
                )
    with writing(folder) as parts:
        files = [parts.open(folder / f"{name}.jsonl") for name in names]
        for number, (text, place) in enumerate(_chosen(made), start=1):
            files[place].write(text)
            if progress and number % EVERY == 0:
                progress(number)
        manifest = Manifest(
            source=made.source.name,
            source_sha256=file_hash(made.source),
            seed=options.seed,
            ratios=ratios,
            folds=options.folds,
            group=options.group,
            near_duplicates=options.near,
            stratified=options.stratify,
            counts=made.counts,
            by_category=made.by_category,
            files={name: file_hash(parts.path(folder / f"{name}.jsonl")) for name in names},
        )
        manifest.write(parts, folder)
    return manifest


def _chosen(made: Partition) -> Iterator[tuple[str, int]]:
    """Each row as a line of JSON, with its place."""
    wanted = zip(made.lines, made.places, strict=True)
    line, place = next(wanted)
    for number, text in _texts(made.source):
        if number == line:
            yield text, place
            line, place = next(wanted, (0, 0))


def _texts(source: Path) -> Iterator[tuple[int, str]]:
    """Rows as JSON lines with their line or row number; what is in JSON lines already is left as it is."""
    if source.is_file() and data_suffix(source) in {".jsonl", ".ndjson"}:
        lines = text_lines(source, on_bad=lambda _: None)
        first = next(((number, text) for number, text in lines if text.strip()), (1, ""))
        if first[1].lstrip().startswith("{"):
            yield first[0], first[1].rstrip("\r\n") + "\n"
            for number, text in lines:
                yield number, text.rstrip("\r\n") + "\n"
            return
    records: Iterator[tuple[int, Mapping[str, object]]] = read_records(source, on_bad=lambda _: None)
    for number, record in records:
        yield number, json.dumps(record, ensure_ascii=False) + "\n"
