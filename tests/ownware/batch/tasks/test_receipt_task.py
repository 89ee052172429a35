"""The task of a receipt makes the request of the receipt again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accel.cache.plan import CachePlan
from ownware.batch.item import BatchError
from ownware.batch.tasks.receipt_task import task_of_receipt
from pipelines.receipt import Receipt, WeightsRef
from pipelines.request import (
    ControlUse,
    DriftGuard,
    FaceRefinement,
    LoraUse,
    Outpaint,
    Reference,
    RenderRequest,
    Sampler,
)
from server.api.runware.schema.objects import AcceleratorOptions
from server.api.runware.schema.schedulers import SAMPLERS
from server.api.runware.translate.caches import choose_cache
from server.tasks.options import ThresholdDirection

PICTURE = Reference(Path(), "ab" * 32, 64, 48)
REQUEST = RenderRequest("runware:108@1", "a circle", None, 256, 256, 20, Sampler("euler"), 4.0, 7)


def receipt_of(**changes: Any) -> Receipt:
    weights = WeightsRef("embedded", None)
    return Receipt(1, replace(REQUEST, **changes), ("PNG", 95), weights, (), (), "cpu", "float32", {})


def task_of(direction: ThresholdDirection = "documented", **changes: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    return task_of_receipt(receipt_of(**changes), frozenset({"own"}), lambda _: Path("/found.png"), direction)


def test_a_plain_picture() -> None:
    assert task_of() == (
        {
            "model": "runware:108@1",
            "positivePrompt": "a circle",
            "width": 256,
            "height": 256,
            "steps": 20,
            "seed": 7,
            "scheduler": task_of()[0]["scheduler"],
            "settings": {"trueCFGScale": 4.0},
        },
        (),
    )


def test_pictures_adapters_and_sides() -> None:
    changes: dict[str, Any] = {
        "negative_prompt": "blue",
        "references": (PICTURE,),
        "seed_image": PICTURE,
        "strength": 0.5,
        "mask": PICTURE,
        "mask_margin": 32,
        "outpaint": Outpaint(left=64),
        "loras": (LoraUse("outlines", Path(), 0.6), LoraUse("own", Path())),
        "controls": (ControlUse("edges", "", PICTURE, 0.5, "prompt", 1, 8),),
    }
    task, notes = task_of(**changes)
    assert notes == ()
    assert task["inputs"] == {
        "referenceImages": ["/found.png"],
        "seedImage": "/found.png",
        "strength": 0.5,
        "maskImage": "/found.png",
    }
    assert (task["negativePrompt"], task["maskMargin"], task["outpaint"]["left"]) == ("blue", 32, 64)
    assert task["lora"] == [{"model": "outlines", "weight": 0.6}]
    assert task["controlNet"] == [
        {
            "model": "edges",
            "guideImage": "/found.png",
            "weight": 0.5,
            "controlMode": "prompt",
            "startStep": 1,
            "endStep": 8,
        }
    ]


@pytest.mark.parametrize(
    ("guard", "expected"),
    [
        (DriftGuard(None, align=True), {"alignTo": "seedImage"}),
        (DriftGuard(1, align=True, keep="auto"), {"alignTo": 1, "keepUnchanged": "auto"}),
        (DriftGuard(0, keep=PICTURE), {"keepUnchanged": "/found.png"}),
    ],
)
def test_a_drift_guard(guard: DriftGuard, expected: dict[str, Any]) -> None:
    assert task_of(guard=guard)[0]["ownware"] == expected


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS.values()), key=str), ids=str)
def test_every_sampler_has_a_scheduler_name(sampler: Sampler) -> None:
    assert SAMPLERS[task_of(sampler=replace(sampler, shift=3.0))[0]["scheduler"]] == sampler


def test_a_sampler_without_a_name() -> None:
    with pytest.raises(BatchError, match="solver lcm on the schedule karras"):
        task_of(sampler=Sampler("lcm", "karras"))


@pytest.mark.parametrize("direction", ["documented", "library"])
@pytest.mark.parametrize("strategy", ["fbCache", "dbCache"])
@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.25, 0.6, 1.0])
def test_a_step_cache_is_the_same_again(direction: ThresholdDirection, strategy: str, threshold: float) -> None:
    options = AcceleratorOptions(**{strategy: True, f"{strategy}Threshold": threshold, "cacheEndStep": 15})
    plan, _ = choose_cache(options, 20, direction)
    assert plan is not None
    task, notes = task_of(direction, cache=plan)
    assert notes == ()
    again, _ = choose_cache(AcceleratorOptions(**task["acceleratorOptions"]), 20, direction)
    assert again is not None
    assert again.threshold == pytest.approx(plan.threshold)
    assert replace(again, threshold=plan.threshold) == plan


def test_what_a_task_cannot_say_is_noted() -> None:
    faces = FaceRefinement("a face", None)
    task, notes = task_of(cache=CachePlan("teacache", 0.1, 3, 18, 3), faces=faces, watermark="w")
    assert "acceleratorOptions" not in task
    assert [note.split()[1] for note in notes] == ["step", "refinement", "watermark"]
