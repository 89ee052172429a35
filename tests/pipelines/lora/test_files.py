"""Files of every trainer, against a copy of the transformer with changed weights."""

import json
from pathlib import Path

import pytest
import torch

from pipelines.errors import LoraError
from pipelines.lora.apply import apply_loras, select_loras
from pipelines.lora.files import LoraFile, read_lora
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.memory import storage_bytes
from pipelines.request import LoraUse
from tests.adapters import (
    DIALECTS,
    MODULES,
    RANK,
    State,
    fused,
    linear_of,
    multiplied,
    named,
    random_adapter,
    velocity,
    write,
)

Q = "transformer_blocks.0.attn.to_q"  # 32 to 32
MLP = "transformer_blocks.1.img_mlp.net.0.proj"  # 32 to 128


def read(checkpoint: Checkpoint, path: Path) -> LoraFile:
    return read_lora(path, checkpoint.transformer, checkpoint.device, checkpoint.dtype)


def moved(checkpoint: Checkpoint, path: Path, weight: float = 1.0) -> torch.Tensor:
    """The velocity with one adapter applied."""
    use = LoraUse("a", path, weight)
    with apply_loras(select_loras([use], LoadedModel(checkpoint))):
        return velocity(checkpoint.transformer)


def assert_same(actual: torch.Tensor, expected: torch.Tensor, plain: torch.Tensor) -> None:
    """Equal up to rounding, on something that the adapter changed a lot."""
    assert (expected - plain).abs().max() > 0.1
    torch.testing.assert_close(actual, expected, rtol=2e-4, atol=2e-4)


def check(
    checkpoint: Checkpoint, path: Path, state: State, changes: dict[str, torch.Tensor], weight: float = 1.0
) -> None:
    expected = velocity(fused(checkpoint.transformer, {name: weight * change for name, change in changes.items()}))
    assert_same(moved(checkpoint, write(path, state), weight), expected, velocity(checkpoint.transformer))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "adapter.safetensors"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect(checkpoint: Checkpoint, path: Path, dialect: str) -> None:
    adapter = random_adapter(checkpoint.transformer)
    check(checkpoint, path, DIALECTS[dialect](adapter), multiplied(adapter))


@pytest.mark.parametrize("weight", [-4.0, -1.0, 0.35, 2.0])
def test_weights(checkpoint: Checkpoint, path: Path, weight: float) -> None:
    adapter = random_adapter(checkpoint.transformer)
    check(checkpoint, path, named(adapter), multiplied(adapter), weight)


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({"lora_alpha": 2 * RANK}, 2.0),
        ({"transformer.lora_alpha": 2 * RANK, "transformer.r": RANK}, 2.0),
        ({"lora_alpha": RANK, "use_rslora": True}, RANK**0.5),
        ({"lora_alpha": 1, "alpha_pattern": {f"^{name}": 3 * RANK for name in MODULES}}, 3.0),
        ({"lora_alpha": 99, "alpha_pattern": {name.rsplit(".", 1)[-1]: RANK for name in MODULES}}, 1.0),
        ({"r": RANK}, 1.0),
    ],
)
def test_alpha_in_the_metadata(checkpoint: Checkpoint, path: Path, config: dict[str, object], scale: float) -> None:
    adapter = random_adapter(checkpoint.transformer)
    write(path, named(adapter, "transformer."), {"format": "pt", "lora_adapter_metadata": json.dumps(config)})
    expected = velocity(fused(checkpoint.transformer, multiplied(adapter, scale)))
    assert_same(moved(checkpoint, path), expected, velocity(checkpoint.transformer))


@pytest.mark.parametrize("config", ["{", "[1]", '{"lora_alpha": "much"}', '{"alpha_pattern": 3}'])
def test_metadata_that_cannot_be_read(checkpoint: Checkpoint, path: Path, config: str) -> None:
    write(path, named(random_adapter(checkpoint.transformer)), {"lora_adapter_metadata": config})
    with pytest.raises(LoraError, match="metadata"):
        read(checkpoint, path)


