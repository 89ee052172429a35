import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from pipelines.models.checkpoint import Checkpoint
from training.trainers.dataset import SQUARE, DataRecipe, Encoder
from training.trainers.joint import (
    PROGRESS,
    JointModel,
    _sample_buffer,
    by_adam,
    sample_sigmas,
    trained_steps,
    weighted_mean,
)


def test_emphasized_tokens_have_three_times_the_weight() -> None:
    error, emphasized = torch.tensor([[1.0, 5.0]]), torch.tensor([[True, False]])
    assert weighted_mean(error, emphasized).item() == pytest.approx((3 * 1 + 5) / 4)


def test_sigmas_favour_high_noise() -> None:
    torch.manual_seed(0)
    sigmas = sample_sigmas(20_000, torch.device("cpu"))
    assert 0 < sigmas.min() < 0.02
    assert sigmas.max() <= 1
    assert (sigmas > 0.5).float().mean().item() == pytest.approx(0.57, abs=0.02)


def test_the_curriculum_starts_with_single_shapes_and_ends_with_edits() -> None:
    rng = np.random.default_rng(0)
    buffers = {task: [task] for task in ("easy", "single", "hard", "odd", "edit", "odd edit", "combine")}
    phases = [
        {_sample_buffer(cast("Any", buffers), progress, rng)[0] for _ in range(300)}
        for progress in (0.0, 0.1, 0.9, 1.0)
    ]
    assert phases[0] == {"easy", "single"}
    assert phases[1] == {"easy", "single", "hard", "edit"}
    assert phases[2] == phases[3] == {"single", "hard", "odd", "edit", "odd edit", "combine"}


def losses_of_two_edits(
    trained: Checkpoint, *, head_alone: bool = False
) -> tuple[JointModel, torch.Tensor, torch.Tensor]:
    """A model and its losses."""
    torch.manual_seed(0)
    model = JointModel(trained.tokenizer)
    for weight in model.transformer.parameters():  # a fresh transformer adds nothing, so nothing reaches the encoder
        torch.nn.init.normal_(weight, std=0.05)
    rng = np.random.default_rng(0)
    buffer = Encoder(trained.vae, trained.text_encoder).make_buffer(DataRecipe(("recolour",), 1), SQUARE, 2, rng)
    texts = buffer.texts([0, 1], rng)
    return model, *model.losses(buffer, [0, 1], texts, "edit", trained.tokenizer, head_alone=head_alone)


def has_gradient(part: torch.nn.Module) -> bool:
    return any(weight.grad is not None and bool(weight.grad.any()) for weight in part.parameters())


def test_both_losses_train_every_part(trained: Checkpoint) -> None:
    model, flow, layout = losses_of_two_edits(trained)
    (flow + layout).backward()
    assert all(map(has_gradient, (model.transformer, model.layout, model.encoder.model.language_model)))


def test_the_layout_head_learns_alone(trained: Checkpoint) -> None:
    model, _, layout = losses_of_two_edits(trained, head_alone=True)
    layout.backward()
    assert has_gradient(model.layout)
    assert not has_gradient(model.transformer)
    assert not has_gradient(model.encoder)


def test_hidden_matrices_are_trained_by_muon() -> None:
    names = ["transformer.transformer_blocks.0.attn.to_q.weight", "transformer.img_in.weight", "layout.kinds.weight"]
    assert [by_adam(name) for name in names] == [False, True, True]


def test_steps_are_read_from_the_checkpoint(tmp_path: Path) -> None:
    assert trained_steps(tmp_path) == 0
    (tmp_path / PROGRESS).write_text(json.dumps({"steps": 7}))
    assert trained_steps(tmp_path) == 7
