"""The whole recipe in miniature: from nothing to a checkpoint that loads, and on from where it stopped."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipelines.loading import load
from training.__main__ import main

TINY = ["--vae-steps", "3", "--batch", "2", "--pools", "0.002", "--processes", "1"]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[int], str]:
    """Runs the command up to a number of steps, and returns what its progress bars said."""

    def run(steps: int) -> str:
        monkeypatch.setattr("sys.argv", ["training", "--folder", str(tmp_path), "--steps", str(steps), *TINY])
        main()
        return capsys.readouterr().err

    return run


def test_training_goes_on_and_ends_in_a_checkpoint(train: Callable[[int], str], tmp_path: Path) -> None:
    train(2)
    first = load(str(tmp_path), torch.device("cpu"), torch.float32, with_vision=True)
    assert "VAE" not in train(4)
    second = load(str(tmp_path), torch.device("cpu"), torch.float32, with_vision=True)
    assert torch.load(tmp_path / "joint-run.pt")["step"] == 4
    (tmp_path / "joint-run.pt").unlink()
    assert "5/5" in train(5)
    assert (tmp_path / "training.json").read_text() == '{"steps": 5}\n'
    for part in ("transformer", "text_encoder"):
        before, after = (torch.cat([p.flatten() for p in getattr(c, part).parameters()]) for c in (first, second))
        assert not torch.equal(before, after)
