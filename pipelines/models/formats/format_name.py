"""Names the format of a component, for the log and for people. Imports no torch."""

from collections import Counter
from collections.abc import Iterable

from pipelines.models.formats.containers.headers import TensorEntry
from pipelines.models.formats.containers.weight_files import WeightFiles
from pipelines.models.formats.scales import AnyEntry, JoinedEntry

FOLDER = "folder"


def format_name(files: WeightFiles, weights: Iterable[AnyEntry]) -> str:
    """The container, and the type of most bytes of the weights, such as `safetensors F8_E4M3 with scales`."""
    entries = [part for each in weights for part in (each.parts if isinstance(each, JoinedEntry) else (each,))]
    container = "GGUF" if files.gguf else "safetensors" if files.config is None else FOLDER
    kind = main_kind(entry.tensor for entry in entries)
    return f"{container} {kind}" + (" with scales" if any(entry.scale is not None for entry in entries) else "")


def main_kind(tensors: Iterable[TensorEntry]) -> str:
    """The type of most bytes; `empty` without tensors."""
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        sizes[tensor.kind] += tensor.size
    return sizes.most_common(1)[0][0] if sizes else "empty"
