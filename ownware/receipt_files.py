"""Finds the files of a receipt on this machine: images and LoRAs by SHA-256, models and ControlNets by name.

Reads no model. Rendering is done by the caller.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.catalog.catalog import Catalog, ModelEntry
from pipelines.catalog.fingerprint import file_digest
from pipelines.catalog.hub.cache import local_file
from pipelines.catalog.weights_fingerprint import fingerprint
from pipelines.models.model_fingerprint import model_fingerprint
from pipelines.receipt import (
    Receipt,
    ReceiptError,
    pictures_of,
    read_receipt,
    with_files,
)
from pipelines.request import RenderRequest
from server.media.metadata import embedded_text
from server.settings import Settings

STDIN = "-"


class ReplayError(Exception):
    """The image cannot be rendered again here; the message names what is missing."""


@dataclass(frozen=True, slots=True)
class ReceiptSource:
    """A receipt, and the SHA-256 of its image file; None when the source does not state it."""

    receipt: Receipt
    sha256: str | None


def read_source(source: str) -> ReceiptSource:
    """Read a receipt from an image that carries it, from the server's JSON, or from `-`, standard input.

    Raises `ReceiptError` or `OSError`.
    """
    if source != STDIN:
        path = Path(source)
        if path.read_bytes()[:1] != b"{":
            text = embedded_text(path)
            if text is None:
                raise ReceiptError(f"{source} carries no receipt")
            return ReceiptSource(read_receipt(text), file_digest(path))
    text = sys.stdin.read() if source == STDIN else Path(source).read_text(encoding="utf-8")
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ReceiptError(f"this is no receipt: {error}") from error
    if isinstance(document, dict) and "receipt" in document:
        return ReceiptSource(read_receipt(json.dumps(document["receipt"])), document.get("sha256"))
    return ReceiptSource(read_receipt(text), None)


def locate_files(
    receipt: Receipt, catalog: Catalog, images: list[Path], settings: Settings
) -> tuple[RenderRequest, ModelEntry]:
    """The request with the path of every file, and its model. Raises `ReplayError` when something is missing."""
    entry = catalog.find(receipt.request.model)
    if entry is None:
        raise ReplayError(f"{receipt.request.model} is not in the catalogue")
    _expect_weights(receipt.model.name, receipt.model.digest, model_fingerprint(entry.files))
    with_paths = with_files(
        receipt.request,
        locate_images(receipt, images, settings),
        _locate_loras(receipt, catalog, settings),
        _locate_controlnets(receipt, catalog),
    )
    return with_paths, replace(entry, loras=())  # the receipt lists them among those of the request


def locate_images(receipt: Receipt, images: list[Path], settings: Settings) -> dict[str, Path]:
    """The input images of a receipt by SHA-256. Raises `ReplayError` when one is not found."""
    wanted = {reference.sha256 for reference in pictures_of(receipt.request)}
    found = _by_digest(wanted, images, _files(settings.data_dir / "media"))
    if missing := sorted(wanted - found.keys()):
        raise ReplayError(f"no file has the SHA-256 {missing[0]}: name the input images with --picture")
    return found


def _locate_loras(receipt: Receipt, catalog: Catalog, settings: Settings) -> dict[str, Path]:
    """The LoRA files by name; one file may have several names."""
    digests = {used.name: used.digest for used in receipt.loras if used.digest is not None}
    listed = [Path(row.weights) for row in (*catalog.loras, *(own for entry in catalog.entries for own in entry.loras))]
    folders = (folder for folder in (settings.data_dir / "loras", settings.lora_dir) if folder is not None)
    found = _by_digest(set(digests.values()), listed, *(_files(folder) for folder in folders))
    for name, digest in digests.items():
        if digest not in found:
            raise ReplayError(f"no LoRA file here has the SHA-256 {digest} of {name}")
    return {name: found[digest] for name, digest in digests.items()}


def _locate_controlnets(receipt: Receipt, catalog: Catalog) -> dict[str, str]:
    """The weights of the ControlNets by name."""
    found = {}
    for used in receipt.controlnets:
        control = catalog.find_controlnet(used.name)
        if control is None:
            raise ReplayError(f"the ControlNet {used.name} is not in the catalogue")
        found[used.name] = control.weights
        _expect_weights(used.name, used.digest, fingerprint(control.weights))
    return found


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _by_digest(wanted: set[str], *places: Iterable[Path]) -> dict[str, Path]:
    """The files with these SHA-256. The places are searched in order until every file is found."""
    found: dict[str, Path] = {}
    for place in places:
        for path in place:
            if wanted <= found.keys():
                return found
            try:
                digest = file_digest(local_file(path.absolute() if path.exists() else path))
            except (OSError, ValueError):
                continue
            if digest in wanted:
                found[digest] = path
    return found


def _expect_weights(name: str, expected: str | None, here: str | None) -> None:
    if expected is not None and here is not None and expected != here:
        raise ReplayError(f"{name} is not what the image was rendered with: its fingerprint is {here}, not {expected}")
