import io
import json
from dataclasses import replace

import httpx2
import numpy as np
import pytest
from PIL import Image

from docs.figures.parameters import COLUMNS, FRAME, LABEL, PAIRS, THUMB, Pair, contact_sheet, render, weights_of
from pipelines.catalog.models_file import load_catalog
from pipelines.receipt import WeightsRef, make_receipt
from pipelines.request import RenderRequest


def test_the_second_task_has_the_parameters_of_the_first() -> None:
    assert Pair("steps", {"seed": 1, "steps": 3}, {"steps": 20}).tasks == (
        {"seed": 1, "steps": 3},
        {"seed": 1, "steps": 20},
    )


def test_the_tasks_of_a_pair_differ_and_no_label_repeats() -> None:
    assert all(pair.tasks[0] != pair.tasks[1] for pair in PAIRS)
    assert len({pair.label for pair in PAIRS}) == len(PAIRS)


def test_a_task_is_sent_and_its_last_picture_fetched() -> None:
    sent = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            sent.extend(json.loads(request.content))
            return httpx2.Response(200, json={"data": [{"imageURL": "http://box/a"}, {"imageURL": "http://box/b"}]})
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), "red" if request.url.path == "/b" else "blue").save(buffer, "PNG")
        return httpx2.Response(200, content=buffer.getvalue())

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as web:
        picture = render(web, "http://box", {"steps": 3, "width": None})
    (task,) = sent
    assert (task["steps"], task["height"], "width" in task) == (3, 256, False)
    assert picture.getpixel((0, 0)) == (255, 0, 0)


def test_an_error_ends_the_program() -> None:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(400, json={"errors": [{"message": "No such model."}]}))
    with httpx2.Client(transport=transport) as web, pytest.raises(SystemExit, match="No such model"):
        render(web, "http://box", {})


def test_the_sheet_shows_pairs_and_the_differences_of_equal_sizes() -> None:
    red, blue, wide = Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "blue"), Image.new("RGB", (64, 32))
    sheet = np.asarray(
        contact_sheet({"same": (red, red), "sizes": (red, wide), "colours": (red, blue), "next": (red, red)})
    )
    width, height = 3 * THUMB + 4 * FRAME, THUMB + LABEL + FRAME
    assert sheet.shape == (2 * height, COLUMNS * width, 3)
    place, top = 2 * (THUMB + FRAME // 2) + FRAME + 5, LABEL + 5
    assert sheet[top, place].tolist() == [0, 0, 0]  # no difference
    assert sheet[top, width + place].tolist() == [255, 255, 255]  # no tile for pictures of different sizes
    assert sheet[top, 2 * width + place].tolist() == [255, 0, 255]


def drawn_with(digest: str | None) -> Image.Image:
    """A picture with the receipt of these weights."""
    entry = load_catalog().entries[0]
    request = RenderRequest(entry.air, "a", None, 64, 64, 4, entry.sampler, 4.0, 1)
    receipt = replace(make_receipt(request, 1, ("PNG", 95), entry, "cpu", "float32"), model=WeightsRef("w", digest))
    picture = Image.new("RGB", (8, 8))
    picture.info["ownware"] = receipt.to_json()
    return picture


def test_the_weights_are_those_of_the_receipts() -> None:
    assert weights_of([drawn_with("a"), Image.new("RGB", (8, 8)), drawn_with("a")]) == "a"


@pytest.mark.parametrize("digests", [("a", "b"), (None,), ()])
def test_pictures_of_several_weights_make_no_figure(digests: tuple[str | None, ...]) -> None:
    with pytest.raises(SystemExit, match="not of one set of weights"):
        weights_of(drawn_with(digest) for digest in digests)
