"""Keeps prompt encodings on disk, so that a known prompt needs no text encoder.

An encoding is found by the content of all that it was made from. The least recently used ones leave when there are too
many bytes. Several processes may share the folder. Knows files and tensors; knows no encoder.
"""

import hashlib
import os
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

log = structlog.get_logger()

# A draft that a killed process has left is deleted after this many seconds.
_DRAFT_SECONDS = 3600
_SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """The hidden states [1, tokens, width] of a prompt, and the number of tokens that were too many."""

    embeds: torch.Tensor
    dropped: int


@dataclass(frozen=True, slots=True)
class PromptStore:
    """A folder of encodings with at most `budget` bytes."""

    folder: Path
    budget: int

    def get(self, key: str, device: torch.device, make: Callable[[], EncodedPrompt]) -> EncodedPrompt:
        """The encoding of a key on a device, made and written if it is not here.

        A damaged file is replaced. A file that cannot be written leaves a warning in the log.
        """
        path = self.folder / key[:2] / f"{key}{_SUFFIX}"
        if (found := _read(path)) is not None:
            return EncodedPrompt(found.embeds.to(device), found.dropped)
        made = make()
        try:
            self._write(path, made)
        except OSError as error:
            log.warning("a prompt encoding is not kept", path=str(path), reason=str(error))
        return made

    def _write(self, path: Path, encoded: EncodedPrompt) -> None:
        data = save({"embeds": encoded.embeds.contiguous().cpu(), "dropped": torch.tensor(encoded.dropped)})
        if len(data) > self.budget:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            draft.write_bytes(data)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        self._drop_oldest()

    def _drop_oldest(self) -> None:
        files: list[tuple[float, int, Path]] = []
        for path in self.folder.glob("*/*"):
            try:
                stat = path.stat()
            except FileNotFoundError:  # another process has dropped it
                continue
            files.append((stat.st_mtime, stat.st_size, path))
        newest = max((used for used, _, _ in files), default=0.0)
        total = sum(size for _, size, _ in files)
        for used, size, path in sorted(files):
            is_old_draft = path.suffix != _SUFFIX and used < newest - _DRAFT_SECONDS
            if total > self.budget or is_old_draft:
                path.unlink(missing_ok=True)
                total -= size


@dataclass(frozen=True, slots=True)
class ModelPrompts:
    """The encodings of one text encoder in a store. `encoder` names all of it that has an effect on the bits."""

    store: PromptStore
    encoder: str

    def get(self, parts: Iterable[bytes], device: torch.device, make: Callable[[], EncodedPrompt]) -> EncodedPrompt:
        """The encoding of what `parts` are the contents of, made if it is not in the store."""
        return self.store.get(content_key([self.encoder.encode(), *parts]), device, make)


def content_key(parts: Iterable[bytes]) -> str:
    """A key of some contents, in their order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def _read(path: Path) -> EncodedPrompt | None:
    try:
        data = path.read_bytes()
        tensors = load(data)
        encoded = EncodedPrompt(tensors["embeds"], int(tensors["dropped"]))
        os.utime(path)  # it is the most recently used one now
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        log.warning("a prompt encoding cannot be read, and is made again", path=str(path), reason=str(error))
        return None
    return encoded
