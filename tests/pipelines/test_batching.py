import json
from dataclasses import replace
from pathlib import Path

import pytest

from accel.cache.plan import CachePlan
from pipelines.batching import (
    GPU_TOLERANCE,
    LEAST_GAIN,
    BatchGain,
    BatchGains,
    BranchGain,
    branches_can_batch,
    merge_gains,
    read_gains,
    shape_of,
    write_gains,
)
from pipelines.request import ControlUse, FaceRefinement, LoraUse, Reference, RenderRequest, Sampler

REQUEST = RenderRequest("a:1@1", "a", None, 512, 512, 4, Sampler(), 4.0, 7, 4)
GAIN = BatchGain("A:1@1", 512, 512, 2, 1.4, 0.0)
BRANCH = BranchGain("A:1@1", 512, 512, 1.4, 0.0)
PICTURE = Reference(Path("one"), "", 512, 512)


def gains(*measured: BatchGain) -> BatchGains:
    return BatchGains("card", "2.13", measured)


def branches(*measured: BranchGain) -> BatchGains:
    return BatchGains("card", "2.13", (), branches=measured)


def test_the_most_images_that_pay() -> None:
    measured = gains(GAIN, replace(GAIN, images=4), replace(GAIN, images=8, gain=1.01))
    assert measured.images_together(REQUEST) == 4
    assert gains().images_together(REQUEST) == 1


def test_several_tasks_are_measured_apart() -> None:
    measured = gains(GAIN, *(replace(GAIN, images=images, joined=1.2) for images in (2, 4)))
    shape = shape_of(REQUEST)
    assert [measured.tasks_together(shape, images) for images in (1, 2, 3, 4, 9)] == [1, 2, 2, 4, 4]
    assert measured.tasks_together(shape) == 4
    assert gains(replace(GAIN, images=4)).tasks_together(shape) == 1
    assert measured.tasks_together(None) == 1


def test_branches_can_be_one_batch_with_guidance_and_without_controlnets() -> None:
    control = ControlUse("one", "one", PICTURE)
    assert branches_can_batch(REQUEST)
    assert not branches_can_batch(replace(REQUEST, true_cfg_scale=1.0))
    assert not branches_can_batch(replace(REQUEST, controls=(control,)))


def test_a_cpu_allows_no_other_bit_and_a_gpu_what_rounding_explains() -> None:
    for difference, on_gpu, images in (
        (0.0, False, 2),
        (1e-9, False, 1),
        (GPU_TOLERANCE, True, 2),
        (2 * GPU_TOLERANCE, True, 1),
    ):
        measured = gains(replace(GAIN, difference=difference))
        assert measured.allowed(on_gpu=on_gpu).images_together(REQUEST) == images


@pytest.mark.parametrize(
    ("changed", "images"),
    [
        ({"width": 256}, 2),
        ({"width": 528}, 1),
        ({"model": "a:2@1"}, 1),
        ({"cache": CachePlan("fbcache", 0.1, 0, 4, 2)}, 1),
        ({"loras": (LoraUse("one", Path("one"), 1.0),)}, 2),
        ({"references": (Reference(Path("one"), "", 512, 512),)}, 1),
    ],
)
def test_what_goes_together(changed: dict[str, object], images: int) -> None:
    assert gains(GAIN).images_together(replace(REQUEST, **changed)) == images


@pytest.mark.parametrize(
    ("changed", "equal"),
    [
        ({"prompt": "another and longer one", "seed": 1, "steps": 9, "sampler": Sampler("euler_a")}, True),
        ({"model": "A:1@1", "true_cfg_scale": 7.0, "count": 1}, True),
        ({"width": 256}, False),
        ({"true_cfg_scale": 1.0}, False),
        ({"loras": (LoraUse("one", Path("one"), 1.0),)}, False),
        ({"references": (Reference(Path("one"), "", 512, 512),)}, False),
    ],
)
def test_the_shape_of_images_that_may_be_together(changed: dict[str, object], equal: bool) -> None:
    assert (shape_of(replace(REQUEST, **changed)) == shape_of(REQUEST)) is equal


def test_a_file_without_measurements_of_several_tasks_can_still_be_read(tmp_path: Path) -> None:
    write_gains(tmp_path / "batching.json", gains(GAIN))
    old = json.loads((tmp_path / "batching.json").read_text())
    for each in old["gains"]:
        del each["joined"], each["references"]
    del old["branches"]
    (tmp_path / "batching.json").write_text(json.dumps(old))
    assert read_gains(tmp_path / "batching.json", "card", "2.13") == gains(GAIN)


def test_the_file_is_of_one_device_and_one_torch(tmp_path: Path) -> None:
    path = tmp_path / "new" / "batching.json"
    assert read_gains(path, "card", "2.13") is None
    write_gains(path, gains(GAIN))
    assert read_gains(path, "card", "2.13") == gains(GAIN)
    assert read_gains(path, "other card", "2.13") is None
    assert read_gains(path, "card", "2.14") is None
    path.write_text("{")
    with pytest.raises(ValueError, match="bench batching"):
        read_gains(path, "card", "2.13")


def test_new_measurements_replace_those_of_their_models() -> None:
    other = replace(GAIN, model="b:1@1")
    new = replace(GAIN, gain=2.0)
    assert merge_gains(gains(GAIN, other), gains(new)) == gains(other, new)
    assert merge_gains(None, gains(new)) == gains(new)
    old = replace(gains(GAIN, other), branches=(BRANCH, replace(BRANCH, model="b:1@1")))
    merged = merge_gains(old, replace(gains(new), branches=(replace(BRANCH, gain=2.0),)))
    assert merged.branches == (replace(BRANCH, model="b:1@1"), replace(BRANCH, gain=2.0))


@pytest.mark.parametrize(
    ("changed", "together"),
    [
        ({}, True),
        ({"width": 256, "count": 1, "loras": (LoraUse("one", Path("one"), 1.0),)}, True),
        ({"width": 528}, False),
        ({"model": "a:2@1"}, False),
        ({"true_cfg_scale": 1.0}, False),
        ({"references": (PICTURE,)}, False),
        ({"cache": CachePlan("fbcache", 0.1, 0, 4, 2)}, False),
        ({"controls": (ControlUse("one", "one", PICTURE),)}, False),
        ({"faces": FaceRefinement("a face", None)}, False),
    ],
    ids=str,
)
def test_the_requests_whose_branches_are_faster_as_one_batch(changed: dict[str, object], together: bool) -> None:
    assert branches(BRANCH).branches_together(replace(REQUEST, **changed)) is together


@pytest.mark.parametrize(
    ("gain", "difference", "on_gpu", "together"),
    [
        (LEAST_GAIN, 0.0, False, True),
        (LEAST_GAIN - 0.01, 0.0, False, False),
        (2.0, 1e-9, False, False),
        (2.0, GPU_TOLERANCE, True, True),
        (2.0, 2 * GPU_TOLERANCE, True, False),
    ],
)
def test_branches_need_the_same_gain_and_the_same_likeness(
    gain: float, difference: float, on_gpu: bool, together: bool
) -> None:
    allowed = branches(replace(BRANCH, gain=gain, difference=difference)).allowed(on_gpu=on_gpu)
    assert (allowed.branches_gain, allowed.branches_together(REQUEST)) == (together, together)


def test_measurements_of_branches_are_kept_in_the_file(tmp_path: Path) -> None:
    measured = replace(gains(GAIN), branches=(BRANCH,))
    write_gains(tmp_path / "batching.json", measured)
    assert read_gains(tmp_path / "batching.json", "card", "2.13") == measured
