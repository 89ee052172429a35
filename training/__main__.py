"""One command from nothing to a checkpoint: `python -m training`.

Stages that are done are kept, the one that was interrupted goes on: run the same command again. Without the folder of a
run, `--go-on --steps N` trains the embedded checkpoint further.
"""

import argparse
import shutil
from pathlib import Path

from pipelines.catalog import EMBEDDED_FOLDER
from training.joint import PROGRESS, JointBudget, train_joint
from training.parallel import launch
from training.tokenizer import corpus, pruned_tokenizer, real_ranks
from training.vae import VaeBudget, train_vae

PARTS = ("transformer", "vae", "text_encoder", "tokenizer", "processor", "scheduler")


def make_tokenizer(folder: Path, vocabulary: Path | None, seed: int) -> None:
    """Prune a vocabulary, or take over the one in use, which weights that go on training depend on."""
    if (folder / "tokenizer").is_dir():
        return
    if vocabulary is None:
        shutil.copytree(EMBEDDED_FOLDER / "tokenizer", folder / "tokenizer")
    else:
        pruned_tokenizer(real_ranks(vocabulary), corpus(seed)).save_pretrained(folder / "tokenizer")


def copy_checkpoint(source: Path, target: Path) -> None:
    """Replace the parts of a checkpoint by those of another."""
    target.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        shutil.rmtree(target / part, ignore_errors=True)
        shutil.copytree(source / part, target / part)
    shutil.copy(source / PROGRESS, target / PROGRESS)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m training", description="Train the embedded checkpoint.")
    parser.add_argument("--folder", type=Path, default=Path("build/embedded"), help="where the run and its result are")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--vocabulary", type=Path, help="a qwen.tiktoken file; default: the embedded tokenizer")
    parser.add_argument("--vae-steps", type=int, default=VaeBudget.steps)
    parser.add_argument("--steps", type=int, default=JointBudget.steps, help="steps of transformer and text encoder")
    parser.add_argument("--batch", type=int, default=JointBudget.batch, help="samples a step and process")
    parser.add_argument("--pools", type=float, default=1.0, help="share of the full training set to draw")
    parser.add_argument("--processes", type=int, default=0, help="on a CPU; default: one a core")
    parser.add_argument("--go-on", action="store_true", help="start from the embedded checkpoint, not from nothing")
    parser.add_argument("--install", action="store_true", help="then replace the embedded checkpoint")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    if arguments.go_on and not (folder / PROGRESS).is_file():
        copy_checkpoint(EMBEDDED_FOLDER, folder)
    make_tokenizer(folder, arguments.vocabulary, arguments.seed)
    if not (folder / "vae").is_dir():
        budget = VaeBudget(arguments.vae_steps)
        launch(train_vae, folder, budget, arguments.seed, processes=arguments.processes)
    budget = JointBudget(arguments.steps, arguments.batch, arguments.pools)
    launch(train_joint, folder, budget, arguments.seed, processes=arguments.processes)
    if arguments.install:
        copy_checkpoint(folder, EMBEDDED_FOLDER)


if __name__ == "__main__":
    main()
