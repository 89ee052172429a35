from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pipelines.loading import Checkpoint


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
