from dataclasses import replace
from pathlib import Path

import pytest

from accel.cache.plan import CachePlan
from pipelines.batching import GPU_TOLERANCE, BatchGain, BatchGains, merge_gains, read_gains, write_gains
from pipelines.request import LoraUse, RenderRequest, Sampler

REQUEST = RenderRequest("a:1@1", "a", None, 512, 512, 4, Sampler(), 4.0, 7, 4)
GAIN = BatchGain("A:1@1", 512, 512, 2, 1.4, 0.0)


def gains(*measured: BatchGain) -> BatchGains:
    return BatchGains("card", "2.13", measured)


def test_the_most_images_that_pay() -> None:
    measured = gains(GAIN, replace(GAIN, images=4), replace(GAIN, images=8, gain=1.01))
    assert measured.images_together(REQUEST, on_gpu=True) == 4
    assert gains().images_together(REQUEST, on_gpu=True) == 1


def test_a_cpu_allows_no_other_bit_and_a_gpu_what_rounding_explains() -> None:
    for difference, on_gpu, images in (
        (0.0, False, 2),
        (1e-9, False, 1),
        (GPU_TOLERANCE, True, 2),
        (2 * GPU_TOLERANCE, True, 1),
    ):
        assert gains(replace(GAIN, difference=difference)).images_together(REQUEST, on_gpu=on_gpu) == images


@pytest.mark.parametrize(
    ("changed", "images"),
    [
        ({"width": 256}, 2),
        ({"width": 528}, 1),
        ({"model": "a:2@1"}, 1),
        ({"cache": CachePlan("fbcache", 0.1, 0, 4, 2)}, 1),
        ({"loras": (LoraUse("one", Path("one"), 1.0),)}, 1),
    ],
)
def test_what_goes_together(changed: dict[str, object], images: int) -> None:
    assert gains(GAIN).images_together(replace(REQUEST, **changed), on_gpu=True) == images


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
