"""Measures what each addition to a request costs, relative to the plain loop in the same run, and decoding's memory.

    python -m benchmarks.costs [--device cuda] [--full-size] [--repeats 7] [--minutes 8] [--only NAME] [--out FILE]

Weights are random, as in `benchmarks.pipeline`. Only the embeddings are of the embedded checkpoint, because they need a
text encoder. Prints a table and appends one JSON line for each figure.
"""

import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file

from accel.weights.quantized.quantize import QuantizedPrecision, quantize
from benchmarks.random_models import SEED, TRUE_CFG_SCALE, ModelSize, RandomModels
from benchmarks.runs.command import Command
from benchmarks.runs.peak_memory import peak_mib
from pipelines.catalog.models_file import load_catalog
from pipelines.controlnet.residuals import Control
from pipelines.lora.apply import NO_LORAS, LoraSet, select_loras
from pipelines.models.checkpoint import LoadedModel
from pipelines.models.residency.model_cache import ModelCache
from pipelines.render.prepare import begin, prepare
from pipelines.render.state import RenderState
from pipelines.render.steps import advance
from pipelines.request import LoraUse, Reference, RenderRequest, Sampler

STEPS = 8
RANK = 16  # of a LoRA on every linear layer of the attention, as most style LoRAs have it
DECODED_SIDE = 1024  # pixels
TIMED_SIDE = 512
BATCH_PRECISIONS: tuple[QuantizedPrecision | None, ...] = (None, "fp8", "nf4")
_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")

Figures = dict[str, Any]


def lora_costs(models: RandomModels, repeats: int) -> Figures:
    """Steps with a LoRA relative to plain steps; reading its file and selecting it again, in plain steps."""
    with tempfile.TemporaryDirectory() as folder:
        use = LoraUse("random", random_lora(models, Path(folder)))
        model = LoadedModel(models.checkpoint)
        loras = select_loras((use,), model)
        run_loop(models, loras)
        pairs = [(run_loop(models), run_loop(models, loras)) for _ in range(repeats)]
        step = statistics.median(plain for plain, _ in pairs) / STEPS
        first = median_seconds(lambda: select_loras((use,), LoadedModel(models.checkpoint)), repeats)
        again = median_seconds(lambda: select_loras((use,), model), repeats)
    return ratios(pairs) | {"first_use_in_steps": round(first / step, 3), "switch_in_steps": round(again / step, 4)}


def controlnet_costs(models: RandomModels, repeats: int) -> Figures:
    """Steps with a ControlNet relative to plain steps. `layers` and `blocks` are the depths of net and transformer."""
    net, control_latents = models.controlnet, models.noise(models.size.side)
    control = Control(net=net, control_latents=control_latents, weight=1.0, mode="balanced", start=0, end=STEPS)
    run_loop(models, controls=(control,))
    pairs = [(run_loop(models), run_loop(models, controls=(control,))) for _ in range(repeats)]
    return ratios(pairs) | {
        "layers": len(net.transformer_blocks),
        "blocks": len(models.checkpoint.transformer.transformer_blocks),
    }


def batch_costs(size: ModelSize, device: torch.device, precision: QuantizedPrecision | None, repeats: int) -> Figures:
    """Steps whose branches run as one batch relative to steps whose branches run alone, and whether bits differ."""
    alone = RandomModels.build(size, device)
    if precision is not None:
        quantize(alone.checkpoint.transformer.transformer_blocks, precision)
    batch = replace(alone, checkpoint=replace(alone.checkpoint, batch_branches=True))
    latents = [final_latents(models) for models in (alone, batch)]
    pairs = [(run_loop(alone), run_loop(batch)) for _ in range(repeats)]
    difference = (latents[0].float() - latents[1].float()).abs().max().item()
    return ratios(pairs) | {"side": size.side, "largest_difference": difference}


