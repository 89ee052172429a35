"""The whole recipe in miniature: from nothing to a checkpoint that loads, and on from where it stopped."""

import subprocess
import sys
from pathlib import Path

import torch

from pipelines.loading import load

TINY = ["--vae-steps", "3", "--batch", "2", "--pools", "0.002", "--processes", "1"]


def train(folder: Path, steps: int) -> str:
    command = [sys.executable, "-m", "training", "--folder", str(folder), "--steps", str(steps), *TINY]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_training_goes_on_and_ends_in_a_checkpoint(tmp_path: Path) -> None:
    train(tmp_path, 2)
    first = load(str(tmp_path), torch.device("cpu"), torch.float32, with_vision=True)
    assert "VAE" not in train(tmp_path, 4)
    second = load(str(tmp_path), torch.device("cpu"), torch.float32, with_vision=True)
    assert torch.load(tmp_path / "joint-run.pt")["step"] == 4
    (tmp_path / "joint-run.pt").unlink()
    assert "5/5" in train(tmp_path, 5)
    assert (tmp_path / "training.json").read_text() == '{"steps": 5}\n'
    for part in ("transformer", "text_encoder"):
        before, after = (torch.cat([p.flatten() for p in getattr(c, part).parameters()]) for c in (first, second))
        assert not torch.equal(before, after)
