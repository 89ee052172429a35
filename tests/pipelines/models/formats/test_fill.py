from pathlib import Path

import pytest
import torch
from torch import nn

from pipelines.models.formats.containers.headers import FormatError
from pipelines.models.formats.containers.weight_files import open_weights
from pipelines.models.formats.fill import build_empty, fill
from pipelines.models.formats.place import Placement
from pipelines.models.formats.scales import WeightEntry
from tests.pipelines.models.formats.layouts import State, save, state_of, tiny_transformer

PLACEMENT = Placement(torch.device("cpu"), torch.float32, "fp32")


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 1, bias=False))


def saved(state: State, path: Path) -> dict[str, WeightEntry]:
    return {name: WeightEntry(entry) for name, entry in open_weights(save(state, path)).tensors.items()}


def test_a_network_is_filled_without_being_initialized(tmp_path: Path) -> None:
    state, read = state_of(small()), []
    empty = build_empty(small)
    assert {parameter.device.type for parameter in empty.parameters()} == {"meta"}
    filled = fill(empty, saved(state, tmp_path / "a.safetensors"), PLACEMENT, read.append)
    assert filled is empty
    assert not filled.training
    assert all(torch.equal(state[name], value) for name, value in filled.state_dict().items())
    assert not any(parameter.requires_grad for parameter in filled.parameters())
    assert sum(read) == sum(tensor.nbytes for tensor in state.values())


def test_tables_that_a_network_calculates_are_real() -> None:
    made, empty = tiny_transformer(), build_empty(tiny_transformer)
    assert torch.equal(empty.pos_embed.pos_freqs, made.pos_embed.pos_freqs)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"0.weight": None}, r"1 weights of Sequential are missing, such as 0\.weight"),
        ({"0.more": torch.ones(1)}, r"has no place for 1 of the weights, such as 0\.more"),
        ({"1.bias": torch.ones(4)}, r"1\.bias has the shape \[4\], and Sequential needs \[3\]"),
    ],
)
def test_names_and_shapes_are_checked_first(tmp_path: Path, changes: dict[str, torch.Tensor | None], said: str) -> None:
    state = {name: tensor for name, tensor in (state_of(small()) | changes).items() if tensor is not None}
    with pytest.raises(FormatError, match=said):
        fill(build_empty(small), saved(state, tmp_path / "a.safetensors"), PLACEMENT, lambda size: None)
