"""A training by minutes in miniature, with a clock that is moved by the steps."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.catalog.catalog import EMBEDDED_FOLDER, trained_area
from pipelines.catalog.vocabulary import load_vocabulary
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.loading.loader import load
from training.__main__ import copy_checkpoint
from training.timed import run as timed
from training.timed.run import (
    LOG,
    RUN,
    SNAPSHOTS,
    TimedBudget,
    TimedRun,
    clock_of,
    keep_snapshot,
    load_grown,
    train_timed,
)
from training.timed.timetable import World
from training.trainers.joint import trained_steps

CPU = torch.device("cpu")


def ticking() -> Callable[[], float]:
    """A clock that goes on by ten seconds each time it is read."""
    time = iter(range(0, 10_000, 10))
    return lambda: float(next(time))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(timed, "_CPU_TOKENS", 400)
    copy_checkpoint(EMBEDDED_FOLDER, tmp_path / "run")
    return tmp_path / "run"


def test_the_clock_of_a_cpu_stands_still_while_the_program_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "process_time", lambda: 8.0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert (clock_of("cpu")(), clock_of("cuda")) == (4.0, time.monotonic)


def saved(folder: Path) -> dict[str, Any]:
    """The state of a run. Only what is looked at is read."""
    return torch.load(folder / RUN, mmap=True)


def test_a_grown_checkpoint_renders_as_before(trained: Checkpoint, folder: Path) -> None:
    model = load_grown(folder, trained.tokenizer, 8)
    assert (model.layers, len(model.transformer.transformer_blocks)) == (8, 8)
    states = torch.randn(1, 64, 64), torch.rand(1), torch.randn(1, 20, 128)
    with torch.no_grad():
        one, other = (
            transformer(states[0], states[2], timestep=states[1], img_shapes=[[(1, 8, 8)]], return_dict=False)[0]
            for transformer in (model.transformer, trained.transformer)
        )
    assert torch.equal(one, other)


@pytest.mark.slow
def test_a_run_that_is_resumed_is_the_same_run(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "whole")
    whole = TimedBudget(1 / 3, layers=7, save_every=10.0)  # two steps of ten seconds
    train_timed(CPU, tmp_path / "whole", replace(whole, save_every=20.0), 0, ticking())
    reads = iter([0.0, 10.0])  # then it is interrupted

    with pytest.raises(StopIteration):
        train_timed(CPU, folder, whole, 0, lambda: next(reads))
    train_timed(CPU, folder, whole, 0, ticking())
    state, other = saved(folder), saved(tmp_path / "whole")["model"]
    one = state["model"]
    assert all(torch.equal(one[name], other[name]) for name in other)
    assert state["step"] == 2
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]  # it was saved before it was interrupted
    done = load(str(folder), CPU, torch.float32, with_vision=True)
    assert done.transformer.config["num_layers"] == 7
    facts = json.loads((folder / "training.json").read_text())
    assert facts == {"steps": trained_steps(EMBEDDED_FOLDER) + 2, "samples": facts["samples"], "area": 65536}
    assert load_vocabulary(folder / "vocabulary.toml").unknown('the word "hello" and "日月" and "2026"') == ()
    assert {path.name for path in (folder / SNAPSHOTS).iterdir()} == {"2", "5"}
    assert (folder / SNAPSHOTS / "5" / "transformer").is_dir()
    train_timed(CPU, folder, whole, 0, ticking())  # its time is over
    assert all(torch.equal(one[name], value) for name, value in saved(folder)["model"].items())


@pytest.mark.slow
def test_a_run_in_the_first_world_says_so(folder: Path) -> None:
    budget = TimedBudget(1 / 6, layers=6, world=World("capitals", 128), rate=0.3)
    train_timed(CPU, folder, budget, 0, ticking())
    assert trained_area(folder) == 128 * 128
    assert load_vocabulary(folder / "vocabulary.toml").unknown('the word "HELLO"') == ()
    assert load_vocabulary(folder / "vocabulary.toml").unknown('the word "日月"')


@pytest.mark.slow
def test_without_a_compiler_the_run_says_so_and_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacking(*args: object, **options: object) -> None:
        raise OSError("no C++ compiler\nwas found")

    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda block, dynamic: setattr(block, "_compiled_call_impl", lacking)
    )
    probe = timed.DraftOrder(0, "easy", (8, 8), 1)
    monkeypatch.setattr(timed, "_PROBE", probe)
    run = TimedRun(CPU, folder, TimedBudget(1.0, layers=6), 0)
    run.compile()
    assert "The blocks are not compiled: OSError: no C++ compiler" in capsys.readouterr().out
    run.train(timed.make_draft(probe, 0, run._tokenizer), 0.0)


def test_a_snapshot_is_taken_once_for_each_fifth(folder: Path) -> None:
    for share in (0.1, 0.2, 0.3, 1.3):
        keep_snapshot(folder, share)
    assert sorted(path.name for path in (folder / SNAPSHOTS).iterdir()) == ["1", "5"]
    load(str(folder / SNAPSHOTS / "1"), CPU, torch.float32, with_vision=True)


@pytest.mark.slow
def test_the_loss_falls(folder: Path, trained: Checkpoint) -> None:
    """On one batch again and again: the new layout head learns, and the flow loss falls too."""
    run = TimedRun(CPU, folder, TimedBudget(1.0, layers=6), 0)
    draft = timed.make_draft(timed.DraftOrder(0, "letters", (8, 8), 4), 0, trained.tokenizer)
    losses = []
    for _ in range(4):
        run.step = 100  # the same noise each time, and the whole learning rate
        run.train(draft, 0.0)
        losses.append(run._losses[-1].sum().item())
    assert losses[-1] < 0.9 * losses[0]
