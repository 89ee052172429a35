"""The imageInference task: what its client is answered, whatever becomes of it."""

import pytest
from starlette.testclient import TestClient

from server.errors import Failure
from tests.fakes import FakeWorker
from tests.server.conftest import error_of, new_task, post


@pytest.mark.parametrize(
    ("failure", "parameter"),
    [
        (Failure("modelNotReady", "The weights are not here.", 503), None),
        (Failure("invalidModel", "ControlNet 'x' cannot be used", 400, "controls[0]"), "controlNet[0].model"),
        (Failure("invalidModel", "LoRA 'x' cannot be used", 400, "loras[1]"), "lora[1].model"),
        (Failure("inferenceError", "The picture is gone.", 500, "references[0]"), "inputs.referenceImages[0]"),
    ],
)
def test_a_failure_of_the_worker_keeps_its_code_its_status_and_its_place(
    client: TestClient, worker: FakeWorker, failure: Failure, parameter: str | None
) -> None:
    worker.fail = failure
    task = new_task()
    response = post(client, task)
    assert response.status_code == failure.status
    error = error_of(response)
    assert (error["code"], error["message"], error.get("parameter")) == (failure.code, failure.message, parameter)
    later = post(client, {"taskType": "getResponse", "taskUUID": task["taskUUID"]})
    assert later.status_code == 200
    assert later.json()["errors"] == [error | {"status": "error"}]
