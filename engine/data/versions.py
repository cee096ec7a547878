"""Versions of eval sets, in files and in the store, what changed between two, and a split's manifest."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from engine.data.example import Example, eval_set_version
from engine.data.examples import data_rows, read_examples
from engine.data.files import dataset_files, is_dataset
from engine.data.split import Ratios, member
from engine.data.textfile import Parts, open_error
from engine.errors import BadInput
from store.errors import StoreError
from store.read import history
from store.read.datasets import eval_sets, version_examples
from store.read.rows import ExampleRow
from store.records import StoredExample


class RecordedUse(Protocol):
    """A row of the ledger; `created` is a Unix time."""

    @property
    def user(self) -> str: ...

    @property
    def reason(self) -> str: ...

    @property
    def created(self) -> float: ...


def refuse_used_test(version: str, uses: Sequence[RecordedUse], final: bool) -> None:
    """Raises BadInput when the test split of this eval set was used before and the plan is not final.

    `uses` are those of other runs, and people's looks at it.
    """
    if final or not uses:
        return
    raise BadInput(
        f"the test split of eval set {version} was used {used_before(uses)}",
        'Iterate on split = "validation"; for a last measurement say final = true in [data].',
    )


def used_before(uses: Sequence[RecordedUse]) -> str:
    """How often, and by whom last: "twice before, last on 2025-01-31 by mira: run of support"."""
    last = max(uses, key=lambda use: use.created)
    day = time.strftime("%Y-%m-%d", time.localtime(last.created))
    times = {1: "once", 2: "twice"}.get(len(uses), f"{len(uses)} times")
    return f"{times} before, last on {day} by {last.user}: {last.reason}"


def training_edited(current: str, earlier: Mapping[int, str]) -> list[int]:
    """The runs on the test split whose training file was another: `earlier` is its hash by run.

    Training data edited after a look at the test split may have been edited because of it.
    """
    return sorted(run for run, sha256 in earlier.items() if sha256 != current)


MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """Hashes are SHA-256 in hex; `files` and `counts` by the name of the split or fold."""

    source: str
    source_sha256: str
    seed: int
    ratios: Ratios | None
    folds: int | None
    group: str | None
    near_duplicates: bool
    stratified: bool
    counts: Mapping[str, int]
    by_category: Mapping[str, Mapping[str, int]]
    files: Mapping[str, str]

    @property
    def version(self) -> str:
        """12 hex digits that stand for the files' content: of the SHA-256 over their hashes."""
        return hashlib.sha256(json.dumps(self.files, sort_keys=True).encode()).hexdigest()[:12]

    def write(self, parts: Parts, folder: Path) -> None:
        content = {"format": FORMAT, "version": self.version, **asdict(self)}
        parts.open(folder / MANIFEST).write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest in a folder. Raises BadInput where there is none, or it cannot be read."""
    file = folder / MANIFEST
    try:
        content = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise open_error(file, error) from error
    except ValueError as error:
        raise BadInput(f"{file}: is not JSON: {error}", "Split again into an empty folder.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise BadInput(
            f"{file}: is not a manifest of this format ({FORMAT})", "Split again into an empty folder."
        )
    return content


def refuse_other(
    folder: Path, ratios: Ratios | None, seed: int, group: str | None, folds: int | None
) -> None:
    """Raises BadInput where the split in a folder was made by other settings than these."""
    manifest = read_manifest(folder)
    asked = {"ratios": list(ratios) if ratios else None, "seed": seed, "group": group, "folds": folds}
    for name, value in asked.items():
        if manifest.get(name) != value:
            stands, wanted = (_setting(name, one) for one in (manifest.get(name), value))
            raise BadInput(
                f"{folder}: a split {stands} exists already, now one {wanted} is wanted",
                "Ask for the same, or split into another folder with --out DIR.",
            )


def _setting(name: str, value: object) -> str:
    return f"without {name}" if value is None else f"with {name} {value}"


def earlier_places(
    folder: Path,
    names: Sequence[str],
    ratios: Ratios | None,
    seed: int,
    fields: Mapping[str, str],
    folds: int | None = None,
) -> dict[int, int]:
    """The place in `names`, of the splits or folds, of every key of an earlier split's rows.

    Raises BadInput where that split was made by other settings, or its files were edited since.
    """
    refuse_other(folder, ratios, seed, fields.get("group"), folds)
    files = read_manifest(folder)["files"]
    places: dict[int, int] = {}
    for place, name in enumerate(names):
        file = folder / f"{name}.jsonl"
        if not file.is_file() or file_hash(file) != files.get(name):
            raise BadInput(
                f"{file}: is not what {MANIFEST} says: it was edited or removed after the split",
                "Put the file back, or split into another folder with --out DIR.",
            )
        for row in data_rows(file, fields):
            for key in member(row, seed).keys:
                places[key] = min(place, places.get(key, place))
    return places


def file_hash(path: Path) -> str:
    """SHA-256 in hex of a file, or of the names and hashes of a data set's files.

    Raises BadInput when it cannot be read.
    """
    if is_dataset(path):
        inner = [(file.name, file_hash(file)) for file in dataset_files(path)]
        return hashlib.sha256(json.dumps(inner).encode()).hexdigest()
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise open_error(path, error) from error


_COMPARED = (
    "messages", "references", "label", "category", "schema", "tests", "turns", "group", "extra", "tools",
    "calls",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Edit:
    """One id in both versions with other content: `changed` names the fields."""

    before: Example
    after: Example
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """From version `before` to version `after`; `unchanged` and the edited make up what both share."""

    before: str
    after: str
    added: tuple[Example, ...]
    removed: tuple[Example, ...]
    edited: tuple[Edit, ...]
    unchanged: int


def version_diff(before: Sequence[Example], after: Sequence[Example]) -> VersionDiff:
    """Added, removed and edited examples, told apart by id; the place in the file does not count."""
    earlier = {example.id: example for example in before}
    later = {example.id: example for example in after}
    edited = tuple(_edits(earlier, after))
    return VersionDiff(
        before=eval_set_version(before),
        after=eval_set_version(after),
        added=tuple(example for example in after if example.id not in earlier),
        removed=tuple(example for example in before if example.id not in later),
        edited=edited,
        unchanged=len(earlier.keys() & later.keys()) - len(edited),
    )


def _edits(earlier: dict[str, Example], after: Sequence[Example]) -> Iterator[Edit]:
    for example in after:
        old = earlier.get(example.id)
        if old is None:
            continue
        changed = tuple(name for name in _COMPARED if _content(old, name) != _content(example, name))
        if changed:
            yield Edit(old, example, changed)


def _content(example: Example, name: str) -> Any:
    """A field as the version counts it: no calls are said by the references too."""
    if name == "calls":
        return example.calls or (example.calls is not None and not example.references)
    return getattr(example, name)


SHORTEST = 4  # digits that may stand for a version


@dataclass(frozen=True, slots=True)
class EvalSet:
    """One version: where it was found, in a person's words, and its examples."""

    name: str
    version: str
    examples: tuple[Example, ...]


