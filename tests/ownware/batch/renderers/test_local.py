"""The command renders what the Python API renders, and refuses what the server refuses."""

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

import ownware
from ownware.batch.item import BatchError, Interrupted, ItemError
from ownware.batch.renderers.local import LocalRenderer
from ownware.local_models import LocalModels
from pipelines.catalog.catalog import EMBEDDED_FOLDER, OUTLINES
from pipelines.errors import LoadError, SizeError
from server.database import Database
from server.jobs.estimates import Measured
from server.jobs.timing.step_times import SCHEMA, StepTimes
from server.keys.key_table import DATABASE_NAME
from server.settings import Settings
from tests.fakes import picture
from tests.ownware.batch.fakes import write_pictures
from tests.server.jobs.common import REQUEST

PROMPT = "a large red circle at the center on a white background"
SMALL: dict[str, Any] = {"positivePrompt": PROMPT, "width": 128, "height": 128, "steps": 2, "seed": 7}


def no_step(step: int, steps: int) -> None:
    """Go on."""


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRenderer]:
    folder = tmp_path_factory.getbasetemp() / "data"
    renderer = LocalRenderer(Settings(data_dir=folder, devices=("cpu",), weights="embedded"))
    yield renderer
    renderer.close()


@pytest.fixture
def photo(tmp_path: Path) -> str:
    return str(write_pictures(tmp_path, "a.png")[0])


def test_the_pictures_of_a_task(renderer: LocalRenderer) -> None:
    steps: list[tuple[int, int]] = []
    task = renderer.complete({**SMALL, "numberResults": 2})
    results = list(renderer.render(task, lambda step, total: steps.append((step, total))))
    wanted = ownware.generate(PROMPT, width=128, height=128, steps=2, seed=8, device="cpu")
    assert [result.seed for result in results] == [7, 8]
    assert np.array_equal(np.asarray(results[1].image), np.asarray(wanted.image))
    assert results[1].receipt is not None
    assert results[1].receipt.request.seed == 8
    assert steps == [(0, 2), (1, 2), (2, 2)] * 2


def test_an_edit_with_a_mask_a_lora_file_and_a_data_uri(renderer: LocalRenderer, photo: str) -> None:
    inline = f"data:image/png;base64,{base64.b64encode(picture(40, 30)).decode()}"
    task = {
        **SMALL,
        "inputs": {"referenceImages": [photo], "seedImage": photo, "maskImage": inline, "strength": 1.0},
        "lora": [{"model": str(EMBEDDED_FOLDER / OUTLINES), "weight": 0.5}, {"model": "outlines"}],
    }
    (result,) = renderer.render(renderer.complete(task), no_step)
    assert result.receipt is not None
    assert [lora.name for lora in result.receipt.request.loras] == ["outlines", "outlines"]
    assert len(result.receipt.request.references) == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"steps": 99}, "Invalid value for 'steps' parameter. It must be an integer between 1 and 50"),
        ({"setps": 4}, "Unknown parameter 'setps'. Did you mean 'steps'?"),
        ({"model": "no:model@1"}, "'no:model@1' is not among the served models"),
        ({"lora": [{"model": "ink"}]}, "'ink' is not installed"),
        ({"lora": [7]}, "Invalid value for 'lora"),
        ({"maskMargin": 32}, "'maskMargin' needs 'inputs.maskImage'"),
        ({"width": None}, "Missing required parameter 'width'"),
        ({"positivePrompt": ""}, "Invalid value for 'positivePrompt'"),
    ],
)
def test_what_is_wrong_is_said_as_the_server_says_it(
    renderer: LocalRenderer, fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ItemError, match=reason.replace("?", r"\?").replace("[", r"\[")):
        renderer.check(renderer.complete({**SMALL, **fields}))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "inputs.seedImage: .*No such file"),
        (b"", "b.png: The data is no image"),
        (picture(64, 64)[:200], "b.png: The image cannot be decoded"),
        (picture(3200, 16), "its sides must not differ by more than"),
    ],
)
def test_a_picture_that_cannot_be_used(
    renderer: LocalRenderer, tmp_path: Path, data: bytes | None, reason: str
) -> None:
    path = tmp_path / "b.png"
    if data is not None:
        path.write_bytes(data)
    task = {**SMALL, "model": "runware:108@1", "inputs": {"seedImage": str(path)}}
    with pytest.raises(ItemError, match=reason):
        list(renderer.render(task, no_step))


