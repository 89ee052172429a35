import pytest

from pipelines.models.formats.components.refusals import (
    CONTROLNET,
    LORA,
    TEXT_ENCODER,
    TRANSFORMER,
    VAE,
    Refusal,
    refuse,
)
from pipelines.models.formats.containers.headers import FormatError


@pytest.mark.parametrize(
    ("shows", "name"),
    [
        (LORA, "transformer_blocks.0.attn.to_q.lora_A.weight"),
        (CONTROLNET, "controlnet_blocks.0.weight"),
        (TRANSFORMER, "model.diffusion_model.transformer_blocks.0.img_mod.1.weight"),
        (TEXT_ENCODER, "model.layers.0.mlp.up_proj.weight"),
        (VAE, "decoder.middle.0.residual.0.gamma"),
    ],
)
def test_names_show_the_kind(shows: object, name: str) -> None:
    kinds = {LORA, CONTROLNET, TRANSFORMER, TEXT_ENCODER, VAE}
    assert shows in kinds
    assert shows in {kind for kind in kinds if kind([name])}


def test_the_first_that_shows_is_said() -> None:
    refusals = (Refusal(VAE, "a VAE"), Refusal(LORA, "a LoRA"))
    with pytest.raises(FormatError, match="a LoRA"):
        refuse(["a.lora_A.weight"], refusals)
    refuse(["another"], refusals)
