"""Trains one adapter of a checkpoint: `python -m training.adapter outlines`, `lightning` or `edges`.

Knows the trainers of adapters; knows no other stage.
"""

import argparse
from pathlib import Path

import torch

from pipelines.catalog.catalog import EMBEDDED_FOLDER
from training.trainers.controlnet import ControlNetBudget, train_controlnet
from training.trainers.lightning import LightningBudget, train_lightning
from training.trainers.lora import LoraBudget, train_lora


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m training.adapter", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=("outlines", "lightning", "edges"))
    parser.add_argument(
        "--folder", type=Path, default=EMBEDDED_FOLDER, help="of the checkpoint, which gets the adapter"
    )
    parser.add_argument("--steps", type=int, default=LoraBudget().steps)
    parser.add_argument("--batch", type=int, default=LoraBudget().batch)
    parser.add_argument("--scenes", type=int, help="drawn before the training; default: as many as it needs")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    scenes = options.scenes or (LightningBudget().ways if options.name == "lightning" else LoraBudget().scenes)
    size = options.steps, options.batch, scenes
    if options.name == "lightning":
        train_lightning(device, options.folder, LightningBudget(*size), options.seed)
    elif options.name == "outlines":
        train_lora(device, options.folder, LoraBudget(*size), options.seed)
    else:
        train_controlnet(device, options.folder, ControlNetBudget(*size), options.seed)


if __name__ == "__main__":
    main()
