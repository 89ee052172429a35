from pathlib import Path

import pytest
import torch

from pipelines.catalog.catalog import EMBEDDED_FOLDER
from pipelines.models.formats.containers.weight_files import open_weights
from pipelines.models.formats.format_name import format_name, main_kind
from pipelines.models.formats.scales import JoinedEntry, WeightEntry, pair_scales
from tests.pipelines.models.formats.layouts import save


def test_a_folder_and_a_file(tmp_path: Path) -> None:
    folder = open_weights(EMBEDDED_FOLDER / "vae")
    assert format_name(folder, map(WeightEntry, folder.tensors.values())) == "folder BF16"
    file = open_weights(save({"a.weight": torch.ones(4, dtype=torch.float16)}, tmp_path / "a.safetensors"))
    assert format_name(file, map(WeightEntry, file.tensors.values())) == "safetensors F16"
    assert format_name(file, ()) == "safetensors empty"


@pytest.mark.parametrize("joined", [False, True])
def test_the_type_of_most_bytes_and_the_scales(tmp_path: Path, joined: bool) -> None:
    weights = {"a.weight": torch.ones(64, 4).to(torch.float8_e4m3fn), "a.weight_scale": torch.ones(())}
    file = open_weights(save(weights | {"b.weight": torch.ones(4)}, tmp_path / "a.safetensors"))
    entries = list(pair_scales(file.tensors, file.metadata).values())
    found = [JoinedEntry(tuple(entries))] if joined else entries
    assert format_name(file, found) == "safetensors F8_E4M3 with scales"


def test_the_kind_of_most_bytes() -> None:
    tensors = open_weights(EMBEDDED_FOLDER / "vae").tensors
    assert main_kind(tensors.values()) == "BF16"
    assert main_kind(()) == "empty"
