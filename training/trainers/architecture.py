"""The architecture of the embedded model: the real classes with small sizes. Knows configurations; knows no data."""

from functools import cache
from typing import Any

from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from torch import nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize

from training.trainers.vae import LATENT_CHANNELS

WIDTH = 128
LAYERS = 6
TOKEN = 16  # pixels along each side of a token
PATCH, MERGED = 14, 2  # pixels of the vision tower's patches, and patches along each side of its tokens
_HEADS = 4

# The real models' scheduler (Qwen/Qwen-Image, scheduler_config.json).
SCHEDULER = {
    "num_train_timesteps": 1000,
    "shift": 1.0,
    "use_dynamic_shifting": True,
    "time_shift_type": "exponential",
    "base_shift": 0.5,
    "max_shift": 0.9,
    "base_image_seq_len": 256,
    "max_image_seq_len": 8192,
    "shift_terminal": 0.02,
}
# The vision tower takes pictures of 56 × 56 pixels, which are 4 tokens. The VAE carries everything else.
_SEEN_PIXELS = 56 * 56


def fresh_transformer(layers: int = LAYERS) -> QwenImageTransformer2DModel:
    """Make a transformer whose blocks start as the identity. diffusers' own initialisation does not do that."""
    transformer = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=4 * LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=layers,
        attention_head_dim=WIDTH // _HEADS,
        num_attention_heads=_HEADS,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(8, 12, 12),
    )
    for name, weight in transformer.named_parameters():
        if "_mod." in name or name.startswith(("norm_out.", "proj_out.")):
            nn.init.zeros_(weight)
        elif weight.ndim == 2:
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
        elif name.endswith("bias"):
            nn.init.zeros_(weight)
    return transformer


def fresh_text_encoder(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLForConditionalGeneration:
    """Make a language model of two layers, with a vision tower that stays random because it only has to exist."""
    ids = tokenizer.get_vocab()
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": WIDTH,
            "intermediate_size": 3 * WIDTH,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 128_000,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]},
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": WIDTH,
            "fullatt_block_indexes": [0],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    encoder = Qwen2_5_VLForConditionalGeneration(config)
    for name, weight in encoder.model.language_model.named_parameters():
        if weight.ndim == 2:
            nn.init.normal_(weight, std=0.5 if "embed" in name else weight.shape[1] ** -0.5)
    encoder.model.visual.requires_grad_(False)
    return encoder


def image_processor() -> Qwen2VLImageProcessorPil:
    """Make the image processor of the vision tower."""
    return Qwen2VLImageProcessorPil(min_pixels=_SEEN_PIXELS // 4, max_pixels=_SEEN_PIXELS)


@cache
def vision_grid(grid: tuple[int, int]) -> tuple[int, int]:
    """Return the rows and columns of patches that the vision tower makes of a picture of this grid of tokens."""
    limits: Any = image_processor().size
    least, most = limits["shortest_edge"], limits["longest_edge"]
    height, width = smart_resize(grid[0] * TOKEN, grid[1] * TOKEN, PATCH * MERGED, least, most)
    return height // PATCH, width // PATCH


def scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Make the real scheduler, to be saved with the checkpoint."""
    return FlowMatchEulerDiscreteScheduler(**SCHEDULER)
