"""`ownware bench batching`: measure what is faster as a batch, for the server of the data folder."""

from typing import TYPE_CHECKING, Annotated

import typer

from ownware.console import fail, print_message
from ownware.server_options import read_settings

if TYPE_CHECKING:
    from pipelines.batching import BatchGain, BranchGain


def batching(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Option(help="AIR identifier or slug; default: the first that draws from text.")
    ] = None,
    sizes: Annotated[str, typer.Option(help="Pixels, such as 512,1024 or 1328x800.")] = "512,1024",
    images: Annotated[str, typer.Option(help="Numbers of images, such as 2,4.")] = "2,3,4",
    steps: Annotated[int, typer.Option(min=1, max=50, help="Steps of each image.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Measurements of each way; the fastest counts.")] = 3,
) -> None:
    """Measure images, and both branches of guidance, together and one after the other; a server uses what pays.

    Takes the options of `serve` too.
    """
    settings = read_settings(context.args)
    from ownware.local_models import LocalModels
    from ownware.options import OptionError, parse_integers, parse_size
    from pipelines.batching import MOST_IMAGES, BatchGains, merge_gains, read_gains, write_gains
    from pipelines.catalog.models_file import CatalogError
    from pipelines.errors import RenderError

    path = settings.batching_file
    try:
        pixels = [parse_size("--sizes", size) for size in sizes.split(",")]
        counts = parse_integers("--images", images, 2, MOST_IMAGES)
        models = LocalModels.find(settings)
        drawn = (entry for entry in models.catalog.entries if entry.mode == "text_to_image")
        entry = next(drawn, None) if model is None else models.entry("--model", model)
        if entry is None:
            raise OptionError("--model", "no model draws from text, so name the one to measure")
        loaded = models.load(entry)
        import torch

        from ownware.batching_benchmark import measure_branches, measure_gains
        from pipelines.models.devices import device_name

        device, on_gpu = device_name(models.device), loaded.checkpoint.device.type == "cuda"
        branches = []
        for branch in measure_branches(entry, loaded, pixels, steps, rounds):
            branches.append(branch)
            print_message(describe_branches(branch, on_gpu=on_gpu))
        gains = []
        for gain in measure_gains(entry, loaded, pixels, counts, steps, rounds):
            gains.append(gain)
            print_message(describe(gain, on_gpu=on_gpu))
        measured = BatchGains(device, str(torch.__version__), tuple(gains), branches=tuple(branches))
        write_gains(path, merge_gains(read_gains(path, device, measured.torch), measured))
    except (CatalogError, OptionError, RenderError, OSError, ValueError) as error:
        fail(str(error))
    print_message(f"{path} has the measurements; a server that starts now uses those that pay")


def describe(gain: "BatchGain", *, on_gpu: bool) -> str:
    """A measurement in words, and what a server makes of it."""
    from pipelines.batching import LEAST_GAIN, near_enough

    told = f"{gain.width}x{gain.height}, {gain.images} images together: {gain.gain:.2f} times as fast in one task"
    told = f"{told}, {gain.joined:.2f} times in several, {_bits(gain)}"
    if not near_enough(gain, on_gpu=on_gpu):
        return f"{told}; {_too_far(on_gpu=on_gpu)}"
    used = [
        where for where, times in (("in one task", gain.gain), ("across tasks", gain.joined)) if times >= LEAST_GAIN
    ]
    return f"{told}; used {' and '.join(used)}" if used else f"{told}; not used: {LEAST_GAIN} is the least gain"


def describe_branches(gain: "BranchGain", *, on_gpu: bool) -> str:
    """A measurement of both branches of guidance in words, and what a server makes of it."""
    from pipelines.batching import LEAST_GAIN, near_enough

    told = f"{gain.width}x{gain.height}, both branches of guidance together: {gain.gain:.2f} times as fast"
    told = f"{told}, {_bits(gain)}"
    if not near_enough(gain, on_gpu=on_gpu):
        return f"{told}; {_too_far(on_gpu=on_gpu)}"
    if gain.gain < LEAST_GAIN:
        return f"{told}; not used: {LEAST_GAIN} is the least gain"
    return f"{told}; used with --batched-cfg auto"


def _bits(gain: "BatchGain | BranchGain") -> str:
    return "equal bits" if not gain.difference else f"latents differ by {gain.difference:.2g}"


def _too_far(*, on_gpu: bool) -> str:
    from pipelines.batching import GPU_TOLERANCE

    allowed = f"at most {GPU_TOLERANCE} is allowed" if on_gpu else "on a CPU not one bit may differ"
    return f"not used: {allowed}"
