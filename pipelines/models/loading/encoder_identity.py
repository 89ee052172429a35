"""Names a text encoder by all that has an effect on the bits of an encoding.

Knows files and versions; knows no prompt.
"""

from pathlib import Path

import diffusers
import torch
import transformers

from pipelines.catalog.component_files import ComponentFiles
from pipelines.catalog.fingerprint import file_fingerprint, part_fingerprint
from pipelines.catalog.hub.cache import local_file, local_folder
from pipelines.catalog.model_fingerprint import component_fingerprint
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.devices import device_name
from pipelines.models.formats.components.text_encoder import find_mmproj

# The layout of the files, and what is done to the encoder's output. Another number makes all encodings anew.
_FORMAT = 1


def encoder_identity(files: ComponentFiles, checkpoint: Checkpoint, precision: str) -> str | None:
    """Return the identity of a model's text encoder with its tokenizer. None where its files are not on this machine.

    `precision` is that of the encoder's Linear layers.
    """
    folder = local_folder(files.weights, files.replaced)
    own = files.text_encoder
    weights = _own_fingerprint(own) if own else folder and part_fingerprint(folder, "text_encoder")
    if folder is None or weights is None:
        return None
    parts = (
        _FORMAT,
        weights,
        part_fingerprint(folder, "tokenizer"),
        part_fingerprint(folder, "processor"),
        precision,
        checkpoint.dtype,
        _device(checkpoint.device),
        torch.__version__,
        transformers.__version__,
        diffusers.__version__,
    )
    return " ".join(map(str, parts))


def _own_fingerprint(name: str) -> str | None:
    """The fingerprint of a text encoder of its own. That of a GGUF file has its vision tower's beside it."""
    weights = component_fingerprint(name)
    if weights is None or not name.lower().endswith(".gguf"):
        return weights
    tower = find_mmproj(local_file(Path(name)))
    return weights if tower is None else f"{weights} {file_fingerprint(tower.path)}"


def _device(device: torch.device) -> str:
    """Two cards of one kind calculate alike. The number of threads changes the bits on a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device_name(str(device))} {torch.backends.cpu.get_cpu_capability()}"
