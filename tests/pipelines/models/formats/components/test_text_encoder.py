from pathlib import Path

import pytest
import torch

from pipelines.models.formats.components.text_encoder import open_text_encoder
from pipelines.models.formats.containers.headers import FormatError
from tests.pipelines.models.formats.encoders import save_language_gguf, save_mmproj
from tests.pipelines.models.formats.layouts import State, save

LANGUAGE: State = {
    "model.language_model.embed_tokens.weight": torch.zeros(4, 32),
    "model.language_model.layers.0.self_attn.q_proj.bias": torch.zeros(32),
    "model.language_model.layers.0.self_attn.q_proj.weight": torch.zeros(32, 32),
}
VISION: State = {"model.visual.patch_embed.proj.weight": torch.zeros(4, 3, 2, 14, 14)}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("encoder.block.0.layer.0.SelfAttention.q.weight", "it is a T5 text encoder; Qwen-Image reads a Qwen2.5-VL-7B"),
        ("text_model.encoder.layers.0.mlp.fc1.weight", "it is a CLIP text encoder"),
        ("model.layers.0.self_attn.q_norm.weight", "it is a Qwen3 or another text encoder"),
        ("visual.blocks.0.mlp.fc1.weight", "it is a Qwen2-VL, the former version"),
        ("transformer_blocks.0.img_mod.1.weight", "it is a transformer, not a text encoder; name it as `transformer`"),
        ("decoder.conv1.weight", "it is a VAE, not a text encoder; name it as `vae`"),
        ("transformer_blocks.0.attn.to_q.lora_A.weight", "it is a LoRA, not a text encoder"),
        ("controlnet_blocks.0.weight", "it is a ControlNet, not a text encoder"),
        ("model.layers.0.self_attn.q_proj.weight", r"'other\.safetensors' is no Qwen2\.5-VL: it has no model"),
    ],
)
def test_other_files(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        open_text_encoder(save({name: torch.zeros(1)}, tmp_path / "other.safetensors"))


def test_another_size(tmp_path: Path) -> None:
    path = save(LANGUAGE | VISION, tmp_path / "3b.safetensors")
    for config in ({"hidden_size": 3584}, {"text_config": {"hidden_size": 3584}}):
        with pytest.raises(FormatError, match=r"it is a Qwen2\.5-VL of the width 32, and the model needs one of 3584"):
            open_text_encoder(path, config)
    assert open_text_encoder(path, {"hidden_size": 32}).sees


class TestGguf:
    def test_another_architecture(self, tmp_path: Path) -> None:
        save_language_gguf(LANGUAGE, tmp_path / "a.gguf", architecture="llama")
        with pytest.raises(FormatError, match=r"'a\.gguf' is a GGUF of the architecture llama; .* has qwen2vl"):
            open_text_encoder(tmp_path / "a.gguf")

    def test_the_vision_tower_alone(self, tmp_path: Path) -> None:
        path = save_mmproj(VISION, tmp_path / "mmproj-F16.gguf")
        with pytest.raises(FormatError, match="it is a vision tower"):
            open_text_encoder(path)

    def test_of_several_vision_towers_the_one_with_the_nearest_name(self, tmp_path: Path) -> None:
        save_language_gguf(LANGUAGE, tmp_path / "Qwen2.5-VL-7B-Q8_0.gguf")
        for name in ("A-mmproj.gguf", "Qwen2.5-VL-7B-mmproj.gguf", "Qwen2.5-VL-mmproj.gguf"):
            save_mmproj(VISION, tmp_path / name)
        save_mmproj(VISION, tmp_path / "Qwen2.5-VL-7B-Q8_0.mmproj.gguf", projector="other")
        found = open_text_encoder(tmp_path / "Qwen2.5-VL-7B-Q8_0.gguf")
        assert found.format == "GGUF F32, vision tower Qwen2.5-VL-7B-mmproj.gguf"
        assert found.weights["model.visual.patch_embed.proj.weight"].shape == (4, 3, 2, 14, 14)

    def test_one_that_is_named_counts(self, tmp_path: Path) -> None:
        save_language_gguf(LANGUAGE, tmp_path / "a.gguf")
        save_mmproj(VISION, tmp_path / "a-mmproj.gguf")
        (tmp_path / "other").mkdir()
        named = save_mmproj(VISION, tmp_path / "other" / "tower.gguf")
        found = open_text_encoder(tmp_path / "a.gguf", mmproj=named)
        assert found.format == "GGUF F32, vision tower tower.gguf"
        assert found.sees

    def test_another_file_is_no_vision_tower(self, tmp_path: Path) -> None:
        save_language_gguf(LANGUAGE, tmp_path / "a.gguf")
        with pytest.raises(FormatError, match=r"'a\.gguf' is no vision tower of Qwen2\.5-VL; name its mmproj file"):
            open_text_encoder(tmp_path / "a.gguf", mmproj=tmp_path / "a.gguf")

    def test_other_files_have_their_own_vision_tower(self, tmp_path: Path, weights: Path) -> None:
        with pytest.raises(FormatError, match="is no GGUF, so it has no mmproj file"):
            open_text_encoder(weights / "text_encoder", mmproj=tmp_path / "tower.gguf")

    def test_without_one(self, tmp_path: Path) -> None:
        save_language_gguf(LANGUAGE, tmp_path / "a.gguf")
        assert not open_text_encoder(tmp_path / "a.gguf").sees
