from pathlib import Path
from typing import Any

import pytest

from ownware.batch.item import ItemError
from ownware.batch.renderers.defaults import complete_task
from pipelines.catalog.models_file import load_catalog
from pipelines.sizes import edit_size
from tests.ownware.batch.fakes import write_pictures

CATALOG = load_catalog()


def complete(**task: Any) -> dict[str, Any]:
    return complete_task(task, CATALOG, 512)


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    return [str(path) for path in write_pictures(tmp_path, "a.png", "b.png", "c.png", "d.png")]  # 40…43 × 30


@pytest.mark.parametrize(
    ("references", "model"), [(0, "runware:108@1"), (1, "runware:108@20"), (2, "runware:108@22"), (3, "runware:108@22")]
)
def test_the_model_takes_the_number_of_references(pictures: list[str], references: int, model: str) -> None:
    assert complete(inputs={"referenceImages": pictures[:references]})["model"] == model


def test_too_many_references(pictures: list[str]) -> None:
    with pytest.raises(ItemError, match="no model takes 4 reference images"):
        complete(inputs={"referenceImages": pictures})


def test_a_model_that_is_named_stays() -> None:
    assert complete(model="my:model@1") == {"model": "my:model@1", "width": 512, "height": 512}


def test_the_size_is_that_of_the_first_picture(pictures: list[str]) -> None:
    """The API would take the last one."""
    entry = CATALOG.find("runware:108@22")
    assert entry is not None
    task = complete(inputs={"referenceImages": [pictures[0], pictures[3]]})
    assert (task["width"], task["height"]) == edit_size(40, 30, entry)
    assert "width" not in complete(inputs={"referenceImages": pictures[:1]})


def test_the_size_of_a_seed_image_and_of_its_extension(pictures: list[str]) -> None:
    task = complete(inputs={"seedImage": pictures[0]})
    assert (task["width"], task["height"]) == (592, 448)
    task = complete(inputs={"seedImage": pictures[0]}, outpaint={"left": 100, "top": 2})
    assert (task["width"], task["height"]) == (140, 32)


def test_what_is_of_another_type_is_left_to_the_schema(pictures: list[str]) -> None:
    assert "width" not in complete(inputs={"seedImage": pictures[0]}, outpaint={"left": "much"})
    assert complete(inputs={"seedImage": 5})["width"] == 512


def test_a_size_that_is_given_stays(pictures: list[str]) -> None:
    assert complete(width=640, height=320)["width"] == 640
    assert "height" not in complete(width=640)  # the schema says what is missing


def test_a_picture_that_is_missing_is_named(pictures: list[str]) -> None:
    with pytest.raises(ItemError, match=r"/missing\.png: the file cannot be read"):
        complete(inputs={"seedImage": "/missing.png"})
