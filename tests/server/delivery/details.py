"""What `getTaskDetails` says of a task and its deliveries."""

from typing import Any

from starlette.testclient import TestClient

from tests.server.conftest import post


def details(client: TestClient, task: dict[str, Any]) -> Any:
    return post(client, {"taskType": "getTaskDetails", "taskUUID": task["taskUUID"]}).json()["data"][0]


def ended_deliveries(client: TestClient, task: dict[str, Any], count: int) -> list[Any]:
    """The deliveries of a task, once that many have ended."""
    while True:
        found = details(client, task).get("deliveries", [])
        if sum(one["state"] != "waiting" for one in found) >= count:
            return found
