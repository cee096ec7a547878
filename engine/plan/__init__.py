"""The plan file: its keys, how it is read, and where the bundled plans lie."""

from pathlib import Path

_ENGINE = Path(__file__).resolve().parents[1]
# A wheel has the samples inside the engine, a folder of sources beside it.
SAMPLES = next(
    (place for place in (_ENGINE / "samples", _ENGINE.parent / "samples") if (place / "plans").is_dir()),
    _ENGINE / "samples",
)
