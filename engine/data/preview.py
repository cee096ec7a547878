"""What Assay understands of a data file: shapes, columns, sizes, and what it cannot read and why."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from engine.data.example import TEMPLATE, Example, normalise
from engine.data.examples import Account, records_of
from engine.data.files import is_dataset
from engine.data.leak import question_key
from engine.data.shapes import columns_used, example_from, says_bad, shape_name
from engine.data.split import NO_CATEGORY, RATIOS, SPLITS, Ratios, assign, member
from engine.data.unused import UnusedColumn, kind_of, unused
from engine.errors import BadInput

SHOWN = 3
NO_EXAMPLE = "Name its columns with --field query=COLUMN, or read training data with --training."


@dataclass(frozen=True, slots=True)
class Shape:
    """One way in which records are written: how many are, and the line of the first."""

    name: str
    records: int
    first_line: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What was understood; all counts are of the `read` rows, the `skipped` ones each have their reason.

    `columns` are what each of our fields is read from, with the number of rows; `kept` are columns that mean
    nothing here and stay with the example, and `unused` those of them that may belong to the question.
    `copies` repeat the question of an earlier line, with the same or no answer, and `conflicts` with another
    one: (earlier line, line). `bad` rows call their own completion bad, which is then no reference; rows
    `with_calls` name the calls of tools that are right.
    """

    read: int
    skipped: list[str]
    shapes: list[Shape]
    columns: dict[str, dict[str, int]]
    kept: dict[str, int]
    unused: list[UnusedColumn]
    first: list[Example]
    with_references: int
    by_category: dict[str, int]
    by_split: dict[str, int]
    copies: list[tuple[int, int]]
    conflicts: list[tuple[int, int]]
    bad: int = 0
    with_calls: int = 0


def preview(
    path: Path,
    fields: Mapping[str, str] | None = None,
    *,
    training: bool = False,
    ratios: Ratios = RATIOS,
    seed: int = 0,
) -> Preview:
    """Reads a whole file or folder once; memory is a few words per row.

    Rows of a folder are counted on from shard to shard. Raises BadInput where nothing can be read, and for
    what breaks the rest of the file (a torn archive).
    """
    fields = fields or {}
    account = Account()
    shapes: dict[str, Shape] = {}
    columns: dict[str, Counter[str]] = {}
    kept: Counter[str] = Counter()
    doubtful: Counter[str] = Counter()
    categories: Counter[str] = Counter()
    first: list[Example] = []
    members = []
    seen = _Seen()
    with_references = bad = with_calls = 0
    several = is_dataset(path)
    for number, (part, record) in enumerate(records_of(path, account), start=1):
        try:
            row = example_from(part, record, fields, training=training)
            row = replace(row, line=number) if several else row
            seen.refuse_id(part, row)
        except BadInput as error:
            account.skip(error)
            continue
        account.read += 1
        name = shape_name(record[1], fields)
        old = shapes.get(name, Shape(name, 0, row.line))
        shapes[name] = Shape(name, old.records + 1, old.first_line)
        used = columns_used(record[1], fields)
        if row.references and not {"reference", "references"} & used.keys():
            used["references"] = f"{used.get('query') or used.get('messages')}, its last turn"
        for field, column in used.items():
            columns.setdefault(field, Counter())[column] += 1
        kept.update(row.extra.keys() & record[1].keys() - _parts(used.values()))
        doubtful.update(() if TEMPLATE in fields else unused(row))
        categories[row.category or NO_CATEGORY] += 1
        with_references += bool(row.references)
        bad += says_bad(record[1])
        with_calls += bool(row.calls)
        members.append(member(row, seed))
        seen.question(row)
        if len(first) < SHOWN:
            first.append(row)
    if not account.read:
        reasons = "".join(f"\n  {reason}" for reason in account.skipped[:SHOWN])
        hint = f"{account.hint}\n  {NO_EXAMPLE}" if account.hint else NO_EXAMPLE
        raise BadInput(f"{path}: holds no example that can be read{reasons}", hint)
    places = Counter(assign(members, ratios))
    return Preview(
        account.read,
        account.skipped,
        sorted(shapes.values(), key=lambda shape: -shape.records),
        {field: dict(found.most_common()) for field, found in columns.items()},
        dict(kept.most_common()),
        [UnusedColumn(column, rows, kind_of(column)) for column, rows in doubtful.most_common()],
        first,
        with_references,
        dict(categories.most_common()),
        {split: places[place] for place, split in enumerate(SPLITS)},
        seen.copies,
        seen.conflicts,
        bad,
        with_calls,
    )


def _parts(columns: Iterable[str]) -> set[str]:
    """The columns in names of one column or of several."""
    return {part for column in columns for part in (column, *column.split(", "))}


class _Seen:
    """Ids and questions so far, with the line that had them first."""

    def __init__(self) -> None:
        self.copies: list[tuple[int, int]] = []
        self.conflicts: list[tuple[int, int]] = []
        self._ids: dict[str, int] = {}
        self._questions: dict[int, tuple[int, frozenset[int]]] = {}

    def refuse_id(self, path: Path, row: Example) -> None:
        """Raises BadInput for an id that stands in an earlier line."""
        if row.id and self._ids.setdefault(row.id, row.line) != row.line:
            raise BadInput(f'{path}:{row.line}: id "{row.id}" is already the id of line {self._ids[row.id]}')

    def question(self, row: Example) -> None:
        answers = frozenset(hash(normalise(text)) for text in row.references)
        line, expected = self._questions.setdefault(hash(question_key(row)), (row.line, answers))
        if line == row.line:
            return
        differ = bool(answers and expected and not answers & expected)
        (self.conflicts if differ else self.copies).append((line, row.line))
