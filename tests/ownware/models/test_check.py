import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from ownware.models.check import check_row
from pipelines.catalog.catalog import EMBEDDED_FOLDER, Adapter, Catalog
from pipelines.catalog.models_file import load_catalog
from pipelines.catalog.own_lora import OwnLora

TEXT, EDIT = load_catalog().entries[:2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the embedded weights, for spoiling."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / "copy"))


def told(row: object, catalog: Catalog | None = None) -> tuple[str, str]:
    found = check_row(row, catalog or Catalog((TEXT,)))  # pyright: ignore[reportArgumentType]
    return found.state, found.text


def test_a_folder(folder: Path) -> None:
    state, text = told(replace(TEXT, weights=str(folder)))
    assert state == "right"
    transformer, encoder, vae, source = text.split("; ")
    assert transformer.startswith("transformer folder BF16 ")
    assert transformer.endswith(" MB, 6 blocks")
    assert encoder.startswith("text encoder folder BF16 ")
    assert vae.startswith("vae BF16 ")
    assert source == f"from {folder}"


def test_the_mark_of_2511(folder: Path) -> None:
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"zero_cond_t": True}))
    assert "6 blocks, zero_cond_t;" in told(replace(EDIT, weights=str(folder)))[1]


def test_a_component_of_its_own(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "alone.safetensors"
    shutil.move(folder / "transformer" / "diffusion_pytorch_model.safetensors", file)
    state, text = told(replace(TEXT, weights=str(folder), transformer=str(file)))
    assert state == "right"
    assert text.startswith("transformer safetensors BF16 ")


def test_what_is_not_here() -> None:
    state, text = told(replace(TEXT, weights="owner/nowhere", transformer="owner/files/q4.gguf"))
    assert state == "not here"
    assert text.startswith("owner/nowhere, owner/files/q4.gguf is not wholly here; `ownware models pull runware:108@1`")


def test_a_path_that_is_not_there_cannot_be_downloaded(tmp_path: Path) -> None:
    row = replace(TEXT, transformer=str(tmp_path / "q4.gguf"))
    assert told(row) == ("wrong", f"there is no file or folder '{tmp_path / 'q4.gguf'}'")


def test_a_component_of_another_kind(folder: Path) -> None:
    row = replace(TEXT, weights=str(folder))
    for part, other in (("vae", "text_encoder"), ("text_encoder", "vae"), ("transformer", "vae")):
        state, text = told(replace(row, **{part: str(folder / other)}))
        assert state == "wrong"
        assert text.startswith(f"it is a {other.replace('_', ' ').replace('vae', 'VAE')}, not a ")


@pytest.mark.parametrize("part", ["transformer", "text_encoder", "vae"])
def test_a_truncated_file(folder: Path, part: str) -> None:
    (path,) = (folder / part).glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1000])
    state, text = told(replace(TEXT, weights=str(folder)))
    assert state == "wrong"
    assert "is truncated" in text


@pytest.mark.parametrize("part", ["tokenizer", "scheduler", "processor"])
def test_a_part_that_is_missing(folder: Path, part: str) -> None:
    shutil.rmtree(folder / part)
    assert told(replace(EDIT, weights=str(folder))) == ("wrong", f"'{folder}' has no {part}")
    if part == "processor":
        assert told(replace(TEXT, weights=str(folder)))[0] == "right"


def test_adapters(folder: Path) -> None:
    lora = Adapter("a", "a", str(folder / "loras" / "outlines.safetensors"))
    net = Adapter("b", "b", str(folder / "controlnets" / "edges"))
    catalog = Catalog((TEXT,), (lora,), (net,))
    assert told(lora, catalog)[1].startswith("LoRA BF16 ")
    assert told(net, catalog)[1].startswith("ControlNet BF16 ")
    swapped = replace(net, weights=lora.weights)
    assert told(swapped, Catalog((TEXT,), (), (swapped,))) == (
        "wrong",
        "it is a LoRA, not a ControlNet; name it under [[loras]]",
    )
    transformer = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    swapped = replace(lora, weights=str(transformer))
    assert told(swapped, Catalog((TEXT,), (swapped,)))[0] == "wrong"
    own = replace(TEXT, weights=str(folder), loras=(OwnLora(str(transformer)),))
    assert told(own)[0] == "wrong"
    assert "; LoRA outlines.safetensors BF16 " in told(replace(own, loras=(OwnLora(lora.weights),)))[1]
    Path(lora.weights).write_bytes(b"no weights at all")
    assert told(lora, catalog)[0] == "wrong"
