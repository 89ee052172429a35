from pathlib import Path
from typing import Any

import pytest

from pipelines.catalog.catalog import Catalog
from server.api.access.client import Client
from server.api.wavespeed.dialect import IMAGE_SECONDS, WEBHOOK_DELAYS, Submission, WaveSpeedDialect
from server.database import Database
from server.delivery.targets import Webhook
from server.errors import NotFound, TaskRejected
from server.media import store as media_tables
from server.media.store import MediaStore
from server.tasks import lora_library
from server.tasks.lora_library import LoraLibrary
from server.tasks.spec import TaskSpec
from tests.server.api.wavespeed.common import DRAW, EDIT

CLIENT = Client("me", "http://box", listens=False)


@pytest.fixture
def dialect(catalog: Catalog, tmp_path: Path) -> WaveSpeedDialect:
    database = Database(tmp_path / "db.sqlite", [lora_library.SCHEMA, media_tables.SCHEMA])
    dialect = WaveSpeedDialect(LoraLibrary(catalog, database, tmp_path, None), MediaStore(database, tmp_path))
    database.close()
    return dialect


def spec_of(dialect: WaveSpeedDialect, model: str, webhook: str | None = None, /, **body: Any) -> TaskSpec:
    return dialect.parse(Submission(model, "c0ffee", {"prompt": "a", **body}, webhook), CLIENT)


@pytest.mark.parametrize(
    ("path", "images", "air"),
    [
        ("edit", 1, "runware:108@20"),
        ("edit", 3, "runware:108@22"),
        ("edit-lora", 1, "runware:108@20"),
        ("edit-plus", 1, "runware:108@22"),
        ("edit-plus-lora", 2, "runware:108@22"),
        ("edit-2511", 3, "alibaba:qwen-image-edit@2511"),
        ("edit-2511-lora", 1, "alibaba:qwen-image-edit@2511"),
        ("text-to-image", 0, "runware:108@1"),
        ("text-to-image-lora", 0, "runware:108@1"),
    ],
)
def test_every_path_has_a_model(dialect: WaveSpeedDialect, path: str, images: int, air: str) -> None:
    body = {"images": ["a"] * images} if images else {}
    assert spec_of(dialect, f"wavespeed-ai/qwen-image/{path}", **body).model.air == air


def test_a_picture_has_any_of_four_forms(dialect: WaveSpeedDialect) -> None:
    own = "http://box/image/83e5a68e-074f-4bea-8e26-a6723ae9b2da.png"
    for name, value in (("image", own), ("image", [own]), ("images", own), ("images", [own])):
        assert spec_of(dialect, EDIT, **{name: value}).references == ("83e5a68e-074f-4bea-8e26-a6723ae9b2da",)
    assert spec_of(dialect, EDIT, image="a").parameter("references[0]") == "image"
    assert spec_of(dialect, EDIT, images=["a"]).parameter("references[0]") == "images[0]"


def test_sizes(dialect: WaveSpeedDialect) -> None:
    sizes = [
        spec_of(dialect, DRAW, **body)
        for body in (
            {},
            {"size": "1536*1080"},
            {"size": "512x768"},
            {"aspect_ratio": "16:9"},
            {"size": "512*512", "aspect_ratio": "1:2"},
        )
    ]
    assert [(spec.width, spec.height) for spec in sizes] == [
        (1024, 1024),
        (1536, 1072),
        (512, 768),
        (1360, 768),
        (512, 512),
    ]
    assert spec_of(dialect, EDIT, image="a").width is None
    with pytest.raises(TaskRejected, match="aspect_ratio"):
        spec_of(dialect, DRAW, aspect_ratio="wide")


def test_what_else_becomes_of_a_prediction(dialect: WaveSpeedDialect) -> None:
    spec = spec_of(dialect, DRAW, "https://a/hook", seed=2**31 + 3, num_inference_steps=6, strength=0.5, num_images=9)
    assert (spec.seed, spec.steps, spec.count, spec.ttl) == (3, 6, 1, IMAGE_SECONDS)
    assert spec.webhook == Webhook("https://a/hook", "http://box", WEBHOOK_DELAYS)
    assert spec.task["model"] == DRAW
    body_hook = spec_of(dialect, DRAW, webhook_url="https://b/hook").webhook
    assert body_hook is not None
    assert body_hook.url == "https://b/hook"
    with pytest.raises(TaskRejected, match="webhook_url"):
        spec_of(dialect, DRAW, "ftp://a")
    with pytest.raises(NotFound):
        spec_of(dialect, "wavespeed-ai/flux-dev")
