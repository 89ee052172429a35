"""The whole training in miniature: from nothing to a checkpoint that loads, and resumed."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from diffusers.models.controlnets.controlnet_qwenimage import QwenImageControlNetModel
from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline

from pipelines.catalog.catalog import EDGES, EMBEDDED_FOLDER, OUTLINES
from pipelines.lora.files import read_lora
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.loading.loader import load
from training import __main__ as module
from training.__main__ import copy_checkpoint, main
from training.timed.run import CURVE
from training.trainers.joint import PARTS, PROGRESS, trained_steps
from training.trainers.lora import LAYERS
from training.trainers.vae import VaeBudget

TINY = [
    "--vae-steps",
    "1",
    "--batch",
    "2",
    "--share",
    "0.0005",
    "--processes",
    "1",
    "--lora-steps",
    "2",
    "--controlnet-steps",
    "2",
]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command up to a number of steps, and returns the text of its progress bars."""

    def run(steps: int, *options: str) -> str:
        command = ["training", "--folder", str(tmp_path), "--steps", str(steps), *TINY, *options]
        monkeypatch.setattr("sys.argv", command)
        main()
        return capsys.readouterr().err

    return run


@pytest.mark.slow
def test_training_goes_on_and_ends_in_a_checkpoint(
    train: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "VaeBudget", partial(VaeBudget, measured=4))
    bare = ("--lora-steps", "0", "--controlnet-steps", "0")
    train(1, *bare)
    first = load(str(tmp_path), torch.device("cpu"), torch.float32, with_vision=True)
    pipe = QwenImagePipeline.from_pretrained(tmp_path)
    assert {pipe.transformer.dtype, pipe.text_encoder.dtype, pipe.vae.dtype} == {torch.float32}
    bars = train(2)
    assert "VAE" not in bars
    assert not re.search(r"transformer: +0%", bars)
    assert re.search(r"transformer: 100%[^\r\n]* 2/2", bars)
    second = load(str(tmp_path), torch.device("cpu"), torch.float32, with_vision=True)
    assert torch.load(tmp_path / "joint-run.pt")["step"] == 2
    assert (tmp_path / "training.json").read_text() == '{"steps": 2}\n'
    for part in ("transformer", "text_encoder"):
        before, after = (torch.cat([p.flatten() for p in getattr(c, part).parameters()]) for c in (first, second))
        assert not torch.equal(before, after)
    deltas = read_lora(tmp_path / OUTLINES, second.transformer, torch.device("cpu"), torch.float32).deltas
    assert {len(added) for added in deltas.values()} == {1}
    assert len(deltas) == len(LAYERS) * second.transformer.config["num_layers"]
    net = QwenImageControlNetModel.from_pretrained(tmp_path / EDGES)
    assert all(weight.any() for name, weight in net.named_parameters() if "controlnet_" in name)


def test_a_copy_replaces_the_parts_and_keeps_add_ons_that_the_source_lacks(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for part in PARTS:
        (source / part).mkdir(parents=True)
        (source / part / "new").touch()
    for file in ("model_index.json", "training.json", "vocabulary.toml"):
        (source / file).write_text("{}")
    for file in ("vae/old", "loras/kept", "controlnets/kept"):
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        (target / file).touch()
    copy_checkpoint(source, target)
    assert not (target / "vae" / "old").exists()
    for file in ("vae/new", "loras/kept", "controlnets/kept", "model_index.json", "training.json"):
        assert (target / file).is_file()
    (source / "loras").mkdir()
    copy_checkpoint(source, target)
    assert not (target / "loras" / "kept").exists()


def test_a_timed_run_that_is_installed_again_keeps_the_adapters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were trained anew after the first time. Those of before fit other weights."""
    shipped, run = tmp_path / "shipped", tmp_path / "run"
    copy_checkpoint(EMBEDDED_FOLDER, shipped)
    monkeypatch.setattr(module, "EMBEDDED_FOLDER", shipped)
    monkeypatch.setattr(module, "train_timed", lambda *_: (run / PROGRESS).write_text('{"steps": 9}\n'))
    monkeypatch.setattr("sys.argv", ["training", "--folder", str(run), "--minutes", "1", "--install"])
    main()
    (shipped / OUTLINES).write_bytes(b"trained anew")
    main()
    assert (shipped / OUTLINES).read_bytes() == b"trained anew"
    assert trained_steps(shipped) == 9


def test_the_curve_of_a_run_is_installed_with_it_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped, run = tmp_path / "shipped", tmp_path / "run"
    copy_checkpoint(EMBEDDED_FOLDER, shipped)
    copy_checkpoint(EMBEDDED_FOLDER, run)
    monkeypatch.setattr(module, "EMBEDDED_FOLDER", shipped)
    monkeypatch.setattr(module, "train_timed", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["training", "--folder", str(run), "--minutes", "1", "--install"])
    (run / CURVE).write_text("[]")
    main()
    assert (shipped / CURVE).read_text() == "[]"
    (run / CURVE).unlink()
    main()
    assert not (shipped / CURVE).exists()


@pytest.mark.slow
@pytest.mark.usefixtures("plain_servers")
def test_processes_train_one_model(train: Callable[..., str], tmp_path: Path) -> None:
    steps = trained_steps(EMBEDDED_FOLDER) + 1
    train(steps, "--go-on", "--processes", "2", "--lora-steps", "0", "--controlnet-steps", "0")
    assert trained_steps(tmp_path) == steps
    buffers = [torch.load(tmp_path / f"buffers-{rank}.pt", weights_only=False) for rank in range(2)]
    assert buffers[0]["hard"][0].samples != buffers[1]["hard"][0].samples
    load(str(tmp_path), torch.device("cpu"), torch.float32, with_vision=True)


class TestGoingOn:
    def test_from_the_embedded_checkpoint(self, train: Callable[..., str], trained: Checkpoint, tmp_path: Path) -> None:
        had = trained_steps(EMBEDDED_FOLDER)
        train(had + 1, "--go-on", "--lora-steps", "0", "--controlnet-steps", "0")
        assert trained_steps(tmp_path) == had + 1
        weights = torch.load(tmp_path / "joint-run.pt")["model"]
        moved = [
            (weights[f"transformer.{name}"] - before).abs().max()
            for name, before in trained.transformer.named_parameters()
        ]
        assert 0 < max(moved) < 0.01  # the learning rate is almost zero at the end of a run

    def test_to_fewer_steps_than_it_has_had(
        self, train: Callable[..., str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit):
            train(3, "--go-on")
        assert "go on to more of them with --steps" in capsys.readouterr().err
