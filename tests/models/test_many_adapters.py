"""More adapters than are kept in memory beside their base."""

from pathlib import Path

import pytest

from engine.models.local import LocalBase
from engine.models.model import Settings
from engine.plan.plan import Model
from tests.models.tiny import ask, make_adapter


def test_adapters_make_room_for_others_and_answer_as_before_when_they_come_back(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.models.local.MOST_ATTACHED", 2)
    adapters = [make_adapter(tmp_path / f"adapter-{seed}", base, seed=seed) for seed in range(4)]
    shared = LocalBase(str(base), dtype="float32", device="cpu")

    def answer(adapter: Path | None) -> str | None:
        model = Model(name="m", role="candidate", path=str(base), adapter=adapter)
        batches = shared.generator(model).generate([ask("the cat")], Settings(max_new_tokens=8))
        [response] = [response for batch in batches for response in batch]
        return response.text

    plain = answer(None)
    first = [answer(adapter) for adapter in adapters]
    assert len({plain, *first}) == 5
    assert [answer(adapter) for adapter in adapters] == first
    assert answer(None) == plain
    assert len(shared.model.peft_config) == 2


def test_an_adapter_that_is_probed_first_can_be_switched_off_afterwards(base: Path, adapter: Path) -> None:
    shared = LocalBase(str(base), dtype="float32", device="cpu")
    model = shared.generator(Model(name="m", role="candidate", path=str(base), adapter=adapter))
    assert model.probe([ask("the cat")]).max_difference > 0
    with shared.active(None) as bare:
        assert bare is shared.model
