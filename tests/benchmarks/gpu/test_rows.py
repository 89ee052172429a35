from dataclasses import replace

import pytest
import torch

from accel.kernels.compiled_block import compiled_graphs
from benchmarks.gpu import bench as gpu_bench
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.row_groups.queue_rows import ONE_BY_ONE, OVERLAPPED
from benchmarks.gpu.rows import rows
from benchmarks.random_models import ModelSize
from tests.compiled import UntracedBlocks


@pytest.fixture(scope="module")
def bench() -> Bench:
    # Small pictures, because a picture without the kernels of a GPU takes seconds.
    size = replace(ModelSize.load("small"), side=64, reference_area=64 * 64, condition_area=64 * 64)
    return Bench(size, torch.device("cpu"))


def test_the_most_valuable_rows_come_first(bench: Bench) -> None:
    names = [row.name for row in rows(bench, 50)]
    assert names[:5] == ["ceilings of the device", "ours", "profile of one step", "diffusers", "ours, compiled"]
    assert len(set(names)) == len(names)


def test_long_renders_take_the_longer_the_more_steps(bench: Bench) -> None:
    few, many = ({row.name: row.expected_seconds for row in rows(bench, steps)} for steps in (10, 50))
    assert few["diffusers"] < many["diffusers"]
    assert few["ceilings of the device"] == many["ceilings of the device"]


@pytest.mark.slow
def test_every_row_can_be_measured(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_bench, "CompiledBlocks", lambda kernels: UntracedBlocks(kernels=kernels))
    graphs = compiled_graphs()
    found = {
        row.name: row.measure() for row in rows(bench, 2) if "compiled" not in row.name or row.name == "ours, compiled"
    }
    assert compiled_graphs() > graphs
    assert found["ours"]["finite"]
    assert found["ours, compiled"]["finite"]
    assert found["ours, fp8"]["latents_relative_difference"] > 0
    assert found["diffusers"]["latents_largest_difference"] < 1e-4
    assert found["edit, 3 references"]["picture_largest_difference"] <= 1
    assert found["profile of one step"]["by_class"]["products"] > 0
    assert all(found[name]["same_bytes"] for name in (ONE_BY_ONE, OVERLAPPED))
