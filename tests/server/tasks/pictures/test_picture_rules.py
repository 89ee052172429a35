from dataclasses import replace
from typing import Any

import pytest

from pipelines.request import Outpaint
from server.errors import TaskRejected
from server.media.store import Media
from server.tasks.pictures.picture_rules import check_pictures
from tests.server.tasks.common import PHOTO, SPEC

NAMES = {"seed_image": "my image", "mask": "my mask", "references[0]": "my picture"}


def size(width: int, height: int) -> Media:
    return replace(PHOTO, width=width, height=height)


def found(pictures: dict[str, Media], **changes: Any) -> list[tuple[str, Any]]:
    try:
        check_pictures(replace(SPEC, parameters=NAMES, **changes), pictures)
    except TaskRejected as rejected:
        return [(error.code, error.parameter) for error in rejected.errors]
    return []


@pytest.mark.parametrize(("width", "height", "legal"), [
    (5000, 50, True), (5050, 50, False), (1, 1, True), (50, 5050, False),
])  # fmt: skip
def test_sides_must_not_differ_too_much(width: int, height: int, legal: bool) -> None:
    errors = found({"references[0]": size(width, height)})
    assert errors == ([] if legal else [("invalidMy picture", "my picture")])


@pytest.mark.parametrize(("width", "height", "legal"), [(384, 3072, True), (383, 400, False), (400, 3073, False)])
def test_a_dialect_may_bound_the_sides(width: int, height: int, legal: bool) -> None:
    errors = found({"references[0]": size(width, height)}, picture_sides=(384, 3072))
    assert errors == ([] if legal else [("invalidImageDimensions", "my picture")])
    assert found({"references[0]": size(width, height)}) == []


@pytest.mark.parametrize(
    ("mask", "legal"), [(size(1920, 1080), True), (size(960, 541), True), (size(1080, 1920), False)]
)
def test_a_mask_has_the_aspect_of_its_seed_image(mask: Media, legal: bool) -> None:
    errors = found({"seed_image": PHOTO, "mask": mask})
    assert errors == ([] if legal else [("incompatibleParameters", ("my mask", "my image"))])
    assert found({"mask": mask}) == []


def test_the_size_is_that_of_the_extended_image() -> None:
    seed, sides = {"seed_image": size(256, 192)}, Outpaint(top=32, left=16)
    assert found(seed, outpaint=sides, width=272, height=224) == []
    assert found(seed, outpaint=sides, width=256, height=192) == [
        ("incompatibleParameters", ("width", "outpaint")),
        ("incompatibleParameters", ("height", "outpaint")),
    ]
    assert found(seed, outpaint=sides, width=None, height=None) == []
    odd = Outpaint(top=1)
    assert found(seed, outpaint=odd, width=None, height=None) == [("invalidOutpaint", "outpaint")]
    with pytest.raises(TaskRejected, match=r"must be an integer between 128 and 2048, in multiples of 16, but 192 of"):
        check_pictures(replace(SPEC, outpaint=odd, width=None, height=None), seed)
