from dataclasses import replace

import pytest
import torch

from accel.cache.plan import CachePlan
from benchmarks.step_caches.host_syncs import HostSyncCounter
from benchmarks.step_caches.measure import Measurer
from benchmarks.step_caches.prompts import Prompt
from pipelines.catalog.models_file import load_catalog
from pipelines.models.checkpoint import Checkpoint
from tests.control import deeper

STEPS = 12


def test_each_way_to_read_or_write_a_number_counts_once() -> None:
    value = torch.tensor(2.0)
    with HostSyncCounter() as counter:
        assert (value.item(), value.tolist(), float(value), int(value), bool(value)) == (2.0, 2.0, 2.0, 2, True)
        assert value.cpu() is value
        assert value.new_tensor(3.0) == 3.0
        assert (value + 1).shape == value.new_full((), 3.0).shape == ()
    assert counter.count == 8


def test_nothing_stays_behind() -> None:
    before = dict(vars(torch.Tensor))
    with pytest.raises(ZeroDivisionError), HostSyncCounter() as counter:
        raise ZeroDivisionError
    assert dict(vars(torch.Tensor)) == before
    torch.tensor(1.0).item()
    assert counter.count == 0


@pytest.mark.parametrize("name", ["fbcache", "dbcache", "teacache"])
def test_a_cache_waits_once_a_step_for_both_branches(name: str, checkpoint: Checkpoint) -> None:
    measurer = Measurer(deeper(checkpoint, 3), load_catalog().entries[0], 32, 32)
    whole = measurer.request(Prompt("a red circle"), 1, STEPS)
    plan = CachePlan(name, 0.3, 2, STEPS, 3, "embedded" if name == "teacache" else None)  # pyright: ignore[reportArgumentType]
    assert measurer.render(whole).run.host_syncs == 0
    # There is nothing to compare the first step with.
    assert measurer.render(replace(whole, cache=plan)).run.host_syncs == STEPS - 1
