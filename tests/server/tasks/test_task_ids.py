import time
from typing import get_args

import pytest

from server.database import Database
from server.errors import ConflictTaskUUID
from server.tasks.task_ids import IdClaims, Kind, TaskIds

ID = "83E5A68E-074f-4bea-8e26-a6723ae9b2da"
KINDS: tuple[Kind, ...] = get_args(Kind)


@pytest.fixture
def ids(database: Database) -> TaskIds:
    return TaskIds(database)


async def claim(database: Database, kind: Kind, task_id: str = ID, owner: str = "me") -> None:
    await database.run(lambda connection: IdClaims(kind).claim(connection, owner, task_id))


async def release(database: Database, kind: Kind) -> None:
    await database.run(lambda connection: IdClaims(kind).release(connection, "me", ID))


async def expire(database: Database, kind: Kind, expires: float) -> None:
    await database.run(lambda connection: IdClaims(kind).expire(connection, "me", ID, expires))


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
async def test_an_id_means_one_task_whatever_its_kind(
    database: Database, ids: TaskIds, first: Kind, second: Kind
) -> None:
    await ids.check_free("me", ID)
    await claim(database, first)
    with pytest.raises(ConflictTaskUUID):
        await claim(database, second, ID.lower())
    with pytest.raises(ConflictTaskUUID):
        await ids.check_free("me", ID.upper())
    assert await ids.kind("me", ID.lower()) == first


async def test_each_owner_has_ids_of_its_own(database: Database, ids: TaskIds) -> None:
    await claim(database, "job")
    await ids.check_free("you", ID)
    await claim(database, "lora", owner="you")
    assert (await ids.kind("me", ID), await ids.kind("you", ID)) == ("job", "lora")


async def test_a_released_id_finds_its_task_until_another_claims_it(database: Database, ids: TaskIds) -> None:
    await claim(database, "job")
    await release(database, "job")
    assert await ids.kind("me", ID) == "job"
    await ids.check_free("me", ID)
    await claim(database, "lora")
    assert await ids.kind("me", ID) == "lora"
    # The failed job is deleted later. The id is not its own any more.
    await release(database, "job")
    await database.run(lambda connection: IdClaims("job").forget(connection, "me", ID))
    with pytest.raises(ConflictTaskUUID):
        await ids.check_free("me", ID)


async def test_a_forgotten_id_is_unknown(database: Database, ids: TaskIds) -> None:
    await claim(database, "job")
    await database.run(lambda connection: IdClaims("job").forget(connection, "me", ID))
    assert await ids.kind("me", ID) is None


async def test_an_id_expires_before_and_after_it_is_swept(database: Database, ids: TaskIds) -> None:
    await claim(database, "picture")
    await expire(database, "picture", time.time() + 60)
    with pytest.raises(ConflictTaskUUID):
        await claim(database, "picture")
    await expire(database, "picture", time.time() - 1)
    assert await ids.kind("me", ID) is None
    await ids.check_free("me", ID)
    await claim(database, "job")
    await expire(database, "job", 5.0)
    await ids.sweep(5.0)
    await claim(database, "job")
