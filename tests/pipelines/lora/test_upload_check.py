"""What is found at the installation of a file. It was found in each task that used it, some of it as error 500."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipelines.errors import LoraError
from pipelines.lora.upload_check import check_upload

Q = "transformer_blocks.0.attn.to_q"
DOWN, UP = f"{Q}.lora_A.weight", f"{Q}.lora_B.weight"


def file(folder: Path, metadata: dict[str, str] | None = None, /, **changes: torch.Tensor) -> Path:
    """A LoRA of one module. A change names a part."""
    tensors = {"down": torch.ones(4, 8), "up": torch.ones(8, 4), **changes}
    names = {"down": DOWN, "up": UP, "alpha": f"{Q}.alpha", "magnitude": f"{Q}.lora_magnitude_vector"}
    path = folder / "lora.safetensors"
    save_file({names.get(part, part): tensor for part, tensor in tensors.items()}, path, metadata)
    return path


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
)
def test_numbers_that_are_none(tmp_path: Path, dtype: torch.dtype) -> None:
    assert set(check_upload(file(tmp_path, up=torch.full((8, 4), -448.0).to(dtype))).modules) == {Q}
    numbers = torch.ones(8, 4)
    numbers[7, 3] = torch.nan
    with pytest.raises(LoraError, match=rf"{Q} are not all finite numbers, in 'up'"):
        check_upload(file(tmp_path, up=numbers.to(dtype)))


def test_an_infinite_number_far_into_a_large_tensor(tmp_path: Path) -> None:
    down = torch.zeros(4, 2**20)
    down[3, -1] = -torch.inf
    with pytest.raises(LoraError, match="finite"):
        check_upload(file(tmp_path, down=down))


def test_an_alpha_that_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(LoraError, match="finite"):
        check_upload(file(tmp_path, alpha=torch.tensor(torch.nan)))


@pytest.mark.parametrize(
    ("part", "tensor"),
    [
        ("up", torch.ones(8, 5)),
        ("up", torch.ones(8)),
        ("down", torch.ones(4, 8, 1)),
        ("alpha", torch.ones(2)),
        ("up", torch.ones(8, 4, dtype=torch.bool)),
    ],
)
def test_shapes_and_types_that_fit_no_module(tmp_path: Path, part: str, tensor: torch.Tensor) -> None:
    with pytest.raises(LoraError, match=r"do not fit each other|must be one number|which is not read"):
        check_upload(file(tmp_path, **{part: tensor}))


def test_an_empty_rank(tmp_path: Path) -> None:
    with pytest.raises(LoraError, match="do not fit each other"):
        check_upload(file(tmp_path, down=torch.ones(0, 8), up=torch.ones(8, 0)))


def test_metadata_that_is_nested_too_deeply(tmp_path: Path) -> None:
    with pytest.raises(LoraError, match="nested too deeply"):
        check_upload(file(tmp_path, {"lora_adapter_metadata": "[" * 100_000 + "]" * 100_000}))


def test_other_metadata_is_not_read(tmp_path: Path) -> None:
    check_upload(file(tmp_path, {"ss_tag_frequency": json.dumps({"a": 1})}))


def test_a_block_number_of_thousands_of_digits(tmp_path: Path) -> None:
    name = f"transformer_blocks.{'1' * 5000}.attn.to_q"
    path = tmp_path / "lora.safetensors"
    save_file({f"{name}.lora_A.weight": torch.ones(4, 8), f"{name}.lora_B.weight": torch.ones(8, 4)}, path)
    with pytest.raises(LoraError, match="names no module") as caught:
        check_upload(path)
    assert len(str(caught.value)) < 300


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    path = file(tmp_path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(LoraError, match="no safetensors file"):
        check_upload(path)
