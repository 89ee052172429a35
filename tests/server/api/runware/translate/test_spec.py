from dataclasses import replace
from typing import Any

import pytest

from pipelines.catalog.catalog import Adapter, Catalog
from pipelines.catalog.models_file import load_catalog
from pipelines.request import Sampler
from server.api.access.client import Client
from server.api.runware.schema.schedulers import NEAREST, SAMPLERS, SCHEDULERS
from server.api.runware.schema.tasks import ImageInference
from server.api.runware.translate.spec import to_spec
from server.tasks.spec import GuardSpec, TaskSpec

CATALOG = load_catalog()
ENTRY, EDIT = CATALOG.entries[:2]
NET = Adapter("ownware:union@1", "Union", "/nets/union")
CLIENT = Client("me", "http://box:8000", listens=False)


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


def spec(catalog: Catalog = CATALOG, **changes: Any) -> TaskSpec:
    asked = task(**changes)
    entry = catalog.find(asked.model)
    assert entry is not None
    return to_spec(asked, entry, catalog, CLIENT, "documented")


def test_defaults_are_the_models() -> None:
    found = spec()
    assert (found.steps, found.true_cfg_scale, found.sampler) == (20, 4.0, Sampler())
    assert (found.width, found.height, found.count, found.seed) == (512, 256, 1, None)
    assert found.warnings == ()
    assert spec(model=EDIT.air).steps == 8


@pytest.mark.parametrize(
    ("scales", "expected"),
    [({"CFGScale": 7.5}, 7.5), ({"CFGScale": 7.5, "settings": {"trueCFGScale": 1.2}}, 1.2), ({"CFGScale": 1}, 1.0)],
)
def test_true_cfg_scale_wins_over_cfg_scale(scales: dict[str, Any], expected: float) -> None:
    assert spec(**scales).true_cfg_scale == expected


def test_the_negative_prompt_is_dropped_without_guidance_and_said_so() -> None:
    found = spec(CFGScale=1, negativePrompt="b")
    assert found.negative_prompt is None
    assert len(found.warnings) == 1
    assert spec(CFGScale=2, negativePrompt="b").negative_prompt == "b"


def test_what_is_ignored_is_said() -> None:
    ignored = {"ttl": 60, "outputType": "dataURI", "inputs": {"strength": 0.5}, "CFGScale": 7.5}
    found = spec(**ignored, settings={"trueCFGScale": 2})
    assert [warning.split()[0] for warning in found.warnings] == ["ttl", "CFGScale", "inputs.strength"]


def test_a_scheduler_becomes_a_sampler() -> None:
    assert spec(scheduler="DPM++ 2M Karras").sampler == Sampler("dpmpp_2m", "karras")


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_without_a_counterpart_says_what_runs(name: str) -> None:
    found = spec(scheduler=name)
    assert found.sampler == SAMPLERS[name]
    assert [warning.split(":")[1] for warning in found.warnings] == [
        f" '{nearest}' runs instead." for nearest in [NEAREST.get(name)] if nearest
    ]


def test_pictures_are_named_as_the_client_named_them() -> None:
    own = f"{CLIENT.base_url}/image/d297400b-aa84-44ea-8b86-85e2c887fce2.jpg"
    control = {"model": NET.air, "guideImage": "guide"}
    inputs = {"referenceImages": ["one", own], "seedImage": "seed", "maskImage": "mask"}
    found = spec(replace(CATALOG, controlnets=(NET,)), inputs=inputs, controlNet=[control])
    assert found.pictures == {
        "references[0]": "one",
        "references[1]": "d297400b-aa84-44ea-8b86-85e2c887fce2",
        "seed_image": "seed",
        "mask": "mask",
        "controls[0].control_image": "guide",
    }
    assert [found.parameter(path) for path in (*found.pictures, "width", "cache")] == [
        "inputs.referenceImages[0]",
        "inputs.referenceImages[1]",
        "inputs.seedImage",
        "inputs.maskImage",
        "controlNet[0].guideImage",
        "width",
        "acceleratorOptions.teaCache",
    ]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, None),
        ({"alignTo": "auto"}, GuardSpec(None, align=True)),
        ({"alignTo": "seedImage"}, GuardSpec(None, align=True)),
        ({"alignTo": 0}, GuardSpec(0, align=True)),
        ({"keepUnchanged": "auto"}, GuardSpec(None, align=False, auto=True)),
        ({"alignTo": 0, "keepUnchanged": "mask"}, GuardSpec(0, align=True, mask="mask")),
    ],
)
def test_the_source_of_a_drift_guard(asked: dict[str, Any], expected: GuardSpec | None) -> None:
    found = spec(model=EDIT.air, inputs={"seedImage": "seed", "referenceImages": ["first"]}, ownware=asked)
    assert found.guard == expected
    assert found.pictures.get("guard.mask") == (expected.mask if expected else None)
    assert found.parameter("guard.mask") == ("ownware.keepUnchanged" if expected and expected.mask else "guard.mask")
    without_seed = spec(model=EDIT.air, inputs={"referenceImages": ["first"]}, ownware=asked)
    assert without_seed.guard is None or without_seed.guard.reference == 0


def test_steps_that_a_seed_image_skips_do_not_count_in_a_control_window() -> None:
    control = {"model": NET.air, "guideImage": "guide", "startStepPercentage": 50}
    inputs = {"seedImage": "seed", "strength": 0.5}
    found = spec(replace(CATALOG, controlnets=(NET,)), inputs=inputs, controlNet=[control])
    assert (found.controls[0].start, found.controls[0].end) == (5, 10)


def test_a_ttl_counts_for_urls_only() -> None:
    assert spec(ttl=60).ttl == 60
    assert spec(ttl=60, outputType="dataURI").ttl is None


def test_the_priority_changes_nothing_of_a_picture() -> None:
    low, normal = (spec(ownware={"priority": name}) for name in ("low", "normal"))
    assert (low.priority, normal.priority, spec().priority) == ("low", "normal", "normal")
    assert replace(low, priority="normal", task=normal.task) == normal
