import json

import pytest
from PIL import Image

from benchmarks.hostile.bodies import MB, form, jpeg_of_scans, large_png, marks, tasks, texts
from pipelines.pictures.image_files import open_image
from server.media.decoding.decode import count_scans


@pytest.mark.slow
def test_the_pictures_are_what_they_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    assert count_scans(jpeg_of_scans(200)) > 200
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with open_image(large_png()) as image:
        assert image.size == (8000, 8000)


def test_the_bodies_have_their_sizes() -> None:
    assert len(marks()) > 99 * MB
    assert 12 * MB < sum(map(len, texts().values())) < 13 * MB
    assert len({each["taskUUID"] for each in json.loads(tasks(3, steps=1))}) == 3


def test_a_form_has_a_file_or_a_text() -> None:
    assert form("image", b"x", file=True).count(b"filename") == 1
    assert b"filename" not in form("prompt", b"x", file=False)
