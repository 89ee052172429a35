import pytest

from server.api.access.client import Client
from server.api.fields.pictures import sent_pictures
from server.errors import TaskRejected

CLIENT = Client("me", "http://box", listens=False)
UUID = "83e5a68e-074f-4bea-8e26-a6723ae9b2da"


def test_a_text_and_an_array_have_names_of_their_own() -> None:
    one = sent_pictures({"image": "a"}, {"image": ("a",), "images": ()}, CLIENT)
    assert (one.texts, one.names) == (("a",), {"references": "image", "references[]": "image"})
    many = sent_pictures({"images": ["a", "b"]}, {"image": (), "images": ("a", "b")}, CLIENT)
    assert (many.texts, many.names) == (("a", "b"), {"references": "images", "references[]": "images[]"})
    assert sent_pictures({}, {"image": (), "images": ()}, CLIENT).names["references"] == "image"


def test_an_own_url_needs_no_download() -> None:
    assert sent_pictures({}, {"image": (f"http://box/image/{UUID}.png",)}, CLIENT).texts == (UUID,)


def test_two_fields_are_too_many() -> None:
    with pytest.raises(TaskRejected) as caught:
        sent_pictures({}, {"image": ("a",), "images": ("b",)}, CLIENT)
    assert caught.value.errors[0].parameter == ("image", "images")
