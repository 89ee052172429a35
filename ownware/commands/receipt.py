"""`ownware receipt`: print what a picture was made with. Renders nothing, and loads no model."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ownware.console import fail

if TYPE_CHECKING:
    from pipelines.receipt import Receipt
    from pipelines.request import Reference

_SHORT = 12  # characters of a digest


def receipt(
    file: Annotated[str, typer.Argument(help="An image that carries a receipt, a receipt as JSON, or - for stdin.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the receipt as it is stored.")] = False,
) -> None:
    """Print what a picture was made with: prompt, model, seed, settings, files and versions."""
    from ownware.receipt_files import read_source
    from pipelines.receipt import ReceiptError

    try:
        found = read_source(file).receipt
    except (ReceiptError, OSError, SyntaxError, ValueError) as error:
        fail(f"{file}: {error}" if isinstance(error, OSError) and error.filename is None else str(error))
    if as_json:
        typer.echo(found.to_json())
        return
    lines = list(describe(found))
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        typer.echo(f"{name:<{width}}  {value}")


def describe(receipt: "Receipt") -> Iterator[tuple[str, str]]:
    """The lines of a receipt, as name and value."""
    request = receipt.request
    yield "prompt", request.prompt
    if request.negative_prompt is not None:
        yield "negative prompt", request.negative_prompt
    yield "model", f"{request.model} ({receipt.model.name}, {_digest(receipt.model.digest)})"
    yield "size", f"{request.width}×{request.height}"
    yield "seed", str(request.seed)
    yield "steps", f"{request.executed_steps} of {request.steps}" if request.seed_image else str(request.steps)
    yield "solver", f"{request.sampler.solver}, schedule {request.sampler.schedule}"
    yield "guidance", f"{request.true_cfg_scale:g}" if request.true_cfg_scale > 1 else "off"
    for number, reference in enumerate(request.references, 1):
        yield f"reference {number}", _picture(reference)
    if request.seed_image is not None:
        yield "seed image", f"{_picture(request.seed_image)}, strength {request.strength:g}"
    if request.mask is not None:
        margin = "" if request.mask_margin is None else f", margin {request.mask_margin}"
        yield "mask", _picture(request.mask) + margin
    if (sides := request.outpaint) is not None:
        yield "outpaint", f"top {sides.top}, right {sides.right}, bottom {sides.bottom}, left {sides.left}"
    for use, file in zip(request.loras, receipt.loras, strict=False):
        yield "LoRA", f"{use.name}, weight {use.weight:g}, {_digest(file.digest)}"
    for control, file in zip(request.controls, receipt.controlnets, strict=False):
        window = f"steps {control.start} to {control.end}"
        yield "ControlNet", f"{control.name}, weight {control.weight:g}, {window}, {_digest(file.digest)}"
    if request.cache is not None:
        yield "step cache", f"{request.cache.strategy}, threshold {request.cache.threshold:g}"
    for branch, decisions in (receipt.cache or {}).items():
        yield f"  {branch}", f"{decisions} ({decisions.count('R')} of {len(decisions)} reused)"
    if (guard := request.guard) is not None:
        done = [
            name for name, on in (("aligned", guard.align), ("unchanged pixels kept", guard.keep is not None)) if on
        ]
        yield "drift guard", f"{' and '.join(done)}, against {guard.source}"
    if (drift := receipt.drift) is not None:
        yield "  found", f"{drift}, {'moved back' if drift.moved_back else 'left as it is'}"
    if request.faces is not None:
        yield "faces", "rendered again"
    if request.watermark is not None:
        yield "watermark", request.watermark
    if receipt.engaged is not None:
        yield "weights", str(receipt.engaged)
    yield "device", f"{receipt.device}, {receipt.dtype}"
    image_format, quality = receipt.encoding
    yield "file", image_format if image_format == "PNG" else f"{image_format}, quality {quality}"
    yield "versions", ", ".join(f"{name} {version}" for name, version in receipt.versions.items())


def _picture(reference: "Reference") -> str:
    return f"{reference.width}×{reference.height}, SHA-256 {_digest(reference.sha256)}"


def _digest(digest: str | None) -> str:
    return "no digest" if digest is None else f"{digest[:_SHORT]}…"
