"""The receipt of an image: everything that is needed to render the same bytes again.

The worker makes it, writes it into the image, and the server keeps it. It contains no path and no time of day. Knows
requests; imports no torch.
"""

import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from accel.cache.report import CacheReport
from accel.validation_message import validation_message
from pipelines.catalog.catalog import ModelEntry
from pipelines.catalog.fingerprint import file_digest
from pipelines.catalog.hub.cache import local_file
from pipelines.catalog.weights_fingerprint import fingerprint
from pipelines.editing.drift.found_drift import FoundDrift
from pipelines.models.engaged import Engaged
from pipelines.models.model_fingerprint import model_fingerprint
from pipelines.request import DriftGuard, Reference, RenderRequest

FORMAT = 1
_PACKAGES = ("ownware", "torch", "diffusers", "transformers", "pillow")
_NOWHERE = Path()


class ReceiptError(ValueError):
    """A text is no receipt, or a receipt of another format; the message says why."""


@dataclass(frozen=True, slots=True)
class WeightsRef:
    """The weights that an image was rendered with. `digest` is a file's SHA-256 or a folder's fingerprint."""

    name: str
    digest: str | None


# Left out where it is None, so that the receipts of plain weights and plain renders stay the same bytes.
_IfThere = Field(exclude_if=lambda value: value is None)
OnlyIfEngaged = Annotated[Engaged | None, _IfThere]
OnlyIfBatched = Annotated[int | None, _IfThere]
OnlyIfFound = Annotated[FoundDrift | None, _IfThere]


@dataclass(frozen=True, slots=True)
class Receipt:
    """The receipt of one image. `request` has this image's seed and a count of 1; its pictures are named by SHA-256.

    `encoding` is the file format and its quality. `cache` is the decisions of a step cache in each branch of guidance,
    one letter a forward: "C" for computed, "R" for reused. `engaged` is what the weights ran with, None where all was
    resident in `dtype`. `drift` is what the guard of an edit has found, None without one. `batched` is how many images
    were evaluated in one pass at most, where that may change the rounding; None where it cannot.
    """

    format: int
    request: RenderRequest
    encoding: tuple[Literal["JPG", "PNG", "WEBP"], int]
    model: WeightsRef
    loras: tuple[WeightsRef, ...]
    controlnets: tuple[WeightsRef, ...]
    device: str
    dtype: str
    versions: dict[str, str]
    cache: dict[str, str] | None = None
    engaged: OnlyIfEngaged = None
    drift: OnlyIfFound = None
    batched: OnlyIfBatched = None

    def to_json(self) -> str:
        """As ASCII JSON without line breaks. Equal receipts give equal texts."""
        return _RECEIPT.dump_json(self, ensure_ascii=True, by_alias=True).decode("ascii")


_RECEIPT = TypeAdapter(Receipt)


def make_receipt(
    request: RenderRequest,
    seed: int,
    encoding: tuple[Literal["JPG", "PNG", "WEBP"], int],
    entry: ModelEntry,
    device: str,
    dtype: str,
    cache: CacheReport | None = None,
    drift: FoundDrift | None = None,
    batched: int | None = None,
) -> Receipt:
    """The receipt of the image that the model of `entry` rendered with `seed`.

    The model's own LoRAs are listed as if the request had named them, so that a changed row does not change the image.
    """
    request = replace(request, loras=(*request.loras, *entry.own_loras))
    return Receipt(
        format=FORMAT,
        request=without_paths(replace(request, seed=seed, count=1)),
        encoding=encoding,
        model=WeightsRef(_public_name(entry.weights), model_fingerprint(entry.files)),
        loras=tuple(WeightsRef(lora.name, _lora_digest(lora.path)) for lora in request.loras),
        controlnets=tuple(WeightsRef(control.name, fingerprint(control.weights)) for control in request.controls),
        device=device,
        dtype=dtype,
        versions=package_versions(),
        cache=None if cache is None else cache.patterns,
        drift=drift,
        batched=batched,
    )


def with_engaged(receipt: Receipt, engaged: Engaged | None, *, batched_cfg: bool) -> Receipt:
    """The receipt with what the weights ran with, unless that is nothing special.

    `batched_cfg` says whether both branches of guidance of this image ran as one batch.
    """
    if engaged is None:
        return receipt
    engaged = replace(engaged, batched_cfg=batched_cfg)
    return receipt if engaged.plain else replace(receipt, engaged=engaged)


def read_receipt(text: str) -> Receipt:
    """Read what `to_json` wrote; unknown members are ignored. Raises `ReceiptError`."""
    try:
        receipt = _RECEIPT.validate_json(text)
    except ValidationError as error:
        raise ReceiptError(f"this is no receipt: {validation_message(error, whole='the text')}") from error
    if receipt.format != FORMAT:
        raise ReceiptError(f"this receipt has format {receipt.format}; only format {FORMAT} can be read")
    return receipt


def pictures_of(request: RenderRequest) -> tuple[Reference, ...]:
    """All input pictures of a request."""
    single = (request.seed_image, request.mask, *(control.control_image for control in request.controls))
    if request.guard is not None and isinstance(request.guard.keep, Reference):
        single += (request.guard.keep,)
    return (*request.references, *(picture for picture in single if picture is not None))


def without_paths(request: RenderRequest) -> RenderRequest:
    """The request without the paths of its files, which mean nothing on another machine."""
    return with_files(request, {}, {}, {})


def with_files(
    request: RenderRequest, pictures: dict[str, Path], loras: dict[str, Path], controlnets: dict[str, str]
) -> RenderRequest:
    """The request with the given paths: pictures by SHA-256, LoRAs and ControlNets by name."""

    def placed(picture: Reference) -> Reference:
        return replace(picture, path=pictures.get(picture.sha256, _NOWHERE))

    return replace(
        request,
        references=tuple(placed(picture) for picture in request.references),
        seed_image=None if request.seed_image is None else placed(request.seed_image),
        mask=None if request.mask is None else placed(request.mask),
        guard=_placed_guard(request.guard, placed),
        loras=tuple(replace(lora, path=loras.get(lora.name, _NOWHERE)) for lora in request.loras),
        controls=tuple(
            replace(control, weights=controlnets.get(control.name, ""), control_image=placed(control.control_image))
            for control in request.controls
        ),
    )


def _placed_guard(guard: DriftGuard | None, placed: Callable[[Reference], Reference]) -> DriftGuard | None:
    if guard is None or not isinstance(guard.keep, Reference):
        return guard
    return replace(guard, keep=placed(guard.keep))


def _lora_digest(path: Path) -> str | None:
    try:
        return file_digest(local_file(path))
    except (OSError, ValueError):  # gone since it was read
        return None


def _public_name(weights: str) -> str:
    return Path(weights).name if Path(weights).is_absolute() else weights


@cache
def package_versions() -> dict[str, str]:
    """The versions of Python and of the packages that decide the bytes of an image."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
