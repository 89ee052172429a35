import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.api.evolink.file_table import SCHEMA, FileTable, UploadedFile
from server.database import Database

NOW = time.time()
FILE = UploadedFile("a", "me", "photo.png", "a.png", "", 5, "image/png", NOW, NOW + 86_400)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[FileTable]:
    database = Database(tmp_path / "db.sqlite", [SCHEMA])
    yield FileTable(database)
    database.close()


async def test_files_of_one_owner_the_latest_first(table: FileTable) -> None:
    later = replace(FILE, file_id="b", created=NOW + 1, size=7)
    for file in (FILE, later, replace(FILE, owner="other")):
        await table.put(file)
    assert await table.page("me", offset=0, limit=9) == [later, FILE]
    assert await table.page("me", offset=1, limit=9) == [FILE]
    assert await table.usage("me") == (2, 12)


async def test_the_same_picture_is_one_file_under_its_new_name(table: FileTable) -> None:
    renamed = replace(FILE, original_name="new.png")
    await table.put(FILE)
    await table.put(renamed)
    assert await table.page("me", offset=0, limit=9) == [renamed]


async def test_what_has_expired_is_gone(table: FileTable) -> None:
    await table.put(replace(FILE, expires=NOW - 1))
    assert (await table.page("me", offset=0, limit=9), await table.usage("me")) == ([], (0, 0))
    assert not await table.delete("me", "a")


async def test_a_file_is_deleted_once(table: FileTable) -> None:
    await table.put(FILE)
    assert not await table.delete("other", "a")
    assert await table.delete("me", "a")
    assert not await table.delete("me", "a")
