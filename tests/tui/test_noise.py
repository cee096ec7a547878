"""The noise floor beside the deltas of the Compare screen."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot

from store import records
from store.write import Recorder
from tests.tui.conftest import text_of
from tests.tui.history import NOW
from tui.app.app import AssayApp


async def test_compare_tells_the_noise_floor_of_its_pair(
    own_store: Path, settled: Callable[[Pilot[int]], Awaitable[None]]
) -> None:
    recorder = Recorder(own_store, 2)
    for name, share in (("base", 0.015), ("good", 0.004), ("overfit", 0.2)):
        row = recorder.rows(records.Model, run_id=2, name=name)[0]
        recorder.set_model(row.id, details=(row.details or {}) | {"noise_floor": {"share": share}})
    recorder.close()
    app = AssayApp(own_store, run=2, screen="compare", now=lambda: NOW)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        assert "good against base" in text_of(app)
        assert "noise floor 1.5 %" in text_of(app)
