from pathlib import Path

import pytest
import torch

from pipelines.catalog.catalog import EMBEDDED_FOLDER, FOUR_STEPS, LIGHTNING
from pipelines.lora.files import read_lora
from pipelines.models.checkpoint import Checkpoint
from training.__main__ import copy_checkpoint
from training.trainers import lightning
from training.trainers.lightning import LightningBudget, four_sigmas, guided_points, train_lightning

CPU = torch.device("cpu")


def test_the_four_sigmas_are_those_of_its_schedule() -> None:
    sigmas = four_sigmas(64)
    assert len(sigmas) == (FOUR_STEPS.steps or 0) + 1
    assert sigmas.tolist() == pytest.approx([1.0, 0.9, 0.75, 0.5, 0.0])


@pytest.mark.slow
def test_the_way_of_the_checkpoint_leads_from_noise_to_a_picture(trained: Checkpoint) -> None:
    torch.manual_seed(0)
    points = guided_points(trained, ["a large red circle at the center on a white background"], (8, 8), four_sigmas(64))
    assert points.shape == (1, 5, 64, 64)
    assert points[0, 0].std().item() == pytest.approx(1, abs=0.05)
    latents = points[0, -1]  # the first row of tokens is background: they are equal, as no noise is
    assert (latents[:8] - latents[:8].mean(dim=0)).std() < 0.3 * latents.std()


@pytest.mark.slow
def test_the_file_fits_the_transformer(trained: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lightning, "_SUBSTEPS", 1)
    copy_checkpoint(EMBEDDED_FOLDER, tmp_path)
    train_lightning(CPU, tmp_path, LightningBudget(steps=2, batch=2, scenes=2), 0)
    assert read_lora(tmp_path / LIGHTNING, trained.transformer, CPU, torch.float32).deltas
    assert (tmp_path / LIGHTNING).stat().st_size < 2 * 2**20
