from pathlib import Path

import pytest
import torch
from torch import nn

from pipelines.errors import LoraError
from pipelines.lora.keys import check_file, is_norm, sort_names
from pipelines.models.checkpoint import Checkpoint
from tests.adapters import DIALECTS, MODULES, random_adapter, write

Q = "transformer_blocks.0.attn.to_q"


def low_rank(*modules: str) -> list[str]:
    return [f"{module}.{part}.weight" for module in modules for part in ("lora_A", "lora_B")]


def test_every_module_with_weights_is_known(checkpoint: Checkpoint) -> None:
    """The module names are a list, so that no torch is needed. This compares the list with the model."""
    for name, module in checkpoint.transformer.named_modules():
        if isinstance(module, nn.Linear):
            for spelling in (
                name,
                name.replace(".", "_"),
                f"transformer.{name}",
                f"lora_unet_{name.replace('.', '_')}",
            ):
                assert set(sort_names(low_rank(spelling)).modules) == {name}
            assert not is_norm(name)
        elif isinstance(getattr(module, "weight", None), nn.Parameter):
            assert set(sort_names([f"diffusion_model.{name}.diff"]).modules) == {name}
            assert is_norm(name)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_means_the_same_modules(checkpoint: Checkpoint, tmp_path: Path, dialect: str) -> None:
    state = DIALECTS[dialect](random_adapter(checkpoint.transformer))
    names = check_file(write(tmp_path / "a.safetensors", state))
    assert set(names.modules) == set(MODULES)
    assert {frozenset(parts) - {"alpha"} for parts in names.modules.values()} == {frozenset({"down", "up"})}
    assert names.text_encoder == ()


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ([], "no weights"),
        (["lora_te1_text_model_encoder.lora_down.weight"], "only weights of a text encoder"),
        (["text_encoder.model.layers.0.lora_A.weight"], "only weights of a text encoder"),
        (["transformer_blocks.0.attn.to_q.weight"], "unknown spelling: .* is no weight of a LoRA"),
        (["lora_A.weight"], "unknown spelling: .* is no weight of a LoRA"),
        ([f"{Q}.hada_t1"], "unknown spelling: .* is no weight of a LoRA"),
        (low_rank("transformer_blocks.0.attn.to_qkv"), "unknown spelling: .* names no module"),
        (low_rank(f"my_trainer.{Q}"), "unknown spelling: .* names no module"),
        (low_rank("blocks.0.to_q"), "unknown spelling: .* names no module"),
        (low_rank("transformer_blocks.0.ff.net.0.proj"), "another model"),
        (low_rank("lora_unet_input_blocks_1_1_proj_in"), "another model"),
        (low_rank("single_transformer_blocks.0.attn.to_q"), "another model"),
        (low_rank("double_blocks.0.img_attn.qkv"), "another model"),
        ([*low_rank(Q), *low_rank("down_blocks.0.attn.to_q")], "another model"),
        ([f"{Q}.lora_A.weight"], "do not make a delta: down"),
        ([f"{Q}.alpha"], "do not make a delta: alpha"),
        ([f"{Q}.lokr_w1", f"{Q}.lokr_w2_a"], "do not make a delta"),
        ([f"{Q}.lokr_w1", f"{Q}.lora_A.weight"], "do not make a delta"),
        ([*low_rank(Q), f"{Q}.diff"], "do not make a delta"),
        ([f"{Q}.diff", f"{Q}.alpha"], "do not make a delta"),
        ([f"{Q}.dora_scale"], "do not make a delta"),
        ([f"{Q}.hada_w1_a", f"{Q}.hada_w1_b"], "do not make a delta"),
        ([f"{Q}.lora_B.bias"], "do not make a delta"),
        ([*low_rank(Q), f"{Q}.lora_B.bias", f"{Q}.dora_scale"], "do not make a delta"),
        ([f"{Q}.oft_R.weight", f"{Q}.dora_scale"], "do not make a delta"),
        ([f"{Q}.oft_R.weight", f"{Q}.rescale"], "do not make a delta"),
        (low_rank("txt_norm"), "do not make a delta"),
        ([*low_rank(Q), f"transformer.{Q}.lora_A.weight"], "twice"),
        ([f"{Q}.lora_A.one.weight", f"{Q}.lora_A.two.weight", f"{Q}.lora_B.one.weight"], "twice"),
    ],
)
def test_what_is_no_lora_of_this_model_is_said_plainly(names: list[str], complaint: str) -> None:
    with pytest.raises(LoraError, match=complaint):
        sort_names(names)


def test_text_encoder_names_are_set_apart() -> None:
    names = sort_names([*low_rank(Q), "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight"])
    assert set(names.modules) == {Q}
    assert len(names.text_encoder) == 1


def test_files_that_are_no_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for data in (b"", b"<html>not found</html>", b"\xff" * 64):
        path.write_bytes(data)
        with pytest.raises(LoraError, match="no safetensors file"):
            check_file(path)
    whole = write(path, {f"{Q}.lora_A.weight": torch.zeros(1, 4), f"{Q}.lora_B.weight": torch.zeros(4, 1)}).read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(LoraError, match="no safetensors file"):
        check_file(path)
