import shutil
from pathlib import Path

import torch

from pipelines.catalog.catalog import EMBEDDED_FOLDER, OUTLINES
from pipelines.lora.files import read_lora
from pipelines.models.checkpoint import Checkpoint
from training.trainers.lora import LAYERS, RANK, LoraBudget, train_lora


def test_two_steps_leave_a_lora_of_every_linear(trained: Checkpoint, tmp_path: Path) -> None:
    for part in ("transformer", "vae", "text_encoder", "tokenizer", "processor", "scheduler"):
        shutil.copytree(EMBEDDED_FOLDER / part, tmp_path / part)
    train_lora(torch.device("cpu"), tmp_path, LoraBudget(steps=2, batch=1, scenes=2), seed=0)
    file = read_lora(tmp_path / OUTLINES, trained.transformer, torch.device("cpu"), torch.float32)
    assert len(file.deltas) == len(LAYERS) * trained.transformer.config["num_layers"]
    (delta,) = file.deltas["transformer_blocks.0.attn.to_q"]
    assert delta.down.shape[0] == RANK  # pyright: ignore[reportAttributeAccessIssue]
    assert delta.up.any()  # pyright: ignore[reportAttributeAccessIssue]  it starts at zero
