from collections.abc import Iterator
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.api.routes import server_state
from server.app import create_app
from server.jobs.estimates import Measured
from server.machine.memory import Memory
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.pipelines.models.test_engaged import ENGAGED
from tests.server.conftest import error_of, new_task, post

ONE, OTHER = {"Authorization": "Bearer one"}, {"Authorization": "Bearer other"}


@pytest.fixture(autouse=True)
def _memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_state, "read_memory", lambda: (Memory("host", 8, 3),))


@pytest.fixture
def worker() -> FakeWorker:
    worker = FakeWorker()
    worker.engaged = replace(ENGAGED, model="runware:108@1")
    return worker


@pytest.fixture
def with_keys(settings: Settings, catalog: Catalog, worker: FakeWorker) -> Iterator[TestClient]:
    settings = settings.model_copy(update={"api_keys": ("one", "other")})
    with TestClient(create_app(settings, catalog, [worker])) as client:
        yield client
        worker.release()


def test_models_have_what_a_task_takes_without_saying_it(client: TestClient) -> None:
    state = client.get("/v1/server").json()
    models = {model["air"]: model for model in state["models"]}
    assert models["runware:108@1"]["defaults"] == {"steps": 20, "CFGScale": 4.0, "width": 1024, "height": 1024}
    assert models["runware:108@1"]["references"] == [0, 0]
    assert models["runware:108@22"]["references"] == [1, 3]
    assert models["runware:108@20"]["defaults"]["width"] is None
    assert models["runware:108@1"]["embedded"]
    assert [lora["name"] for lora in state["loras"]] == ["Outlines", "Lightning, 4 steps"]
    assert [net["weight"] for net in state["controlnets"]] == [1.0]
    assert "canny" in state["preprocessors"]
    assert state["thresholdDirection"] == "documented"
    assert state["limits"] == {"bodyBytes": 100_000_000}
    assert state["versions"].keys() >= {"ownware", "python", "torch"}


def test_devices_and_memory(client: TestClient) -> None:
    state = client.get("/v1/server").json()
    assert state["status"] == "ready"
    (device,) = state["devices"]
    assert (device["name"], device["state"], device["model"]) == ("fake device", "idle", "runware:108@1")
    assert device["plan"].startswith("transformer fp8")
    assert state["memory"] == [{"name": "host", "total": 8, "free": 3}]


def test_a_key_sees_its_own_tasks_and_counts_the_others(with_keys: TestClient, worker: FakeWorker) -> None:
    worker.hold()
    tasks = [new_task(deliveryMethod="async") for _ in range(3)]
    tasks[1]["ownware"] = {"priority": "low"}
    post(with_keys, *tasks[:2], headers=ONE)
    worker.held.wait(5)
    post(with_keys, tasks[2], headers=OTHER)
    own, others = (with_keys.get("/v1/server", headers=headers).json() for headers in (ONE, OTHER))
    assert own["devices"][0] | {"state": "busy", "taskUUID": tasks[0]["taskUUID"]} == own["devices"][0]
    assert others["devices"][0]["taskUUID"] is None
    assert own["queue"]["waiting"] == 2
    found = sorted((key["own"], key["waiting"], key["low"]) for key in own["queue"]["keys"])
    assert found == [(False, 1, 0), (True, 1, 1)]
    assert all(key["seconds"] > 0 for key in own["queue"]["keys"])


def test_it_needs_a_key(with_keys: TestClient) -> None:
    response = with_keys.get("/v1/server")
    assert response.status_code == 401
    assert error_of(response)["code"] == "missingApiKey"


def test_the_seconds_of_a_step_are_those_that_were_learnt(client: TestClient, worker: FakeWorker) -> None:
    assert client.get("/v1/server").json()["paces"] == []
    worker.measured = Measured(0.5, 0.1)
    post(client, new_task(width=512, height=512))
    (pace,) = client.get("/v1/server").json()["paces"]
    assert (pace["model"], pace["references"]) == ("runware:108@1", 0)
    assert pace["secondsPerStep"] == pytest.approx(0.5, rel=0.1)


def test_the_memory_is_read_once_for_those_who_ask_together(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    monkeypatch.setattr(server_state, "read_memory", lambda: reads.append(1) or ())
    client.get("/v1/server")
    client.get("/v1/server")
    assert len(reads) == 1
