from pathlib import Path

import gguf
import pytest
import torch

from pipelines.models.formats.containers.headers import FormatError, TensorEntry
from pipelines.models.formats.containers.weight_files import open_weights
from pipelines.models.formats.scales import WeightEntry, pair_scales
from pipelines.models.formats.stored_tensors import BlockTensor, PlainTensor, ScaledTensor, read_stored
from tests.pipelines.models.formats.layouts import quantize, save, save_gguf

CPU = torch.device("cpu")
NAME = "transformer_blocks.0.weight"
KINDS = ("Q2_K", "Q3_K", "Q4_0", "Q4_1", "Q4_K", "Q5_0", "Q5_1", "Q5_K", "Q6_K", "Q8_0")


def entries(path: Path) -> dict[str, WeightEntry]:
    files = open_weights(path)
    return dict(pair_scales(files.tensors, files.metadata))


def test_plain_values_are_those_of_the_file(tmp_path: Path) -> None:
    made = {"a": torch.randn(3, 5, dtype=torch.bfloat16), "b": torch.tensor(2.5), "empty": torch.zeros(0, 3)}
    found = entries(save(made, tmp_path / "a.safetensors"))
    for name, tensor in made.items():
        stored = read_stored(found[name], CPU)
        assert isinstance(stored, PlainTensor)
        assert torch.equal(stored.dense(tensor.dtype), tensor)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("scale", [torch.tensor(0.3), torch.tensor([0.3]), torch.tensor([[0.3], [0.5], [7.0]])])
def test_a_scaled_weight_is_the_product_rounded_once(tmp_path: Path, dtype: torch.dtype, scale: torch.Tensor) -> None:
    values = torch.randn(3, 5).to(dtype)
    found = entries(save({"a.weight": values, "a.weight_scale": scale}, tmp_path / "a.safetensors"))
    stored = read_stored(found["a.weight"], CPU)
    assert isinstance(stored, ScaledTensor)
    assert torch.equal(stored.dense(torch.float32), values.float() * scale)
    assert torch.equal(stored.dense(torch.bfloat16), (values.float() * scale).to(torch.bfloat16))


def test_fp8_without_a_scale_has_the_scale_one(tmp_path: Path) -> None:
    values = torch.randn(3, 5).to(torch.float8_e4m3fn)
    stored = read_stored(entries(save({"a": values}, tmp_path / "a.safetensors"))["a"], CPU)
    assert isinstance(stored, ScaledTensor)
    assert stored.scale.item() == 1
    assert torch.equal(stored.dense(torch.float32), values.float())


@pytest.mark.parametrize("kind", [*KINDS, "BF16", "F16", "F32"])
def test_blocks_stand_for_what_the_library_says(tmp_path: Path, kind: str) -> None:
    expected = save_gguf({NAME: torch.randn(4, 512)}, tmp_path / "a.gguf", kind)[NAME]
    stored = read_stored(entries(tmp_path / "a.gguf")[NAME], CPU)
    assert isinstance(stored, BlockTensor) == (kind in KINDS)
    assert torch.equal(stored.dense(torch.float32), expected)
    assert torch.equal(stored.dense(torch.bfloat16), expected.to(torch.bfloat16))


def test_a_matrix_whose_rows_are_no_whole_blocks_was_laid_out_anew(tmp_path: Path) -> None:
    kind = gguf.GGMLQuantizationType.Q4_K
    values = torch.randn(8, 64)
    blocks = quantize(values.reshape(2, 256).numpy(), kind)
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "qwen_image")
    writer.add_array(f"comfy.gguf.orig_shape.{NAME}", [8, 64])
    writer.add_tensor(NAME, blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    expected = torch.from_numpy(gguf.quants.dequantize(blocks, kind).copy()).reshape(8, 64)
    assert torch.equal(read_stored(entries(tmp_path / "a.gguf")[NAME], CPU).dense(torch.float32), expected)


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = save({"a": torch.ones(100)}, tmp_path / "a.safetensors")
    found = entries(path)["a"]
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(FormatError, match="ended while it was read"):
        read_stored(found, CPU)


def test_a_type_without_a_counterpart(tmp_path: Path) -> None:
    entry = WeightEntry(TensorEntry(tmp_path, "F4", (2,), 0, 1))
    with pytest.raises(FormatError, match="of the type F4, which cannot be read"):
        read_stored(entry, CPU)
