import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.database import Database
from server.media.decoding.decode import Picture
from server.media.store import SCHEMA, Media, MediaStore

PNG = Picture("image/png", "png", 4, 3)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "db.sqlite", [SCHEMA])
    yield database
    database.close()


@pytest.fixture
def store(database: Database, tmp_path: Path) -> MediaStore:
    return MediaStore(database, tmp_path / "media")


async def add(store: MediaStore, data: bytes = b"picture", owner: str = "me", lifetime: float | None = 60) -> Media:
    expires = None if lifetime is None else time.time() + lifetime
    return await store.add(data, PNG, kind="upload", owner=owner, expires=expires)


async def test_what_is_added_is_found(store: MediaStore) -> None:
    media = await add(store)
    assert media.path.read_bytes() == b"picture"
    assert await store.get(media.uuid.upper(), owner="me") == media
    assert await store.get(media.uuid, owner=None) == media
    assert await store.get(media.uuid, owner="you") is None


async def test_the_same_picture_is_kept_once_for_each_owner(store: MediaStore) -> None:
    first = await add(store, lifetime=60)
    again = await add(store, lifetime=600)
    assert again.uuid == first.uuid
    assert again.expires is not None
    assert first.expires is not None
    assert again.expires > first.expires
    assert (await add(store, lifetime=1)).expires == again.expires
    assert (await add(store, owner="you")).uuid != first.uuid


async def test_the_same_picture_added_twice_at_once_is_kept_once(store: MediaStore, tmp_path: Path) -> None:
    several = await asyncio.gather(*(add(store) for _ in range(5)))
    assert len({media.uuid for media in several}) == 1
    assert len(list((tmp_path / "media").rglob("*.png"))) == 1


async def test_an_input_is_found_by_what_was_sent(store: MediaStore, tmp_path: Path) -> None:
    soon, later = time.time() + 60, time.time() + 600
    assert await store.find_input("digest", owner="me", expires=soon) is None
    kept = []
    for text in (b"first", b"second"):
        draft = tmp_path / "draft"
        draft.write_bytes(text)
        kept.append(await store.add_input(draft, "digest", PNG, owner="me", expires=soon))
    assert kept[0].uuid == kept[1].uuid
    assert kept[0].path.read_bytes() == b"first"
    found = await store.find_input("digest", owner="me", expires=later)
    assert found is not None
    assert (found.uuid, found.kind, found.expires) == (kept[0].uuid, "input", later)
    assert await store.find_input("digest", owner="you", expires=later) is None
    found.path.unlink()
    assert await store.find_input("digest", owner="me", expires=later) is None


async def test_what_never_expires_stays_so(store: MediaStore) -> None:
    forever = await add(store, lifetime=None)
    assert (await add(store, lifetime=60)).expires is None
    assert await store.extend(forever, time.time()) == forever
    kept = await add(store, b"other", lifetime=60)
    assert (await add(store, b"other", lifetime=None)).uuid == kept.uuid
    assert (await store.extend(kept, time.time())) == await store.get(kept.uuid, owner="me")


async def test_what_is_gone_is_not_extended(store: MediaStore) -> None:
    media = await add(store)
    await store.delete(media.uuid, owner="me")
    assert await store.extend(media, None) is None


async def test_a_file_that_somebody_else_wrote_is_adopted(store: MediaStore) -> None:
    path = store.path_for("ab12", "jpg")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"drawn")
    media = Media("ab12", "result", "me", path, "image/jpeg", 4, 3, "hash", 1.0, None)
    await store.adopt(media)
    assert await store.get("ab12", owner=None) == media
    assert path.parent.name == "ab"
    path.unlink()
    assert await store.delete("ab12", owner="me")  # nothing to delete on disk is no error


async def test_a_picture_whose_file_is_gone_is_gone_and_can_come_back(store: MediaStore) -> None:
    media = await add(store)
    media.path.unlink()
    assert await store.get(media.uuid, owner="me") is None
    again = await add(store)
    assert again.path.read_bytes() == b"picture"
    assert again.uuid == media.uuid


async def test_a_picture_in_use_outlives_its_expiry_and_its_deletion(database: Database, tmp_path: Path) -> None:
    """Four of four queued edits failed after two days off: their inputs were swept."""
    in_use: set[Path] = set()
    store = MediaStore(database, tmp_path / "media", lambda connection: frozenset(in_use))
    expired, deleted = await add(store, b"a", lifetime=-1), await add(store, b"b")
    in_use |= {expired.path, deleted.path}
    assert await store.sweep(time.time()) == 0
    assert await store.delete(deleted.uuid, owner="me")
    assert not await store.delete(deleted.uuid, owner="me")
    assert await store.get(deleted.uuid, owner="me") is None
    assert expired.path.is_file()
    assert deleted.path.is_file()
    in_use.clear()
    assert await store.sweep(time.time()) == 2
    assert not expired.path.exists()
    assert not deleted.path.exists()


async def test_expired_pictures_are_not_found_and_swept(store: MediaStore) -> None:
    media, kept, forever = (
        await add(store, b"a", lifetime=-1),
        await add(store, b"b"),
        await add(store, b"c", lifetime=None),
    )
    assert await store.get(media.uuid, owner="me") is None
    assert await store.sweep(time.time()) == 1
    assert not media.path.exists()
    assert await store.get(kept.uuid, owner="me")
    assert await store.get(forever.uuid, owner="me")
    assert await store.sweep(time.time()) == 0


async def test_only_its_owner_deletes_a_picture(store: MediaStore) -> None:
    media = await add(store)
    assert not await store.delete(media.uuid, owner="you")
    assert await store.delete(media.uuid, owner="me")
    assert not media.path.exists()
    assert not await store.delete(media.uuid, owner="me")


async def test_pictures_are_found_by_another_process(tmp_path: Path) -> None:
    database = Database(tmp_path / "db.sqlite", [SCHEMA])
    media = await add(MediaStore(database, tmp_path / "media"))
    database.close()
    database = Database(tmp_path / "db.sqlite", [SCHEMA])
    assert await MediaStore(database, tmp_path / "media").get(media.uuid, owner="me") == media
    database.close()


async def test_what_an_earlier_process_left_unfinished_is_deleted(store: MediaStore) -> None:
    media = await add(store)
    draft = media.path.with_name(f".{media.path.name}.0123")
    draft.touch()
    await store.open()
    assert (draft.exists(), media.path.exists()) == (False, True)
