"""The Python API renders what a server renders, byte for byte."""

import base64
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

import ownware
from ownware.commands.replay import SAME, replay_receipt
from ownware.images import api
from pipelines.catalog.catalog import EMBEDDED_FOLDER, OUTLINES
from pipelines.catalog.models_file import CatalogError
from pipelines.errors import LoadError, ResultError
from server.settings import Settings
from tests.docs.pages import ROOT, blocks
from tests.docs.prompts import CIRCLE, Seen, expected
from tests.fakes import picture
from tests.live import LiveServer
from tests.pipelines.catalog.models_files import row, written
from tests.server.conftest import new_task

PROMPT = "a large red circle at the center on a white background"
SMALL: dict[str, Any] = {"width": 128, "height": 128, "steps": 2, "seed": 7, "device": "cpu"}


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    path.write_bytes(picture(160, 128))
    return path


def rendered_by(live: LiveServer, task: dict[str, Any]) -> bytes:
    return httpx2.get(live.send(task)["imageURL"]).content


class TestSameBytes:
    def test_text_to_image(self, live: LiveServer, tmp_path: Path) -> None:
        result = ownware.generate(PROMPT, **SMALL)
        task = new_task(positivePrompt=PROMPT, seed=7, steps=2, outputFormat="PNG")
        assert result.save(tmp_path / "image.png").read_bytes() == rendered_by(live, task)
        assert (result.seed, result.warnings, result.image.size) == (7, (), (128, 128))

    def test_an_edit_of_two_images(self, live: LiveServer, photo: Path, tmp_path: Path) -> None:
        result = ownware.edit([photo, str(photo)], "make it red", **SMALL)
        text = base64.b64encode(photo.read_bytes()).decode()
        task = new_task(
            model="runware:108@22",
            positivePrompt="make it red",
            seed=7,
            steps=2,
            outputFormat="WEBP",
            inputs={"referenceImages": [text, text]},
        )
        assert result.save(tmp_path / "image.webp").read_bytes() == rendered_by(live, task)

    @pytest.mark.slow
    def test_everything_at_once(self, live: LiveServer, photo: Path, tmp_path: Path) -> None:
        result = ownware.generate(
            PROMPT,
            negative_prompt="blue",
            true_cfg_scale=3,
            width=160,
            height=128,
            steps=12,
            scheduler="DPM++ 2M Karras",
            seed=2**40,
            seed_image=photo,
            mask=photo,
            mask_margin=32,
            loras=[("outlines", 0.6)],
            controls=[ownware.Control("edges", photo, weight=0.5, end=8)],
            cache={"fbCache": True, "fbCacheThreshold": 0.3},
            device="cpu",
        )
        text = base64.b64encode(photo.read_bytes()).decode()
        task = new_task(
            positivePrompt=PROMPT,
            negativePrompt="blue",
            CFGScale=3,
            width=160,
            height=128,
            steps=12,
            scheduler="DPM++ 2M Karras",
            seed=2**40,
            inputs={"seedImage": text, "maskImage": text},
            maskMargin=32,
            lora=[{"model": "outlines", "weight": 0.6}],
            controlNet=[{"model": "edges", "guideImage": text, "weight": 0.5, "endStep": 8}],
            acceleratorOptions={"fbCache": True, "fbCacheThreshold": 0.3},
            outputQuality=80,
        )
        assert result.save(tmp_path / "image.jpg", quality=80).read_bytes() == rendered_by(live, task)


@pytest.mark.slow
def test_the_receipt_replays(photo: Path, tmp_path: Path) -> None:
    path = ownware.edit(photo, "make it red", **SMALL).save(tmp_path / "image.png")
    settings = Settings(data_dir=tmp_path, devices=("cpu",))
    assert replay_receipt(str(path), tmp_path / "again.png", [photo], settings) == SAME


def test_an_image_in_memory_is_edited_like_its_file(photo: Path) -> None:
    with Image.open(photo) as image:
        results = [ownware.edit(each, "make it red", **SMALL).image for each in (photo, image)]
    assert results[0].tobytes() == results[1].tobytes()


@pytest.mark.slow
def test_the_model_stays_loaded(monkeypatch: pytest.MonkeyPatch, photo: Path) -> None:
    ownware.generate(PROMPT, **SMALL)

    def load(*_: object, **__: object) -> None:
        raise AssertionError("the model is loaded again")

    monkeypatch.setattr("pipelines.models.residency.model_cache.load", load)
    ownware.generate("a blue star", **SMALL)
    ownware.edit(photo, "make it red", **SMALL)  # the embedded checkpoint does both


