"""`ownware replay`: draw an image again from its receipt, and say whether it is the same.

Runs in the command's own process, with the models and the data folder that the settings name. Pictures that the image
started from and LoRAs are found by their SHA-256: among the files given, in the catalogue and in the data folder.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

from pipelines.catalog.catalog import Catalog, CatalogError, ModelEntry
from pipelines.catalog.fingerprint import file_digest, same_weights
from pipelines.catalog.hub import local_file
from pipelines.errors import RenderError
from pipelines.receipt import Receipt, ReceiptError, fingerprint, pictures_of, read_receipt, with_files
from pipelines.request import RenderRequest
from server.devices import find_devices
from server.media.encode import Encoding, encode
from server.media.files import write_file
from server.media.metadata import embedded_text, fits
from server.run import choose_catalog
from server.settings import Settings

SAME, DIFFERENT, IMPOSSIBLE = 0, 1, 2


class ReplayError(Exception):
    """The image cannot be drawn again here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Source:
    """A receipt, and the SHA-256 of the image file that it is of, if that is known."""

    receipt: Receipt
    sha256: str | None


def replay(source: str, out: Path | None, pictures: list[Path], settings: Settings) -> int:
    """Draw again what a receipt describes. Returns the exit status: 0 same bytes, 1 other bytes, 2 impossible."""
    try:
        found = read_source(source)
        devices = find_devices(settings.devices)
        catalog = choose_catalog(settings, devices)
        request, entry = placed(found.receipt, catalog, pictures, settings)
        data = _drawn(found.receipt, request, entry, devices[0])
    except (ReplayError, ReceiptError, CatalogError, OSError) as error:
        typer.echo(f"ownware: {error}", err=True)
        return IMPOSSIBLE
    encoding = Encoding(*found.receipt.encoding)
    path = out or Path(f"replay.{encoding.extension}")
    write_file(path, data)
    digest = hashlib.sha256(data).hexdigest()
    if found.sha256 is None:
        typer.echo(f"{path}: SHA-256 {digest}")
        return SAME
    typer.echo(f"{path}: {'the same bytes' if digest == found.sha256 else 'other bytes than the receipt says'}")
    return SAME if digest == found.sha256 else DIFFERENT


def read_source(source: str) -> Source:
    """A receipt from an image that carries it, from the JSON that the server gives out, or from `-`, standard input.

    Raises `ReceiptError` or `OSError`.
    """
    if source != "-":
        path = Path(source)
        if path.read_bytes()[:1] != b"{":
            text = embedded_text(path)
            if text is None:
                raise ReceiptError(f"{source} carries no receipt")
            return Source(read_receipt(text), file_digest(path))
    text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ReceiptError(f"this is no receipt: {error}") from error
    if isinstance(document, dict) and "receipt" in document:
        return Source(read_receipt(json.dumps(document["receipt"])), document.get("sha256"))
    return Source(read_receipt(text), None)


def placed(
    receipt: Receipt, catalog: Catalog, pictures: list[Path], settings: Settings
) -> tuple[RenderRequest, ModelEntry]:
    """The request with every file in its place, and its model. Raises `ReplayError` when something is not here."""
    entry = catalog.find(receipt.request.model)
    if entry is None:
        raise ReplayError(f"{receipt.request.model} is not in the catalogue")
    _expect(receipt.model.name, receipt.model.digest, fingerprint(entry.weights))
    controlnets = {}
    for used in receipt.controlnets:
        control = catalog.find_controlnet(used.name)
        if control is None:
            raise ReplayError(f"the ControlNet {used.name} is not in the catalogue")
        controlnets[used.name] = control.weights
        _expect(used.name, used.digest, fingerprint(control.weights))
    wanted = {picture.sha256 for picture in pictures_of(receipt.request)}
    images = _by_digest(wanted, pictures, _files(settings.data_dir / "media"))
    if missing := sorted(wanted - images.keys()):
        raise ReplayError(f"no file with the SHA-256 {missing[0]}: name the pictures it started from with --picture")
    # One file may be used under several names.
    digests = {used.name: used.digest for used in receipt.loras if used.digest is not None}
    listed = (Path(row.weights) for row in catalog.loras)
    places = (_files(folder) for folder in (settings.data_dir / "loras", settings.lora_dir) if folder is not None)
    files = _by_digest(set(digests.values()), listed, *places)
    for name, digest in digests.items():
        if digest not in files:
            raise ReplayError(f"no LoRA file here has the SHA-256 {digest} of {name}")
    loras = {name: files[digest] for name, digest in digests.items()}
    return with_files(receipt.request, images, loras, controlnets), entry


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _by_digest(wanted: set[str], *places: Iterable[Path]) -> dict[str, Path]:
    """The files with these SHA-256, looked for in one place after the other until all are found."""
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


def _expect(name: str, digest: str | None, here: str | None) -> None:
    if digest is not None and here is not None and not same_weights(digest, here):
        raise ReplayError(f"{name} is not what the image was drawn with: its fingerprint is {here}, not {digest}")


def _drawn(receipt: Receipt, request: RenderRequest, entry: ModelEntry, device: str) -> bytes:
    # torch and the models take seconds, and only from here on are they needed.
    from pipelines.generate import generate
    from pipelines.models.loader import ModelCache, device_name
    from pipelines.receipt import make_receipt

    try:
        checkpoint = ModelCache(device).get(entry)
        kind = str(checkpoint.dtype).removeprefix("torch.")
        again = make_receipt(request, request.seed, receipt.encoding, entry, device_name(device), kind)
        for name, then, now in _differences(receipt, again):
            typer.echo(f"ownware: {name} was {then} and is {now}; the bytes may differ for that", err=True)
        with typer.progressbar(length=request.executed_steps, label="steps", file=sys.stderr) as bar:
            picture = generate(request, 0, checkpoint, entry, lambda step, total: bar.update(step - bar.pos)).image
    except RenderError as error:
        raise ReplayError(str(error)) from error
    # The image carries the receipt that it was drawn from, so that its bytes can be the same.
    encoding, text = Encoding(*receipt.encoding), receipt.to_json()
    return encode(picture, encoding, text if fits(text, encoding.format) else None)


def _differences(then: Receipt, now: Receipt) -> list[tuple[str, str, str]]:
    pairs = [("the device", then.device, now.device), ("the precision", then.dtype, now.dtype)]
    pairs += [(name, version, now.versions.get(name, "not there")) for name, version in then.versions.items()]
    return [pair for pair in pairs if pair[1] != pair[2]]
