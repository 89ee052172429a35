"""Each layout of a transformer computes what the folder it was made from computes, or what its numbers stand for."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel

from accel.weights.quantized.fp8 import Fp8Linear
from accel.weights.quantized.gguf import GgufLinear
from pipelines.catalog.component_files import ComponentFiles
from pipelines.models.formats.place import Placement
from pipelines.models.loading.loader import in_a_block, load_transformer
from pipelines.models.plan import Precision
from tests.pipelines.models.formats.layouts import (
    State,
    comfy_quant,
    dequantized,
    plain_fp8,
    quantization_metadata,
    save,
    save_gguf,
    scaled,
    scaled_fp8,
    state_of,
    tiny_transformer,
    with_prefix,
)

CPU = torch.device("cpu")
GGUF = (
    *("Q4_0", "Q4_K", "Q8_0", "BF16"),
    *(pytest.param(kind, marks=pytest.mark.slow) for kind in "Q2_K Q3_K Q4_1 Q5_0 Q5_1 Q5_K Q6_K F16".split()),
)
# The relative error of the output, measured 0.02 and 0.03 here: a weight in e4m3 is off by up to 1/16 of itself.
FP8_ERROR = 0.1


@pytest.fixture(scope="module")
def original() -> State:
    return {name: tensor.to(torch.bfloat16) for name, tensor in state_of(tiny_transformer()).items()}


@pytest.fixture(scope="module")
def base(original: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the transformer in diffusers' layout, as the only component."""
    folder = tmp_path_factory.mktemp("base")
    holding(original).bfloat16().save_pretrained(folder / "transformer")
    return folder


def holding(state: State) -> QwenImageTransformer2DModel:
    """The transformer of a state in float32, without our loader."""
    transformer = tiny_transformer()
    transformer.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return transformer


@torch.inference_mode()
def output(transformer: torch.nn.Module, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    return transformer(
        hidden_states=torch.randn(1, 12, 64, generator=random).to(dtype),
        encoder_hidden_states=torch.randn(1, 5, 256, generator=random).to(dtype),
        timestep=torch.tensor([0.5], dtype=dtype),
        img_shapes=[[(1, 3, 4)]],
        return_dict=False,
    )[0]


def loaded(
    base: Path, path: Path | None, precision: Precision = "fp32", dtype: torch.dtype = torch.float32
) -> QwenImageTransformer2DModel:
    files = ComponentFiles(str(base), transformer=None if path is None else str(path))
    return load_transformer(files, Placement(CPU, dtype, precision, in_a_block))


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_folder_itself_equals_the_library(base: Path, dtype: torch.dtype) -> None:
    library = QwenImageTransformer2DModel.from_pretrained(base, subfolder="transformer", torch_dtype=dtype).eval()
    assert torch.equal(output(loaded(base, None, dtype=dtype), dtype), output(library, dtype))


def test_shards_equal_one_file(base: Path, original: State, tmp_path: Path) -> None:
    sharded = tmp_path / "transformer"
    holding(original).bfloat16().save_pretrained(sharded, max_shard_size="1MB")
    assert len(list(sharded.glob("*.safetensors"))) > 3
    assert torch.equal(output(loaded(base, sharded)), output(loaded(base, None)))
    assert torch.equal(output(loaded(base, tmp_path)), output(loaded(base, None)))


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model."])
def test_a_single_file_equals_its_folder(base: Path, original: State, tmp_path: Path, prefix: str) -> None:
    path = save(with_prefix(original, prefix), tmp_path / "bf16.safetensors")
    assert torch.equal(output(loaded(base, path)), output(loaded(base, None)))


LAYOUTS: dict[str, Callable[[State], State]] = {
    "fp8": plain_fp8,
    "scaled_fp8": scaled_fp8,
    "scaled_fp8 with a prefix": lambda state: with_prefix(scaled_fp8(state), "model.diffusion_model."),
    "weight_scale": lambda state: scaled(state, "weight_scale", activations="input_scale"),
    "weight_scale by row": lambda state: scaled(state, "weight_scale", by_row=True),
    "comfy_quant": comfy_quant,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scales_are_applied(base: Path, original: State, tmp_path: Path, layout: str) -> None:
    state = LAYOUTS[layout](original)
    stands_for = dequantized({name.removeprefix("model.diffusion_model."): each for name, each in state.items()})
    found = output(loaded(base, save(state, tmp_path / "fp8.safetensors", quantization_metadata(original))))
    assert torch.equal(found, output(holding(stands_for)))
    assert relative_error(found, output(loaded(base, None))) < FP8_ERROR


@pytest.mark.parametrize("layout", LAYOUTS)
def test_fp8_is_kept_where_the_plan_says_fp8(base: Path, original: State, tmp_path: Path, layout: str) -> None:
    path = save(LAYOUTS[layout](original), tmp_path / "fp8.safetensors")
    kept, dense = loaded(base, path, "fp8"), loaded(base, path)
    layers = [name for name, module in kept.named_modules() if isinstance(module, Fp8Linear)]
    assert len(layers) == 14
    for name in layers:
        assert torch.equal(kept.get_submodule(name).dequantize(), dense.get_parameter(f"{name}.weight"))  # pyright: ignore
    assert relative_error(output(kept), output(dense)) < FP8_ERROR


@pytest.mark.parametrize("kind", GGUF)
def test_a_gguf_file_computes_what_its_blocks_stand_for(base: Path, original: State, tmp_path: Path, kind: str) -> None:
    stands_for = save_gguf(original, tmp_path / "a.gguf", kind)
    expected = output(holding(stands_for))
    assert torch.equal(output(loaded(base, tmp_path / "a.gguf")), expected)
    packed = loaded(base, tmp_path / "a.gguf", "packed")
    assert torch.equal(output(packed), expected)
    blocks = sum(isinstance(module, GgufLinear) for module in packed.modules())
    assert blocks == (0 if kind.endswith("16") else 14)


def test_a_single_file_needs_no_folder_for_the_real_sizes(original: State, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    path = save(original, tmp_path / "bf16.safetensors")
    with pytest.raises(Exception, match=r"linear_1\.weight has the shape \[256, 256\], and \w+ needs \[3072, 256\]"):
        loaded(tmp_path / "base", path)


def test_no_hub_is_asked(base: Path, original: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection is opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    loaded(base, save(scaled_fp8(original), tmp_path / "fp8.safetensors"))


def test_the_marker_of_2511_is_heard(base: Path, original: State, tmp_path: Path) -> None:
    path = save(original | {"__index_timestep_zero__": torch.tensor([])}, tmp_path / "edit.safetensors")
    assert loaded(base, path).config["zero_cond_t"] is True
    assert loaded(base, path).zero_cond_t is True
    assert json.loads((base / "transformer" / "config.json").read_text())["zero_cond_t"] is False