def thread_costs(models: RandomModels, repeats: int) -> Figures:
    """Seconds of steps with two threads of the CPU relative to one: those of the clock, and those of the cores.

    `load` is the number of other programs that wanted a core: two threads spin while they wait for each other.
    """
    before, load = torch.get_num_threads(), os.getloadavg()[0]
    found: list[tuple[tuple[float, float], tuple[float, float]]] = []
    try:
        for _ in range(repeats + 1):  # the first one warms up
            found.append((_with_threads(1, models), _with_threads(2, models)))
    finally:
        torch.set_num_threads(before)
    clock, cores = ([(one[kind], two[kind]) for one, two in found[1:]] for kind in (0, 1))
    of_clock = {f"clock_{name}": value for name, value in ratios(clock).items()}
    return ratios(cores) | of_clock | {"load": round(load, 1)}


def _with_threads(count: int, models: RandomModels) -> tuple[float, float]:
    """Seconds of the clock and of the cores that a loop takes with some threads."""
    torch.set_num_threads(count)
    clock, cores = time.perf_counter(), time.process_time()
    run_loop(models)
    return time.perf_counter() - clock, time.process_time() - cores


@torch.inference_mode()
def decoding_costs(models: RandomModels, side: int, repeats: int) -> Figures:
    """Seconds of decoding relative to those of diffusers, and relative to weights that are not channels-last."""
    checkpoint = models.checkpoint
    latents = torch.randn(1, 16, 1, side // 8, side // 8, dtype=checkpoint.dtype, device=checkpoint.device)
    contiguous = copy.deepcopy(checkpoint.vae).to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]

    def decode(vae: Any) -> float:
        clock = time.perf_counter if models.device.type == "cuda" else time.process_time
        started = clock()
        vae.decode(latents)
        models.synchronize()
        return clock() - started

    vaes: tuple[Any, ...] = (models.video_vae, contiguous, checkpoint.vae)
    for vae in vaes:
        decode(vae)  # warms up
    taken = [[decode(vae) for vae in vaes] for _ in range(repeats)]
    apart = (contiguous.decode(latents) - checkpoint.vae.decode(latents)).abs().max().item()
    channels = ratios([(other, ours) for _, other, ours in taken])
    return ratios([(theirs, ours) for theirs, _, ours in taken]) | {
        "channels_last_ratio": channels["ratio"],
        "channels_last_difference": apart,
        "side": side,
    }


def embedding_costs(device: str, repeats: int) -> Figures:
    """Seconds to prepare an edit of the embedded checkpoint, with new embeddings and with kept ones."""
    entry = load_catalog().with_embedded_weights().entries[1]
    model = ModelCache(device).get(entry)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reference.png"
        Image.radial_gradient("L").convert("RGB").save(path)
        request = RenderRequest(entry.air, "make it red", None, 256, 256, 8, Sampler(), TRUE_CFG_SCALE, SEED)
        request = replace(request, references=(Reference(path, "", 256, 256),))
        prepare(request, 0, model, entry)
        kept = median_seconds(lambda: prepare(request, 0, model, entry), repeats)
        anew = median_seconds(lambda: prepare(request, 0, LoadedModel(model.checkpoint), entry), repeats)
    return {"anew": round(anew, 4), "kept": round(kept, 4), "ratio": round(kept / anew, 3)}


