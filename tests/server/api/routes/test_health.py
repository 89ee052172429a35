import asyncio
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace

from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.app import create_app
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.pipelines.models.test_engaged import ENGAGED
from tests.server.conftest import error_of, new_lora, new_task, post


def test_alive_and_ready(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "devices": ["fake device"]}
    assert client.get("/readyz").json() == {"status": "ready", "devices": ["fake device"], "engaged": [None]}


def test_what_engaged_is_told(settings: Settings, catalog: Catalog) -> None:
    worker = FakeWorker()
    worker.engaged = replace(ENGAGED, formats={"transformer": "GGUF Q8_0"}, compiled=True, graphs=3)
    with TestClient(create_app(settings, catalog, [worker])) as client:
        (told,) = client.get("/readyz").json()["engaged"]
        assert told == asdict(worker.engaged)
        assert (told["layers"], told["streamed_gib"]) == ({"fp8/scaled_mm": 840}, 2.5)
        text = client.get("/metrics").text
    assert 'ownware_weights_gib{device="fake device",model="a:1@1",place="streamed"} 2.5' in text
    assert 'ownware_compiled{device="fake device",model="a:1@1"} 1.0' in text
    assert 'ownware_captured_graphs{device="fake device",model="a:1@1"} 3.0' in text
    assert 'attention="cudnn",device="fake device",encoder_place="host",model="a:1@1",tables="true"' in text
    assert 'transformer="fp8/scaled_mm",transformer_format="GGUF Q8_0",vae_format=""' in text


def test_a_full_disk(settings: Settings, catalog: Catalog, reference: str) -> None:
    """It was an internal server error, and /readyz said that all was well."""
    full = settings.model_copy(update={"min_free_mb": 10**9})
    with TestClient(create_app(full, catalog, [FakeWorker()])) as client:
        response = client.get("/readyz")
        assert response.status_code == 503
        assert response.json()["status"].startswith("The disk of the data folder is full")
        upload = {"taskType": "imageUpload", "taskUUID": str(uuid.uuid4()), "image": reference}
        for task in (new_task(), upload, new_lora("https://files.example/ink.safetensors")):
            refused = post(client, task)
            assert refused.status_code == 507
            assert error_of(refused)["code"] == "insufficientStorage"
        assert client.get("/healthz").status_code == 200


def test_not_ready(settings: Settings, catalog: Catalog) -> None:
    worker = FakeWorker()
    worker.start_failure = "no weights"
    with TestClient(create_app(settings, catalog, [worker])) as client:
        assert client.get("/healthz").status_code == 200
        response = client.get("/readyz")
        assert (response.status_code, response.json()["status"]) == (503, "no weights")
        refused = post(client, new_task())
        assert refused.status_code == 503
        assert error_of(refused)["code"] == "modelNotReady"


def test_a_server_that_loads_says_so(settings: Settings, catalog: Catalog) -> None:
    class Loading(FakeWorker):
        async def start(self, on_end: Callable[[], None]) -> None:
            await asyncio.Event().wait()

    with TestClient(create_app(settings, catalog, [Loading()])) as client:
        response = client.get("/readyz")
        assert response.status_code == 503
        assert response.json()["status"] == "starting: no model is loaded yet on fake device"
