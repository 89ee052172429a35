import json
from dataclasses import replace
from pathlib import Path

import pytest

from accel.cache.plan import CachePlan
from pipelines.batching import GPU_TOLERANCE, BatchGain, BatchGains, merge_gains, read_gains, shape_of, write_gains
from pipelines.request import LoraUse, Reference, RenderRequest, Sampler

REQUEST = RenderRequest("a:1@1", "a", None, 512, 512, 4, Sampler(), 4.0, 7, 4)
GAIN = BatchGain("A:1@1", 512, 512, 2, 1.4, 0.0)


def gains(*measured: BatchGain) -> BatchGains:
    return BatchGains("card", "2.13", measured)


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
