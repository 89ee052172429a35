import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.keys.api_key import NO_LIMITS, KeyLimits
from server.keys.key_table import DATABASE_NAME, KeyNameTaken, KeyTable, NoSuchKey


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[KeyTable]:
    with contextlib.closing(KeyTable(tmp_path)) as table:
        yield table


def test_a_key_is_found_by_its_secret_with_all_that_was_said(keys: KeyTable) -> None:
    limits = KeyLimits(weight=2.5, rate=60, concurrency=4)
    secret = keys.add("alice", limits, expires=time.time() + 60)
    key = keys.find(secret.encode())
    assert key is not None
    assert (key.name, key.limits, key.prefix) == ("alice", limits, secret[:9])
    assert key.expires is not None
    assert keys.of_owner(key.owner) == key
    assert keys.find(b"ow_other") is None


def test_the_file_has_no_secret(keys: KeyTable, tmp_path: Path) -> None:
    secret = keys.add("alice", NO_LIMITS)
    keys.close()
    data = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"alice" in data
    assert secret[9:].encode() not in data


def test_a_change_of_another_connection_is_seen_at_once(keys: KeyTable, tmp_path: Path) -> None:
    assert not keys.any()
    with contextlib.closing(KeyTable(tmp_path)) as command:
        secret = command.add("alice", NO_LIMITS)
        assert keys.any()
        assert keys.find(secret.encode()) is not None
        command.revoke("alice")
    key = keys.find(secret.encode())
    assert key is not None
    assert key.state(time.time()) == "revoked"


@pytest.mark.parametrize("name", ["alice", "ALICE"])
def test_a_name_is_taken_once(keys: KeyTable, name: str) -> None:
    secret = keys.add("alice", NO_LIMITS)
    with pytest.raises(KeyNameTaken):
        keys.add(name, NO_LIMITS)
    assert keys.find(secret.encode()) is not None


def test_a_new_secret_has_the_same_owner_and_ends_the_old_one(keys: KeyTable) -> None:
    old = keys.add("alice", KeyLimits(weight=2))
    before = keys.find(old.encode())
    keys.revoke("alice")
    new = keys.rotate("alice")
    after = keys.find(new.encode())
    assert keys.find(old.encode()) is None
    assert before is not None
    assert after is not None
    assert (after.owner, after.limits, after.revoked) == (before.owner, before.limits, None)
    assert after.prefix != before.prefix


def test_names_that_are_not_there(keys: KeyTable) -> None:
    with pytest.raises(NoSuchKey):
        keys.revoke("bob")
    with pytest.raises(NoSuchKey):
        keys.rotate("bob")


def test_the_last_key_that_is_revoked_opens_nothing(keys: KeyTable) -> None:
    keys.add("alice", NO_LIMITS)
    keys.revoke("alice")
    assert keys.any()


def test_keys_are_listed_by_name(keys: KeyTable) -> None:
    for name in ("carol", "Bob", "alice"):
        keys.add(name, NO_LIMITS)
    assert [key.name for key in keys.all()] == ["alice", "Bob", "carol"]


def test_a_new_folder_gets_a_file_that_the_server_can_use(tmp_path: Path) -> None:
    with contextlib.closing(KeyTable(tmp_path / "new")):
        assert (tmp_path / "new" / DATABASE_NAME).is_file()
