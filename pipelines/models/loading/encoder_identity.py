"""Names a text encoder by all that has an effect on the bits of an encoding.

Knows files and versions; knows no prompt.
"""

import diffusers
import torch
import transformers

from pipelines.catalog.component_files import ComponentFiles
from pipelines.catalog.fingerprint import part_fingerprint
from pipelines.catalog.hub.cache import local_folder
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.devices import device_name
from pipelines.models.model_fingerprint import text_encoder_fingerprints

# The layout of the files, and what is done to the encoder's output. Another number makes all encodings anew.
_FORMAT = 1


def encoder_identity(files: ComponentFiles, checkpoint: Checkpoint, precision: str) -> str | None:
    """Return the identity of a model's text encoder with its tokenizer. None where its files are not on this machine.

    `precision` is that of the encoder's Linear layers.
    """
    folder = local_folder(files.weights, files.replaced)
    if folder is None:
        return None
    own = (part_fingerprint(folder, "text_encoder"),)
    weights = own if files.text_encoder is None else text_encoder_fingerprints(files)
    if None in weights:
        return None
    parts = (
        _FORMAT,
        *weights,
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


def _device(device: torch.device) -> str:
    """Two cards of one kind calculate alike. The number of threads changes the bits on a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device_name(str(device))} {torch.backends.cpu.get_cpu_capability()}"
