"""Keys of different weights send very different tasks to one real server, all at once."""

import contextlib
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from server.database import read_only
from server.keys.api_key import KeyLimits
from server.keys.key_table import DATABASE_NAME, KeyTable
from tests.live import live_server

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

# Of each key: the weight, the steps of its tasks and their images.
KEYS = {"a": (1, 2, 3), "b": (2, 4, 1), "c": (3, 4, 2), "d": (4, 8, 1)}
CLIENTS = 16  # of each key
IMAGES = 100  # that count: 20 and more of each key
TOLERANCE = 0.1
# The device is handed out by the image. A busy machine makes some long, and one of those is much of a share.
LONGEST_IMAGES = 2
STUCK_SECONDS = 60  # without another image


def test_keys_share_the_device_by_their_weights(tmp_path: Path) -> None:
    with contextlib.closing(KeyTable(tmp_path)) as table:
        secrets = {name: table.add(name, KeyLimits(weight=weight)) for name, (weight, _, _) in KEYS.items()}
        owners = {key.owner: key.name for key in table.all()}
    over, refused = threading.Event(), list[str]()

    def send(url: str, name: str) -> None:
        """Send one task after the other, until what was to be counted is there or the server has gone."""
        with httpx2.Client(headers={"Authorization": f"Bearer {secrets[name]}"}, timeout=None) as client:
            while not over.is_set():
                with contextlib.suppress(httpx2.TransportError):
                    response = client.post(f"{url}/v1", json=[task(name)])
                    if response.status_code != 200 and not over.is_set():
                        refused.append(response.text)

    with (
        ThreadPoolExecutor(len(KEYS) * CLIENTS) as pool,
        live_server(tmp_path, "--weights", "embedded", "--devices", "cpu", "--overlap", "off") as server,
    ):
        for name in [*KEYS] * CLIENTS:
            pool.submit(send, server.url, name)
        try:
            images = wait_for_images(tmp_path / DATABASE_NAME, refused)
        finally:
            over.set()
    charged = {name: [seconds for owner, seconds in images if owners[owner] == name] for name in KEYS}
    whole, weights = sum(seconds for _, seconds in images), sum(weight for weight, _, _ in KEYS.values())
    for name, (weight, _, _) in KEYS.items():
        due = whole * weight / weights
        allowed = max(TOLERANCE * due, LONGEST_IMAGES * max(charged[name]))
        assert sum(charged[name]) == pytest.approx(due, abs=allowed), (name, charged)


def task(name: str) -> dict[str, Any]:
    """A new task of a key."""
    _, steps, images = KEYS[name]
    return {
        "taskType": "imageInference",
        "taskUUID": str(uuid.uuid4()),
        "model": "runware:108@1",
        "positivePrompt": "a red circle",
        "width": 128,
        "height": 128,
        "steps": steps,
        "numberResults": images,
    }


def wait_for_images(database: Path, refused: list[str]) -> list[tuple[str, float]]:
    """Wait for the images that count, and return the owner and the charged seconds of each.

    The seconds that are charged are what the policy shares out. A machine that is busy makes them more, for all alike.
    """
    query = "SELECT owner, busy FROM results JOIN jobs ON jobs.id = job_id ORDER BY results.rowid LIMIT ?"
    rows, end = list[tuple[str, float]](), time.monotonic() + STUCK_SECONDS
    while len(rows) < IMAGES:
        assert refused == []
        assert time.monotonic() < end, f"no image came after the first {len(rows)}"
        time.sleep(0.2)
        with read_only(database) as connection:
            found = connection.execute(query, (IMAGES,)).fetchall()
        if len(found) > len(rows):
            rows, end = found, time.monotonic() + STUCK_SECONDS
    return rows
