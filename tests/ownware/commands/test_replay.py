"""Render again what a running server has rendered, from each place where its receipt is."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ownware.commands.replay import DIFFERENT, SAME, _as_then, replay_receipt
from ownware.console import IMPOSSIBLE
from ownware.local_models import LocalModels
from pipelines.catalog.models_file import load_catalog
from pipelines.receipt import make_receipt
from pipelines.request import LoraUse, RenderRequest, Sampler
from server.settings import Settings
from tests.fakes import picture
from tests.live import LiveServer
from tests.pipelines.models.test_engaged import ENGAGED
from tests.server.conftest import new_task

PICTURE = picture(160, 128)
ENTRY = load_catalog().with_embedded_weights().entries[0]
TEXT = "data:image/png;base64," + base64.b64encode(PICTURE).decode()


def draw(live: LiveServer, task: dict[str, Any], path: Path) -> Path:
    """Have the server draw an image, and keep it beside its receipt."""
    item = live.send(task)
    path.write_bytes(httpx2.get(item["imageURL"]).content)
    path.with_suffix(".json").write_text(httpx2.get(f"{live.url}/v1/receipts/{item['imageUUID']}").text)
    return path


def edit(live: LiveServer, file_format: str, folder: Path) -> Path:
    """An edit with a seed image."""
    inputs = {"referenceImages": [TEXT], "seedImage": TEXT}
    task = new_task(model="runware:108@20", steps=2, outputFormat=file_format, inputs=inputs)
    return draw(live, task, folder / f"image.{file_format.lower()}")


@pytest.fixture(scope="module")
def drawn(live: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return edit(live, "PNG", tmp_path_factory.mktemp("drawn"))


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    path = tmp_path / "reference.png"
    path.write_bytes(PICTURE)
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", devices=("cpu",))


class TestSame:
    @pytest.mark.parametrize(
        "file_format", ["PNG", *(pytest.param(each, marks=pytest.mark.slow) for each in ("JPG", "WEBP"))]
    )
    def test_bytes(
        self, live: LiveServer, reference: Path, settings: Settings, file_format: str, tmp_path: Path
    ) -> None:
        image, out = edit(live, file_format, tmp_path), tmp_path / "again"
        assert replay_receipt(str(image), out, [reference], settings) == SAME
        assert out.read_bytes() == image.read_bytes()

    @pytest.mark.slow
    def test_from_the_receipt_alone(self, drawn: Path, reference: Path, settings: Settings, tmp_path: Path) -> None:
        out = tmp_path / "again"
        assert replay_receipt(str(drawn.with_suffix(".json")), out, [reference], settings) == SAME
        assert out.read_bytes() == drawn.read_bytes()

    def test_with_the_pictures_of_the_data_folder(
        self, drawn: Path, reference: Path, settings: Settings, tmp_path: Path
    ) -> None:
        kept = settings.data_dir / "media" / "ab" / "any.png"
        kept.parent.mkdir(parents=True)
        reference.rename(kept)
        assert replay_receipt(str(drawn), tmp_path / "again", [], settings) == SAME


PAINTED = {"width": 160, "height": 128, "inputs": {"seedImage": TEXT, "maskImage": TEXT}}
TASKS: dict[str, dict[str, Any]] = {
    "a LoRA under two names": {"lora": [{"model": "outlines", "weight": 0.6}, {"model": "ownware:1@1", "weight": 0.4}]},
    "a ControlNet": {"controlNet": [{"model": "edges", "guideImage": TEXT}]},
    "a mask with a margin": {**PAINTED, "maskMargin": 32},
    "a ControlNet and a mask": {**PAINTED, "maskMargin": 32, "controlNet": [{"model": "edges", "guideImage": TEXT}]},
    "outpainting": {"width": 192, "height": 128, "inputs": {"seedImage": TEXT}, "outpaint": {"left": 32}},
    "a step cache": {"acceleratorOptions": {"fbCache": True, "fbCacheThreshold": 0.5}, "steps": 8},
    "noise in each step": {"scheduler": "Euler a"},
    "two references": {"model": "runware:108@22", "inputs": {"referenceImages": [TEXT, TEXT]}},
}


@pytest.mark.parametrize("what", TASKS)
def test_the_same_bytes_with(what: str, live: LiveServer, reference: Path, settings: Settings, tmp_path: Path) -> None:
    image = draw(live, new_task(**{"steps": 3, "outputFormat": "PNG", **TASKS[what]}), tmp_path / "image.png")
    assert replay_receipt(str(image), tmp_path / "again", [reference], settings) == SAME


def changed(drawn: Path, out: Path, **changes: object) -> Path:
    document = json.loads(drawn.with_suffix(".json").read_text())
    document["receipt"] |= changes
    out.write_text(json.dumps(document))
    return out


def test_other_bytes_are_said(
    drawn: Path, reference: Path, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(drawn.with_suffix(".json").read_text())
    request = document["receipt"]["request"] | {"seed": 99}
    versions = document["receipt"]["versions"] | {"torch": "1.0"}
    source = changed(drawn, tmp_path / "other.json", request=request, versions=versions)
    assert replay_receipt(str(source), tmp_path / "again", [reference], settings) == DIFFERENT
    printed = capsys.readouterr()
    assert "other bytes" in printed.out
    assert "torch was 1.0" in printed.err


class TestImpossible:
    def test_without_its_pictures(self, drawn: Path, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
        assert replay_receipt(str(drawn), None, [], settings) == IMPOSSIBLE
        assert "--picture" in capsys.readouterr().err

    @pytest.mark.parametrize("content", [PICTURE, b"{", b"{}", b"", b"text"])
    def test_without_a_receipt(self, settings: Settings, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "file"
        path.write_bytes(content)
        assert replay_receipt(str(path), None, [], settings) == IMPOSSIBLE
        assert replay_receipt(str(tmp_path / "nothing"), None, [], settings) == IMPOSSIBLE


def test_a_lora_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lora = tmp_path / "data" / "loras" / "style.safetensors"
    lora.parent.mkdir(parents=True)
    lora.write_bytes(b"weights")
    request = RenderRequest(ENTRY.air, "a", None, 128, 128, 2, Sampler(), 1.0, 7, loras=(LoraUse("style", lora),))
    receipt = make_receipt(request, 7, ("PNG", 95), ENTRY, "cpu", "float32")
    (tmp_path / "receipt.json").write_text(receipt.to_json())
    settings = Settings(data_dir=tmp_path / "data", devices=("cpu",))
    assert replay_receipt(str(tmp_path / "receipt.json"), tmp_path / "again", [], settings) == IMPOSSIBLE
    assert "LoRA 'style' cannot be used" in capsys.readouterr().err


def test_branches_and_blocks_run_as_the_receipt_says(settings: Settings) -> None:
    plain = make_receipt(RenderRequest("", "a", None, 128, 128, 1, Sampler(), 4.0, 7), 7, ("PNG", 95), ENTRY, "", "")
    models = LocalModels.find(settings.model_copy(update={"batched_cfg": "auto"}))
    assert models.options.compiled is not None
    for engaged, batched, compiled in (
        (None, False, None),
        (replace(ENGAGED, batched_cfg=True), True, None),
        (replace(ENGAGED, compiled=True), False, models.options.compiled),
    ):
        options = _as_then(replace(plain, engaged=engaged), models).options
        assert (options.batched_cfg, options.branch_gains, options.compiled) == (batched, None, compiled)
