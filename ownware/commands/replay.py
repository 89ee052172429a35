"""`ownware replay`: render an image again from its receipt, and report whether the bytes are the same.

Runs in the command's own process, with the models and the data folder of the settings.
"""

import hashlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ownware.console import IMPOSSIBLE, print_message
from ownware.server_options import read_settings

if TYPE_CHECKING:
    from ownware.local_models import LocalModels
    from pipelines.catalog.catalog import ModelEntry
    from pipelines.receipt import Receipt
    from pipelines.request import RenderRequest
    from server.settings import Settings

SAME, DIFFERENT = 0, 1


def replay(
    context: typer.Context,
    receipt: Annotated[str, typer.Argument(help="An image that carries a receipt, a receipt as JSON, or - for stdin.")],
    out: Annotated[Path | None, typer.Option(help="Where to write the image; default: replay.<extension>.")] = None,
    picture: Annotated[
        list[Path] | None, typer.Option(help="An input image of the task, unless the data folder has it.")
    ] = None,
) -> None:
    """Render an image again from its receipt, byte for byte; takes the model options of `serve` too."""
    raise typer.Exit(replay_receipt(receipt, out, picture or [], read_settings(context.args)))


def replay_receipt(source: str, out: Path | None, pictures: list[Path], settings: "Settings") -> int:
    """Render again what a receipt describes. Returns the exit status: 0 same bytes, 1 other bytes, 2 impossible."""
    from ownware.local_models import LocalModels
    from ownware.options import OptionError
    from ownware.receipt_files import ReplayError, locate_files, read_source
    from pipelines.catalog.models_file import CatalogError
    from pipelines.errors import RenderError
    from pipelines.receipt import ReceiptError
    from server.media.encode import Encoding
    from server.media.files import write_file

    try:
        found = read_source(source)
        models = LocalModels.find(settings)
        request, entry = locate_files(found.receipt, models.catalog, pictures, settings)
        data = _render(found.receipt, request, entry, _as_then(found.receipt, models))
    except (ReplayError, ReceiptError, CatalogError, OptionError, RenderError, OSError) as error:
        print_message(str(error))
        return IMPOSSIBLE
    path = out or Path(f"replay.{Encoding(*found.receipt.encoding).extension}")
    write_file(path, data)
    digest = hashlib.sha256(data).hexdigest()
    if found.sha256 is None:
        typer.echo(f"{path}: SHA-256 {digest}")
        return SAME
    typer.echo(f"{path}: {'the same bytes' if digest == found.sha256 else 'other bytes than the receipt says'}")
    return SAME if digest == found.sha256 else DIFFERENT


def _as_then(receipt: "Receipt", models: "LocalModels") -> "LocalModels":
    """The models with branches of guidance and compiled blocks as the receipt says, whatever the options say."""
    engaged, options = receipt.engaged, models.options
    batched = engaged is not None and engaged.batched_cfg is True
    compiled = options.compiled if engaged is not None and engaged.compiled else None
    return replace(models, options=replace(options, batched_cfg=batched, branch_gains=None, compiled=compiled))


def _render(receipt: "Receipt", request: "RenderRequest", entry: "ModelEntry", models: "LocalModels") -> bytes:
    """The bytes of the image file. Raises `RenderError`."""
    from pipelines.generate import generate
    from pipelines.models.devices import device_name
    from pipelines.receipt import make_receipt
    from server.media.encode import Encoding, encode
    from server.media.metadata import fits

    model = models.load(entry)
    now = make_receipt(request, request.seed, receipt.encoding, entry, device_name(models.device), model.precision)
    for name, then, here in _differences(receipt, now):
        print_message(f"{name} was {then} and is {here}, so the bytes may differ")
    with typer.progressbar(length=request.executed_steps, label="steps", file=sys.stderr) as bar:
        image = generate(request, 0, model, entry, lambda step, total: bar.update(step - bar.pos)).image
    # The image carries the receipt that it is rendered from, so that its bytes can be the same.
    encoding, text = Encoding(*receipt.encoding), receipt.to_json()
    return encode(image, encoding, text if fits(text, encoding.format) else None)


def _differences(then: "Receipt", now: "Receipt") -> list[tuple[str, str, str]]:
    pairs = [("the device", then.device, now.device), ("the precision", then.dtype, now.dtype)]
    pairs += [(name, version, now.versions.get(name, "missing")) for name, version in then.versions.items()]
    return [pair for pair in pairs if pair[1] != pair[2]]
