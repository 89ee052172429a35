"""Which files of a hub repository make up a model, and whether a folder has them all.

Reads the small lists that the files come with: `model_index.json`, and the index of a sharded part. Opens no weights
and asks no hub, so that a whole copy is told from a part of one without a network.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.catalog.component_files import COMPONENTS

# The parts of a model, each a folder of its repository.
PARTS = ("transformer", "text_encoder", "vae", "tokenizer", "scheduler", "processor")
MODEL_INDEX = "model_index.json"

_ENDINGS = {".safetensors", ".json", ".txt", ".jinja", ".model"}
_INDEX = ".safetensors.index.json"
# Copies of the same weights in another precision, such as diffusion_pytorch_model.fp16.safetensors.
_VARIANT = re.compile(r"\.(fp16|bf16|fp32|fp8|non_ema|ema)(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$")
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")
_NETWORK_CONFIG = "config.json"


def model_files(names: Iterable[str], without: Collection[str] = ()) -> tuple[str, ...]:
    """The files of a repository that its model is loaded from; none when it holds no model.

    `without` names parts whose weights come from elsewhere. Their configurations are kept: they are small. A repository
    of one network has no parts, and all lies at its root.
    """
    names = tuple(names)
    usable = [name for name in names if PurePosixPath(name).suffix in _ENDINGS and not _VARIANT.search(name)]
    if parts := [name for name in usable if name.partition("/")[0] in PARTS and "/" in name]:
        kept = (name for name in parts if name.partition("/")[0] not in without or not name.endswith(".safetensors"))
        return (*(name for name in (MODEL_INDEX,) if name in names), *kept)
    return tuple(name for name in usable if "/" not in name) if _NETWORK_CONFIG in names else ()


def part_files(names: Iterable[str], part: str) -> tuple[str, ...]:
    """The files of one part; none when there is no such part.

    The list of all parts comes along. A copy without it would look whole.
    """
    files = model_files(names)
    found = tuple(name for name in files if name.startswith(f"{part}/"))
    return (*(name for name in files if name == MODEL_INDEX), *found) if found else ()


def missing_files(folder: Path, without: Collection[str] = ()) -> tuple[str, ...]:
    """What a copy of a repository lacks to be a whole model; empty when it is one. `without` as in `model_files`."""
    return tuple(_missing(folder, without))


def _missing(folder: Path, without: Collection[str]) -> Iterator[str]:
    listed = _read(folder / MODEL_INDEX)
    parts = [part for part in PARTS if _has_part(listed, part) or (not listed and (folder / part).is_dir())]
    if not parts:
        if (folder / _NETWORK_CONFIG).is_file() or any(folder.glob(f"*{_INDEX}")):
            yield from _missing_weights(folder, "")
        else:
            yield MODEL_INDEX
    for part in parts:
        if not any(path.is_file() for path in (folder / part).glob("*.json")):
            yield f"{part}/"
        elif part in COMPONENTS and part not in without:
            yield from _missing_weights(folder / part, f"{part}/")


def _has_part(listed: dict[str, Any], part: str) -> bool:
    """Whether `model_index.json` names a class for a part; it names none as [null, null]."""
    names = listed.get(part)
    return isinstance(names, list) and None not in names


def _missing_weights(folder: Path, prefix: str) -> Iterator[str]:
    if indices := sorted(path for path in folder.glob(f"*{_INDEX}") if not _VARIANT.search(path.name)):
        shards = _read(indices[0]).get("weight_map", {})
        yield from (f"{prefix}{name}" for name in sorted(set(shards.values())) if not (folder / name).is_file())
        return
    files = [path for path in folder.glob("*.safetensors") if path.is_file()]
    if not any(_SHARD.search(path.name) is None for path in files):
        name = "the index of its shards" if files else "its weights (*.safetensors)"
        yield f"{prefix}{name}"


def _read(path: Path) -> dict[str, Any]:
    """A list that comes with the files; empty for a damaged one, whose error the loader tells."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
