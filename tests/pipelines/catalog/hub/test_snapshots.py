import json
from pathlib import Path

import pytest

from pipelines.catalog.catalog import EMBEDDED_FOLDER
from pipelines.catalog.hub.snapshots import missing_files, model_files, part_files

SHARD = "diffusion_pytorch_model-0000{}-of-00002.safetensors"


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def sharded(folder: Path) -> Path:
    put(folder, "config.json", *(SHARD.format(n) for n in (1, 2)))
    index = {"weight_map": {"a": SHARD.format(1), "b": SHARD.format(2), "c": SHARD.format(2)}}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_the_embedded_checkpoint_is_whole_and_made_of_its_files() -> None:
    assert missing_files(EMBEDDED_FOLDER) == ()
    names = [path.relative_to(EMBEDDED_FOLDER).as_posix() for path in EMBEDDED_FOLDER.rglob("*") if path.is_file()]
    chosen = model_files(names)
    assert "transformer/diffusion_pytorch_model.safetensors" in chosen
    assert "tokenizer/tokenizer.json" in chosen
    assert not {"samples.png", "scores.json", "loras/outlines.safetensors"} & set(chosen)
    assert set(part_files(names, "vae")) == {
        "model_index.json",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    }


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder", "tokenizer", "scheduler", "processor"])
def test_a_part_that_is_listed_and_not_there(tmp_path: Path, part: str) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({part: ["diffusers", "Class"], "_class_name": "Pipeline"}))
    assert missing_files(tmp_path) == (f"{part}/",)


def test_a_part_that_is_listed_as_none(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"vae": ["a", "B"], "processor": [None, None]}))
    put(tmp_path, "vae/config.json", "vae/diffusion_pytorch_model.safetensors")
    assert missing_files(tmp_path) == ()


def test_shards(tmp_path: Path) -> None:
    sharded(tmp_path)
    assert missing_files(tmp_path) == ()
    (tmp_path / SHARD.format(2)).unlink()
    assert missing_files(tmp_path) == (SHARD.format(2),)
    (tmp_path / "diffusion_pytorch_model.safetensors.index.json").unlink()
    assert missing_files(tmp_path) == ("the index of its shards",)
    (tmp_path / SHARD.format(1)).unlink()
    assert missing_files(tmp_path) == ("its weights (*.safetensors)",)


def test_a_link_to_content_that_is_gone(tmp_path: Path) -> None:
    sharded(tmp_path)
    (tmp_path / SHARD.format(1)).unlink()
    (tmp_path / SHARD.format(1)).symlink_to(tmp_path / "blob")
    assert missing_files(tmp_path) == (SHARD.format(1),)


def test_an_index_without_a_list_is_damaged_and_left_to_the_loader(tmp_path: Path) -> None:
    sharded(tmp_path)
    (tmp_path / "diffusion_pytorch_model.safetensors.index.json").write_text("{")
    assert missing_files(tmp_path) == ()


def test_an_empty_folder(tmp_path: Path) -> None:
    assert missing_files(tmp_path) == ("model_index.json",)
    assert model_files([]) == ()


def test_weights_from_elsewhere(tmp_path: Path) -> None:
    put(tmp_path, "transformer/config.json", "vae/config.json", "vae/a.safetensors")
    assert missing_files(tmp_path) == ("transformer/its weights (*.safetensors)",)
    assert missing_files(tmp_path, ["transformer"]) == ()


def test_files_of_a_repository() -> None:
    names = [
        "README.md",
        "model_index.json",
        "transformer/config.json",
        "transformer/diffusion_pytorch_model.safetensors.index.json",
        f"transformer/{SHARD.format(1)}",
        "transformer/diffusion_pytorch_model.fp16.safetensors",
        "transformer/diffusion_pytorch_model.bin",
        "tokenizer/merges.txt",
        "processor/chat_template.jinja",
        "loras/style.safetensors",
        "all-in-one.safetensors",
    ]
    assert model_files(names) == (names[1], *names[2:5], names[7], names[8])
    assert model_files(names, ["transformer"]) == (names[1], names[2], names[3], names[7], names[8])
    assert part_files(names, "tokenizer") == ("model_index.json", "tokenizer/merges.txt")
    assert part_files(names, "vae") == ()


def test_files_of_a_repository_of_one_network() -> None:
    names = ["config.json", "diffusion_pytorch_model.safetensors", "conf/a.json", "README.md"]
    assert model_files(names) == ("config.json", "diffusion_pytorch_model.safetensors")


def test_a_repository_of_loose_files_holds_no_model() -> None:
    assert model_files(["a.safetensors", "split_files/vae/b.safetensors"]) == ()
