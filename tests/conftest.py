from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.loading import Checkpoint
    from tests.live import LiveServer


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the stand-in checkpoint is built in, once for all tests."""
    return tmp_path_factory.mktemp("embedded")


@pytest.fixture(scope="session")
def weights(embedded: Path) -> Path:
    """The stand-in checkpoint, in the diffusers folder layout."""
    from pipelines.embedded.stand_in import build_stand_in

    return build_stand_in(embedded)


@pytest.fixture(scope="session")
def checkpoint(weights: Path) -> "Checkpoint":
    """The stand-in checkpoint, loaded in float32 on the CPU."""
    import torch

    from pipelines.loading import load

    return load(str(weights), torch.device("cpu"), torch.float32, with_vision=True)


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory, weights: Path, embedded: Path) -> "Iterator[LiveServer]":
    """One running server for all tests that need a real one."""
    from tests.live import API_KEY, live_server

    data = tmp_path_factory.mktemp("live") / "data"

    with live_server(data, "--api-keys", API_KEY, embedded=embedded) as server:
        yield server
