"""Webhooks and uploads while the server is killed, and while their receivers misbehave."""

import json
import time
from collections import defaultdict
from collections.abc import Set
from pathlib import Path
from typing import Any

import httpx2
import pytest

from server.database import read_only
from server.keys.key_table import DATABASE_NAME
from tests.chaos.figures import record, repeats
from tests.chaos.servers import KEY, TASK_SECONDS, ChaosServer, chaos_server
from tests.chaos.test_tasks import enqueue
from tests.receivers import Receiver, receiver

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

KILLS = 3
TASKS_A_KILL = 5
FLAGS = ("--allow-private-urls", "--webhook-delays", "0.1,0.1,0.1,0.1", "--webhook-timeout", "2")


def told(there: Receiver) -> set[str]:
    """The tasks that the webhook has heard of."""
    bodies = [json.loads(request.body) for request in there.at("/hook")]
    return {item["taskUUID"] for body in bodies for item in (*body.get("data", ()), *body.get("errors", ()))}


def wait_until_told(there: Receiver, count: int, those: Set[str] = frozenset()) -> None:
    """Wait until the webhook has heard of that many tasks, with those among them."""
    end = time.monotonic() + 2 * TASK_SECONDS
    while len(heard := told(there)) < count or not those <= heard:
        assert time.monotonic() < end, f"only {len(heard)} of {count} tasks were told of"
        time.sleep(0.02)


def under_way(database: Path) -> set[str]:
    """The tasks that the last server had begun when it ended."""
    with read_only(database) as connection:
        return {row[0] for row in connection.execute("SELECT task_uuid FROM jobs WHERE state = 'running'")}


def details(server: ChaosServer, task_uuid: str) -> Any:
    body = [{"taskType": "getTaskDetails", "taskUUID": task_uuid}]
    return httpx2.post(f"{server.url}/v1", json=body, headers=KEY, timeout=TASK_SECONDS).json()["data"][0]


def test_a_killed_server_loses_no_webhook_and_no_upload(tmp_path: Path) -> None:
    kills = repeats(KILLS)
    tasks = TASKS_A_KILL * kills
    with receiver() as there:
        targets = {"webhookURL": f"{there.url}/hook", "uploadEndpoint": f"{there.url}/put"}
        with chaos_server(tmp_path, *FLAGS) as server:
            sent = {enqueue(server, seed=seed, numberResults=1 + seed % 2, **targets) for seed in range(tasks)}
            wait_until_told(there, 1)
            server.kill()
        for _ in range(kills - 1):
            # A task that is under way at two kills fails, because it may be what ends the server.
            interrupted, before = under_way(tmp_path / DATABASE_NAME), len(told(there))
            with chaos_server(tmp_path, *FLAGS) as server:
                wait_until_told(there, min(tasks, before + 1), interrupted)
                server.kill()
        with chaos_server(tmp_path, *FLAGS) as server:
            wait_until_told(there, tasks)
            images = {item["imageUUID"] for task in sent for item in ended(server, task)}
            files = {httpx2.get(f"{server.url}/image/{one}.jpg").content for one in images}
            assert server.terminate() == 0
        assert told(there) == sent
        ids = defaultdict(set)
        for request in there.at("/hook"):
            for item in json.loads(request.body)["data"]:
                ids[item["imageUUID"]].add(request.message_id)
        assert len(images) == sum(1 + seed % 2 for seed in range(tasks))  # no picture twice, none missing
        assert ids.keys() == images
        assert all(len(of_image) == 1 for of_image in ids.values())  # repeated, if at all, under the same id
        assert {request.body for request in there.at("/put")} == files
        twice = len(there.at("/hook")) - len(images)
    record("server killed while it delivers", kills=kills, tasks=tasks, images=len(images), webhooks_sent_again=twice)


def ended(server: ChaosServer, task_uuid: str) -> list[dict[str, Any]]:
    """The images of a task that has been told of and delivered."""
    end = time.monotonic() + TASK_SECONDS
    while (found := details(server, task_uuid))["state"] != "done" or waits(found):
        assert found["state"] != "failed", found
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found["response"]["data"]


def waits(found: dict[str, Any]) -> bool:
    return any(one["state"] == "waiting" for one in found["deliveries"])


def test_receivers_that_misbehave_hold_up_nobody(tmp_path: Path) -> None:
    paths = ("hang", "drip", "redirect", "fail", "close")
    with receiver() as bad, receiver() as good, chaos_server(tmp_path, *FLAGS, "--upload-timeout", "1") as server:
        suffering = {path: enqueue(server, webhookURL=f"{bad.url}/{path}") for path in paths for _ in range(4)}
        unsent = [enqueue(server, uploadEndpoint=f"{bad.url}/{path}") for path in ("hang", "drip", "close")]
        served = [enqueue(server, webhookURL=f"{good.url}/hook") for _ in range(4)]
        wait_until_told(good, len(served))
        assert "imageURL" in server.send()
        for task in unsent:
            assert server.finish(task)["code"] == "uploadFailed"
        for task in suffering.values():
            end = time.monotonic() + TASK_SECONDS
            while waits(found := details(server, task)):
                assert time.monotonic() < end, found
                time.sleep(0.1)
            assert [(one["state"], one["tries"]) for one in found["deliveries"]] == [("given_up", 5)]
            assert "imageURL" in found["response"]["data"][0]
        assert bad.at("/elsewhere") == []
        metrics = httpx2.get(f"{server.url}/metrics").text
        assert 'ownware_deliveries_total{kind="webhook",outcome="delivered"} 4.0' in metrics
        assert 'ownware_deliveries_total{kind="upload",outcome="given_up"} 3.0' in metrics
        assert server.terminate() == 0
