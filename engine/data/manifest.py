"""What a split was made from and how: manifest.json beside its files."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.data.examples import data_rows
from engine.data.files import dataset_files, is_dataset
from engine.data.split import Ratios, member
from engine.data.textfile import open_error
from engine.errors import BadInput

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

    def write(self, folder: Path) -> None:
        """Puts the manifest in place as a whole."""
        part = folder / f".{MANIFEST}.part"
        content = {"format": FORMAT, "version": self.version, **asdict(self)}
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
        part.replace(folder / MANIFEST)


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
            f"{file}: is no manifest of this format ({FORMAT})", "Split again into an empty folder."
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
