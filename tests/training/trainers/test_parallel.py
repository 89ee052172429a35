"""Processes on the CPU; `test_main.py` trains with several."""

import multiprocessing
import sys
from pathlib import Path

import pytest
import torch

from training.trainers.parallel import average_gradients, launch, rank, start_method, world


def record(device: torch.device, folder: Path) -> None:
    """Average a gradient that one process of two does not have, and write down the result."""
    used, unused = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))
    used.grad = torch.full((2,), float(rank()))
    if rank():
        unused.grad = torch.ones(1)
    average_gradients([used, unused])
    averaged = [None if weight.grad is None else weight.grad.tolist() for weight in (used, unused)]
    (folder / str(rank())).write_text(f"{device} {world()} {averaged}")


def written(folder: Path) -> list[str]:
    return [path.read_text() for path in sorted(folder.iterdir())]


def test_one_process_runs_in_place(tmp_path: Path) -> None:
    launch(record, tmp_path, processes=1)
    assert written(tmp_path) == ["cpu 1 [[0.0, 0.0], None]"]


def test_processes_are_forked_from_one_that_has_imported_their_work(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[list[str]] = []
    monkeypatch.setattr(multiprocessing, "set_forkserver_preload", imported.append)
    methods = []
    for system in ("linux", "darwin"):
        monkeypatch.setattr(sys, "platform", system)
        methods.append(start_method("training.trainers.joint"))
    assert (methods, imported) == (["forkserver", "spawn"], [["training.trainers.joint"]])


@pytest.mark.slow
def test_gradients_are_averaged_over_processes(tmp_path: Path) -> None:
    launch(record, tmp_path, processes=2)
    assert written(tmp_path) == ["cpu 2 [[0.5, 0.5], [0.5]]"] * 2
