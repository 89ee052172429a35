"""Trains a checkpoint from nothing with one command: `python -m training`.

Trains the VAE, then text encoder and transformer, then a LoRA and a ControlNet for them. The first two resume where an
earlier run of the same command stopped. In an empty folder, `--go-on --steps N` trains the embedded checkpoint further.
`--minutes N` grows the embedded checkpoint and trains it in the full world of scenes, on a GPU if there is one.
"""

import argparse
import shutil
from pathlib import Path

import torch

from pipelines.catalog.catalog import EDGES, EMBEDDED_FOLDER, OUTLINES
from training.timed.run import CURVE, TimedBudget, train_timed
from training.timed.timetable import World
from training.trainers.controlnet import ControlNetBudget, train_controlnet
from training.trainers.joint import PROGRESS, JointBudget, copy_weights, train_joint, trained_steps
from training.trainers.lora import LoraBudget, train_lora
from training.trainers.parallel import launch
from training.trainers.tokenizer import prune_tokenizer, read_ranks, tokenizer_corpus
from training.trainers.vae import VaeBudget, train_vae

ADAPTERS = (OUTLINES.parent, EDGES.parent)


def make_tokenizer(folder: Path, vocabulary: Path | None, seed: int) -> None:
    """Prune a vocabulary, or copy the embedded tokenizer, which further training of its weights depends on."""
    if (folder / "tokenizer").is_dir():
        return
    if vocabulary is None:
        shutil.copytree(EMBEDDED_FOLDER / "tokenizer", folder / "tokenizer")
    else:
        prune_tokenizer(read_ranks(vocabulary), tokenizer_corpus(seed)).save_pretrained(folder / "tokenizer")


def copy_checkpoint(source: Path, target: Path) -> None:
    """Replace a checkpoint with its adapters by another. Adapters that the other lacks are kept."""
    copy_weights(source, target)
    for part in ADAPTERS:
        if (source / part).is_dir():
            shutil.rmtree(target / part, ignore_errors=True)
            shutil.copytree(source / part, target / part)


def train_adapters(folder: Path, arguments: argparse.Namespace) -> None:
    """Train the LoRA and the ControlNet on the checkpoint as it is now. Each takes minutes in one process."""
    share = arguments.share
    if arguments.lora_steps:
        lora = LoraBudget(arguments.lora_steps, arguments.batch, max(1, round(share * LoraBudget().scenes)))
        launch(train_lora, folder, lora, arguments.seed, processes=1)
    if arguments.controlnet_steps:
        net = ControlNetBudget(
            arguments.controlnet_steps, arguments.batch, max(1, round(share * ControlNetBudget().scenes))
        )
        launch(train_controlnet, folder, net, arguments.seed, processes=1)


def train_minutes(folder: Path, arguments: argparse.Namespace) -> None:
    """Train the embedded checkpoint, or the one in the folder, for some minutes on one device. Adapters stay behind."""
    if not (folder / PROGRESS).is_file():
        copy_weights(EMBEDDED_FOLDER, folder)
    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    batch = TimedBudget(0).batch if arguments.batch is None else arguments.batch
    compiled = device == "cuda" or arguments.compile
    world = World(arguments.texts, arguments.side)
    budget = TimedBudget(
        arguments.minutes, arguments.layers, batch, compiled, arguments.processes, world, arguments.rate
    )
    train_timed(torch.device(device), folder, budget, arguments.seed)
    if arguments.install:
        copy_weights(folder, EMBEDDED_FOLDER)
        (EMBEDDED_FOLDER / CURVE).unlink(missing_ok=True)  # of other weights
        if (folder / CURVE).is_file():
            shutil.copy(folder / CURVE, EMBEDDED_FOLDER / CURVE)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m training", description="Train the embedded checkpoint.")
    parser.add_argument("--folder", type=Path, default=Path("build/embedded"), help="of the run and its result")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--vocabulary", type=Path, help="a qwen.tiktoken file; default: the embedded tokenizer")
    parser.add_argument("--vae-steps", type=int, default=VaeBudget().steps)
    parser.add_argument("--steps", type=int, default=JointBudget().steps, help="steps of transformer and text encoder")
    parser.add_argument("--lora-steps", type=int, default=LoraBudget().steps, help="0 trains no LoRA")
    parser.add_argument("--controlnet-steps", type=int, default=ControlNetBudget().steps, help="0 trains no ControlNet")
    parser.add_argument("--batch", type=int, help="samples per step and process")
    parser.add_argument("--share", "--pools", type=float, default=1.0, help="share of the full training set to draw")
    parser.add_argument("--compile", action="store_true", help="faster steps after minutes; needs a C++ compiler")
    parser.add_argument("--processes", type=int, help="processes on a CPU, default: one per core; helpers of --minutes")
    parser.add_argument("--go-on", action="store_true", help="start from the embedded checkpoint, not from nothing")
    parser.add_argument(
        "--minutes", type=float, help="train for so long, from the embedded checkpoint grown to --layers"
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), help="of --minutes; default: the GPU if there is one")
    parser.add_argument("--layers", type=int, default=TimedBudget(0).layers, help="blocks of the grown transformer")
    parser.add_argument("--texts", choices=("capitals", "all"), default="all", help="that --minutes trains on")
    parser.add_argument("--side", type=int, choices=(128, 256), default=256, help="of the squares of --minutes, pixels")
    parser.add_argument("--rate", type=float, default=1.0, help="share of the full learning rate of --minutes")
    parser.add_argument("--install", action="store_true", help="then replace the embedded checkpoint")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    if arguments.minutes is not None:
        train_minutes(folder, arguments)
        return
    if arguments.go_on and not (folder / PROGRESS).is_file():
        copy_checkpoint(EMBEDDED_FOLDER, folder)
    if arguments.batch is None:
        arguments.batch = JointBudget().batch
    arguments.processes = arguments.processes or 0
    had = trained_steps(folder)
    if arguments.go_on and had >= arguments.steps:
        parser.error(f"the checkpoint in {folder} has had {had} steps: go on to more of them with --steps")
    make_tokenizer(folder, arguments.vocabulary, arguments.seed)
    if not (folder / "vae").is_dir():
        budget = VaeBudget(arguments.vae_steps)
        launch(train_vae, folder, budget, arguments.seed, processes=arguments.processes)
    budget = JointBudget(arguments.steps, arguments.batch, arguments.share, arguments.compile)
    launch(train_joint, folder, budget, arguments.seed, processes=arguments.processes)
    train_adapters(folder, arguments)
    if arguments.install:
        copy_checkpoint(folder, EMBEDDED_FOLDER)


if __name__ == "__main__":
    main()
