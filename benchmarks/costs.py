"""What each addition to a request costs, against the plain loop in the same run; and the memory that decoding takes.

    python -m benchmarks.costs [--device cuda] [--full-size] [--repeats 7] [--out benchmarks/results/costs.jsonl]

Weights are random, as in `benchmarks.pipeline`. Only the embeddings are of the embedded checkpoint, because they need a
text encoder. Prints a table and appends one JSON line for each figure.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks.command import Command
from benchmarks.peak_memory import peak_mib
from benchmarks.pipeline import FULL, NEGATIVE_TOKENS, PROMPT_TOKENS, SCALE, SEED, SMALL, Bench
from pipelines.catalog.catalog import load_catalog
from pipelines.controlnet.residuals import Control
from pipelines.latents import grid, noise
from pipelines.lora.apply import NO_LORAS, LoraSet, select_loras
from pipelines.models.checkpoint import LoadedModel
from pipelines.models.model_cache import ModelCache
from pipelines.render import RenderState, advance, begin, prepare
from pipelines.request import LoraUse, Reference, RenderRequest, Sampler

STEPS = 8
RANK = 16  # of a LoRA on every linear layer of the attention, as most style LoRAs have it
_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")

Figures = dict[str, Any]


def run(bench: Bench, loras: LoraSet = NO_LORAS, controls: tuple[Control, ...] = ()) -> float:
    """Seconds of a whole loop, from the state before its first step."""
    state = begun(bench, loras, controls)
    started = time.perf_counter()
    with torch.inference_mode():
        while state.step < state.total:
            advance([state])
    synchronise(bench)
    return time.perf_counter() - started


def begun(bench: Bench, loras: LoraSet = NO_LORAS, controls: tuple[Control, ...] = ()) -> RenderState:
    """A text-to-image request with guidance."""
    side = bench.size.cases[0].side
    return begin(
        RenderRequest("", "", None, side, side, STEPS, Sampler(), SCALE, SEED),
        bench.checkpoint,
        noise=noise(grid(side, side, bench.checkpoint.vae), 16, SEED).to(bench.checkpoint.device),
        cond=bench.embeddings(1, PROMPT_TOKENS),
        uncond=bench.embeddings(2, NEGATIVE_TOKENS),
        controls=controls,
        loras=loras,
    )


def synchronise(bench: Bench) -> None:
    """Wait until the device has done what it was told."""
    if bench.checkpoint.device.type == "cuda":
        torch.cuda.synchronize(bench.checkpoint.device)


def random_lora(bench: Bench, folder: Path) -> Path:
    """A LoRA file for every attention layer, in diffusers' spelling."""
    tensors = {}
    for name, module in bench.checkpoint.transformer.named_modules():
        if isinstance(module, torch.nn.Linear) and ".attn." in name and name.endswith(_ATTENTION):
            tensors[f"transformer.{name}.lora_A.weight"] = torch.randn(RANK, module.in_features).bfloat16()
            tensors[f"transformer.{name}.lora_B.weight"] = torch.randn(module.out_features, RANK).bfloat16() * 1e-3
    path = folder / "lora.safetensors"
    save_file(tensors, path)
    return path


def lora_costs(bench: Bench, repeats: int) -> Figures:
    """Steps with a LoRA over steps without one; reading its file and switching to it, in plain steps."""
    with tempfile.TemporaryDirectory() as folder:
        use = LoraUse("random", random_lora(bench, Path(folder)))
        model = LoadedModel(bench.checkpoint)
        loras = select_loras((use,), model)
        run(bench, loras)
        pairs = [(run(bench), run(bench, loras)) for _ in range(repeats)]
        step = statistics.median(plain for plain, _ in pairs) / STEPS
        first = timed(lambda: select_loras((use,), LoadedModel(bench.checkpoint)), repeats)
        again = timed(lambda: select_loras((use,), model), repeats)
    return ratios(pairs) | {"first_use_in_steps": round(first / step, 3), "switch_in_steps": round(again / step, 4)}


def controlnet_costs(bench: Bench, repeats: int) -> Figures:
    """Steps with a ControlNet over steps without one. `layers` of `blocks` say what share of the model it is."""
    net = bench.controlnet
    side = bench.size.cases[0].side
    latents = noise(grid(side, side, bench.checkpoint.vae), 16, SEED).to(
        bench.checkpoint.device, bench.checkpoint.dtype
    )
    control = Control(net=net, control_latents=latents, weight=1.0, mode="balanced", start=0, end=STEPS)
    run(bench, controls=(control,))
    pairs = [(run(bench), run(bench, controls=(control,))) for _ in range(repeats)]
    return ratios(pairs) | {
        "layers": len(net.transformer_blocks),
        "blocks": len(bench.checkpoint.transformer.transformer_blocks),
    }


def encoding_costs(device: str, repeats: int) -> Figures:
    """Seconds to prepare an edit of the embedded checkpoint, anew and with its embeddings kept."""
    entry = load_catalog().with_embedded_weights().entries[1]
    model = ModelCache(device).get(entry)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reference.png"
        Image.radial_gradient("L").convert("RGB").save(path)
        reference = Reference(path, "", 256, 256)
        request = RenderRequest(entry.air, "make it red", None, 256, 256, 8, Sampler(), SCALE, SEED)
        request = replace(request, references=(reference,))
        prepare(request, 0, model, entry)
        kept = timed(lambda: prepare(request, 0, model, entry), repeats)
        anew = timed(lambda: prepare(request, 0, LoadedModel(model.checkpoint), entry), repeats)
    return {"anew": round(anew, 4), "kept": round(kept, 4), "ratio": round(kept / anew, 3)}


def timed(work: Callable[[], Any], repeats: int) -> float:
    """Median seconds."""
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def ratios(pairs: list[tuple[float, float]]) -> Figures:
    """Of neighbouring runs, the second over the first."""
    found = sorted(second / first for first, second in pairs)
    return {"min": round(found[0], 3), "ratio": round(statistics.median(found), 3), "max": round(found[-1], 3)}


@torch.inference_mode()
def decoding_memory(bench: Bench, side: int) -> Figures:
    """Peak MiB that decoding a picture of side × side pixels takes beyond the weights."""
    checkpoint = bench.checkpoint
    latents = torch.randn(1, 16, 1, side // 8, side // 8, dtype=checkpoint.dtype, device=checkpoint.device)
    found: Figures = {}
    vaes: dict[str, Any] = {"ours": checkpoint.vae, "diffusers": bench.video_vae}
    for name, vae in vaes.items():
        vae.decode(latents[..., :8, :8])  # the libraries' own buffers
        found[name] = round(peak_mib(lambda vae=vae: vae.decode(latents), checkpoint.device))
    return found | {"ratio": round(found["ours"] / found["diffusers"], 3)}


def main() -> None:
    """Run from the command line."""
    command = Command.parse("costs", __doc__)
    size = FULL if command.full_size else SMALL

    def report(name: str, figures: Figures) -> None:
        print(f"{name:<34}" + "  ".join(f"{key} {value}" for key, value in figures.items()), flush=True)
        command.record({"figure": name, **figures})

    bench = Bench.build(size, command.device)
    report("decoding 1024², peak MiB", decoding_memory(bench, 1024))
    report("a LoRA, over plain steps", lora_costs(bench, command.repeats))
    report("a ControlNet, over plain steps", controlnet_costs(bench, command.repeats))
    report("preparing an edit, seconds", encoding_costs(str(command.device), command.repeats))


if __name__ == "__main__":
    main()
