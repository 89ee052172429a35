from pathlib import Path

import pytest
import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.row_groups import loading_rows as module
from benchmarks.gpu.row_groups.loading_rows import LOADED, SHARDS, blocks_within, loading_rows, write_blocks
from benchmarks.random_models import ModelSize


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(ModelSize.load("small"), torch.device("cpu"))


def test_what_was_written_is_loaded(bench: Bench) -> None:
    (row,) = loading_rows(bench)
    figures = row.measure()
    assert row.name == LOADED
    assert figures["same_bits"]
    assert figures["blocks"] == 2
    assert figures["seconds"] > 0
    assert figures["read_gb_per_second"] >= 0


def test_few_blocks_are_loaded_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = bench.models().checkpoint.transformer.transformer_blocks
    size = sum(weight.nbytes for weight in blocks[0].parameters())
    monkeypatch.setattr(module, "MOST_BYTES", size)
    figures = module.loading(bench)
    assert (figures["blocks"], figures["same_bits"]) == (1, True)


def test_the_files_are_shards_of_about_one_size(bench: Bench, tmp_path: Path) -> None:
    size = write_blocks(bench.models().checkpoint.transformer, 1, tmp_path / "transformer")
    files = [path.stat().st_size for path in (tmp_path / "transformer").glob("*.safetensors")]
    assert len(files) == SHARDS
    assert sum(files) >= size


def test_a_full_disk_is_not_filled_further(bench: Bench) -> None:
    with pytest.raises(OSError, match="a block takes"):
        blocks_within(bench.models().checkpoint.transformer, 99)
