from typing import Any

import pytest

from server.api.access.client import Client
from server.api.fields.pictures import PictureFields, Sent
from server.api.fields.validation import validate
from server.errors import TaskRejected

CLIENT = Client("me", "http://box", listens=False)
UUID = "83e5a68e-074f-4bea-8e26-a6723ae9b2da"


def sent(**pictures: Any) -> Sent:
    return validate(PictureFields, {"prompt": "a", **pictures}).sent(pictures, CLIENT)


def test_a_text_and_an_array_have_names_of_their_own() -> None:
    one = sent(image="a")
    assert (one.texts, one.names) == (("a",), {"references": "image", "references[]": "image"})
    many = sent(images=["a", "b"])
    assert (many.texts, many.names) == (("a", "b"), {"references": "images", "references[]": "images[]"})
    assert sent().names["references"] == "image"


def test_an_own_url_needs_no_download() -> None:
    assert sent(image=f"http://box/image/{UUID}.png").texts == (UUID,)


def test_two_fields_are_too_many() -> None:
    with pytest.raises(TaskRejected) as caught:
        sent(image="a", images=["b"])
    assert caught.value.errors[0].parameter == ("image", "images")
