"""The Python API: `generate` and `edit` render images in this process, without a server.

They use the pipelines, models and settings of the server, so an equal task gives equal bytes. `ownware` exports them.
"""

import difflib
import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Unpack

from PIL import Image
from pydantic import ValidationError

from accel.validation_message import validation_message
from ownware.images.inputs import ImageInputs
from ownware.images.options import Arguments, ImageInput, ImageOptions
from ownware.images.request_builder import build_request
from ownware.images.result import DEFAULT_QUALITY, ImageResult
from ownware.local_models import LocalModels
from ownware.options import OptionError
from pipelines import generate as pipeline
from pipelines.errors import RenderError
from pipelines.models.devices import device_name
from pipelines.receipt import make_receipt
from server.settings import Settings, unknown_variables

Weights = Literal["auto", "embedded", "catalog"]
OnStep = Callable[[int, int], None]

_MILLION = 1_000_000
# One image at a time: a second one in another thread would be slower for both, and may not fit into the memory.
_RENDERING = threading.Lock()


def generate(
    prompt: str,
    *,
    weights: Weights | None = None,
    device: str | None = None,
    on_step: OnStep | None = None,
    **options: Unpack[Arguments],
) -> ImageResult:
    """Render an image from a prompt.

        result = ownware.generate("a large red circle at the center on a white background", seed=7)
        result.save("circle.png")

    The model stays loaded between calls. Without a GPU the embedded demonstration checkpoint renders, as in the server.

    Args:
        prompt: What the image shows.
        weights: "embedded" for the checkpoint that needs no download, "catalog" for what the models file names,
            "auto" for the catalogue when there is a GPU. Default: OWNWARE_WEIGHTS, else "auto".
        device: "auto", "cpu" or "cuda:0". Default: OWNWARE_DEVICES, else "auto".
        on_step: Called with the steps done and their total before the first step and after each one. It may raise an
            exception to stop the image.
        model: AIR identifier or slug of the catalogue. Default: its first text-to-image model.
        negative_prompt: What the image should not show. It has no effect when guidance is off.
        width: Pixels, a multiple of 16 from 128 to 2048. Default: 1024, with the embedded checkpoint 256.
        height: Pixels, given together with the width.
        steps: Denoising steps, 1 to 50. Default: the model's.
        scheduler: A name of the API such as "DPM++ 2M Karras", or a solver such as "dpmpp_2m". Default: Euler.
        true_cfg_scale: Guidance scale, 0 to 100; 1 or less switches guidance off. Default: the model's.
        seed: 0 to 2^63 - 1. Default: random.
        seed_image: A path or a PIL image that the result starts from.
        strength: How much of the seed image changes, 0 to 1. Default: 0.8, with `outpaint` 1.
        mask: White where the seed image may change, black where its pixels stay exactly as they are.
        mask_margin: Render only the masked part, with 32 to 128 pixels around it, at the full size.
        outpaint: Pixels to add on each side of the seed image.
        loras: Names of the catalogue or paths of files, each alone or as `(name, weight)`.
        controls: ControlNets with their control images.
        cache: A step cache, as `acceleratorOptions` of the API: `{"fbCache": True}`. Default: none.
        align_to: Undo a small shift and scale of the whole image against its source: "seed_image", or the number of an
            image to edit, from 0. "auto" is the seed image, else the first of the images. Default: off.
        keep_unchanged: Keep the source's own pixels where nothing has changed: "auto", or a mask that is white where
            the image may differ. Default: off.

    Raises:
        TypeError: An argument is unknown.
        ValueError: An option cannot be used; the message names it.
        pipelines.errors.LoadError: The weights cannot be loaded.
        pipelines.errors.ResultError: The result is no picture, because it has numbers that are not finite.
    """
    return _render(_checked(options, prompt), weights, device, on_step)


def edit(
    images: ImageInput | Sequence[ImageInput],
    prompt: str,
    *,
    weights: Weights | None = None,
    device: str | None = None,
    on_step: OnStep | None = None,
    **options: Unpack[Arguments],
) -> ImageResult:
    """Edit one image, or combine up to three, as a prompt says.

        result = ownware.edit("photo.jpg", "change the background to green", seed=7)
        result.save("edited.jpg")

    `images` are paths or PIL images. `model` is by default the first of the catalogue that takes their number. The size
    is by default about a megapixel with the aspect of the last image. All other options are those of `generate`, and so
    are the exceptions.
    """
    several = (images,) if isinstance(images, str | Path | Image.Image) else tuple(images)
    if not several:
        raise OptionError("images", "give at least one image")
    return _render(_checked(options, prompt, several), weights, device, on_step)


def _render(options: ImageOptions, weights: Weights | None, device: str | None, on_step: OnStep | None) -> ImageResult:
    settings = _settings(weights, device)
    models = LocalModels.find(settings, "device")
    with tempfile.TemporaryDirectory(prefix="ownware-") as folder:
        inputs = ImageInputs(Path(folder), settings.max_image_megapixels * _MILLION)
        request, entry, warnings = build_request(options, models, settings, inputs)
        try:
            with _RENDERING:
                loaded = models.load_once(entry)
                generated = pipeline.generate(request, 0, loaded, entry, on_step or _ignore_step)
        except RenderError as error:
            if error.fault in ("weights", "result"):
                raise
            raise ValueError(f"{error.path}: {error}" if error.path else str(error)) from error
        receipt = make_receipt(
            request,
            generated.seed,
            ("PNG", DEFAULT_QUALITY),
            entry,
            device_name(models.device),
            loaded.precision,
            generated.cache,
            generated.drift,
        )
    return ImageResult(generated.image, generated.seed, receipt, (*warnings, *generated.warnings))


def _checked(options: Arguments, prompt: str, images: tuple[ImageInput, ...] = ()) -> ImageOptions:
    """The options of a call. Raises `TypeError` for an unknown name."""
    for name in options.keys() - Arguments.__annotations__.keys():
        near = difflib.get_close_matches(name, Arguments.__annotations__, n=1)
        hint = f". Did you mean '{near[0]}'?" if near else ""
        raise TypeError(f"unexpected keyword argument '{name}'{hint}")
    return ImageOptions(prompt=prompt, images=images, **options)


def _settings(weights: Weights | None, device: str | None) -> Settings:
    """The server's settings from variables, with what the call says. Raises `ValueError`."""
    if messages := unknown_variables(os.environ):
        raise ValueError("; ".join(messages))
    given = {"weights": weights, "devices": None if device is None else (device,)}
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise ValueError(validation_message(error)) from error


def _ignore_step(step: int, total: int) -> None:
    """Do nothing after a step."""
