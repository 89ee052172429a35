"""The tensors of one component: a single file, or a folder of one file or of several shards.

Knows containers and shards; knows no component. Imports no torch.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipelines.models.formats.containers.gguf_header import read_gguf_header
from pipelines.models.formats.containers.headers import FileHeader, FormatError, TensorEntry
from pipelines.models.formats.containers.safetensors_header import read_safetensors_header

# The table of containers, by suffix.
CONTAINERS = MappingProxyType(
    {".safetensors": read_safetensors_header, ".sft": read_safetensors_header, ".gguf": read_gguf_header}
)
_INDEX = ".safetensors.index.json"
# The names that diffusers and transformers give to the only file of a folder.
_WHOLE = ("diffusion_pytorch_model.safetensors", "model.safetensors")


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The tensors of a component by their names in the files. `config` is the folder's; None for a single file."""

    path: Path
    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]
    config: Mapping[str, Any] | None = None

    @property
    def gguf(self) -> bool:
        """Whether the tensors are GGUF's."""
        return self.path.suffix.lower() == ".gguf"

    def config_or(self, base: Mapping[str, Any] | None) -> dict[str, Any]:
        """The folder's own configuration, else the `base` that the row names besides; empty without either."""
        return dict(self.config if self.config is not None else base or {})


def open_weights(path: Path) -> WeightFiles:
    """Read the headers of a file or folder. Raises `FormatError` for what cannot be used, and names the shard."""
    if path.is_dir():
        return _open_folder(path)
    if not path.exists():
        raise FormatError(f"there is no file or folder '{path}'")
    if (read := CONTAINERS.get(path.suffix.lower())) is None:
        kinds = ", ".join(CONTAINERS)
        raise FormatError(f"'{path.name}' has an unknown ending; weights are folders, or files that end in {kinds}")
    header = read(path)
    return WeightFiles(path, header.tensors, header.metadata)


def _open_folder(folder: Path) -> WeightFiles:
    config = read_json(folder / "config.json")
    headers = [read_safetensors_header(path) for path in shards_of(folder)]
    tensors: dict[str, TensorEntry] = {}
    for header in headers:
        if repeated := tensors.keys() & header.tensors.keys():
            raise FormatError(f"'{header.path.name}' holds {min(repeated)}, which another file of the folder holds too")
        tensors |= header.tensors
    _check_index(folder, tensors)
    return WeightFiles(folder, MappingProxyType(tensors), _metadata(headers), MappingProxyType(config))


def shards_of(folder: Path) -> tuple[Path, ...]:
    """The weights files of a folder, in order. Raises `FormatError` when there are none, or one of them is missing."""
    if (index := _index_of(folder)) is not None:
        paths = tuple(sorted({folder / str(name) for name in _weight_map(index).values()}))
        if missing := [path.name for path in paths if not path.is_file()]:
            raise FormatError(f"{len(missing)} of {len(paths)} shards are missing, such as {missing[0]}; download them")
        return paths
    for name in _WHOLE:
        if (folder / name).is_file():
            return (folder / name,)
    found = sorted(folder.glob("*.safetensors"))
    if len(found) == 1:
        return (found[0],)
    if found:
        raise FormatError(f"'{folder.name}' has {len(found)} safetensors files and no index that says which to load")
    others = sorted(folder.glob("*.bin"))
    advice = f"; '{others[0].name}' is of a format that can run code, so it is not read" if others else ""
    raise FormatError(f"'{folder.name}' has no safetensors file{advice}")


def read_json(path: Path) -> dict[str, Any]:
    """An object of a JSON file. Raises `FormatError`."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FormatError(f"there is no {path.name} in '{path.parent.name}'") from error
    except (OSError, ValueError) as error:
        raise FormatError(f"{path.name} of '{path.parent.name}' cannot be read ({error})") from error
    if not isinstance(document, dict):
        raise FormatError(f"{path.name} of '{path.parent.name}' is no JSON object")
    return document


def _index_of(folder: Path) -> Path | None:
    """The index of the shards. Of several, that of the libraries' names: others are of variants such as fp16."""
    usual = (folder / f"{name.removesuffix('.safetensors')}{_INDEX}" for name in _WHOLE)
    found = (*(path for path in usual if path.is_file()), *sorted(folder.glob(f"*{_INDEX}")))
    return found[0] if found else None


def _weight_map(index: Path) -> dict[str, Any]:
    files = read_json(index).get("weight_map")
    if not isinstance(files, dict) or not files:
        raise FormatError(f"{index.name} of '{index.parent.name}' names no shards")
    return files


def _check_index(folder: Path, tensors: Mapping[str, TensorEntry]) -> None:
    if (index := _index_of(folder)) is None:
        return
    for name, shard in _weight_map(index).items():
        if name not in tensors:
            raise FormatError(f"'{shard}' lacks {name}, which the index of the folder promises; download it again")


def _metadata(headers: list[FileHeader]) -> Mapping[str, str]:
    return MappingProxyType({key: value for header in headers for key, value in header.metadata.items()})
