"""What this installation has and lacks: packages, processors, the terminal, the store's disk."""

import locale
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from packaging.requirements import Requirement

from engine.errors import BadInput, install
from engine.plan import SAMPLES
from engine.plan.errors import Finding, Level, in_units
from engine.plan.plan import Compute
from engine.servers.engines import KINDS, PROGRAMS, installed

# What each extra is for. Those of `DEVELOPMENT` nobody needs who only uses Assay.
EXTRAS = {
    "collect": "takes events of production over HTTP (`assay collect`)",
    "gguf": "reads GGUF files",
    "mlflow": "sends runs to MLflow",
    "quantized": 'loads models in 4 or 8 bits (quantize = "nf4")',
    "ray": "spreads models over a cluster's GPUs",
    "tensorboard": "writes runs for TensorBoard",
    "trackio": "sends runs to Trackio",
    "trl": "trains with TRL, whose checkpoints Assay follows",
    "wandb": "sends runs to Weights & Biases",
}
DEVELOPMENT = ("dev", "docs")
FITTING_TORCH = "Install: uv pip install --torch-backend=auto --reinstall-package torch torch"
LITTLE_DISK = 1 << 30  # bytes: a warning under it
NO_DISK = 50 << 20  # bytes: no run under it


def install_findings(store: Path, environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Everything that a run, the app or a plan may need, in the order in which a newcomer meets it."""
    place = Path(__file__).resolve().parents[2]
    yield Finding("ok", "assay", f"{version('assay')} in {place}")
    yield Finding("ok", "python", f"{sys.version.split()[0]} ({sys.executable})")
    required = [Requirement(text) for text in distribution("assay").requires or ()]
    own = [one for one in required if one.marker is None or one.marker.evaluate({"extra": ""})]
    yield from _torch()
    yield from _gpus()
    yield from _packages(own)
    for extra in distribution("assay").metadata.get_all("Provides-Extra") or ():
        if extra not in DEVELOPMENT:
            yield _extra(extra, [one for one in required if one not in own])
    yield from map(_engine, KINDS)
    plans = sorted(file.stem for file in (SAMPLES / "plans").glob("*.toml"))
    here = f"{', '.join(plans)} in {SAMPLES}; `assay demo` runs one"
    yield (
        Finding("ok", "samples", here)
        if plans
        else Finding("error", "samples", f"{SAMPLES} is missing", "install assay again")
    )
    yield from _terminal(environment)
    yield disk(store)


def _engine(key: str) -> Finding:
    """Whether an engine is on PATH, which a plan may have a run start."""
    try:
        found = installed(key, Compute())
    except BadInput:
        return Finding("ok", PROGRAMS[key], f'not on PATH; a plan with engine = "{key}" needs it')
    return Finding("ok", PROGRAMS[key], f"{found.label} ({found.program})")


def _torch() -> Iterator[Finding]:
    """The build that is installed, and whether it sees the GPU: only PyTorch itself knows."""
    try:
        import torch
    except Exception as error:  # a build for another system fails in any way
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        yield Finding("error", "torch", f"cannot be loaded, so no local model runs: {reason}", FITTING_TORCH)
        return
    cuda, rocm = torch.version.cuda, torch.version.hip
    built = f"CUDA {cuda}" if cuda else f"ROCm {rocm}" if rocm else "the CPU"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    uses = f"uses {count} GPU{'s' * (count > 1)}" if count else "uses no GPU"
    yield Finding("ok", "torch", f"{torch.__version__}, built for {built}, {uses}")


def _gpus() -> Iterator[Finding]:
    """The GPUs as their driver names them; one that PyTorch leaves idle is a warning."""
    try:
        from engine.models.vitals import Sensors

        sensors = Sensors()
        gpus, driver = sensors.gpus, sensors.driver
    except ImportError as error:
        yield Finding("warning", "gpu", f"not looked for: {error}")
        return
    if not gpus:
        yield Finding("ok", "gpu", "no NVIDIA GPU answered; local models run on the CPU, or behind a server")
        return
    found = f"{', '.join(gpus)}, driver {driver}"
    torch = sys.modules.get("torch")
    if torch is not None and not torch.cuda.is_available():
        yield Finding("warning", "gpu", f"{found}; the installed torch does not use it", FITTING_TORCH)
    else:
        yield Finding("ok", "gpu", found)


def _packages(required: list[Requirement]) -> Iterator[Finding]:
    """All that Assay itself declares: what is missing, and what is not of a version that it works with."""
    good = []
    for one in required:
        found = _version(one.name)
        if found is None:
            problem = "is missing"
        elif not one.specifier.contains(found, prereleases=True):
            problem = f"is {found}; assay needs {one.specifier}"
        else:
            good.append(f"{one.name} {found}")
            continue
        yield Finding("error", one.name, problem, f"Install: pip install '{one.name}{one.specifier}'")
    told = [words for words in good if words.split()[0] in ("transformers", "peft", "lm-eval", "textual")]
    yield Finding("ok", "packages", f"{len(good)} of {len(required)} there: {', '.join(told)} and others")


def _extra(name: str, required: list[Requirement]) -> Finding:
    own = [one for one in required if one.marker and one.marker.evaluate({"extra": name})]
    purpose = EXTRAS.get(name, "used by some plans")
    absent = [
        one.name
        for one in own
        if (found := _version(one.name)) is None or not one.specifier.contains(found, prereleases=True)
    ]
    if not absent:
        return Finding("ok", f"[{name}]", f"installed; {purpose}")
    return Finding("ok", f"[{name}]", f"not installed; {purpose}. {install(name)}")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _terminal(environment: Mapping[str, str]) -> Iterator[Finding]:
    kind, encoding = environment.get("TERM", "not set"), locale.getpreferredencoding(False)
    colours = environment.get("COLORTERM") or ("256 colours" if "256color" in kind else "16 colours")
    size = shutil.get_terminal_size((0, 0))
    cells = f", {size.columns}x{size.lines}" if size.columns else ""
    words = f"TERM {kind}, {colours}, {encoding}{cells}"
    if kind in ("dumb", "not set"):
        hint = "the workbench needs a terminal with a cursor; commands work without"
        yield Finding("warning", "terminal", words, hint)
    elif encoding.casefold().replace("-", "") != "utf8":
        hint = "use a UTF-8 locale (LANG=C.UTF-8), or the workbench with --ascii"
        yield Finding("warning", "terminal", words, hint)
    else:
        yield Finding("ok", "terminal", words)
    tmux = "installed" if shutil.which("tmux") else "not installed; it keeps the workbench over a lost link"
    yield Finding("ok", "tmux", tmux + ("; a run goes on without it"))


def disk(store: Path, needed: float | None = None) -> Finding:
    """Whether the store can be written, and the space on its disk, against the bytes that a run takes."""
    folder = store.absolute()
    while not folder.exists():
        folder = folder.parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        hint = "choose another folder with --store DIR"
        return Finding("error", "store", f"{store} cannot be written", hint)
    free = shutil.disk_usage(folder).free
    takes = "" if needed is None else f"; this run takes {in_units(needed)} at most"
    level: Level = "error" if free < NO_DISK else "warning" if free < LITTLE_DISK + (needed or 0) else "ok"
    hint = "" if level == "ok" else "free some space, or choose another folder with --store DIR"
    return Finding(level, "store", f"{in_units(free)} free on the disk of {store}{takes}", hint)
