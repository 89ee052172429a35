"""The row of the GPU benchmark about loading: some blocks are written to files, and read back as a server reads them.

The system still keeps in memory what was just written. So the rate is that of our reading and copying to the device,
and no disk's. Knows files and the loader; knows no render.
"""

import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import cast

import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel

from benchmarks.gpu.bench import Bench
from benchmarks.runs.budget import Figures, Row
from benchmarks.runs.synchronize import synchronize
from pipelines.catalog.component_files import ComponentFiles
from pipelines.models.formats.fill import build_empty
from pipelines.models.formats.place import Placement
from pipelines.models.loading.loader import load_transformer

LOADED = "blocks loaded from files that are still in the system's memory"
MOST_BYTES = 4 * 2**30
SHARDS = 2
_SHARE_OF_DISK = 4  # a quarter of what is free
_SECONDS = 25


def loading_rows(bench: Bench) -> list[Row]:
    """The rate of our loader."""
    return [Row(LOADED, partial(loading, bench), _SECONDS)]


def loading(bench: Bench) -> Figures:
    """Seconds of the second time that files are loaded, and the bytes a second."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        transformer = bench.models().checkpoint.transformer
        blocks = blocks_within(transformer, min(MOST_BYTES, shutil.disk_usage(folder).free // _SHARE_OF_DISK))
        size = write_blocks(transformer, blocks, folder / "transformer")
        load = partial(load_transformer, ComponentFiles(temporary), Placement(bench.device, transformer.dtype, "bf16"))
        load()  # warms up
        synchronize(bench.device)
        started = time.perf_counter()
        loaded = load().state_dict()
        synchronize(bench.device)
        seconds = time.perf_counter() - started
    written = transformer.state_dict()
    return {
        "seconds": round(seconds, 4),
        "blocks": blocks,
        "read_gib": round(size / 2**30, 4),
        "read_gb_per_second": round(size / seconds / 1e9, 2),
        "same_bits": all(torch.equal(weight, written[name]) for name, weight in loaded.items()),
    }


def blocks_within(transformer: QwenImageTransformer2DModel, size: int) -> int:
    """How many blocks take at most `size` bytes. Raises `OSError` where there is no room for one."""
    block = sum(weight.nbytes for weight in transformer.transformer_blocks[0].parameters())
    if size < block:
        raise OSError(f"a block takes {block / 1e9:.2f} GB, and only {size / 1e9:.2f} GB of the disk may be used")
    return min(size // block, len(transformer.transformer_blocks))


def write_blocks(transformer: QwenImageTransformer2DModel, blocks: int, folder: Path) -> int:
    """Write a transformer of the first blocks, in shards with an index. Returns the bytes of its weights."""
    config = dict(transformer.config) | {"num_layers": blocks}
    fewer = build_empty(lambda: cast("QwenImageTransformer2DModel", QwenImageTransformer2DModel.from_config(config)))
    weights = transformer.state_dict()
    fewer.load_state_dict({name: weights[name] for name in fewer.state_dict()}, assign=True)
    sizes = [weight.nbytes for weight in fewer.state_dict().values()]
    # A shard ends at the first weight that it has no room for, so each but the last has more than its share.
    fewer.save_pretrained(folder, max_shard_size=sum(sizes) // SHARDS + max(sizes))
    return sum(sizes)
