"""Whether a plan's local models can be had and may be loaded, told without loading them."""

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from engine.errors import BadInput
from engine.models.adapter import adapter_notes, check_adapter
from engine.models.folder import check_model_folder, check_quantised, find_model
from engine.plan.finding import Finding
from engine.plan.model_files import read_json
from engine.plan.plan import Model

HUB = "https://huggingface.co"
TIMEOUT_S = 5.0


def local_findings(subject: str, model: Model) -> Iterator[Finding]:
    """Findings on one model with a `path`. Raises BadInput when its files, or its adapter's, are no use."""
    assert model.path is not None
    if not Path(model.path).expanduser().is_dir():
        try:
            find_model(model.path)
        except BadInput as error:
            yield _not_here(subject, model.path, error)
            return
    folder = check_model_folder(str(find_model(model.path)))
    check_quantised(folder)
    yield from _own_code(subject, model, folder)
    yield from _unknown_kind(subject, folder)
    if model.adapter is None:
        yield Finding("ok", subject, "its files are whole")
        return
    check_adapter(model.path, model.adapter)
    for note in adapter_notes(folder, model.adapter):
        yield Finding("warning", subject, note)
    yield Finding("ok", subject, f"its files are whole, and the adapter {model.adapter.name} fits them")


def _not_here(subject: str, path: str, error: BadInput) -> Finding:
    """A hub id that is not in this machine's cache: fetched by the run where there is a network."""
    if "hub" not in error.message:
        return Finding("error", subject, error.message, error.hint)
    fetch = f"`hf download {path}` fetches it"
    hub = os.environ.get("HF_ENDPOINT", HUB)
    if why := _why_unreachable(hub):
        message = f"{path} is not on this machine, and {hub} cannot be reached: {why}"
        return Finding("error", subject, message, f"{fetch} where there is a network; or name a local folder")
    return Finding(
        "warning", subject, f"{path} is not on this machine; the run will fetch it", f"{fetch} now"
    )


def _why_unreachable(hub: str) -> str | None:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return "HF_HUB_OFFLINE is set"
    try:
        urllib.request.urlopen(urllib.request.Request(hub, method="HEAD"), timeout=TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return None
    except OSError as error:
        return str(getattr(error, "reason", None) or error)
    return None


def _own_code(subject: str, model: Model, folder: Path) -> Iterator[Finding]:
    """Whether the folder brings code that transformers would have to run to load it."""
    config = read_json(folder / "config.json")
    if "auto_map" not in config or _is_known(str(config.get("model_type"))):
        return
    files = ", ".join(sorted(file.name for file in folder.glob("*.py"))) or "code of another repository"
    if model.trust_remote_code:
        yield Finding("warning", subject, f"code that comes with it will run here: {files}", "read it first")
        return
    yield Finding(
        "error",
        subject,
        f"transformers does not know its kind; it brings its own code ({files}), which is not trusted",
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
    """A kind of model that the transformers here cannot build, and no code of its own comes with."""
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
