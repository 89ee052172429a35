"""A checkpoint of exactly the real classes, small enough to build in seconds, with seeded random weights.

It draws no recognisable picture; it makes every part run where the real weights are not. Nothing else may depend on
its being random: it lies in the ordinary diffusers folder layout and is loaded like any other.
"""

import shutil
import uuid
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from torch import nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from pipelines.embedded.tokenizer import byte_tokenizer

RECIPE = 1  # part of the folder's name: another recipe is built beside it, not over it
SEED = 108

_HEADS, _HEAD_DIM = 2, 16
_TEXT_WIDTH = 32

# The real models' scheduler (Qwen/Qwen-Image, scheduler_config.json).
_SCHEDULER = {
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


def build_stand_in(parent: Path) -> Path:
    """The checkpoint's folder below `parent`, built if it is not there. Several processes may race for it."""
    folder = parent / f"stand-in-{RECIPE}"
    if folder.is_dir():
        return folder
    parent.mkdir(parents=True, exist_ok=True)
    draft = parent / f".{folder.name}-{uuid.uuid4().hex}"
    try:
        _save(draft)
        draft.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process was first, and built the same
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _save(folder: Path) -> None:
    tokenizer = byte_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        _transformer().save_pretrained(folder / "transformer")
        _vae().save_pretrained(folder / "vae")
        _text_encoder(tokenizer).save_pretrained(folder / "text_encoder")
    tokenizer.save_pretrained(folder / "tokenizer")
    Qwen2VLImageProcessorPil().save_pretrained(folder / "processor")
    FlowMatchEulerDiscreteScheduler(**_SCHEDULER).save_pretrained(folder / "scheduler")


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
