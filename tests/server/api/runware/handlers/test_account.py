import time
import uuid

import pytest
from starlette.testclient import TestClient

from tests.server.conftest import new_task, post


def test_usage_counts_images_by_period(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    noon = time.time() // 86_400 * 86_400 + 43_200
    monkeypatch.setattr(time, "time", lambda: noon)
    post(client, new_task(numberResults=2))
    task = {"taskType": "accountManagement", "taskUUID": str(uuid.uuid4()), "operation": "getDetails"}
    (item,) = post(client, task).json()["data"]
    assert (item["taskUUID"], item["operation"], item["balance"]) == (task["taskUUID"], "getDetails", 0)
    assert {period["credits"] for period in item["usage"].values()} == {0}
    counts = {name: period["requests"] for name, period in item["usage"].items()}
    assert counts == {"total": 2, "today": 2, "last7Days": 2, "last30Days": 2}


def test_a_ping_is_answered_with_its_uuid_if_it_has_one(client: TestClient) -> None:
    task_uuid = str(uuid.uuid4())
    assert post(client, {"taskType": "ping", "ping": True}).json() == {"data": [{"taskType": "ping", "pong": True}]}
    (item,) = post(client, {"taskType": "ping", "taskUUID": task_uuid}).json()["data"]
    assert item == {"taskType": "ping", "pong": True, "taskUUID": task_uuid}
