"""What comes with the embedded checkpoint can be named in a task at once."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import EDGES, EMBEDDED_FOLDER, OUTLINES
from tests.fakes import FakeWorker
from tests.server.conftest import new_task, post


@pytest.mark.parametrize("name", ["ownware:1@1", "outlines"])
def test_the_lora(client: TestClient, worker: FakeWorker, name: str) -> None:
    assert post(client, new_task(lora=[{"model": name}])).status_code == 200
    (use,) = worker.jobs[-1].request.loras
    assert (use.path, use.weight) == (EMBEDDED_FOLDER / OUTLINES, 1.0)


@pytest.mark.parametrize("name", ["ownware:2@1", "edges"])
def test_the_controlnet(client: TestClient, worker: FakeWorker, reference: str, name: str) -> None:
    assert post(client, new_task(controlNet=[{"model": name, "guideImage": reference}])).status_code == 200
    (use,) = worker.jobs[-1].request.controls
    assert Path(use.weights) == EMBEDDED_FOLDER / EDGES


def test_they_are_listed(client: TestClient) -> None:
    def found(category: str) -> list[Any]:
        search = {"taskType": "modelSearch", "taskUUID": "0c5a2a5e-6f0b-4d0e-9a52-2a7b3f1d8c01", "category": category}
        return [row["air"] for row in post(client, search).json()["data"][0]["results"]]

    assert found("lora") == ["ownware:1@1", "ownware:3@1"]
    assert found("controlnet") == ["ownware:2@1"]
