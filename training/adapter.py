"""Trains one adapter of a checkpoint: `python -m training.adapter outlines`, `lightning` or `edges`.

Knows the trainers of adapters; knows no other stage.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.catalog.catalog import EMBEDDED_FOLDER
from training.trainers.controlnet import ControlNetBudget, train_controlnet
from training.trainers.lightning import LightningBudget, train_lightning
from training.trainers.lora import LoraBudget, train_lora
from training.trainers.parallel import launch

_TRAINERS: dict[str, tuple[Callable[..., None], Callable[..., Any]]] = {
    "outlines": (train_lora, LoraBudget),
    "lightning": (train_lightning, LightningBudget),
    "edges": (train_controlnet, ControlNetBudget),
}


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m training.adapter", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=_TRAINERS)
    parser.add_argument(
        "--folder", type=Path, default=EMBEDDED_FOLDER, help="of the checkpoint, which gets the adapter"
    )
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int, help="samples per step")
    parser.add_argument("--scenes", type=int, help="made before the training; default: as many as it needs")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    train, budget = _TRAINERS[options.name]
    given = {name: value for name in ("steps", "batch", "scenes") if (value := getattr(options, name)) is not None}
    launch(train, options.folder, budget(**given), options.seed, processes=1)


if __name__ == "__main__":
    main()
