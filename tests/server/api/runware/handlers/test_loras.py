"""`lora` on the wire: which are found, what they become, and how mistakes are answered."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import LORA_ARCHITECTURES, Adapter, Catalog
from pipelines.request import LoraUse, Sampler
from server.api.runware.schema.tasks import ModelUpload
from server.app import create_app
from server.errors import Failure
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.conftest import error_of, new_task, post

LIGHTNING = Adapter("hub:1@1", "Lightning", "owner/lightning/8steps.safetensors", weight=0.8, slugs=("lightning",))
FLUX = Adapter("civitai:5@1", "Neon", "/loras/neon.safetensors", architecture="flux1d")
EDIT = Adapter("civitai:6@2", "Watercolour", "/loras/watercolour.safetensors", architecture="qwen_image_edit")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "loras"
    folder.mkdir()
    for name in ("Pixel art.safetensors", "ink.v2.safetensors", "notes.txt"):
        (folder / name).touch()
    return folder


@pytest.fixture
def client(settings: Settings, catalog: Catalog, worker: FakeWorker, folder: Path) -> Iterator[TestClient]:
    settings = settings.model_copy(update={"lora_dir": folder})
    app = create_app(settings, replace(catalog, loras=(LIGHTNING, FLUX, EDIT), controlnets=()), [worker])
    with TestClient(app, base_url="http://box:8000") as client:
        yield client


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([], []),
        ([{"model": "hub:1@1"}], [("hub:1@1", "owner/lightning/8steps.safetensors", 0.8)]),
        ([{"model": "HUB:1@1", "weight": 1}], [("HUB:1@1", "owner/lightning/8steps.safetensors", 1.0)]),
        ([{"model": "lightning", "weight": None}], [("lightning", "owner/lightning/8steps.safetensors", 0.8)]),
        ([{"model": "lightning", "weight": 0}], [("lightning", "owner/lightning/8steps.safetensors", 0.0)]),
        ([{"model": "civitai:6@2", "weight": -4}], [("civitai:6@2", "/loras/watercolour.safetensors", -4.0)]),
        ([{"model": "civitai:6@2", "transformer": "low"}], [("civitai:6@2", "/loras/watercolour.safetensors", 1.0)]),
        ([{"model": "pixel art", "weight": 0.55}], [("pixel art", "FOLDER/Pixel art.safetensors", 0.55)]),
        ([{"model": "ink.v2"}] * 2, [("ink.v2", "FOLDER/ink.v2.safetensors", 1.0)] * 2),
    ],
)
def test_what_the_worker_is_asked_for(
    client: TestClient, worker: FakeWorker, folder: Path, sent: list[Any], expected: list[tuple[str, str, float]]
) -> None:
    assert post(client, new_task(lora=sent)).status_code == 200
    uses = [LoraUse(name, Path(path.replace("FOLDER", str(folder))), weight) for name, path, weight in expected]
    assert list(worker.jobs[-1].request.loras) == uses
    assert all(type(use.weight) is float for use in worker.jobs[-1].request.loras)


def test_a_known_distilled_file_in_the_folder_brings_its_schedule(
    client: TestClient, worker: FakeWorker, folder: Path
) -> None:
    (folder / "Qwen-Image-Lightning-4steps-V1.0.safetensors").touch()
    task = new_task(lora=[{"model": "qwen-image-lightning-4steps-v1.0"}])
    assert post(client, task).status_code == 200
    request = worker.jobs[-1].request
    assert (request.steps, request.true_cfg_scale, request.sampler) == (4, 1.0, Sampler(shift=3.0, terminal=0.0))


def test_an_edit_takes_them_too(client: TestClient, worker: FakeWorker, reference: str) -> None:
    task = new_task(model="runware:108@20", inputs={"referenceImages": [reference]}, lora=[{"model": "lightning"}])
    assert post(client, task).status_code == 200
    assert worker.jobs[-1].request.loras[0].name == "lightning"


@pytest.mark.parametrize(
    ("lora", "code", "parameter", "words"),
    [
        ([{"model": "civitai:7@1"}], "invalidModel", "lora[0].model", "'civitai:7@1' is not installed"),
        ([{"model": "lightning"}, {"model": "runware:108@1"}], "invalidModel", "lora[1].model", "not installed"),
        ([{"model": "notes"}], "invalidModel", "lora[0].model", "not installed"),
        ([{"model": "../ink.v2"}], "invalidModel", "lora[0].model", "not installed"),
        ([{"model": "civitai:5@1"}], "invalidModel", "lora[0].model", "architecture 'flux1d'"),
        ([{"model": "lightning", "weight": 4.01}], "invalidLora", "lora[0].weight", "between -4 and 4"),
        ([{"model": "lightning", "weight": 0.001}], "invalidLora", "lora[0].weight", "0.01"),
        ([{"model": "lightning", "transformer": "mid"}], "invalidLora", "lora[0].transformer", "high"),
        ([{"weight": 1}], "missingLora", "lora[0].model", "Missing"),
        (3, "invalidLora", "lora", "array"),
        (["lightning"], "invalidLora", "lora[0]", "object"),
    ],
)
def test_mistakes_are_named(client: TestClient, lora: Any, code: str, parameter: str, words: str) -> None:
    response = post(client, new_task(lora=lora))
    assert response.status_code == 400
    error = error_of(response)
    assert (error["code"], error["parameter"]) == (code, parameter)
    assert words in error["message"]


def test_an_unknown_one_lists_those_that_are_installed(client: TestClient) -> None:
    error = error_of(post(client, new_task(lora=[{"model": "x"}])))
    assert error["allowedValues"] == ["hub:1@1", "civitai:5@1", "civitai:6@2", "Pixel art", "ink.v2"]


def test_a_file_is_found_as_soon_as_it_is_there(client: TestClient, folder: Path) -> None:
    task = new_task(lora=[{"model": "late"}])
    assert error_of(post(client, task))["code"] == "invalidModel"
    (folder / "late.safetensors").touch()
    assert post(client, task).status_code == 200


def test_one_that_does_not_fit_fails_its_task_by_name(client: TestClient, worker: FakeWorker) -> None:
    worker.fail = Failure("invalidModel", "LoRA 'lightning' cannot be used", 400, "loras[0]")
    task = new_task(lora=[{"model": "lightning"}])
    response = post(client, task)
    assert response.status_code == 400
    error = error_of(response)
    assert (error["code"], error["parameter"]) == ("invalidModel", "lora[0].model")
    later = post(client, {"taskType": "getResponse", "taskUUID": task["taskUUID"]}).json()
    assert later["errors"] == [error | {"status": "error"}]


def test_model_search_lists_them(client: TestClient) -> None:
    def found(**filters: Any) -> list[str]:
        (item,) = post(client, {"taskType": "modelSearch", "taskUUID": new_task()["taskUUID"], **filters}).json()[
            "data"
        ]
        assert item["totalResults"] == len(item["results"])
        return [row["air"] for row in item["results"]]

    loras = ["hub:1@1", "civitai:5@1", "civitai:6@2", "Pixel art", "ink.v2"]
    assert found(category="lora") == found(source="community") == loras
    assert found(category="checkpoint") == found(source="official") == [a for a in found() if a not in loras]
    assert found(search="water") == ["civitai:6@2"]
    assert found(category="lora", architecture="flux1d") == ["civitai:5@1"]
    by_name = ["hub:1@1", "civitai:5@1", "Pixel art", "civitai:6@2", "ink.v2"]
    assert found(category="lora", sort="name") == by_name
    assert found(category="lora", sort="-name") == by_name[::-1]


def test_the_architectures_that_can_be_uploaded_are_those_that_fit() -> None:
    assert ModelUpload.model_json_schema()["properties"]["architecture"]["enum"] == list(LORA_ARCHITECTURES)
