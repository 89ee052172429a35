"""Requests of every kind run through compiled blocks, and nothing is compiled again."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import get_args

import pytest
import torch

from accel.cache.curves import Polynomial
from accel.cache.plan import CachePlan
from accel.cache.strategies.table import STRATEGIES
from accel.kernels.compiled_block import CompiledBlocks, compiled_graphs
from accel.weights.placement import HostShare, place_transformer
from accel.weights.quantized.quantize import quantize
from pipelines.catalog.catalog import Mode
from pipelines.generate import generate
from pipelines.image_render import ImageRender
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.loading.compiling import compile_blocks
from pipelines.models.loading.loader import load
from pipelines.request import ControlUse, LoraUse, Reference, RenderRequest
from tests.adapters import named, random_adapter, write
from tests.control import deeper, save_blockwise, save_controlnet
from tests.fakes import picture
from tests.pipelines.render.renders import asked, entry

# With the fewer, every option comes, but not in every company.
MANY, SOME = 30, 12
SIZES = ((128, 128), (160, 128), (128, 192), (256, 144))
PROMPTS = ("a", "a red circle", "A lighthouse behind a storm, with waves and gulls around it. " * 4)
CURVE = Polynomial((1.0, 0.0), max_distance=1e9)


@pytest.fixture(autouse=True)
def fresh_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # so that the end of the test restores it
    torch.compiler.reset()


def unused(step: int, total: int) -> None:
    """Nothing is reported."""


def requests(folder: Path, checkpoint: Checkpoint) -> Iterator[tuple[Mode, RenderRequest]]:
    """Requests whose options come in turns of different lengths, so that every option meets every other."""
    path = folder / "reference.png"
    path.write_bytes(picture(60, 40))
    reference = Reference(path, "", 60, 40)
    nets = save_controlnet(checkpoint, folder / "net", 2, 1), save_blockwise(checkpoint, folder / "net.safetensors", 1)
    controls = [(), *((ControlUse("net", net, reference, 0.8, "balanced"),) for net in nets), (), ()]
    loras = [
        LoraUse(str(seed), write(folder / f"lora{seed}.safetensors", named(adapter)), 0.5)
        for seed in (1, 2)
        for adapter in [random_adapter(checkpoint.transformer, seed, rank=3 * seed)]
    ]
    caches = [None, *(CachePlan(name, 0.4, 1, 50, 2, curve=CURVE) for name in STRATEGIES)]
    sizes, prompts, scales = cycle(SIZES), cycle(PROMPTS), cycle((4.0, 1.0))
    plans, acting, references = cycle(caches), cycle(controls), cycle((0, 1, 2, 3, 0, 1, 0))
    adapters = cycle(((), loras[:1], (), loras, loras[1:], ()))
    while True:
        (width, height), count = next(sizes), next(references)
        mode: Mode = get_args(Mode)[min(count, 2)]
        yield (
            mode,
            asked(
                width=width,
                height=height,
                prompt=next(prompts),
                true_cfg_scale=next(scales),
                steps=4,
                references=(reference,) * count,
                cache=next(plans),
                controls=next(acting),
                loras=tuple(next(adapters)),
            ),
        )


@pytest.mark.slow
@pytest.mark.parametrize(("host", "count"), [(None, SOME), (HostShare(1, tables=True), MANY)], ids=["batch", "host"])
def test_nothing_is_compiled_again(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: HostShare | None, count: int
) -> None:
    """Branches in one batch; then clean references, blocks of two formats, and blocks in host memory.

    Each of the two takes four graphs. Both at once would take eight.
    """
    dtype = torch.float32 if host is None else torch.bfloat16
    loaded = load(str(weights), torch.device("cpu"), dtype, with_vision=True)
    if host is None:
        used = replace(deeper(loaded, 3), batch_branches=True)
    else:
        used = deeper(loaded, 2, zero_cond_t=True)
        # The layers of attention would make a graph of twice the operations. They are in `test_compiled_block`.
        for mlp in ("img_mlp", "txt_mlp"):
            quantize(used.transformer.transformer_blocks[1].get_submodule(mlp), "fp8")
        used = replace(used, placed=place_transformer(used.transformer, torch.device("cpu"), host))
    used = compile_blocks(used, tmp_path, lambda: CompiledBlocks("eager"))
    assert used.compiled is not None
    monkeypatch.setattr(ImageRender, "decode", lambda *_: None)  # it runs no block, and takes seconds
    graphs, compiled = compiled_graphs(), []
    for number, (mode, request) in enumerate(islice(requests(tmp_path, used), count)):
        before = compiled_graphs()
        generate(request, 0, LoadedModel(used), entry(mode), unused)
        if compiled_graphs() != before:
            compiled.append((number, mode, request))
    assert (compiled, compiled_graphs()) == ([], graphs)
