from typing import Any

import pytest

from server.api.evolink.fields import CreateFields
from server.api.fields.validation import validate
from server.errors import TaskRejected

LEAST = {"model": "qwen-image-edit-plus", "prompt": "a", "image_urls": ["a.png"]}


def test_what_is_left_open() -> None:
    fields = validate(CreateFields, LEAST)
    assert (fields.n, fields.size, fields.watermark, fields.seed, fields.prompt_extend) == (1, None, False, None, None)


def test_a_negative_prompt_is_cut() -> None:
    assert validate(CreateFields, {**LEAST, "negative_prompt": "ä" * 501}).negative_prompt == "ä" * 500


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 6},
        {"seed": 0},
        {"seed": 2**31 - 1},
        {"image_urls": ["a"] * 3},
        {"prompt": "a" * 2000},
        {"size": "512x2048", "n": 1},
        {"prompt_extend": True},
        {"callback_url": "a" * 2048},
    ],
)
def test_the_bounds_are_legal(fields: dict[str, Any]) -> None:
    validate(CreateFields, LEAST | fields)


@pytest.mark.parametrize(
    ("fields", "parameter"),
    [
        ({"model": None}, "model"),
        ({"prompt": None}, "prompt"),
        ({"prompt": "a" * 2001}, "prompt"),
        ({"image_urls": None}, "image_urls"),
        ({"image_urls": []}, "image_urls"),
        ({"image_urls": ["a"] * 4}, "image_urls"),
        ({"image_urls": "a"}, "image_urls"),
        ({"image_urls": [5]}, "image_urls[0]"),
        ({"n": 0}, "n"),
        ({"n": 7}, "n"),
        ({"n": 1.5}, "n"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**31}, "seed"),
        ({"size": "512*512"}, "size"),
        ({"size": 512}, "size"),
        ({"watermark": "yes"}, "watermark"),
        ({"prompt_extend": 1}, "prompt_extend"),
        ({"callback_url": "a" * 2049}, "callback_url"),
    ],
)
def test_what_is_beyond_them(fields: dict[str, Any], parameter: str) -> None:
    with pytest.raises(TaskRejected) as caught:
        validate(CreateFields, LEAST | fields)
    assert caught.value.errors[0].parameter == parameter


def test_a_size_needs_a_single_image() -> None:
    with pytest.raises(TaskRejected, match="available with n = 1 only"):
        validate(CreateFields, LEAST | {"size": "512x512", "n": 2})
