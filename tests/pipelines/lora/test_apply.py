"""A LoRA acts on its own request and on nothing else, even after failures and interleaved steps."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.catalog.models_file import load_catalog
from pipelines.errors import LoraError
from pipelines.lora.apply import NO_LORAS, LoraSet, apply_loras, load_lora, select_loras
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.memory import BUDGETS, Budget, ByteBudgetCache
from pipelines.render.prepare import begin
from pipelines.render.state import RenderState
from pipelines.render.steps import advance
from pipelines.request import LoraUse, RenderRequest, Sampler
from tests.adapters import MODULES, fused, multiplied, named, random_adapter, velocity, write

ENTRY = load_catalog().entries[0]
REQUEST = RenderRequest(ENTRY.air, "a red circle", None, 48, 32, 2, Sampler(), 1.0, 7)


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> LoadedModel:
    """Shared, so that each test finds the LoRAs of those before it in memory."""
    return LoadedModel(checkpoint)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, checkpoint: Checkpoint) -> Path:
    """Two adapters of different modules, ranks and dialects."""
    folder = tmp_path_factory.mktemp("loras")
    write(folder / "first.safetensors", named(random_adapter(checkpoint.transformer, 1)))
    second = random_adapter(checkpoint.transformer, 2, rank=2)
    some = {name: second[name] for name in MODULES[::2]}
    write(folder / "second.safetensors", named(some, "lora_unet_", "lora_down.weight", "lora_up.weight", "_"))
    return folder


def use(folder: Path, name: str, weight: float = 1.0) -> LoraUse:
    return LoraUse(name, folder / f"{name}.safetensors", weight)


def begun(model: LoadedModel, *uses: LoraUse) -> RenderState:
    generator = torch.Generator().manual_seed(7)
    noise = torch.randn(1, 6, 64, generator=generator)
    cond = torch.randn(1, 7, 32, generator=generator)
    loras = select_loras(uses, model)
    return begin(REQUEST, model.checkpoint, noise=noise, cond=cond, uncond=None, loras=loras)


def drawn(model: LoadedModel, *uses: LoraUse) -> torch.Tensor:
    state = begun(model, *uses)
    while state.step < state.total:
        advance([state])
    return state.latents


@pytest.fixture(scope="module")
def sets(folder: Path) -> list[tuple[LoraUse, ...]]:
    both = (use(folder, "first", 0.5), use(folder, "second"))
    return [(), (use(folder, "first"),), (use(folder, "second", 2.0),), both]


@pytest.fixture(scope="module")
def alone(model: LoadedModel, sets: list[tuple[LoraUse, ...]]) -> list[torch.Tensor]:
    return [drawn(LoadedModel(model.checkpoint), *uses) for uses in sets]


@pytest.fixture(autouse=True)
def untouched(model: LoadedModel) -> Iterator[None]:
    """Check that the shared transformer has no hook and the same weights, bit for bit, after each test."""
    before = {name: tensor.clone() for name, tensor in model.checkpoint.transformer.state_dict().items()}
    yield
    assert not [name for name, module in model.checkpoint.transformer.named_modules() if module._forward_hooks]
    after = model.checkpoint.transformer.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


class TestWhatItDoes:
    def test_it_shows_in_the_picture(self, model: LoadedModel, folder: Path) -> None:
        plain, first = drawn(model), drawn(model, use(folder, "first"))
        assert (plain - first).abs().max() > 0.1
        assert not torch.equal(first, drawn(model, use(folder, "first", -1)))

    def test_several_add_up(self, model: LoadedModel, folder: Path) -> None:
        transformer = model.checkpoint.transformer
        first, second = random_adapter(transformer, 1), random_adapter(transformer, 2, rank=2)
        some = {name: second[name] for name in MODULES[::2]}
        expected = velocity(fused(transformer, multiplied(first, 0.5), multiplied(some, -1.5)))
        with apply_loras(select_loras([use(folder, "first", 0.5), use(folder, "second", -1.5)], model)):
            torch.testing.assert_close(velocity(transformer), expected, rtol=2e-4, atol=2e-4)

    def test_the_same_one_twice_counts_twice(self, model: LoadedModel, folder: Path) -> None:
        twice = drawn(model, use(folder, "first", 0.25), use(folder, "first", 0.5))
        torch.testing.assert_close(twice, drawn(model, use(folder, "first", 0.75)), rtol=1e-3, atol=1e-3)

    def test_weight_zero_is_none_bit_for_bit(self, model: LoadedModel, folder: Path) -> None:
        assert torch.equal(drawn(model, use(folder, "first", 0), use(folder, "second", -0.0)), drawn(model))

    def test_without_loras_there_is_no_hook(self, model: LoadedModel) -> None:
        assert begun(model).loras == NO_LORAS

    def test_bfloat16(self, model: LoadedModel, folder: Path) -> None:
        transformer = fused(model.checkpoint.transformer).to(torch.bfloat16)
        half = replace(model.checkpoint, transformer=transformer, dtype=torch.bfloat16)
        loras = select_loras([use(folder, "first")], LoadedModel(half))
        generator = torch.Generator().manual_seed(1)
        block = transformer.transformer_blocks[0].attn.to_q
        sample = torch.randn(5, 32, generator=generator).bfloat16()
        with apply_loras(loras):
            assert block(sample).dtype == torch.bfloat16


class TestIsolation:
    @settings(max_examples=5)
    @given(order=st.permutations([0, 0, 1, 1, 2, 2, 3, 3]))
    def test_interleaved_step_by_step_is_each_alone(
        self, model: LoadedModel, sets: list[tuple[LoraUse, ...]], alone: list[torch.Tensor], order: list[int]
    ) -> None:
        states = [begun(model, *uses) for uses in sets]
        for number in order:
            advance([states[number]])
        assert all(torch.equal(state.latents, latents) for state, latents in zip(states, alone, strict=True))

    def test_advanced_together_is_each_alone(
        self, model: LoadedModel, sets: list[tuple[LoraUse, ...]], alone: list[torch.Tensor]
    ) -> None:
        states = [begun(model, *uses) for uses in sets]
        for _ in range(REQUEST.steps):
            advance(states)
        assert all(torch.equal(state.latents, latents) for state, latents in zip(states, alone, strict=True))

    def test_one_then_another_then_none_is_a_fresh_server(self, model: LoadedModel, folder: Path) -> None:
        fresh = drawn(LoadedModel(model.checkpoint))
        drawn(model, use(folder, "first"))
        drawn(model, use(folder, "second"))
        assert torch.equal(drawn(model), fresh)

    def test_an_abort_between_steps_leaves_nothing(self, model: LoadedModel, folder: Path) -> None:
        fresh = drawn(model)
        advance([begun(model, use(folder, "first"))])
        assert torch.equal(drawn(model), fresh)

    def test_a_failure_inside_a_forward_leaves_nothing(self, model: LoadedModel, folder: Path) -> None:
        fresh = drawn(model)
        state = begun(model, use(folder, "first"))
        state.cond = state.cond[..., :5]
        with pytest.raises(RuntimeError):
            advance([state])
        assert torch.equal(drawn(model), fresh)

    def test_a_hook_that_cannot_be_set_leaves_none(self, model: LoadedModel, folder: Path) -> None:
        whole = select_loras([use(folder, "first")], model)
        broken: Any = (*whole.hooks, (None, None))
        with pytest.raises(AttributeError), apply_loras(LoraSet(broken)):
            raise AssertionError("it is never entered")


class TestMemory:
    def test_one_that_was_read_is_kept(self, model: LoadedModel, folder: Path, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        path.write_bytes((folder / "first.safetensors").read_bytes())
        one = load_lora(path, model)
        assert load_lora(path, model) is one
        os.utime(path, ns=(1, 1))
        assert load_lora(path, model) is not one

    def test_a_file_that_is_replaced_is_read_again(self, model: LoadedModel, folder: Path, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        path.write_bytes((folder / "first.safetensors").read_bytes())
        drawn(model, LoraUse("a", path))
        path.write_bytes((folder / "second.safetensors").read_bytes())
        assert torch.equal(drawn(model, LoraUse("a", path)), drawn(model, use(folder, "second")))

    @settings(max_examples=20)
    @given(names=st.lists(st.sampled_from(["first", "second", "third"]), max_size=8), room=st.integers(0, 3))
    def test_never_more_than_its_budget(self, model: LoadedModel, folder: Path, names: list[str], room: int) -> None:
        third = folder / "third.safetensors"
        if not third.exists():
            third.write_bytes((folder / "first.safetensors").read_bytes())
        size = self.nbytes(model, folder, "first")
        small = self.bounded(model, room * size)
        for name in names:
            select_loras([use(folder, name)], small)
            assert small.memory.usage()["lora"] <= room * size

    def test_the_one_used_longest_ago_goes_first(self, model: LoadedModel, folder: Path, tmp_path: Path) -> None:
        paths = [tmp_path / f"{number}.safetensors" for number in range(3)]
        for path in paths:
            path.write_bytes((folder / "first.safetensors").read_bytes())
        small = self.bounded(model, 2 * self.nbytes(model, folder, "first"))
        loaded = [load_lora(paths[number], small) for number in (0, 1, 0, 2)]
        assert small.memory.values("lora") == (loaded[0], loaded[3])

    @staticmethod
    def bounded(model: LoadedModel, nbytes: int) -> LoadedModel:
        return LoadedModel(model.checkpoint, memory=ByteBudgetCache({**BUDGETS, "lora": Budget(bytes=nbytes)}))

    @staticmethod
    def nbytes(model: LoadedModel, folder: Path, name: str) -> int:
        fresh = LoadedModel(model.checkpoint)
        load_lora(use(folder, name).path, fresh)
        return fresh.memory.usage()["lora"]


class TestErrors:
    def test_they_name_the_lora_and_its_place(self, model: LoadedModel, folder: Path) -> None:
        gone = LoraUse("portrait", folder / "gone.safetensors")
        with pytest.raises(LoraError, match="LoRA 'portrait' cannot be used: there is no file") as caught:
            begun(model, use(folder, "first"), gone)
        assert caught.value.path == "loras[1]"

    def test_one_that_vanishes_after_it_was_read(self, model: LoadedModel, folder: Path, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        path.write_bytes((folder / "first.safetensors").read_bytes())
        drawn(model, LoraUse("a", path))
        path.unlink()
        with pytest.raises(LoraError, match="there is no file"):
            begun(model, LoraUse("a", path))

    def test_warnings_reach_the_state(self, model: LoadedModel, tmp_path: Path) -> None:
        state = named(random_adapter(model.checkpoint.transformer)) | {"lora_te_x.lora_up.weight": torch.ones(1)}
        path = write(tmp_path / "a.safetensors", state)
        (warning,) = begun(model, LoraUse("a", path), LoraUse("a", path)).warnings
        assert "LoRA 'a'" in warning


class TestHub:
    @pytest.fixture(autouse=True)
    def offline(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
        return tmp_path

    @pytest.mark.parametrize("name", ["owner/style/style.safetensors", "owner/style/deep/style.safetensors"])
    def test_offline_is_said_plainly(self, model: LoadedModel, name: str) -> None:
        with pytest.raises(LoraError, match=f"'{name}' cannot be downloaded from the hub"):
            begun(model, LoraUse("a", Path(name)))

    @pytest.mark.parametrize("name", ["style.safetensors", "owner/style.safetensors"])
    def test_a_name_that_is_no_file_of_a_repository(self, model: LoadedModel, name: str) -> None:
        with pytest.raises(LoraError, match="neither a file nor a file of a hub repository"):
            begun(model, LoraUse("a", Path(name)))

    def test_what_was_downloaded_is_used(self, model: LoadedModel, folder: Path, offline: Path) -> None:
        repository = offline / "models--owner--style"
        snapshot = repository / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        (snapshot / "first.safetensors").write_bytes((folder / "first.safetensors").read_bytes())
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("0" * 40)
        from_hub = drawn(model, LoraUse("a", Path("owner/style/first.safetensors")))
        assert torch.equal(from_hub, drawn(model, use(folder, "first")))
