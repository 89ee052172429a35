from typing import Any

import pytest

from server.api.fields.validation import validate
from server.api.openai_images.fields import NEUTRAL, EditFields, GenerationFields
from server.errors import TaskRejected


def test_a_prompt_is_enough() -> None:
    fields = validate(GenerationFields, {"prompt": "a"})
    assert (fields.n, fields.size, fields.response_format, fields.output_format) == (1, "auto", "b64_json", "png")


@pytest.mark.parametrize(
    ("given", "images"),
    [
        ({"images": [{"image_url": "a"}, "b"]}, ("a", "b")),
        ({"image": "a"}, ("a",)),
        ({"image": ["a", {"image_url": "b"}]}, ("a", "b")),
        ({"url": "a"}, ("a",)),
    ],
)
def test_pictures_in_each_spelling(given: dict[str, Any], images: tuple[str, ...]) -> None:
    fields = validate(EditFields, {"prompt": "a", **given})
    assert fields.images + fields.image + fields.url == images


def test_a_file_of_the_vendors_store_is_not_read() -> None:
    with pytest.raises(TaskRejected, match="iles of the vendor's file store"):
        validate(EditFields, {"prompt": "a", "images": [{"file_id": "file-1"}]})


def test_what_is_neutral_is_a_field() -> None:
    assert {*NEUTRAL} <= EditFields.model_fields.keys()
