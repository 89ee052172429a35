import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipelines.models.formats.containers.headers import FormatError
from pipelines.models.formats.containers.weight_files import open_weights, shards_of

SHARDS = ("m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two shards of one tensor each."""
    for name, shard in zip("ab", SHARDS, strict=True):
        save_file({name: torch.ones(3)}, tmp_path / shard, {"made": "by hand"})
    index = {"metadata": {}, "weight_map": dict(zip("ab", SHARDS, strict=True))}
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "config.json").write_text('{"size": 1}')
    return tmp_path


def test_shards_are_read_as_one(folder: Path) -> None:
    files = open_weights(folder)
    assert {name: entry.path.name for name, entry in files.tensors.items()} == dict(zip("ab", SHARDS, strict=True))
    assert (files.config, files.metadata, files.gguf) == ({"size": 1}, {"made": "by hand"}, False)


def test_a_single_file_has_no_configuration(folder: Path) -> None:
    files = open_weights(folder / SHARDS[0])
    assert (set(files.tensors), files.config) == ({"a"}, None)


def test_the_only_file_of_a_folder_is_found_among_variants(folder: Path) -> None:
    (folder / "m.safetensors.index.json").unlink()
    with pytest.raises(FormatError, match="has 2 safetensors files and no index"):
        shards_of(folder)
    whole = (folder / SHARDS[0]).rename(folder / "diffusion_pytorch_model.safetensors")
    assert shards_of(folder) == (whole,)
    whole.unlink()
    assert shards_of(folder) == (folder / SHARDS[1],)


def test_an_index_in_the_usual_name_goes_before_that_of_a_variant(folder: Path) -> None:
    usual = folder / "model.safetensors.index.json"
    usual.write_text(json.dumps({"weight_map": {"b": SHARDS[1]}}))
    (folder / "model.fp16.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "missing.safetensors"}}))
    assert shards_of(folder) == (folder / SHARDS[1],)


def test_a_missing_shard_is_named(folder: Path) -> None:
    (folder / SHARDS[1]).unlink()
    with pytest.raises(FormatError, match=rf"1 of 2 shards are missing, such as {SHARDS[1]}; download them"):
        open_weights(folder)


def test_a_truncated_shard_is_named(folder: Path) -> None:
    path = folder / SHARDS[1]
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(FormatError, match=rf"'{SHARDS[1]}' is truncated"):
        open_weights(folder)


def test_a_shard_of_another_download(folder: Path) -> None:
    save_file({"c": torch.ones(3)}, folder / SHARDS[1])
    with pytest.raises(FormatError, match=rf"'{SHARDS[1]}' lacks b, which the index"):
        open_weights(folder)
    save_file({"a": torch.ones(3)}, folder / SHARDS[1])
    with pytest.raises(FormatError, match="holds a, which another file"):
        open_weights(folder)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("config.json", "{", r"config\.json of .* cannot be read"),
        ("config.json", "[]", "is no JSON object"),
        ("m.safetensors.index.json", "{}", "names no shards"),
        ("m.safetensors.index.json", '{"weight_map": []}', "names no shards"),
    ],
)
def test_damaged_lists(folder: Path, name: str, text: str, said: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(FormatError, match=said):
        open_weights(folder)


def test_folders_without_weights_or_configuration(folder: Path, tmp_path: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(FormatError, match=r"there is no config\.json"):
        open_weights(folder)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(FormatError, match=r"'other' has no safetensors file$"):
        shards_of(other)
    (other / "pytorch_model.bin").touch()
    with pytest.raises(FormatError, match="can run code, so it is not read"):
        shards_of(other)


def test_other_names(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").touch()
    with pytest.raises(FormatError, match=r"unknown ending; weights are folders, or files that end in \.safetensors, "):
        open_weights(tmp_path / "model.ckpt")
    with pytest.raises(FormatError, match="there is no file or folder"):
        open_weights(tmp_path / "nowhere.gguf")
