"""Which LoRA files fit which transformers, by shapes alone."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from pipelines.catalog.catalog import EMBEDDED_FOLDER
from pipelines.catalog.models_file import load_catalog
from pipelines.errors import LoraError
from pipelines.lora.keys import check_file
from pipelines.lora.model_shapes import TransformerShapes, check_fits_one, served_shapes
from pipelines.lora.upload_check import check_upload

QWEN, SMALL = TransformerShapes.of_config({}), served_shapes(load_catalog().with_embedded_weights().entries)
Q = "transformer_blocks.0.attn.to_q"


def test_the_shapes_are_those_of_the_weights() -> None:
    (small,) = SMALL
    found = {}
    for path in (EMBEDDED_FOLDER / "transformer").glob("*.safetensors"):
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118  it is no mapping
                if name.endswith(".weight"):
                    found[name.removesuffix(".weight")] = tuple(file.get_slice(name).get_shape())
    assert small.weights == found
    assert QWEN.weights.keys() > found.keys()
    assert QWEN.weights["transformer_blocks.59.img_mlp.net.2"] == (3072, 12288)


def test_each_transformer_is_named_once() -> None:
    entries = load_catalog().entries
    assert served_shapes([replace(entry, weights="/no/folder") for entry in entries]) == (QWEN,)


@pytest.mark.parametrize(
    ("parts", "fits"),
    [
        ({"up": (3072, 4), "down": (4, 3072)}, True),
        ({"up": (128, 4), "down": (4, 128), "alpha": ()}, True),
        ({"up": (3072, 4), "down": (4, 128)}, False),
        ({"up": (3072, 4), "down": (4, 3072), "up_b": (3071,)}, False),
        ({"hada_w1_a": (128, 2), "hada_w1_b": (2, 128), "hada_w2_a": (128, 3), "hada_w2_b": (3, 127)}, False),
        ({"w1": (4, 4), "w2_a": (32, 2), "w2_b": (2, 32)}, True),
        ({"w1": (4, 4), "w2": (32, 31)}, False),
        ({"diff": (128, 128)}, True),
        ({"diff": (128, 64), "diff_b": (128,)}, False),
        ({"oft_vectors": (4, 6)}, True),
    ],
)
def test_the_parts_of_a_module(parts: dict[str, tuple[int, ...]], fits: bool) -> None:
    models = (QWEN, *SMALL)
    if fits:
        check_fits_one({Q: parts}, models)
    else:
        with pytest.raises(LoraError, match=r"none of the served models: its weights of transformer_blocks.0"):
            check_fits_one({Q: parts}, models)


def test_a_block_that_no_model_has() -> None:
    module = {"transformer_blocks.6.attn.to_q": {"up": (128, 4), "down": (4, 128)}}
    with pytest.raises(LoraError, match=r"there is no transformer_blocks.6.attn.to_q in 6 blocks"):
        check_fits_one(module, SMALL)


def test_one_module_that_does_not_fit_is_enough() -> None:
    pair = {"up": (128, 4), "down": (4, 128)}
    check_fits_one({Q: pair, "proj_out": {"up": (64, 4), "down": (4, 128)}}, SMALL)
    with pytest.raises(LoraError, match=r"proj_out"):
        check_fits_one({Q: pair, "proj_out": pair}, SMALL)


def test_an_upload_for_another_size_of_model(tmp_path: Path) -> None:
    """It was installed, and failed each task that used it."""
    path = tmp_path / "lora.safetensors"
    save_file({f"{Q}.lora_A.weight": torch.ones(4, 3072), f"{Q}.lora_B.weight": torch.ones(3072, 4)}, path)
    assert check_upload(path, (QWEN,)) == check_file(path)
    with pytest.raises(LoraError, match="none of the served models"):
        check_upload(path, SMALL)
