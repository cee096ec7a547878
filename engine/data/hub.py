"""Data sets of the Hugging Face hub, downloaded once by `datasets` into its own cache."""

import logging
import os
import re
from functools import cache
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from engine.errors import BadInput

TIMEOUT = 10  # seconds
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
        raise BadInput(f"hf:{text}: is no data set's name", "Write hf:OWNER/NAME:SPLIT, for example.")
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
            f"hf:{text}: {error}", f"https://huggingface.co/datasets/{name} lists what there is."
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
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return "HF_HUB_OFFLINE is set, and it is not in the cache"
    address = f"{os.environ.get('HF_ENDPOINT', _ENDPOINT)}/api/datasets/{name}"
    try:
        with urlopen(Request(address, method="HEAD"), timeout=TIMEOUT):
            return None
    except HTTPError:
        return None  # the hub answers: what it says of this data set, `datasets` will tell
    except (URLError, OSError) as error:
        return f"the hub cannot be reached ({getattr(error, 'reason', error)}), and it is not in the cache"


def _quiet(*, offline: bool) -> None:
    import datasets
    from huggingface_hub import constants

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if offline:
        # Both are read from the environment when the packages are imported, which may have been long ago.
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
