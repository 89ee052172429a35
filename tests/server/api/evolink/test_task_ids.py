import re
import time

import pytest

from server.api.evolink.task_ids import new_task_id, task_id_of_key
from server.errors import InvalidParameter

CLIENTS = re.compile(r"[A-Za-z0-9._:-]{1,128}")  # what the vendor's newer client accepts


def test_an_id_has_the_time_and_a_suffix() -> None:
    first, second = new_task_id(), new_task_id()
    assert first != second
    found = re.fullmatch(r"task-unified-([0-9]{10})-([a-z0-9]{8})", first)
    assert found is not None
    assert abs(int(found[1]) - time.time()) < 60


def test_a_key_is_always_the_same_id() -> None:
    key = "order-2026-11-27/0001"
    assert task_id_of_key(key) == task_id_of_key(key) != task_id_of_key(key + "a")
    assert CLIENTS.fullmatch(task_id_of_key(key))
    assert task_id_of_key(key).startswith("task-unified-")


@pytest.mark.parametrize("key", ["", "a" * 15, "a" * 97, "with a space in it", "schlüssel-schlüssel"])
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(InvalidParameter, match="16 to 96"):
        task_id_of_key(key)
