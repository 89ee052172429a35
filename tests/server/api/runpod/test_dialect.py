from pathlib import Path
from typing import Any

import pytest

from pipelines.catalog.catalog import Catalog
from server.api.access.client import Client
from server.api.runpod.dialect import IMAGE_SECONDS, RunpodDialect
from server.database import Database
from server.delivery.targets import Webhook
from server.errors import NotFound, TaskRejected
from server.tasks import lora_library
from server.tasks.lora_library import LoraLibrary
from server.tasks.spec import TaskSpec
from tests.server.api.runpod.common import DONE
from tests.server.media.images import images

CLIENT = Client("me", "http://box", listens=False)


@pytest.fixture
def dialect(catalog: Catalog, tmp_path: Path) -> RunpodDialect:
    database = Database(tmp_path / "db.sqlite", [lora_library.SCHEMA])
    dialect = RunpodDialect(LoraLibrary(catalog, database, tmp_path, None), images())
    database.close()
    return dialect


def spec_of(dialect: RunpodDialect, endpoint: str, asked: dict[str, Any], **body: Any) -> TaskSpec:
    return dialect.parse(dialect.read(endpoint, "one-u1", {"input": asked, **body}, CLIENT), CLIENT)


def test_a_job_becomes_a_task(dialect: RunpodDialect) -> None:
    asked = {
        "prompt": "a",
        "image": "http://box/image/83e5a68e-074f-4bea-8e26-a6723ae9b2da.png",
        "output_format": "png",
        "num_inference_steps": 6,
        "true_cfg_scale": 2.5,
        "negative_prompt": "b",
    }
    spec = spec_of(dialect, "Qwen-Image-Edit", asked, webhook="https://receiver/hook")
    assert (spec.owner, spec.dialect, spec.task_id, spec.ttl) == ("me", "runpod", "one-u1", IMAGE_SECONDS)
    assert spec.references == ("83e5a68e-074f-4bea-8e26-a6723ae9b2da",)
    assert (spec.steps, spec.true_cfg_scale, spec.negative_prompt, spec.seed) == (6, 2.5, "b", None)
    assert spec.encoding.format == "PNG"
    assert spec.webhook == Webhook("https://receiver/hook", "http://box", (10.0, 10.0))
    assert spec.task["endpoint"] == "qwen-image-edit"


def test_another_model_is_an_endpoint_too(dialect: RunpodDialect) -> None:
    assert spec_of(dialect, "qwen-image-2512", {"prompt": "a", "size": "512*512"}).model.version == "2512"
    with pytest.raises(NotFound):
        spec_of(dialect, "flux", {"prompt": "a"})


def test_the_parameters_at_fault_have_the_vendors_names(dialect: RunpodDialect) -> None:
    with pytest.raises(TaskRejected) as caught:
        spec_of(dialect, "qwen-image-edit-2511", {"prompt": "a", "images": ["a"] * 4, "loras": [{"path": "b"}]})
    assert [error.parameter for error in caught.value.errors] == ["images", "loras[0].path"]


async def test_what_is_rendered(dialect: RunpodDialect) -> None:
    assert dialect.acknowledge(DONE) == {"id": "sync-1-u1", "status": "IN_QUEUE"}
    assert (await dialect.result(DONE, CLIENT))["output"]["cost"] == 0
    error = NotFound("job not found")
    assert dialect.error(error) == {"error": "job not found"}
    assert dialect.error(error, "one-u1") == {"id": "one-u1", "status": "FAILED", "error": "job not found"}