def test_steps_are_reported_and_can_stop_the_image() -> None:
    steps: list[tuple[int, int]] = []
    ownware.generate(PROMPT, **SMALL, on_step=lambda step, total: steps.append((step, total)))
    assert steps == [(0, 2), (1, 2), (2, 2)]

    def stop(step: int, total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        ownware.generate(PROMPT, **SMALL, on_step=stop)
    assert ownware.generate(PROMPT, **SMALL).image.size == (128, 128)


@pytest.mark.slow
def test_the_page_runs_as_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OWNWARE_DEVICES", "cpu")
    names: dict[str, Any] = {}
    for code in blocks(ROOT / "docs" / "how-to" / "python-api.md", "python"):
        exec(code, names)
    shown = {path.name: Image.open(path) for path in tmp_path.iterdir()}
    assert shown.keys() == {"circle.png", "green.png", "half.png", "steered.png"}
    assert Seen.read(shown["circle.png"]) == expected(CIRCLE)
    assert Seen.read(shown["green.png"]) == expected("change the background to green")
    assert Seen.read(names["square"].image) == expected("a medium green square at the center on a white background")
    assert Seen.read(shown["steered.png"]) == expected("a large green circle at the center on a white background")
    circle, half = (shown[name].crop((0, 0, 128, 256)) for name in ("circle.png", "half.png"))
    assert circle.tobytes() == half.tobytes()
    right = Seen.read(shown["half.png"].crop((128, 0, 256, 256)))
    assert (right.background, right.things[0][1]) == ("white", "blue")  # the seam mixes both colours
    assert "20 of 20" in capsys.readouterr().out


class TestErrors:
    def test_an_option(self) -> None:
        with pytest.raises(ValueError, match="steps: 99 is not from 1 to 50"):
            ownware.generate(PROMPT, **dict(SMALL, steps=99))

    def test_an_unknown_argument(self) -> None:
        with pytest.raises(TypeError, match=r"unexpected keyword argument 'heigth'. Did you mean 'height'\?"):
            ownware.generate(PROMPT, **SMALL, heigth=128)  # pyright: ignore[reportCallIssue]
        with pytest.raises(TypeError, match="unexpected keyword argument 'images'"):
            ownware.generate(PROMPT, **SMALL, images=())  # pyright: ignore[reportCallIssue]

    def test_no_image(self) -> None:
        with pytest.raises(ValueError, match="images: give at least one image"):
            ownware.edit([], "make it red", **SMALL)

    def test_weights_of_no_kind(self) -> None:
        with pytest.raises(ValueError, match="weights: Input should be 'auto', 'embedded' or 'catalog'"):
            ownware.generate(PROMPT, **SMALL, weights="large")  # pyright: ignore[reportArgumentType]

    def test_a_misspelt_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OWNWARE_WEIGHT", "embedded")
        with pytest.raises(ValueError, match="OWNWARE_WEIGHT is no option of ownware; did you mean OWNWARE_WEIGHTS"):
            ownware.generate(PROMPT, **SMALL)

    def test_a_lora_that_is_none(self, tmp_path: Path) -> None:
        path = tmp_path / "style.safetensors"
        path.write_bytes(b"weights")
        with pytest.raises(ValueError, match=r"loras\[0\]: LoRA 'style' cannot be used"):
            ownware.generate(PROMPT, **SMALL, loras=[path])

    def test_a_result_that_is_no_picture_keeps_its_type(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> None:
            raise ResultError("why")

        monkeypatch.setattr(api.pipeline, "generate", fail)
        with pytest.raises(ResultError, match="why"):
            ownware.generate(PROMPT, **SMALL)

    def test_weights_that_are_not_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        models = written(tmp_path, row(air="a:1@1", weights=str(tmp_path / "nothing")))
        monkeypatch.setenv("OWNWARE_MODELS", str(models))
        with pytest.raises(CatalogError, match="models: a:1@1: weights: there is no folder"):
            ownware.generate(PROMPT, **SMALL)


OWN_LORA = f"""
[[models]]
air = "my:outlined@2"
name = "Outlined"
version = "1"
architecture = "qwen_image"
mode = "text_to_image"
weights = "embedded"
loras = [{{ weights = "{EMBEDDED_FOLDER / OUTLINES}", weight = 0.7 }}]
steps = 2
true_cfg_scale = 1.0
schedule = {{ shift = 3.0, terminal = 0.0 }}
"""


@pytest.mark.slow
def test_one_name_is_a_model_with_a_lora_steps_and_schedule(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    models = tmp_path / "models.toml"
    models.write_text(OWN_LORA + OWN_LORA.replace("my:outlined@2", "my:plain@2").replace("loras =", "# loras ="))
    monkeypatch.setenv("OWNWARE_MODELS", str(models))
    options: dict[str, Any] = {"width": 128, "height": 128, "seed": 7, "device": "cpu"}
    own = ownware.generate(PROMPT, model="my:outlined@2", **options)
    named = ownware.generate(PROMPT, model="my:plain@2", loras=[("outlines", 0.7)], **options)
    plain = ownware.generate(PROMPT, model="my:plain@2", **options)
    assert own.image.tobytes() == named.image.tobytes() != plain.image.tobytes()
    assert own.receipt.request.steps == 2
    assert (own.receipt.request.sampler.shift, own.receipt.request.sampler.terminal) == (3.0, 0.0)
    assert [(lora.name, lora.weight) for lora in own.receipt.request.loras] == [("outlines", 0.7)]
    assert own.receipt.loras[0].digest is not None
    path = own.save(tmp_path / "image.png")
    models.write_text(models.read_text().replace("weight = 0.7", "weight = 0.1"))  # the receipt keeps what was
    settings = Settings(data_dir=tmp_path, devices=("cpu",), models=models)
    assert replay_receipt(str(path), tmp_path / "again.png", [], settings) == SAME


def test_other_steps_than_its_lora_was_made_for_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lora = tmp_path / "Qwen-Image-Lightning-2steps.safetensors"
    lora.write_bytes((EMBEDDED_FOLDER / OUTLINES).read_bytes())
    models = tmp_path / "models.toml"
    models.write_text(OWN_LORA.replace(str(EMBEDDED_FOLDER / OUTLINES), str(lora)))
    monkeypatch.setenv("OWNWARE_MODELS", str(models))
    result = ownware.generate(PROMPT, model="my:outlined@2", width=128, height=128, seed=7, steps=3, device="cpu")
    assert "model 'my:outlined@2' was made for 2 steps, and 3 are asked for." in result.warnings
    lora.write_bytes(b"no weights")
    with pytest.raises(LoadError, match=r"^Model 'my:outlined@2': LoRA 'Qwen-Image-Lightning-2steps' cannot be used"):
        ownware.generate(PROMPT, model="my:outlined@2", width=128, height=128, seed=7, device="cpu")
