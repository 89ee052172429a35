from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.catalog.catalog import ModelEntry, load_catalog
from pipelines.request import Sampler
from server.api.runware.schema.schedulers import NEAREST, SAMPLERS, SCHEDULERS
from server.api.runware.schema.tasks import ImageInference
from server.api.runware.translate.request import to_request
from server.media.store import Media

CATALOG = load_catalog()
ENTRY, EDIT, _ = CATALOG.entries
PHOTO = Media("u", "input", "", Path("a.png"), "image/png", 1920, 1080, "hash", 0.0, None)


def task(**changes: Any) -> ImageInference:
    fields = {
        "taskType": "imageInference",
        "taskUUID": "83e5a68e-074f-4bea-8e26-a6723ae9b2da",
        "model": ENTRY.air,
        "positivePrompt": "a",
        "width": 512,
        "height": 256,
    }
    return ImageInference.model_validate({**fields, **changes})


def test_defaults_are_the_models() -> None:
    request, warnings = to_request(task(), ENTRY, {}, CATALOG)
    assert (request.steps, request.true_cfg_scale, request.sampler) == (20, 4.0, Sampler())
    assert (request.width, request.height, request.count) == (512, 256, 1)
    assert warnings == ()
    assert to_request(task(model=EDIT.air), EDIT, {"inputs.referenceImages[0]": PHOTO}, CATALOG)[0].steps == 8


@pytest.mark.parametrize(
    ("scales", "expected"),
    [({"CFGScale": 7.5}, 7.5), ({"CFGScale": 7.5, "settings": {"trueCFGScale": 1.2}}, 1.2), ({"CFGScale": 1}, 1.0)],
)
def test_true_cfg_scale_wins_over_cfg_scale(scales: dict[str, Any], expected: float) -> None:
    assert to_request(task(**scales), ENTRY, {}, CATALOG)[0].true_cfg_scale == expected


def test_the_negative_prompt_is_dropped_without_guidance_and_said_so() -> None:
    request, warnings = to_request(task(CFGScale=1, negativePrompt="b"), ENTRY, {}, CATALOG)
    assert request.negative_prompt is None
    assert len(warnings) == 1
    assert to_request(task(CFGScale=2, negativePrompt="b"), ENTRY, {}, CATALOG)[0].negative_prompt == "b"


def test_what_is_ignored_is_said() -> None:
    ignored = {"ttl": 60, "outputType": "dataURI", "inputs": {"strength": 0.5}, "CFGScale": 7.5}
    _, warnings = to_request(task(**ignored, settings={"trueCFGScale": 2}), ENTRY, {}, CATALOG)
    assert [warning.split()[0] for warning in warnings] == ["ttl", "CFGScale", "inputs.strength"]


def test_a_scheduler_becomes_a_sampler() -> None:
    assert to_request(task(scheduler="DPM++ 2M Karras"), ENTRY, {}, CATALOG)[0].sampler == Sampler("dpmpp_2m", "karras")


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_without_a_counterpart_says_what_runs(name: str) -> None:
    request, warnings = to_request(task(scheduler=name), ENTRY, {}, CATALOG)
    assert request.sampler == SAMPLERS[name]
    assert [warning.split(":")[1] for warning in warnings] == [
        f" '{nearest}' runs instead." for nearest in [NEAREST.get(name)] if nearest
    ]


def test_an_edit_without_a_size_is_like_its_last_reference() -> None:
    unsized = task(model=EDIT.air, width=None, height=None)
    tall = replace(PHOTO, width=900, height=1600)
    assert size(unsized, EDIT, PHOTO) == (1376, 768)
    assert size(unsized, EDIT, PHOTO, tall) == (768, 1376)


def size(sent: ImageInference, entry: ModelEntry, *references: Media) -> tuple[int, int]:
    request, _ = to_request(
        sent, entry, {f"inputs.referenceImages[{n}]": media for n, media in enumerate(references)}, CATALOG
    )
    return request.width, request.height
