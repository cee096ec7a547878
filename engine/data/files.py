"""Which files a data set is made of: a folder's shards, one split of it, or a data set of a hub.

`FOLDER:SPLIT` names one split of a folder (of a `DatasetDict`, of a copy of a hub repository, of what
`assay split` wrote), `hf:OWNER/NAME:SPLIT` one of a data set on the Hugging Face hub, and
`hf:OWNER/NAME@CONFIG:SPLIT` one of one of its configurations.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from engine.errors import BadInput

HUB = "hf:"
COLUMNAR = {".arrow", ".parquet"}
_TEXT = {".jsonl", ".ndjson", ".csv", ".tsv"}
_PACKED = {".gz", ".zst"}
_SPLIT = re.compile(r"(train|validation|valid|val|dev|test|eval)(?=[-_.]|$)")


def is_hub(path: Path) -> bool:
    """Whether a path stands for a data set on the hub."""
    return str(path).startswith(HUB)


def is_dataset(path: Path) -> bool:
    """Whether a path names a data set that is no single file: a folder, a split of one, or one on the hub."""
    return is_hub(path) or path.is_dir() or _split_of_folder(path) is not None


def data_suffix(path: Path) -> str:
    """What kind of data a file holds, by its name: the suffix before `.gz` or `.zst`."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in _PACKED else suffix


def dataset_files(path: Path) -> list[Path]:
    """The files with the records of a data set, by name: all columnar (Arrow, Parquet), else all of text.

    Raises BadInput for a folder without such files, with several splits of which none is named, or without
    the split that is named, and for what the hub does not give.
    """
    if is_hub(path):
        from engine.data.hub import hub_files

        return list(hub_files(str(path).removeprefix(HUB)))
    part = _split_of_folder(path)
    folder, split = part or (path, None)
    if split is not None and (folder / split).is_dir():
        return dataset_files(folder / split)
    files = _data_files(folder)
    splits = sorted({name for file in files if (name := _split_name(file))})
    if split is not None:
        chosen = [file for file in files if _split_name(file) == split or _stem(file) == split]
        if not chosen:
            raise BadInput(f"{folder}: has no split {split!r}", _choice(folder, splits or _folders(folder)))
        return chosen
    if not files:
        parts = _folders(folder)
        raise BadInput(
            f"{path}: holds no *.arrow or *.parquet file, and no *.jsonl or *.csv",
            _choice(folder, parts) if parts else "",
        )
    if len(splits) > 1:
        raise BadInput(f"{path}: holds several splits: {', '.join(splits)}", _choice(folder, splits))
    return files


def _split_of_folder(path: Path) -> tuple[Path, str] | None:
    folder, colon, split = str(path).rpartition(":")
    return (Path(folder), split) if colon and split and not path.exists() and Path(folder).is_dir() else None


def _data_files(folder: Path) -> list[Path]:
    """The data files of a folder, or of its folder `data`, where copies of hub repositories keep them."""
    for place in (folder, folder / "data"):
        files = sorted(file for file in place.iterdir() if file.is_file()) if place.is_dir() else []
        columnar = [file for file in files if file.suffix.lower() in COLUMNAR]
        if found := columnar or [file for file in files if data_suffix(file) in _TEXT]:
            return found
    return []


def _split_name(file: Path) -> str | None:
    found = _SPLIT.match(file.name.lower())
    return found[1] if found else None


def _stem(file: Path) -> str:
    return file.name.partition(".")[0]


def _folders(folder: Path) -> list[str]:
    return sorted(part.name for part in folder.iterdir() if part.is_dir())


def _choice(folder: Path, names: Iterable[str]) -> str:
    return "Name one: " + ", ".join(f"{folder}:{name}" for name in names)
