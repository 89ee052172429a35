import torch

from benchmarks.gpu.bench import Bench, Case
from benchmarks.gpu.row_groups.queue_rows import ONE_BY_ONE, OVERLAPPED, PICTURES, queue_rows
from benchmarks.random_models import ModelSize


def test_pictures_have_the_same_bytes_beside_other_steps() -> None:
    rows = queue_rows(Bench(ModelSize.load("small"), torch.device("cpu")), Case(64, 2, guidance=False))
    assert [row.name for row in rows] == [ONE_BY_ONE, OVERLAPPED]
    for row in rows:
        figures = row.measure()
        assert (figures["pictures"], figures["same_bytes"]) == (PICTURES, True)
        assert figures["seconds"] > 0
