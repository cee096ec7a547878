"""The files of a data set: a folder's shards, one split of it, or a data set of the Hugging Face hub.

`FOLDER:SPLIT` names one split of a folder (of a `DatasetDict`, of a copy of a hub repository, of what
`assay split` wrote), `hf:OWNER/NAME:SPLIT` one of a data set on the hub, and `hf:OWNER/NAME@CONFIG:SPLIT` one
of one of its configurations. `datasets` downloads hub data once, into its own cache.
"""

import logging
import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from engine.errors import BadInput

TIMEOUT = 5.0  # seconds
_ON = {"1", "ON", "YES", "TRUE"}
_NAME = re.compile(r"([\w.-]+(?:/[\w.-]+)?)(?:@([\w.-]+))?(?::([\w.-]+))?")
_ENDPOINT = "https://huggingface.co"


@cache
def hub_files(text: str) -> tuple[Path, ...]:
    """The Arrow files of `OWNER/NAME`, `OWNER/NAME:SPLIT` or `OWNER/NAME@CONFIG:SPLIT`.

    What is in the cache needs no network. Raises BadInput, with the way out, for a text of another form,
    where the hub cannot be reached, has no such data set, configuration or split, and where a split must be
    named.
    """
    parts = _NAME.fullmatch(text)
    if parts is None:
        raise BadInput(f"hf:{text}: is not a data set's name", "Write hf:OWNER/NAME:SPLIT, for example.")
    name, config, split = parts.groups()
    reason = _unreachable(name)
    import datasets

    _quiet(offline=reason is not None)
    try:
        found = datasets.load_dataset(name, config, split=split)
    except (OSError, ValueError) as error:
        if reason is not None and not isinstance(error, ValueError):
            raise BadInput(
                f"hf:{text}: {reason}",
                "Download it where there is a network (hf download --repo-type dataset "
                f"{name} --local-dir DIR), copy the folder here, and name it in place of hf:…",
            ) from error
        raise BadInput(
            f"hf:{text}: {error}", f"https://huggingface.co/datasets/{name} lists its files."
        ) from error
    if isinstance(found, datasets.DatasetDict):
        if len(found) > 1:
            raise BadInput(
                f"hf:{text}: has several splits",
                f"Name one: {', '.join(f'hf:{text}:{one}' for one in found)}",
            )
        found = next(iter(found.values()))
    return tuple(Path(file["filename"]) for file in found.cache_files)


def _unreachable(name: str) -> str | None:
    """Why the hub cannot be asked for a data set; told at once, where `datasets` tries for half a minute."""
    why = hub_silence(f"/api/datasets/{name}", "HF_DATASETS_OFFLINE")
    return f"the hub cannot be reached ({why}), and it is not in the cache" if why else None


class _Stay(HTTPRedirectHandler):
    """A redirect counts as an answer and is not followed."""

    def redirect_request(self, *_: Any) -> None:
        return None


def hub_silence(path: str = "", *switches: str) -> str | None:
    """Why the hub does not answer, without possible secrets in its address; None if it does.

    `switches` are variables that turn it off beside HF_HUB_OFFLINE.
    """
    for name in ("HF_HUB_OFFLINE", *switches):
        if os.environ.get(name, "").upper() in _ON:
            return f"{name} is set"
    try:
        request = Request(os.environ.get("HF_ENDPOINT", _ENDPOINT) + path, method="HEAD")
        build_opener(_Stay).open(request, timeout=TIMEOUT).close()
    except HTTPError:
        return None  # an error status is an answer too
    except OSError as error:
        return str(getattr(error, "reason", None) or error)
    except ValueError:
        return "HF_ENDPOINT holds no address"
    return None


def _quiet(*, offline: bool) -> None:
    import datasets
    from huggingface_hub import constants

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if offline:
        # Both are read from the environment when the packages are imported, which may have been long ago.
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True


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
        return list(hub_files(str(path).removeprefix(HUB)))
    part = _split_of_folder(path)
    folder, split = part or (path, None)
    if split is not None and (folder / split).is_dir():
        _refuse_astray(folder / split, folder)
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
        files = sorted(file for file in place.iterdir() if not file.is_dir()) if place.is_dir() else []
        columnar = [file for file in files if file.suffix.lower() in COLUMNAR]
        if found := columnar or [file for file in files if data_suffix(file) in _TEXT]:
            for file in found:
                _refuse_astray(file, folder)
            return found
    return []


def _refuse_astray(path: Path, folder: Path) -> None:
    """Untrusted data: a link in a data set must not bring in a file of this machine, or hide a shard."""
    try:
        real, home = path.resolve(strict=True), folder.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: a link to itself
        raise BadInput(f"{path}: is a broken link", "Remove it, or copy the file there.") from error
    # The hub's cache keeps the files of a snapshot beside it.
    cache = next((parent.parent for parent in home.parents if parent.name == "snapshots"), home)
    if not real.is_relative_to(cache):
        raise BadInput(f"{path}: is a link out of its folder, to {real}", "Copy its target there.")
    if not (real.is_file() or real.is_dir()):
        raise BadInput(f"{path}: is not a file", "Remove it.")


def _split_name(file: Path) -> str | None:
    found = _SPLIT.match(file.name.lower())
    return found[1] if found else None


def _stem(file: Path) -> str:
    return file.name.partition(".")[0]


def _folders(folder: Path) -> list[str]:
    return sorted(part.name for part in folder.iterdir() if part.is_dir())


def _choice(folder: Path, names: Iterable[str]) -> str:
    return "Name one: " + ", ".join(f"{folder}:{name}" for name in names)
