"""One tiny base and its adapters, shared by all tests here that do not change them."""

from pathlib import Path

import pytest

from tests.models.tiny import make_adapter, make_model


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "tiny-base")


@pytest.fixture(scope="session")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(tmp_path_factory.mktemp("adapters") / "one", base, seed=1)


@pytest.fixture(scope="session")
def no_effect(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(tmp_path_factory.mktemp("adapters") / "zero", base, seed=2, zero=True)
