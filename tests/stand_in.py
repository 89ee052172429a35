"""A checkpoint of exactly the real classes, small enough to build in a second, with seeded random weights.

It draws no recognisable picture, but every prompt, reference and position shows in what it draws.
"""

from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from tokenizers.pre_tokenizers import ByteLevel
from torch import nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from pipelines.catalog.templates import CONTROL_TOKENS
from training.trainers.architecture import scheduler
from training.trainers.tokenizer import build_tokenizer

SEED = 108

_HEADS, _HEAD_DIM = 2, 16
_TEXT_WIDTH = 32


def save_stand_in(folder: Path) -> None:
    """Write it in the diffusers folder layout."""
    tokenizer = byte_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        _transformer().save_pretrained(folder / "transformer")
        _vae().save_pretrained(folder / "vae")
        _text_encoder(tokenizer).save_pretrained(folder / "text_encoder")
    tokenizer.save_pretrained(folder / "tokenizer")
    Qwen2VLImageProcessorPil().save_pretrained(folder / "processor")
    scheduler().save_pretrained(folder / "scheduler")


def byte_tokenizer() -> Qwen2Tokenizer:
    """An ordinary tokenizer with 256 byte symbols, then the control tokens in the order of the real vocabulary."""
    symbols = [*sorted(ByteLevel.alphabet()), *CONTROL_TOKENS]
    return build_tokenizer({symbol: number for number, symbol in enumerate(symbols)}, [])


def _transformer() -> QwenImageTransformer2DModel:
    transformer = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=64,
        out_channels=16,
        num_layers=2,
        attention_head_dim=_HEAD_DIM,
        num_attention_heads=_HEADS,
        joint_attention_dim=_TEXT_WIDTH,
        axes_dims_rope=(4, 6, 6),
    )
    # Default weights barely mix tokens; larger ones make prompt, reference and position show in the picture.
    for name, weight in transformer.named_parameters():
        if weight.ndim == 2:
            nn.init.normal_(weight, std=(2.0 if "to_" in name else 1.0) / weight.shape[1] ** 0.5)
    return transformer


def _vae() -> AutoencoderKLQwenImage:
    vae = AutoencoderKLQwenImage(base_dim=8, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=1)
    # The kernels' fan-in counts two temporal slices that a single image never touches.
    for weight in vae.parameters():
        if weight.ndim == 5:
            nn.init.normal_(weight, std=(weight.shape[1] * weight.shape[3] * weight.shape[4]) ** -0.5)
    return vae


def _text_encoder(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLForConditionalGeneration:
    ids = tokenizer.get_vocab()
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": _TEXT_WIDTH,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 128_000,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": _TEXT_WIDTH,
            "fullatt_block_indexes": [1],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    return Qwen2_5_VLForConditionalGeneration(config)
