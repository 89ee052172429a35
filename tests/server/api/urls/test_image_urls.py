import pytest

from server.api.urls.image_urls import image_url, own_image, picture_text, thumbnail_url

UUID = "d297400b-aa84-44ea-8b86-85e2c887fce2"
BASE = "http://box:8000"


def test_a_url_of_ours_is_looked_up_by_its_uuid() -> None:
    assert image_url(BASE, UUID, "jpg") == f"{BASE}/image/{UUID}.jpg"
    assert own_image(image_url(BASE, UUID, "jpg"), BASE) == UUID


@pytest.mark.parametrize(
    "text",
    [f"http://other:8000/image/{UUID}.jpg", f"{BASE}/images/{UUID}.jpg", UUID, "", f"{BASE}/image/{'a/' * 2048}b.jpg"],
)
def test_any_other_text_is_not_ours(text: str) -> None:
    assert own_image(text, BASE) is None
    assert picture_text(text, BASE) == text


def test_a_picture_of_this_server_is_named_by_its_uuid() -> None:
    assert picture_text(image_url(BASE, UUID, "png"), BASE) == UUID


def test_the_thumbnail_of_a_picture_names_the_picture() -> None:
    assert thumbnail_url(BASE, UUID) == f"{BASE}/image/{UUID}/thumbnail.webp"
    assert own_image(thumbnail_url(BASE, UUID), BASE) == UUID
