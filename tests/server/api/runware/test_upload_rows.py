import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.api.runware import upload_rows
from server.api.runware.schema.tasks import ModelUpload
from server.api.runware.upload_rows import SCHEMA, Upload, UploadRows
from server.database import Database
from server.errors import ConflictTaskUUID, InvalidParameter
from server.tasks import task_ids
from tests.server.conftest import new_lora


def task(number: int = 0) -> ModelUpload:
    identity = f"{number:08d}-0000-4000-8000-000000000000"
    return ModelUpload.model_validate(new_lora("https://example.com/ink.safetensors", taskUUID=identity))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "db.sqlite", [task_ids.SCHEMA, SCHEMA])
    yield database
    database.close()


async def test_stages_are_followed_up_to_the_end() -> None:
    upload = Upload(task())
    upload.add_stage("validated", "The task is valid.")
    following = upload.follow()
    assert (await anext(following))["status"] == "validated"
    upload.add_stage("ready", "It can be used.", air="me:ink@1")
    upload.end()
    item = await anext(following)
    assert (item["status"], item["air"], item["taskUUID"]) == ("ready", "me:ink@1", upload.task_uuid)
    assert [item async for item in following] == []


async def test_an_upload_is_kept_with_its_end(database: Database) -> None:
    rows = UploadRows(database)
    await rows.begin("me", task())
    (begun,) = await rows.all()
    assert (begun.owner, begun.task, begun.upload.ended, begun.upload.items) == ("me", task(), False, [])
    upload = Upload(task())
    upload.fail(InvalidParameter("downloadURL", "nothing is there", details={"type": "string"}))
    await rows.end("me", upload)
    (ended,) = await rows.all()
    assert ended.upload.ended
    assert [item["status"] for item in ended.upload.items] == ["failed"]
    error = ended.upload.error
    assert error is not None
    assert (error.code, error.parameter, error.details) == ("invalidDownloadURL", "downloadURL", {"type": "string"})


async def test_an_id_is_used_once_unless_its_upload_failed(database: Database) -> None:
    rows, upload = UploadRows(database), Upload(task())
    await rows.begin("me", task())
    with pytest.raises(ConflictTaskUUID):
        await rows.begin("me", task())
    await rows.begin("you", task())
    upload.fail(InvalidParameter("downloadURL", "nothing is there"))
    await rows.end("me", upload)
    await rows.begin("me", task())


async def test_the_oldest_that_ended_are_forgotten(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_rows, "KEPT_UPLOADS", 2)
    rows = UploadRows(database)
    for number in range(4):
        await rows.begin("me", task(number))
        if number < 2:
            await rows.end("me", Upload(task(number)))
    assert [kept.task for kept in await rows.all()] == [task(2), task(3)]

    def ids(connection: sqlite3.Connection) -> list[str]:
        return [row["task_id"][:8] for row in connection.execute("SELECT task_id FROM task_ids ORDER BY task_id")]

    assert await database.run(ids) == ["00000002", "00000003"]
