from typing import Any

import pytest

from pipelines.models.checkpoint import Checkpoint
from tests.accel.inputs import DEPTH
from tests.control import deeper


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "zero_cond_t"])
def transformer(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> Any:
    """A random transformer, without and with modulation of references as clean images."""
    return deeper(checkpoint, DEPTH, zero_cond_t=request.param).transformer
