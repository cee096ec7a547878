"""The noise floor beside the deltas of the Compare screen."""

from pathlib import Path

from store import records
from store.write import Recorder
from tests.tui.driver import opened


async def test_compare_tells_the_noise_floor_of_its_pair(own_store: Path) -> None:
    recorder = Recorder(own_store, 2)
    for name, share in (("base", 0.015), ("good", 0.004), ("overfit", 0.2)):
        row = recorder.rows(records.StoredModel, run_id=2, name=name)[0]
        recorder.set_model(row.id, details=(row.details or {}) | {"noise_floor": {"share": share}})
    recorder.close()
    async with opened(own_store, "compare", size=(120, 36)) as ui:
        assert "good against base" in ui.text
        assert "noise floor 1.5%" in ui.text
