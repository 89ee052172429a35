from pathlib import Path

import pytest
import torch

from pipelines.catalog.catalog import EMBEDDED_FOLDER, OUTLINES
from pipelines.lora.files import read_lora
from pipelines.models.checkpoint import Checkpoint
from training.__main__ import copy_checkpoint
from training.adapter import main


@pytest.mark.slow
def test_one_adapter_is_trained(trained: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_checkpoint(EMBEDDED_FOLDER, tmp_path)
    before = (tmp_path / OUTLINES).read_bytes()
    options = ["--folder", str(tmp_path), "--steps", "1", "--batch", "1", "--scenes", "1"]
    monkeypatch.setattr("sys.argv", ["adapter", "outlines", *options])
    main()
    assert (tmp_path / OUTLINES).read_bytes() != before
    assert read_lora(tmp_path / OUTLINES, trained.transformer, torch.device("cpu"), torch.float32).deltas


def test_an_unknown_one_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["adapter", "depth"])
    with pytest.raises(SystemExit):
        main()
    assert "invalid choice: 'depth'" in capsys.readouterr().err
