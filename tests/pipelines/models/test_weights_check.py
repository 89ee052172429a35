import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.catalog.catalog import BUILT_IN, EMBEDDED, Adapter, Catalog
from pipelines.catalog.models_file import CatalogError, load_catalog
from pipelines.catalog.own_lora import OwnLora
from pipelines.models import weights_check
from pipelines.models.weights_check import check_weights
from tests.pipelines.models.formats.components.test_text_encoder import LANGUAGE, VISION
from tests.pipelines.models.formats.encoders import save_language_gguf, save_mmproj

TEXT, EDIT = load_catalog().entries[:2]
PARTS = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")
# A tensor by which each component is recognized.
MARKS = {
    "transformer": "transformer_blocks.0.img_mod.1.weight",
    "text_encoder": "model.language_model.layers.0.self_attn.q_proj.bias",
    "vae": "decoder.mid_block.resnets.0.norm1.gamma",
}


@pytest.fixture(autouse=True)
def nothing_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_check, "local_folder", lambda weights: None)


def folder(path: Path, *parts: str) -> Path:
    for part in parts:
        (path / part).mkdir(parents=True)
    for part, name in MARKS.items():
        if part in parts:
            (path / part / "config.json").write_text("{}")
            write_header(path / part / "model.safetensors", name)
    return path


