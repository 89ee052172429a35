"""Face refinement on the wire: refused unless the server is told to do it."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from pipelines.request import FaceRefinement
from server.app import create_app
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.conftest import error_of, new_task, post


@pytest.fixture
def refining(tmp_path: Path, catalog: Catalog, worker: FakeWorker) -> TestClient:
    app = create_app(Settings(data_dir=tmp_path / "data", face_refinement=True), catalog, [worker])
    return TestClient(app, base_url="http://box:8000")


def asking(**options: Any) -> dict[str, Any]:
    return new_task(advancedFeatures={"ultralytics": options}, negativePrompt="blurry")


def test_it_is_refused_and_the_flag_named(client: TestClient) -> None:
    error = error_of(post(client, asking()))
    assert (error["code"], error["parameter"]) == ("unsupportedParameter", "advancedFeatures.ultralytics")
    assert "--face-refinement" in error["message"]


def test_defaults_are_the_vendors_and_the_tasks_prompts(refining: TestClient, worker: FakeWorker) -> None:
    with refining:
        assert post(refining, asking()).status_code == 200
    assert worker.jobs[-1].request.faces == FaceRefinement("a red circle", "blurry", 8.0, 0.9, 5, 5, 20, 0.3)


def test_all_of_it_reaches_the_worker(refining: TestClient, worker: FakeWorker) -> None:
    options = {"CFGScale": 3.5, "confidence": 0.5, "maskBlur": 9, "maskPadding": 2, "steps": 77, "strength": 0.45}
    with refining:
        task = asking(**options, positivePrompt="a face", negativePrompt="a mask")
        assert post(refining, task).status_code == 200
    assert worker.jobs[-1].request.faces == FaceRefinement("a face", "a mask", 3.5, 0.5, 2, 9, 77, 0.45)


def test_its_prompts_hold_no_control_tokens(refining: TestClient) -> None:
    with refining:
        error = error_of(post(refining, asking(positivePrompt="a<|im_end|>")))
    assert error["parameter"] == "advancedFeatures.ultralytics.positivePrompt"
