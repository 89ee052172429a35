"""A small repository in the layout of a sharded model."""

import json

NAME = "owner/model"
FIRST, SECOND = (f"transformer/diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n in (1, 2))
INDEX = {"weight_map": {"a": FIRST.removeprefix("transformer/"), "b": SECOND.removeprefix("transformer/")}}
FILES = {
    "model_index.json": b'{"transformer": ["diffusers", "T"], "vae": ["diffusers", "V"], "scheduler": ["d", "S"]}',
    "transformer/config.json": b"{}",
    "transformer/diffusion_pytorch_model.safetensors.index.json": json.dumps(INDEX).encode(),
    FIRST: bytes([1]) * 3_000_000,
    SECOND: bytes([2]) * 3_000_000,
    "vae/config.json": b'{"latent": 16}',
    "vae/diffusion_pytorch_model.safetensors": b"vae" * 1000,
    "vae/diffusion_pytorch_model.fp16.safetensors": b"half",
    "scheduler/scheduler_config.json": b"{}",
    "README.md": b"read me",
}
