from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from server.api.fields.types import Flag, OutputFormat, Pictures, PixelSize, SignedSeed, WebAddress


class Fields(BaseModel):
    size: PixelSize | None = None
    pictures: Pictures = ()
    output_format: OutputFormat = "JPG"
    seed: SignedSeed | None = None
    flag: Flag = False
    hook: WebAddress = ""


def test_several_ways_to_say_the_same() -> None:
    sizes = [Fields.model_validate({"size": size}).size for size in ("1024*768", "1024x768", "1030 x 768")]
    assert sizes == [(1024, 768)] * 3
    assert Fields.model_validate({"pictures": "a"}).pictures == Fields.model_validate({"pictures": ["a"]}).pictures
    formats = [Fields.model_validate({"output_format": each}).output_format for each in ("jpeg", "PNG", "webp")]
    assert formats == ["JPG", "PNG", "WEBP"]


def test_a_seed_is_random_or_fits_into_31_bits() -> None:
    seeds = [Fields.model_validate({"seed": seed}).seed for seed in (-1, 0, 2**31 - 1, 2**31 + 5)]
    assert seeds == [None, 0, 2**31 - 1, 5]


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": "1024"},
        {"size": "999999*1"},
        {"size": "64*64"},
        {"size": [1, 2]},
        {"pictures": 5},
        {"pictures": [5]},
        {"pictures": ["a", " "]},
        {"output_format": "gif"},
        {"output_format": 5},
        {"seed": -2},
        {"seed": "5"},
        {"seed": 1.5},
        {"seed": True},
        {"flag": "true"},
        {"hook": "ftp://a"},
        {"hook": "http://name:word@box"},
    ],
)
def test_anything_else_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Fields.model_validate(wrong)