def test_a_damaged_data_uri(renderer: LocalRenderer) -> None:
    task = {**SMALL, "model": "runware:108@1", "inputs": {"seedImage": "data:image/png;base64,?"}}
    with pytest.raises(ItemError, match="a data URI of the task is damaged"):
        list(renderer.render(task, no_step))


def test_a_percent_encoded_data_uri_is_the_same_picture(renderer: LocalRenderer, photo: str) -> None:
    inline = f"DATA:image/png,{quote(Path(photo).read_bytes())}"
    results = []
    for text in (photo, inline):
        task = {**SMALL, "model": "runware:108@1", "inputs": {"seedImage": text}}
        results += [result.image.tobytes() for result in renderer.render(task, no_step)]
    assert results[0] == results[1]


def test_a_step_may_stop_the_picture(renderer: LocalRenderer) -> None:
    def stop(step: int, steps: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        list(renderer.render(renderer.complete(SMALL), stop))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (LoadError("the weights are gone"), BatchError),
        (SizeError("it takes 90 GiB"), ItemError),
        (RuntimeError("CUDA out of memory\nand more"), ItemError),
    ],
)
def test_weights_that_are_gone_end_the_batch(
    renderer: LocalRenderer, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(LocalModels, "load_once", fail)
    with pytest.raises(kind, match=r"^[^\n]+$"):
        list(renderer.render(renderer.complete(SMALL), no_step))


def test_settings_that_name_no_model(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match=r"missing\.toml"):
        LocalRenderer(Settings(data_dir=tmp_path, models=tmp_path / "missing.toml", devices=("cpu",)))


def test_the_time_of_a_task_of_the_embedded_checkpoint(renderer: LocalRenderer) -> None:
    few, many = (renderer.seconds(renderer.complete({**SMALL, "steps": steps})) for steps in (2, 20))
    assert few is not None
    assert many == pytest.approx(10 * few)


def test_the_folder_of_loras(tmp_path: Path) -> None:
    (tmp_path / "ink.safetensors").write_bytes((EMBEDDED_FOLDER / OUTLINES).read_bytes())
    renderer = LocalRenderer(Settings(data_dir=tmp_path, devices=("cpu",), weights="embedded", lora_dir=tmp_path))
    renderer.check(renderer.complete({**SMALL, "lora": [{"model": "ink"}]}))
    renderer.close()


def test_of_loras_with_one_name_the_file_of_the_task_wins_and_then_the_catalogue(tmp_path: Path) -> None:
    listed, in_folder, named = EMBEDDED_FOLDER / OUTLINES, tmp_path / "loras", tmp_path / "outlines.safetensors"
    in_folder.mkdir()
    for path in (in_folder / named.name, named):
        path.write_bytes(listed.read_bytes())
    renderer = LocalRenderer(Settings(data_dir=tmp_path, devices=("cpu",), weights="embedded", lora_dir=in_folder))
    for model, weights in (("outlines", listed), (str(named), named)):
        spec = renderer._spec(renderer.complete({**SMALL, "lora": [{"model": model}]}))
        assert [lora.path for lora in spec.loras] == [weights]
    renderer.close()


async def test_the_time_that_a_server_has_learnt(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, devices=("cpu",), weights="embedded")
    database = Database(tmp_path / DATABASE_NAME, [SCHEMA])
    request = replace(REQUEST, model="runware:108@1", width=128, height=128, steps=2, references=())
    await StepTimes(database).learn(request, Measured(10.0, 5.0))
    renderer = LocalRenderer(settings)
    assert renderer.seconds(renderer.complete({**SMALL, "CFGScale": request.true_cfg_scale})) == pytest.approx(25.0)
    renderer.close()
    database.close()