def find_eval_set(
    connection: history.Connection | None, text: str, fields: Mapping[str, str] | None = None
) -> EvalSet:
    """The eval set named by a person: a file, a version or its first digits, or a run by id or name.

    `connection` is None where there is no store: then it can only be a file. Raises BadInput for what is none
    of these, and what `read_examples` raises.
    """
    path = Path(text)
    if path.is_file() or is_dataset(path):
        examples = tuple(read_examples(path, fields))
        return EvalSet(path.name, eval_set_version(examples), examples)
    version = None if connection is None else _known_version(connection, text)
    if connection is None or version is None:
        raise BadInput(
            f"{text}: is not a file, nor a version or run of this store",
            "`assay versions` lists the versions, `assay runs` the runs; --store DIR names another store",
        )
    found = version_examples(connection, version)
    return EvalSet(text, version, tuple(map(example_of, found)))


def _known_version(connection: history.Connection, text: str) -> str | None:
    matching = [row.version for row in eval_sets(connection) if row.version.startswith(text.lower())]
    if len(text) >= SHORTEST and matching:
        if len(matching) > 1:
            raise BadInput(f"{text}: matches {len(matching)} versions", f"name one: {', '.join(matching)}")
        return matching[0]
    try:
        run = history.run(connection, history.find_run(connection, text))
    except StoreError:
        return None
    return run.eval_set


def example_of(row: ExampleRow | StoredExample) -> Example:
    """The example that a row of the store keeps."""
    extra = row.extra or {}
    return Example(
        id=row.example,
        query=row.query,
        messages=tuple(row.messages or ()),
        references=tuple(row.references or ()),
        label=row.label,
        category=row.category,
        schema=extra.get("schema"),
        tests=tuple(extra.get("tests") or ()),
        turns=tuple(extra.get("turns") or ()),
        group=extra.get("group"),
        line=extra.get("line") or 0,
        extra=extra.get("extra") or {},
        tools=tuple(extra.get("tools") or ()),
        calls=None if extra.get("calls") is None else tuple(extra["calls"]),
    )
