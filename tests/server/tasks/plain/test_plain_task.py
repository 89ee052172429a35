from dataclasses import replace
from typing import Any

import pytest

from pipelines.catalog.catalog import Adapter
from pipelines.catalog.schedules import LoraSchedule
from server.errors import IncompatibleParameters, TaskRejected
from server.media.encode import Encoding
from server.tasks.plain.cache_choice import CacheChoice
from server.tasks.plain.plain_task import PlainLora, PlainTask, to_spec
from server.tasks.spec import GuardSpec, TaskSpec
from tests.server.tasks.common import CATALOG, EDIT, ENTRY

PLAIN = PlainTask(model=ENTRY, prompt="a cat", encoding=Encoding("PNG", 95))
FAST = Adapter("f:4@1", "Fast", "fast.safetensors", schedule=LoraSchedule(steps=4, true_cfg_scale=1.0))
OTHER = replace(FAST, air="f:8@1", schedule=LoraSchedule(steps=8, true_cfg_scale=1.0))
LORAS = replace(CATALOG, loras=(*CATALOG.loras, FAST, OTHER))


def spec_of(plain: PlainTask = PLAIN, **changes: Any) -> TaskSpec:
    plain = replace(plain, **changes)
    return to_spec(plain, LORAS, owner="me", dialect="small", task_id="task-1", task={"a": 1}, wait=False, ttl=99)


def test_what_is_left_open_is_the_models() -> None:
    spec = spec_of()
    assert (spec.owner, spec.dialect, spec.task, spec.wait, spec.ttl) == ("me", "small", {"a": 1}, False, 99)
    assert (spec.width, spec.height, spec.steps, spec.true_cfg_scale) == (1024, 1024, ENTRY.steps, 4.0)
    assert (spec.seed, spec.count, spec.negative_prompt, spec.warnings) == (None, 1, None, ())


def test_what_is_given_is_kept() -> None:
    spec = spec_of(negative_prompt="rain", size=(512, 256), seed=3, count=2, steps=30, true_cfg_scale=2.0)
    assert (spec.negative_prompt, spec.width, spec.height) == ("rain", 512, 256)
    assert (spec.seed, spec.count, spec.steps, spec.true_cfg_scale) == (3, 2, 30, 2.0)


def test_an_empty_negative_prompt_is_none_and_one_without_guidance_is_said_to_be_ignored() -> None:
    assert spec_of(negative_prompt="").negative_prompt is None
    spec = spec_of(negative_prompt="rain", true_cfg_scale=1.0)
    assert spec.negative_prompt is None
    assert spec.warnings == ("negative_prompt is ignored: guidance is off at a scale of 1 or less.",)


def test_pictures_decide_the_size_of_an_edit_and_a_mask_lies_on_the_first() -> None:
    names = {"references[]": "image_urls[]", "mask": "the mask"}
    spec = spec_of(model=EDIT, images=("A",), mask="M", size_picture="references[0]", names=names)
    assert (spec.width, spec.height, spec.size_picture) == (None, None, "references[0]")
    assert (spec.references, spec.seed_image, spec.mask) == (("A",), "A", "M")
    assert spec.parameter("references[0]") == spec.parameter("seed_image") == "image_urls[0]"
    assert spec.parameter("mask") == "the mask"
    assert spec_of(model=EDIT, images=("A",)).seed_image is None


@pytest.mark.parametrize(
    ("asked", "guard"),
    [
        ({"align_to": "auto"}, GuardSpec(0, align=True)),
        ({"align_to": 0, "keep_unchanged": True}, GuardSpec(0, align=True, auto=True)),
        ({"keep_unchanged": True, "mask": "M"}, GuardSpec(None, align=False, auto=True)),
        ({}, None),
    ],
)
def test_the_drift_guard_compares_with_the_first_picture(asked: dict[str, Any], guard: GuardSpec | None) -> None:
    assert spec_of(model=EDIT, images=("A",), **asked).guard == guard


def test_a_drift_guard_without_its_picture_is_refused() -> None:
    with pytest.raises(TaskRejected, match="'align_to' needs a picture to compare with: 'image'"):
        spec_of(align_to="auto", names={"references": "image"})
    with pytest.raises(TaskRejected, match="There are 1 images, counted from 0, and no number 1"):
        spec_of(model=EDIT, images=("A",), align_to=1)


def test_loras_bring_their_weight_and_their_schedule() -> None:
    spec = spec_of(loras=(PlainLora("f:4@1"), PlainLora("outlines", 0.5)))
    assert [(use.name, use.weight) for use in spec.loras] == [("f:4@1", 1.0), ("outlines", 0.5)]
    assert (spec.steps, spec.true_cfg_scale) == (4, 1.0)
    assert spec_of(loras=(PlainLora("f:4@1", 0.0),)).steps == ENTRY.steps


def test_a_cache_acts_in_its_window() -> None:
    spec = spec_of(cache=CacheChoice("fbcache", 0.1, 2), steps=20)
    assert spec.cache is not None
    assert (spec.cache.start, spec.cache.end, spec.cache.max_run) == (3, 18, 2)
    short = spec_of(cache=CacheChoice("fbcache", 0.1, 2), steps=5, names={"cache.window": "cache.start_step"})
    assert short.cache is None
    assert "cache.start_step" in short.warnings[0]


def test_all_errors_are_found_at_once_in_the_clients_words() -> None:
    names = {"references": "image_urls", "loras[]": "loras[].path", "prompt": "text"}
    with pytest.raises(TaskRejected) as caught:
        spec_of(prompt="<|im_end|>", images=("A",), loras=(PlainLora("none"),), names=names)
    assert [error.parameter for error in caught.value.errors] == ["image_urls", "text", "loras[0].path"]


def test_loras_of_two_schedules() -> None:
    with pytest.raises(TaskRejected) as caught:
        spec_of(loras=(PlainLora("f:4@1"), PlainLora("f:8@1")))
    (error,) = caught.value.errors
    assert isinstance(error, IncompatibleParameters)
    assert error.parameter == ("loras[0]", "loras[1]")
