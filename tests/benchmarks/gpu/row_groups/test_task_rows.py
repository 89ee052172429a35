import pytest
import torch

from benchmarks.gpu.bench import Bench, Case
from benchmarks.gpu.row_groups.task_rows import (
    ALONE,
    IN_ONE_BATCH,
    IN_ONE_PASS,
    IN_TURNS,
    TASKS,
    task_rows,
    tasks,
)
from benchmarks.random_models import ModelSize
from benchmarks.runs.budget import Figures
from server.jobs.workers.images.open_image import OpenImage

CASE = Case(64, 2, guidance=False)


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(ModelSize.load("small"), torch.device("cpu"))


@pytest.fixture(scope="module")
def found(bench: Bench) -> dict[str, Figures]:
    return {row.name: row.measure() for row in task_rows(bench, CASE)}


@pytest.mark.slow
def test_every_way_gives_the_same_latents(found: dict[str, Figures]) -> None:
    assert list(found) == [ALONE, IN_TURNS, IN_ONE_PASS, IN_ONE_BATCH]
    exact = {name: figures["latents_relative_difference"] for name, figures in found.items()}
    assert exact[ALONE] == exact[IN_TURNS] == exact[IN_ONE_PASS] == 0
    assert exact[IN_ONE_BATCH] < 1e-5  # rounding
    assert all(figures["seconds"] > 0 and figures["tasks"] == TASKS for figures in found.values())


@pytest.mark.slow
def test_tasks_take_turns_or_share_their_steps(found: dict[str, Figures]) -> None:
    assert [found[name]["together"] for name in (ALONE, IN_TURNS)] == [1, 1]
    assert [found[name]["together"] for name in (IN_ONE_PASS, IN_ONE_BATCH)] == [TASKS, TASKS]
    assert found[ALONE]["changes_of_task"] == TASKS - 1
    assert found[IN_TURNS]["changes_of_task"] > TASKS


def test_a_guided_task_has_its_negative_prompt(bench: Bench) -> None:
    assert tasks(bench, Case(64, 1), renders=2)["latents_relative_difference"] == 0


def test_a_task_that_fails_fails_the_row(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(image: OpenImage) -> None:
        raise ValueError("no room")

    monkeypatch.setattr(OpenImage, "prepare", fails)
    with pytest.raises(RuntimeError, match="task 0"):
        tasks(bench, CASE)
