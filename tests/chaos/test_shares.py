"""Keys of different weights send very different tasks to one real server, all at once."""

import contextlib
import itertools
import sqlite3
import statistics
import threading
import uuid
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from server.keys.api_key import KeyLimits
from server.keys.key_table import DATABASE_NAME, KeyTable
from tests.live import live_server

pytestmark = pytest.mark.chaos

# Of each key: the weight, the steps of its tasks and their images. The shortest tasks have the most weight.
KEYS = {"a": (1, 6, 3), "b": (2, 20, 1), "c": (3, 8, 2), "d": (4, 4, 1)}
CLIENTS = 4  # of each key
ALONE = 5  # tasks of each key before the others come
# A half minute on an idle machine. An image of the key with the least share takes about 4 % of that share.
TASKS = 240
# A share is measured in whole images.
TOLERANCE = 0.1


def test_keys_share_the_device_by_their_weights(tmp_path: Path) -> None:
    with contextlib.closing(KeyTable(tmp_path)) as table:
        secrets = {name: table.add(name, KeyLimits(weight=weight)) for name, (weight, _, _) in KEYS.items()}
        owners = {key.owner: key.name for key in table.all()}
    numbers, failures = itertools.count(), list[Any]()

    def send(url: str, name: str, tasks: Iterable[int]) -> None:
        _, steps, images = KEYS[name]
        with httpx2.Client(headers={"Authorization": f"Bearer {secrets[name]}"}, timeout=300) as client:
            for _ in tasks:
                task = {
                    "taskType": "imageInference",
                    "taskUUID": str(uuid.uuid4()),
                    "model": "runware:108@1",
                    "positivePrompt": "a red circle",
                    "width": 128,
                    "height": 128,
                    "steps": steps,
                    "numberResults": images,
                }
                response = client.post(f"{url}/v1", json=[task])
                if response.status_code != 200:
                    failures.append(response.text)

    together = itertools.takewhile(lambda number: number < TASKS, numbers)
    # Without overlap the seconds of an image alone hold no part of the next image.
    with live_server(tmp_path, "--weights", "embedded", "--devices", "cpu", "--overlap", "off") as server:
        for name in KEYS:
            send(server.url, name, range(ALONE))
        clients = [
            threading.Thread(target=send, args=(server.url, name, together)) for name in KEYS for _ in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    assert not failures
    used = seconds_while_all_wait(tmp_path / DATABASE_NAME, owners)
    whole, weights = sum(used.values()), sum(weight for weight, _, _ in KEYS.values())
    for name, (weight, _, _) in KEYS.items():
        assert used[name] / whole == pytest.approx(weight / weights, rel=TOLERANCE), used


def seconds_while_all_wait(database: Path, owners: dict[str, str]) -> dict[str, float]:
    """The device's seconds for each key. An image counts as long as it takes alone, because images take turns.

    The last tasks do not count: some keys have none any more by then.
    """
    query = "SELECT owner, results.seconds FROM results JOIN jobs ON jobs.id = job_id ORDER BY results.rowid"
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = [(owners[owner], seconds) for owner, seconds in connection.execute(query)]
    first = sum(ALONE * images for _, _, images in KEYS.values())
    alone = {name: statistics.median(seconds for owner, seconds in rows[:first] if owner == name) for name in KEYS}
    counts = Counter(owner for owner, _ in rows[first : -len(KEYS) * CLIENTS])
    return {name: counts[name] * alone[name] for name in KEYS}
