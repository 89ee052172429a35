import gc
import sys
from collections.abc import Iterator

import pytest

from server.process.interpreter import SWITCH_SECONDS, tune_interpreter


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    interval = sys.getswitchinterval()
    yield
    sys.setswitchinterval(interval)


def test_the_event_loop_comes_first() -> None:
    kept = [[] for _ in range(10_000)]
    before = len(gc.get_objects())
    tune_interpreter()
    assert len(kept) <= before
    assert len(gc.get_objects()) < before / 10
    assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
