import json
from pathlib import Path

import pytest

from pipelines.models.formats.containers.headers import FormatError, TensorEntry
from pipelines.models.formats.scales import pair_scales

WEIGHT = "layers.0.to_q.weight"


def entry(kind: str = "F8_E4M3", *shape: int, path: Path = Path("a"), size: int = 0) -> TensorEntry:
    return TensorEntry(path, kind, shape, 0, size)


@pytest.mark.parametrize("suffix", ["scale_weight", "weight_scale"])
@pytest.mark.parametrize("shape", [(), (1,), (8,), (8, 1)])
def test_a_weight_is_paired_with_its_scale(suffix: str, shape: tuple[int, ...]) -> None:
    tensors = {
        WEIGHT: entry("F8_E4M3", 8, 4),
        f"layers.0.to_q.{suffix}": entry("F32", *shape),
        "norm.weight": entry("F32", 4),
    }
    paired = pair_scales(tensors, {})
    assert set(paired) == {WEIGHT, "norm.weight"}
    assert paired[WEIGHT].scale is tensors[f"layers.0.to_q.{suffix}"]
    assert paired["norm.weight"].scale is None


@pytest.mark.parametrize(
    "name", ["scaled_fp8", "model.scaled_fp8", "layers.0.to_q.scale_input", "layers.0.to_q.input_scale"]
)
def test_markers_and_scales_of_activations_are_left_out(name: str) -> None:
    assert set(pair_scales({WEIGHT: entry(), name: entry("F32")}, {})) == {WEIGHT}


def test_a_scale_without_its_weight_stays_a_name_that_fits_nowhere() -> None:
    assert set(pair_scales({"a.weight_scale": entry("F32")}, {})) == {"a.weight_scale"}


def test_bytes_are_taken_for_the_type_that_the_metadata_names() -> None:
    note = {"_quantization_metadata": json.dumps({"layers": {"layers.0.to_q": {"format": "float8_e5m2"}}})}
    assert pair_scales({WEIGHT: entry("U8", 8, 4)}, note)[WEIGHT].tensor.kind == "F8_E5M2"


def test_the_note_beside_a_weight_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b'{"format": "float8_e4m3fn"}')
    tensors = {WEIGHT: entry("U8", 8, 4), "layers.0.to_q.comfy_quant": entry("U8", 27, path=path, size=27)}
    assert pair_scales(tensors, {})[WEIGHT].tensor.kind == "F8_E4M3"
    path.write_bytes(b'{"format": "nvfp4"}')
    tensors["layers.0.to_q.comfy_quant"] = entry("U8", 19, path=path, size=19)
    with pytest.raises(
        FormatError, match="is quantized as nvfp4, which cannot be read; use an fp8 file, a bf16 file, or"
    ):
        pair_scales(tensors, {})
    path.write_bytes(b"{")
    with pytest.raises(FormatError, match="comfy_quant cannot be read"):
        pair_scales(tensors, {})


@pytest.mark.parametrize(
    ("tensors", "metadata", "said"),
    [
        ({WEIGHT: entry("I8", 8, 4), "layers.0.to_q.weight_scale": entry("F32", 8)}, {}, "of the type I8 with scales"),
        (
            {WEIGHT: entry("F8_E4M3", 8, 4), "layers.0.to_q.weight_scale": entry("F32", 2, 2)},
            {},
            r"the shape \[2, 2\]; only",
        ),
        ({WEIGHT: entry("U8", 9), "layers.0.to_q.weight.absmax": entry("F32", 8)}, {}, "quantized by bitsandbytes"),
        ({WEIGHT: entry()}, {"_quantization_metadata": "{"}, "_quantization_metadata cannot be read"),
        ({WEIGHT: entry()}, {"_quantization_metadata": '{"layers": 1}'}, "names no layers"),
        ({WEIGHT: entry()}, {"_quantization_metadata": '{"layers": {"a": 1}}'}, r"a\.weight is quantized as None"),
    ],
)
def test_what_is_not_understood_is_refused(
    tensors: dict[str, TensorEntry], metadata: dict[str, str], said: str
) -> None:
    with pytest.raises(FormatError, match=said):
        pair_scales(tensors, metadata)