@pytest.mark.parametrize("prefix", ["diffusion_model.", "lycoris_"])
@pytest.mark.parametrize("factors", ["w1 w2", "w1_a w1_b w2", "w1 w2_a w2_b", "w1_a w1_b w2_a w2_b"])
def test_lokr(checkpoint: Checkpoint, path: Path, prefix: str, factors: str) -> None:
    alpha, rank, generator = 6.0, 3, torch.Generator().manual_seed(2)
    state, changes = {}, {}
    for name in (Q, MLP):
        linear = linear_of(checkpoint.transformer, name)
        sizes = {"w1": (4, 8), "w2": (linear.out_features // 4, linear.in_features // 8)}
        whole = {}
        for factor, (rows, columns) in sizes.items():
            left = torch.randn(rows, rank, generator=generator)
            right = torch.randn(rank, columns, generator=generator) / 4
            whole[factor] = left @ right
            flat = prefix + (name.replace(".", "_") if prefix.endswith("_") else name)
            if factor in factors.split():
                state[f"{flat}.lokr_{factor}"] = whole[factor]
            else:
                state |= {f"{flat}.lokr_{factor}_a": left, f"{flat}.lokr_{factor}_b": right}
            state[f"{flat}.alpha"] = torch.tensor(alpha)
        scale = 1.0 if factors == "w1 w2" else alpha / rank
        changes[f"{name}.weight"] = scale * torch.kron(whole["w1"], whole["w2"])
    check(checkpoint, path, state, changes, 0.5)


def test_lokr_keeps_its_factors(checkpoint: Checkpoint, path: Path) -> None:
    state = {f"{Q}.lokr_w1": torch.ones(4, 4), f"{Q}.lokr_w2_a": torch.ones(8, 1), f"{Q}.lokr_w2_b": torch.ones(1, 8)}
    assert storage_bytes(read(checkpoint, write(path, state))) == 4 * (16 + 8 + 8)


def test_whole_differences(checkpoint: Checkpoint, path: Path) -> None:
    generator = torch.Generator().manual_seed(5)
    changes = {
        name: torch.randn(checkpoint.transformer.get_parameter(name).shape, generator=generator) * 0.2
        for name in (f"{Q}.weight", f"{Q}.bias", f"{MLP}.bias", "txt_norm.weight")
    }
    changes["transformer_blocks.1.attn.norm_added_k.weight"] = torch.randn(16, generator=generator)
    spelling = {"weight": "diff", "bias": "diff_b"}
    state = {}
    for name, change in changes.items():
        module, kind = name.rsplit(".", 1)
        state[f"diffusion_model.{module}.{spelling[kind]}"] = change
    check(checkpoint, path, state, changes)
    check(checkpoint, path, state, changes, -1.5)


def test_a_low_rank_weight_with_a_whole_bias(checkpoint: Checkpoint, path: Path) -> None:
    adapter = random_adapter(checkpoint.transformer)
    bias = torch.full((32,), 0.5)
    state = named(adapter, "diffusion_model.") | {f"diffusion_model.{Q}.diff_b": bias}
    check(checkpoint, path, state, multiplied(adapter) | {f"{Q}.bias": bias})


@pytest.mark.parametrize(
    ("ending", "shape"),
    [
        ("lora_magnitude_vector", (-1,)),
        ("lora_magnitude_vector.weight", (-1,)),
        ("lora_magnitude_vector.default.weight", (-1,)),
        ("dora_scale", (-1, 1)),
        ("dora_scale", (1, -1)),
    ],
)
@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_dora(checkpoint: Checkpoint, path: Path, ending: str, shape: tuple[int, ...], weight: float) -> None:
    adapter = random_adapter(checkpoint.transformer)
    state, changes = named(adapter), {}
    for seed, (name, (down, up)) in enumerate(adapter.items()):
        base = linear_of(checkpoint.transformer, name).weight.detach()
        adapted = base + up @ down
        lengths = adapted.norm(dim=0 if shape[0] == 1 else 1)
        magnitude = lengths * (0.5 + torch.rand(lengths.shape, generator=torch.Generator().manual_seed(seed)))
        gain = (magnitude / lengths).reshape((1, -1) if shape[0] == 1 else (-1, 1))
        state[f"{name}.{ending}"] = magnitude.reshape(shape)
        changes[f"{name}.weight"] = gain * adapted - base
    check(checkpoint, path, state, changes, weight)


def test_lokr_with_dora(checkpoint: Checkpoint, path: Path) -> None:
    generator = torch.Generator().manual_seed(4)
    left, right = torch.randn(4, 4, generator=generator), torch.randn(8, 8, generator=generator)
    magnitude = 3 * torch.rand(32, 1, generator=generator)
    base = linear_of(checkpoint.transformer, Q).weight.detach()
    adapted = base + torch.kron(left, right)
    state = {f"{Q}.lokr_w1": left, f"{Q}.lokr_w2": right, f"{Q}.dora_scale": magnitude}
    check(checkpoint, path, state, {f"{Q}.weight": magnitude * adapted / adapted.norm(dim=1, keepdim=True) - base})


@pytest.mark.parametrize("magnitude", [False, True])
@pytest.mark.parametrize(("prefix", "adapter"), [("lycoris_", ""), ("diffusion_model.", ""), ("", ".my-style")])
def test_loha(checkpoint: Checkpoint, path: Path, prefix: str, adapter: str, magnitude: bool) -> None:
    generator, alpha, rank = torch.Generator().manual_seed(8), 6.0, 3
    state, changes = {}, {}
    for name in (Q, MLP):
        base = linear_of(checkpoint.transformer, name).weight.detach()
        factors = {
            "hada_w1_a": torch.randn(base.shape[0], rank, generator=generator) / 3,
            "hada_w1_b": torch.randn(rank, base.shape[1], generator=generator),
            "hada_w2_a": torch.randn(base.shape[0], rank, generator=generator) / 3,
            "hada_w2_b": torch.randn(rank, base.shape[1], generator=generator),
        }
        flat = prefix + (name.replace(".", "_") if prefix.endswith("_") else name)
        state |= {f"{flat}.{part}{adapter}": factor for part, factor in factors.items()}
        state[f"{flat}.alpha"] = torch.tensor(alpha)
        first, second = factors["hada_w1_a"] @ factors["hada_w1_b"], factors["hada_w2_a"] @ factors["hada_w2_b"]
        change = alpha / rank * first * second
        if magnitude:
            lengths = torch.rand(len(base), 1, generator=generator) * 3
            state[f"{flat}.dora_scale"] = lengths
            change = lengths * (base + change) / (base + change).norm(dim=1, keepdim=True) - base
        changes[f"{name}.weight"] = change
    check(checkpoint, path, state, changes, 0.5)


def test_a_bias_of_the_second_matrix(checkpoint: Checkpoint, path: Path) -> None:
    adapter = random_adapter(checkpoint.transformer)
    bias = torch.full((32,), 0.5)
    state = named(adapter, "base_model.model.", "lora_A.default.weight", "lora_B.default.weight")
    state |= {f"base_model.model.{Q}.lora_B.default.bias": bias, f"{Q}.alpha": torch.tensor(2.0 * RANK)}
    changes = multiplied(adapter) | {f"{Q}.bias": 2 * bias}
    changes[f"{Q}.weight"] = 2 * changes[f"{Q}.weight"]
    check(checkpoint, path, state, changes, -0.5)


@pytest.mark.parametrize("number", [4, 1])
def test_oft_of_the_input(checkpoint: Checkpoint, path: Path, number: int) -> None:
    """As PEFT writes it: what is above the diagonal of Q in each block; one block is repeated."""
    vectors = torch.randn(number, 28, generator=torch.Generator().manual_seed(9)) * 0.2
    base = linear_of(checkpoint.transformer, Q).weight.detach()
    blocks = []
    for vector in vectors:
        skew = torch.zeros(8, 8)
        skew[tuple(torch.triu_indices(8, 8, 1))] = vector
        skew = skew - skew.T
        blocks.append(torch.eye(8) + 2 * skew + 2 * skew @ skew + 2 * skew @ skew @ skew + skew @ skew @ skew @ skew)
    rotation = torch.block_diag(*blocks * (4 // number))
    check(checkpoint, path, {f"{Q}.oft_R.weight": vectors}, {f"{Q}.weight": base @ rotation.T - base}, 0.7)


@pytest.mark.parametrize(("alpha", "rescaled"), [(None, False), (0.0, True), (0.02, False), (9.0, False)])
def test_oft_of_the_output(checkpoint: Checkpoint, path: Path, alpha: float | None, rescaled: bool) -> None:
    """As LyCORIS writes it: alpha × outputs limits the norm of Q; the rows may be rescaled."""
    generator = torch.Generator().manual_seed(10)
    raw = torch.randn(16, 8, 8, generator=generator) * 0.2
    base = linear_of(checkpoint.transformer, MLP).weight.detach()
    skew = raw - raw.mT
    if alpha is not None and alpha == 0.02:
        skew = skew * (alpha * 128 / skew.norm())
    rotation = torch.block_diag(*((torch.eye(8) + q) @ torch.linalg.inv(torch.eye(8) - q) for q in skew))
    state, target = {f"{MLP}.oft_blocks": raw}, rotation.T @ base
    if alpha is not None:
        state[f"{MLP}.alpha"] = torch.tensor(alpha)
    if rescaled:
        state[f"{MLP}.rescale"] = 0.5 + torch.rand(128, 1, generator=generator)
        target = state[f"{MLP}.rescale"] * target
    check(checkpoint, path, state, {f"{MLP}.weight": target - base}, -1.5)


def test_half_precision_files_and_models(checkpoint: Checkpoint, path: Path) -> None:
    """Read in full precision, scaled, and rounded once to the model's dtype."""
    adapter = random_adapter(checkpoint.transformer)
    write(path, {name: tensor.half() for name, tensor in DIALECTS["kohya"](adapter).items()})
    file = read_lora(path, checkpoint.transformer, checkpoint.device, torch.bfloat16)
    assert storage_bytes(file) == sum(2 * tensor.numel() for pair in adapter.values() for tensor in pair)


def test_text_encoder_weights_are_left_out_with_a_warning(checkpoint: Checkpoint, path: Path) -> None:
    state = named(random_adapter(checkpoint.transformer)) | {"lora_te_layers_0.lora_up.weight": torch.ones(2, 2)}
    file = read(checkpoint, write(path, state))
    assert set(file.deltas) == set(MODULES)
    (warning,) = file.warnings
    assert "1 of its weights are for a text encoder" in warning


def pair(down: tuple[int, ...], up: tuple[int, ...], module: str = Q) -> State:
    return {f"{module}.lora_A.weight": torch.ones(down), f"{module}.lora_B.weight": torch.ones(up)}


def hadamard(rows: int, columns: int) -> State:
    shapes = {"w1_a": (32, 4), "w1_b": (4, 32), "w2_a": (rows, 4), "w2_b": (4, columns)}
    return {f"{Q}.hada_{part}": torch.ones(shape) for part, shape in shapes.items()}


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        (pair((4, 3072), (3072, 4)), r"do not fit this model: .*\[4, 3072\].*in_features=32"),
        (pair((4, 32), (32, 5)), "do not fit"),
        (pair((0, 32), (32, 0)), "do not fit"),
        (pair((32,), (32,)), "do not fit"),
        (pair((4, 32, 1, 1), (32, 4, 1, 1)), "do not fit"),
        (pair((4, 32), (32, 4)) | {f"{Q}.alpha": torch.ones(2)}, "do not fit"),
        (pair((4, 32), (32, 4)) | {f"{Q}.dora_scale": torch.ones(31)}, "do not fit"),
        (pair((4, 32), (32, 4)) | {f"{Q}.alpha": torch.tensor(torch.nan)}, "not all finite"),
        (pair((4, 32), (32, 4), "transformer_blocks.59.attn.to_q"), "this one has no transformer_blocks.59"),
        ({f"{Q}.lokr_w1": torch.ones(4, 4), f"{Q}.lokr_w2": torch.ones(4, 8)}, "do not fit"),
        ({f"{Q}.diff": torch.ones(32)}, "do not fit"),
        (pair((4, 32), (32, 4)) | {f"{Q}.lora_B.bias": torch.ones(31)}, "do not fit"),
        (hadamard(31, 32), "do not fit"),
        (hadamard(32, 31), "do not fit"),
        ({f"{Q}.oft_R.weight": torch.ones(4, 27)}, "do not fit"),
        ({f"{Q}.oft_R.weight": torch.ones(3, 28)}, "do not fit"),
        ({f"{Q}.oft_R.weight": torch.ones(4, 0)}, "do not fit"),
        ({f"{Q}.oft_R.weight": torch.ones(4)}, "do not fit"),
        ({f"{Q}.oft_blocks": torch.ones(4, 8, 4)}, "do not fit"),
        ({f"{Q}.oft_blocks": torch.ones(3, 8, 8)}, "do not fit"),
        ({f"{Q}.oft_blocks": torch.ones(2, 4, 8, 8)}, "do not fit"),
        ({f"{Q}.oft_blocks": torch.ones(4, 8, 8), f"{Q}.rescale": torch.ones(8)}, "do not fit"),
        ({f"{Q}.diff_b": torch.ones(31)}, "do not fit"),
        ({"txt_norm.diff": torch.ones(31)}, "do not fit"),
    ],
)
def test_a_file_of_another_model_is_refused_by_name(
    checkpoint: Checkpoint, path: Path, state: State, complaint: str
) -> None:
    whole = named(random_adapter(checkpoint.transformer))
    others = {name: tensor for name, tensor in whole.items() if not name.startswith(f"{Q}.")}
    with pytest.raises(LoraError, match=complaint):
        read(checkpoint, write(path, others | state))


def test_files_that_cannot_be_read(checkpoint: Checkpoint, path: Path) -> None:
    with pytest.raises(LoraError, match="there is no file"):
        read(checkpoint, path)
    path.write_bytes(b"<html>")
    with pytest.raises(LoraError, match="no safetensors file"):
        read(checkpoint, path)