@torch.inference_mode()
def decoding_memory(models: RandomModels, side: int) -> Figures:
    """Peak MiB that decoding an image of side × side pixels takes beyond the weights."""
    checkpoint = models.checkpoint
    latents = torch.randn(1, 16, 1, side // 8, side // 8, dtype=checkpoint.dtype, device=checkpoint.device)
    found: Figures = {}
    vaes: dict[str, Any] = {"ours": checkpoint.vae, "diffusers": models.video_vae}
    for name, vae in vaes.items():
        vae.decode(latents[..., :8, :8])  # allocates the libraries' own buffers
        found[name] = round(peak_mib(lambda vae=vae: vae.decode(latents), checkpoint.device))
    return found | {"ratio": round(found["ours"] / found["diffusers"], 3)}


def run_loop(models: RandomModels, loras: LoraSet = NO_LORAS, controls: tuple[Control, ...] = ()) -> float:
    """Seconds of a whole loop, from the state before its first step. On a CPU other programs do not count."""
    clock = time.perf_counter if models.device.type == "cuda" else time.process_time
    state = begin_loop(models, loras, controls)
    started = clock()
    with torch.inference_mode():
        while state.step < state.total:
            advance([state])
    models.synchronize()
    return clock() - started


@torch.inference_mode()
def final_latents(models: RandomModels) -> torch.Tensor:
    """The latents after a whole loop."""
    state = begin_loop(models, NO_LORAS, ())
    while state.step < state.total:
        advance([state])
    return state.latents


def begin_loop(models: RandomModels, loras: LoraSet, controls: tuple[Control, ...]) -> RenderState:
    """The state of a text-to-image request with guidance before its first step."""
    side = models.size.side
    return begin(
        RenderRequest("", "", None, side, side, STEPS, Sampler(), TRUE_CFG_SCALE, SEED),
        models.checkpoint,
        noise=models.noise(side),
        cond=models.prompt(),
        uncond=models.negative_prompt(),
        controls=controls,
        loras=loras,
    )


def random_lora(models: RandomModels, folder: Path) -> Path:
    """A LoRA file for every attention layer, in diffusers' spelling."""
    tensors = {}
    for name, module in models.checkpoint.transformer.named_modules():
        if isinstance(module, torch.nn.Linear) and ".attn." in name and name.endswith(_ATTENTION):
            tensors[f"transformer.{name}.lora_A.weight"] = torch.randn(RANK, module.in_features).bfloat16()
            tensors[f"transformer.{name}.lora_B.weight"] = torch.randn(module.out_features, RANK).bfloat16() * 1e-3
    path = folder / "lora.safetensors"
    save_file(tensors, path)
    return path


def median_seconds(work: Callable[[], Any], repeats: int) -> float:
    """The median time of a piece of work."""
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def ratios(pairs: list[tuple[float, float]]) -> Figures:
    """The ratios second / first of neighbouring runs."""
    found = sorted(second / first for first, second in pairs)
    return {"min": round(found[0], 3), "ratio": round(statistics.median(found), 3), "max": round(found[-1], 3)}


def main() -> None:
    """Run from the command line."""
    command = Command.parse("costs", __doc__)

    def report(name: str, figures: Figures) -> None:
        print(f"{name:<34}" + "  ".join(f"{key} {value}" for key, value in figures.items()), flush=True)
        command.record({"figure": name, **figures})

    models = RandomModels.build(ModelSize.load(command.size), command.device)
    figures: dict[str, Callable[[], Figures]] = {
        "decoding 1024², peak MiB": lambda: decoding_memory(models, DECODED_SIDE),
        "decoding 512², over diffusers": lambda: decoding_costs(models, TIMED_SIDE, command.repeats),
        "a LoRA, over plain steps": lambda: lora_costs(models, command.repeats),
        "a ControlNet, over plain steps": lambda: controlnet_costs(models, command.repeats),
        "preparing an edit, seconds": lambda: embedding_costs(str(command.device), command.repeats),
    }
    if command.device.type == "cpu":
        figures["two threads, over one"] = lambda: thread_costs(models, command.repeats)
    size = models.size
    for side in (size.side // 4, size.side // 2, size.side, 2 * size.side):
        for precision in BATCH_PRECISIONS:
            name = f"one batch, {precision or 'unquantized'}, {side}²"
            figures[name] = partial(batch_costs, replace(size, side=side), command.device, precision, command.repeats)
    for name in command.select(list(figures)):
        report(name, figures[name]())


if __name__ == "__main__":
    main()
