"""Checks a finished image: numbers that are not finite are an error, and a single color leaves a warning.

Knows requests and pictures; imports no torch.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from pipelines.catalog.catalog import ModelEntry
from pipelines.errors import ResultError
from pipelines.request import RenderRequest

# Icons and textures of one color may be wanted, so smaller pictures leave no warning.
FLAT_PIXELS = 1_000_000


@contextmanager
def explain_failure(request: RenderRequest, entry: ModelEntry, precision: str) -> Iterator[None]:
    """Add the likely cause to a `ResultError` raised inside the block."""
    try:
        yield
    except ResultError as error:
        raise ResultError(f"{error} The likely cause is {_likely_cause(request, entry, precision)}.") from error


def flat_warning(image: Image.Image) -> str | None:
    """The warning about a large picture of one color; None for any other picture."""
    if image.width * image.height <= FLAT_PIXELS:
        return None
    extrema = [band.getextrema() for band in image.split()]
    if any(low != high for low, high in extrema):
        return None
    color = ", ".join(str(low) for low, _ in extrema)
    return f"The result is one flat color ({color}): the weights, a LoRA or a ControlNet may not fit this task."


def _likely_cause(request: RenderRequest, entry: ModelEntry, precision: str) -> str:
    adapters = [f"LoRA '{use.name}' at weight {use.weight:g}" for use in request.loras if use.weight]
    adapters += [f"ControlNet '{use.name}' at weight {use.weight:g}" for use in request.controls if use.weight]
    return " or ".join((*(adapters or [f"the weights of {entry.name}"]), f"the precision {precision}"))
