"""The list of finished images: its order, its filters, and that no page reads more rows than it needs."""

import sqlite3
import time
import uuid
from pathlib import Path

import pytest

from server.database import Database
from server.media.gallery import Gallery, GalleryFilter, list_image, page_query
from server.media.store import Media, MediaStore


@pytest.fixture
def media(database: Database, tmp_path: Path) -> MediaStore:
    return MediaStore(database, tmp_path / "media")


@pytest.fixture
def gallery(database: Database, media: MediaStore) -> Gallery:
    return Gallery(database, media)


async def add(
    database: Database,
    media: MediaStore,
    *,
    owner: str = "me",
    model: str = "a:1@1",
    prompt: str = "",
    forever: bool = False,
) -> str:
    """A finished image. Returns its UUID."""
    name = str(uuid.uuid4())
    path = media.path_for(name, "png")
    write(path)
    now = time.time()
    expires = None if forever else now + 60
    await media.adopt(Media(name, "result", owner, path, "image/png", 8, 8, "hash", now, expires))
    await database.run(
        lambda connection: list_image(
            connection, name, owner=owner, task_uuid="T", model=model, prompt=prompt, seed=2**63 - 1, unsafe=None
        )
    )
    return name


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"png")


async def test_each_owner_has_a_list_of_its_own(database: Database, media: MediaStore, gallery: Gallery) -> None:
    mine = [await add(database, media, prompt=str(number)) for number in range(3)]
    await add(database, media, owner="you")
    page, following = await gallery.page(GalleryFilter("me"), limit=2)
    assert [image.media.uuid for image in page] == [mine[2], mine[1]]
    assert (page[0].seed, page[0].prompt, page[0].task_uuid, page[0].unsafe) == (2**63 - 1, "2", "T", None)
    page, following = await gallery.page(GalleryFilter("me"), limit=2, before=following)
    assert ([image.media.uuid for image in page], following) == ([mine[0]], None)


async def test_an_image_that_never_expires_is_listed(database: Database, media: MediaStore, gallery: Gallery) -> None:
    await add(database, media, forever=True)
    (image,), _ = await gallery.page(GalleryFilter("me"), limit=2)
    assert image.media.expires is None


async def test_an_image_that_is_rendered_again_is_listed_once(
    database: Database, media: MediaStore, gallery: Gallery
) -> None:
    name = await add(database, media)
    ((image,), _) = await gallery.page(GalleryFilter("me"), limit=5)
    await media.adopt(image.media)
    await database.run(
        lambda connection: list_image(
            connection, name, owner="me", task_uuid="T", model="a", prompt="again", seed=1, unsafe=True
        )
    )
    ((image,), _) = await gallery.page(GalleryFilter("me"), limit=5)
    assert (image.prompt, image.unsafe) == ("again", True)


async def test_a_row_goes_with_its_file(database: Database, media: MediaStore, gallery: Gallery) -> None:
    await add(database, media)
    await media.sweep(time.time() + 61)

    def count(connection: sqlite3.Connection) -> int:
        return connection.execute("SELECT count(*) FROM gallery").fetchone()[0]

    assert await database.read(count) == 0
    assert await gallery.page(GalleryFilter("me"), limit=5) == ([], None)


async def test_prompts_are_searched_in_parts(
    database: Database, media: MediaStore, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.media.gallery.MOST_SEARCHED", 3)
    prompts = ["red"] + ["blue"] * 5 + ["red"] * 2
    names = [await add(database, media, prompt=prompt) for prompt in prompts]
    pages: list[list[str]] = []
    before = None
    while not pages or before is not None:
        found, before = await gallery.page(GalleryFilter("me", prompt="Red"), limit=1, before=before)
        pages.append([image.media.uuid for image in found])
    assert pages == [[names[7]], [names[6]], [], [names[0]]]


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (GalleryFilter("me"), "gallery_by_owner"),
        (GalleryFilter("me", prompt="x"), "gallery_by_owner"),
        (GalleryFilter("me", model="a:1@1"), "gallery_by_model"),
        (GalleryFilter("me", model="a:1@1", prompt="x"), "gallery_by_model"),
        (GalleryFilter("me", task_uuid="T"), "gallery_by_task"),
        (GalleryFilter("me", image_uuid="i"), "sqlite_autoindex_gallery_1"),
    ],
)
async def test_a_page_is_read_in_the_order_of_an_index(database: Database, wanted: GalleryFilter, index: str) -> None:
    query, values = page_query(wanted, 50, before=7, down_to=3)

    def explain(connection: sqlite3.Connection) -> list[str]:
        return [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", values)]

    plan = await database.read(explain)
    assert f"USING INDEX {index} " in plan[0]
    assert not any("TEMP B-TREE" in step for step in plan)