def write_header(path: Path, name: str) -> Path:
    """A safetensors file of one tensor."""
    text = json.dumps({name: {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\0")
    return path


def problem(catalog: Catalog, tmp_path: Path, key: str = "weights") -> str:
    with pytest.raises(CatalogError) as caught:
        check_weights(catalog, tmp_path / "models.toml")
    start, _, told = str(caught.value).partition(f": {key}: ")
    assert start.startswith(f"{tmp_path / 'models.toml'}: ")
    return told


def test_the_built_in_models_and_the_embedded_ones_are_right() -> None:
    check_weights(load_catalog(), BUILT_IN)
    check_weights(load_catalog().with_embedded_weights(), BUILT_IN)


def test_weights_that_are_there_or_on_the_hub_are_right(tmp_path: Path) -> None:
    here = folder(tmp_path / "here", *PARTS)
    net = folder(tmp_path / "nets" / "canny", "x")
    (net / "config.json").write_text("{}")
    (tmp_path / "ink.safetensors").touch()
    catalog = Catalog(
        (replace(TEXT, weights=str(here)), replace(EDIT, weights=EMBEDDED), replace(EDIT, weights="owner/name")),
        (Adapter("a", "a", str(tmp_path / "ink.safetensors")), Adapter("b", "b", "owner/name/ink.safetensors")),
        (Adapter("c", "c", str(net)), Adapter("d", "d", "owner/net")),
    )
    check_weights(catalog, tmp_path / "models.toml")


def test_a_hub_name_whose_owner_is_also_a_folder_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner").mkdir()
    catalog = Catalog((replace(TEXT, weights="owner/name"),))
    assert problem(catalog, tmp_path) == f"there is no folder '{tmp_path}/owner/name'"
    monkeypatch.setattr(weights_check, "local_folder", lambda weights: tmp_path)  # it has been downloaded
    check_weights(catalog, tmp_path / "models.toml")


class TestModel:
    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        near = folder(tmp_path / "qwen-image", "transformer")
        for weights in (str(tmp_path / "qwen_image"), "./qwen_image", "qwen_image"):
            told = problem(Catalog((replace(TEXT, weights=weights),)), tmp_path)
            assert told == f"there is no folder '{tmp_path / 'qwen_image'}'; the nearest is '{near}'"

    def test_a_single_file(self, tmp_path: Path) -> None:
        path = tmp_path / "model.safetensors"
        path.touch()
        told = problem(Catalog((replace(TEXT, weights=str(path)),)), tmp_path)
        assert told.startswith(f"'{path}' is a single file, and no whole model; name a folder")

    def test_a_shard_that_is_missing(self, tmp_path: Path) -> None:
        here = folder(tmp_path / "here", *PARTS)
        index = here / "transformer" / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": {"a": "model-00002-of-00002.safetensors"}}))
        told = problem(Catalog((replace(TEXT, weights=str(here)),)), tmp_path)
        assert told.endswith("1 of 1 shards are missing, such as model-00002-of-00002.safetensors; download them")

    @pytest.mark.parametrize("part", MARKS)
    def test_a_part_that_is_truncated(self, tmp_path: Path, part: str) -> None:
        path = folder(tmp_path / "here", *PARTS)
        (path / part / "model.safetensors").write_bytes((path / part / "model.safetensors").read_bytes()[:-1])
        told = problem(Catalog((replace(TEXT, weights=str(path)),)), tmp_path)
        assert told.startswith(f"'{path / part}' cannot be loaded: 'model.safetensors' is truncated: it has ")

    def test_another_folder(self, tmp_path: Path) -> None:
        outer = folder(tmp_path / "outer", "snapshots/abc/transformer")
        told = problem(Catalog((replace(TEXT, weights=str(outer)),)), tmp_path)
        assert told == (
            f"'{outer}' is no folder in the diffusers layout: it has no transformer/, vae/, text_encoder/, tokenizer/, "
            f"scheduler/; '{outer}/snapshots/abc' looks like one"
        )

    def test_an_edit_needs_a_processor(self, tmp_path: Path) -> None:
        here = folder(tmp_path / "here", *PARTS)
        told = problem(Catalog((replace(EDIT, weights=str(here)),)), tmp_path)
        assert told == f"'{here}' is no folder in the diffusers layout: it has no processor/"


class TestComponent:
    def test_what_a_file_replaces_may_be_missing_in_the_folder(self, tmp_path: Path) -> None:
        here = folder(tmp_path / "here", *PARTS[1:])
        file = write_header(tmp_path / "bf16.safetensors", "transformer_blocks.0.img_mod.1.weight")
        vae = write_header(tmp_path / "vae.safetensors", "decoder.middle.0.residual.0.gamma")
        hub = "owner/repository/fp8.safetensors"
        for row in (
            replace(TEXT, weights=str(here), transformer=str(file)),
            replace(TEXT, weights=str(here), transformer="bf16.safetensors", vae=str(vae)),
            replace(TEXT, weights=str(here), transformer=hub, text_encoder="owner/repository"),
        ):
            check_weights(Catalog((row,)), tmp_path / "models.toml")

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        near = write_header(tmp_path / "qwen_fp8.safetensors", "a")
        row = replace(TEXT, weights=EMBEDDED, transformer="qwen-fp8.safetensors")
        told = problem(Catalog((row,)), tmp_path, "transformer")
        assert told == f"there is no file or folder '{tmp_path}/qwen-fp8.safetensors'; the nearest is '{near}'"

    def test_a_file_of_something_else(self, tmp_path: Path) -> None:
        path = write_header(tmp_path / "ink.safetensors", "transformer_blocks.0.attn.to_q.lora_down.weight")
        told = problem(Catalog((replace(TEXT, weights=EMBEDDED, transformer=str(path)),)), tmp_path, "transformer")
        assert told.startswith(f"'{path}' cannot be loaded: it is a LoRA, not a transformer")

    def test_a_damaged_file(self, tmp_path: Path) -> None:
        (tmp_path / "vae.safetensors").write_bytes(b"<!doctype html>")
        row = replace(TEXT, weights=EMBEDDED, vae=str(tmp_path / "vae.safetensors"))
        assert "is a page of HTML" in problem(Catalog((row,)), tmp_path, "vae")

    def test_a_text_encoder_without_eyes_for_edits(self, tmp_path: Path) -> None:
        path = tmp_path / "qwen.gguf"
        save_language_gguf(LANGUAGE, path)
        check_weights(Catalog((replace(TEXT, weights=EMBEDDED, text_encoder=str(path)),)), tmp_path / "models.toml")
        edit = Catalog((replace(EDIT, weights=EMBEDDED, text_encoder=str(path)),))
        told = problem(edit, tmp_path, "text_encoder")
        assert told.startswith(f"'{path}' cannot be loaded: it is a language model without a vision tower")

    def test_a_vision_tower_of_its_own(self, tmp_path: Path) -> None:
        path, tower = tmp_path / "qwen.gguf", save_mmproj(VISION, tmp_path / "tower.gguf")
        save_language_gguf(LANGUAGE, path)
        edit = replace(EDIT, weights=EMBEDDED, text_encoder=str(path))
        for name in (str(tower), "tower.gguf", "owner/repository/mmproj.gguf"):
            check_weights(Catalog((replace(edit, text_encoder_mmproj=name),)), tmp_path / "models.toml")
        gone = replace(edit, text_encoder_mmproj="./tower-2.gguf")
        told = problem(Catalog((gone,)), tmp_path, "text_encoder_mmproj")
        assert told == f"there is no file or folder '{tmp_path}/tower-2.gguf'; the nearest is '{tower}'"
        other = replace(edit, text_encoder_mmproj=str(path))
        assert "is no vision tower" in problem(Catalog((other,)), tmp_path, "text_encoder")


class TestLora:
    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        near = folder(tmp_path, "loras") / "loras" / "ink.safetensors"
        near.touch()
        for weights in ("loras/inc.safetensors", str(tmp_path / "loras" / "inc.safetensors")):
            told = problem(Catalog((TEXT,), (Adapter("a", "a", weights),)), tmp_path)
            assert told == f"there is no file '{tmp_path}/loras/inc.safetensors'; the nearest is '{near}'"

    def test_a_deeper_file_in_a_folder_that_is_there(self, tmp_path: Path) -> None:
        (tmp_path / "my").mkdir()
        told = problem(Catalog((TEXT,), (Adapter("a", "a", "my/loras/ink.safetensors"),)), tmp_path)
        assert told == f"there is no file '{tmp_path}/my/loras/ink.safetensors'"

    def test_a_folder(self, tmp_path: Path) -> None:
        told = problem(Catalog((TEXT,), (Adapter("a", "a", str(tmp_path)),)), tmp_path)
        assert told == f"'{tmp_path}' is a folder, and a LoRA is a safetensors file"


class TestControlNet:
    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        near = folder(tmp_path / "nets", "canny") / "canny"
        told = problem(Catalog((TEXT,), (), (Adapter("a", "a", "nets/cany"),)), tmp_path)
        assert told == f"there is no folder '{tmp_path}/nets/cany'; the nearest is '{near}'"

    def test_a_folder_of_something_else(self, tmp_path: Path) -> None:
        told = problem(Catalog((TEXT,), (), (Adapter("a", "a", str(tmp_path)),)), tmp_path)
        assert told == f"'{tmp_path}' is no ControlNet: it has no config.json and no model.safetensors"

    def test_single_files_and_folders_of_diffsynth_are_right(self, tmp_path: Path) -> None:
        write_header(tmp_path / "canny.safetensors", "controlnet_blocks.0.y_rms.weight")
        (folder(tmp_path / "depth", "x") / "model.safetensors").touch()
        names = ("canny.safetensors", str(tmp_path / "depth"), "owner/repository/inpaint.safetensors")
        nets = tuple(Adapter(name, name, name) for name in names)
        check_weights(Catalog((TEXT,), (), nets), tmp_path / "models.toml")

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        (tmp_path / "canny.safetensors").touch()
        told = problem(Catalog((TEXT,), (), (Adapter("a", "a", "cany.safetensors"),)), tmp_path)
        assert told == f"there is no file '{tmp_path}/cany.safetensors'; the nearest is '{tmp_path}/canny.safetensors'"

    def test_a_lora(self, tmp_path: Path) -> None:
        path = write_header(tmp_path / "ink.safetensors", "transformer_blocks.0.attn.to_q.lora_A.weight")
        told = problem(Catalog((TEXT,), (), (Adapter("a", "a", "ink.safetensors"),)), tmp_path)
        assert told == f"'{path}' cannot be loaded: it is a LoRA, not a ControlNet; name it under [[loras]]"

    def test_a_file_of_another_kind(self, tmp_path: Path) -> None:
        (tmp_path / "canny.gguf").touch()
        told = problem(Catalog((TEXT,), (), (Adapter("a", "a", "canny.gguf"),)), tmp_path)
        assert told == f"'{tmp_path}/canny.gguf' is no .safetensors file"


def test_a_lora_of_a_model_that_is_not_there(tmp_path: Path) -> None:
    catalog = Catalog((replace(TEXT, loras=(OwnLora(str(tmp_path / "ink.safetensors")),)),))
    with pytest.raises(CatalogError, match=rf"{TEXT.air}: loras: there is no file '{tmp_path}/ink\.safetensors'"):
        check_weights(catalog, tmp_path / "models.toml")
