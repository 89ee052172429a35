"""Steps, guidance and sigmas of a task, from its own values, its LoRAs and its model."""

from dataclasses import replace
from typing import Any

import pytest

from pipelines.catalog.catalog import Adapter
from pipelines.catalog.models_file import load_catalog
from pipelines.catalog.schedules import LoraSchedule, ScheduleConflict, SigmaSchedule
from pipelines.request import Sampler
from pipelines.resolver import ResolvedSchedule
from server.api.runware.check import rules
from server.api.runware.translate.schedule import resolve_steps, task_schedule
from server.errors import TaskRejected
from tests.server.api.runware.translate.test_spec import ENTRY, spec, task

FOUR = Adapter("four", "4", "a.safetensors", schedule=LoraSchedule(3.0, 0.0, 4, 1.0))
EIGHT = Adapter("eight", "8", "b.safetensors", schedule=LoraSchedule(3.0, 0.0, 8, 1.0))
INK = Adapter("ink", "Ink", "c.safetensors", weight=0.5)
IDLE = replace(EIGHT, air="idle", weight=0.0)
CATALOG = replace(load_catalog(), loras=(FOUR, EIGHT, INK, IDLE))
SHIFTED = Sampler(shift=3.0, terminal=0.0)


def loras(*names: str, weight: float | None = None) -> dict[str, Any]:
    return {"lora": [{"model": name} | ({} if weight is None else {"weight": weight}) for name in names]}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ResolvedSchedule(20, 4.0, Sampler())),
        (loras("ink"), ResolvedSchedule(20, 4.0, Sampler())),
        (loras("ink", "eight"), ResolvedSchedule(8, 1.0, SHIFTED)),
        (loras("eight", "eight"), ResolvedSchedule(8, 1.0, SHIFTED)),
        (loras("eight") | {"steps": 6}, ResolvedSchedule(6, 1.0, SHIFTED)),
        (loras("eight", "four") | {"steps": 6}, ResolvedSchedule(6, 1.0, SHIFTED)),
        (loras("eight") | {"CFGScale": 2}, ResolvedSchedule(8, 2.0, SHIFTED)),
        (loras("eight") | {"CFGScale": 2, "settings": {"trueCFGScale": 3}}, ResolvedSchedule(8, 3.0, SHIFTED)),
        (loras("eight", weight=0), ResolvedSchedule(20, 4.0, Sampler())),
        (loras("idle"), ResolvedSchedule(20, 4.0, Sampler())),
        (loras("idle", weight=1), ResolvedSchedule(8, 1.0, SHIFTED)),
        (
            loras("four") | {"scheduler": "UniPC Karras"},
            ResolvedSchedule(4, 1.0, Sampler("unipc_2", "karras", 3.0, 0.0)),
        ),
    ],
)
def test_the_task_wins_over_its_loras_and_they_over_the_model(
    changes: dict[str, Any], expected: ResolvedSchedule
) -> None:
    assert task_schedule(task(**changes), ENTRY, CATALOG) == expected
    found = spec(CATALOG, **changes)
    assert ResolvedSchedule(found.steps, found.true_cfg_scale, found.sampler) == expected
    assert resolve_steps(task(**changes), ENTRY, CATALOG) == expected.steps


def test_a_model_has_a_schedule_of_its_own() -> None:
    entry = replace(ENTRY, schedule=SigmaSchedule(2.5, 0.1))
    assert task_schedule(task(), entry, CATALOG).sampler == Sampler(shift=2.5, terminal=0.1)
    assert task_schedule(task(**loras("eight")), entry, CATALOG).sampler == SHIFTED


def test_two_that_conflict_are_refused_by_name() -> None:
    conflicting = task(**loras("ink", "four", "eight"))
    with pytest.raises(ScheduleConflict):
        task_schedule(conflicting, ENTRY, CATALOG)
    assert resolve_steps(conflicting, ENTRY, CATALOG) == 20
    with pytest.raises(TaskRejected) as rejected:
        rules.check(conflicting, ENTRY, CATALOG)
    (error,) = rejected.value.errors
    assert (error.code, error.parameter) == ("incompatibleParameters", ("lora[1].model", "lora[2].model"))
    assert "steps is 4 and 8" in error.message


def test_windows_count_the_steps_that_a_lora_brings() -> None:
    window = {"fbCache": True, "cacheStartStep": 2, "cacheEndStep": 8}
    rules.check(task(**loras("eight"), acceleratorOptions=window), ENTRY, CATALOG)
    with pytest.raises(TaskRejected, match="which is 8"):
        rules.check(task(**loras("eight"), acceleratorOptions=window | {"cacheEndStep": 9}), ENTRY, CATALOG)


def test_other_values_than_a_lora_was_made_for_leave_warnings() -> None:
    assert spec(CATALOG, **loras("ink", "eight"), steps=20, CFGScale=4).warnings == (
        "lora[1] was made for 8 steps, and 20 are asked for.",
        "lora[1] was made for a guidance scale of 1, and it is 4.",
    )
    assert spec(CATALOG, **loras("eight")).warnings == ()
