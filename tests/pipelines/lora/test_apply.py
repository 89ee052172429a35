"""A LoRA acts on its own request, and on nothing else, whatever happens in between."""

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

from pipelines.catalog.catalog import load_catalog
from pipelines.errors import LoraError
from pipelines.lora.apply import NO_LORAS, Loras, LoraSet, apply_loras
from pipelines.models.loader import Checkpoint
from pipelines.render import RenderState, advance, begin
from pipelines.request import LoraUse, RenderRequest, Sampler
from tests.adapters import MODULES, fused, multiplied, named, random_adapter, velocity, write

ENTRY = load_catalog().entries[0]
REQUEST = RenderRequest(ENTRY.air, "a red circle", None, 48, 32, 2, Sampler(), 1.0, 7)


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


def begun(checkpoint: Checkpoint, *uses: LoraUse) -> RenderState:
    generator = torch.Generator().manual_seed(7)
    noise = torch.randn(1, 6, 64, generator=generator)
    cond = torch.randn(1, 7, 32, generator=generator)
    return begin(replace(REQUEST, loras=uses), checkpoint, noise=noise, cond=cond, uncond=None)


def drawn(checkpoint: Checkpoint, *uses: LoraUse) -> torch.Tensor:
    state = begun(checkpoint, *uses)
    while state.step < state.total:
        advance([state])
    return state.latents


def selected(loras: Loras, checkpoint: Checkpoint, *uses: LoraUse) -> LoraSet:
    return loras.select(uses, checkpoint.transformer, checkpoint.device, checkpoint.dtype)


@pytest.fixture(scope="module")
def sets(folder: Path) -> list[tuple[LoraUse, ...]]:
    both = (use(folder, "first", 0.5), use(folder, "second"))
    return [(), (use(folder, "first"),), (use(folder, "second", 2.0),), both]


@pytest.fixture(scope="module")
def alone(checkpoint: Checkpoint, sets: list[tuple[LoraUse, ...]]) -> list[torch.Tensor]:
    return [drawn(replace(checkpoint, loras=Loras()), *uses) for uses in sets]


@pytest.fixture(autouse=True)
def untouched(checkpoint: Checkpoint) -> Iterator[None]:
    """Nothing of a LoRA is on the shared transformer afterwards: no hook, and every weight bit for bit."""
    before = {name: tensor.clone() for name, tensor in checkpoint.transformer.state_dict().items()}
    yield
    assert not [name for name, module in checkpoint.transformer.named_modules() if module._forward_hooks]
    after = checkpoint.transformer.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


class TestWhatItDoes:
    def test_it_shows_in_the_picture(self, checkpoint: Checkpoint, folder: Path) -> None:
        plain, first = drawn(checkpoint), drawn(checkpoint, use(folder, "first"))
        assert (plain - first).abs().max() > 0.1
        assert not torch.equal(first, drawn(checkpoint, use(folder, "first", -1)))

    def test_several_add_up(self, checkpoint: Checkpoint, folder: Path) -> None:
        first, second = random_adapter(checkpoint.transformer, 1), random_adapter(checkpoint.transformer, 2, rank=2)
        some = {name: second[name] for name in MODULES[::2]}
        expected = velocity(fused(checkpoint.transformer, multiplied(first, 0.5), multiplied(some, -1.5)))
        loras = selected(Loras(), checkpoint, use(folder, "first", 0.5), use(folder, "second", -1.5))
        with apply_loras(loras):
            torch.testing.assert_close(velocity(checkpoint.transformer), expected, rtol=2e-4, atol=2e-4)

    def test_the_same_one_twice_counts_twice(self, checkpoint: Checkpoint, folder: Path) -> None:
        twice = drawn(checkpoint, use(folder, "first", 0.25), use(folder, "first", 0.5))
        torch.testing.assert_close(twice, drawn(checkpoint, use(folder, "first", 0.75)), rtol=1e-3, atol=1e-3)

    def test_weight_zero_is_none_bit_for_bit(self, checkpoint: Checkpoint, folder: Path) -> None:
        assert torch.equal(drawn(checkpoint, use(folder, "first", 0), use(folder, "second", -0.0)), drawn(checkpoint))

    def test_without_loras_there_is_no_hook(self, checkpoint: Checkpoint) -> None:
        assert begun(checkpoint).loras == NO_LORAS

    def test_bfloat16(self, checkpoint: Checkpoint, folder: Path) -> None:
        transformer = fused(checkpoint.transformer).to(torch.bfloat16)
        loras = Loras().select([use(folder, "first")], transformer, checkpoint.device, torch.bfloat16)
        generator = torch.Generator().manual_seed(1)
        block = transformer.transformer_blocks[0].attn.to_q
        sample = torch.randn(5, 32, generator=generator).bfloat16()
        with apply_loras(loras):
            assert block(sample).dtype == torch.bfloat16


class TestIsolation:
    @settings(max_examples=5)
    @given(order=st.permutations([0, 0, 1, 1, 2, 2, 3, 3]))
    def test_interleaved_step_by_step_is_each_alone(
        self, checkpoint: Checkpoint, sets: list[tuple[LoraUse, ...]], alone: list[torch.Tensor], order: list[int]
    ) -> None:
        states = [begun(checkpoint, *uses) for uses in sets]
        for number in order:
            advance([states[number]])
        assert all(torch.equal(state.latents, latents) for state, latents in zip(states, alone, strict=True))

    def test_advanced_together_is_each_alone(
        self, checkpoint: Checkpoint, sets: list[tuple[LoraUse, ...]], alone: list[torch.Tensor]
    ) -> None:
        states = [begun(checkpoint, *uses) for uses in sets]
        for _ in range(REQUEST.steps):
            advance(states)
        assert all(torch.equal(state.latents, latents) for state, latents in zip(states, alone, strict=True))

    def test_one_then_another_then_none_is_a_fresh_server(self, checkpoint: Checkpoint, folder: Path) -> None:
        fresh = drawn(replace(checkpoint, loras=Loras()))
        drawn(checkpoint, use(folder, "first"))
        drawn(checkpoint, use(folder, "second"))
        assert torch.equal(drawn(checkpoint), fresh)

    def test_an_abort_between_steps_leaves_nothing(self, checkpoint: Checkpoint, folder: Path) -> None:
        fresh = drawn(checkpoint)
        advance([begun(checkpoint, use(folder, "first"))])
        assert torch.equal(drawn(checkpoint), fresh)

    def test_a_failure_inside_a_forward_leaves_nothing(self, checkpoint: Checkpoint, folder: Path) -> None:
        fresh = drawn(checkpoint)
        state = begun(checkpoint, use(folder, "first"))
        state.cond = state.cond[..., :5]
        with pytest.raises(RuntimeError):
            advance([state])
        assert torch.equal(drawn(checkpoint), fresh)

    def test_a_hook_that_cannot_be_set_leaves_none(self, checkpoint: Checkpoint, folder: Path) -> None:
        whole = selected(Loras(), checkpoint, use(folder, "first"))
        broken: Any = (*whole.hooks, (None, None))
        with pytest.raises(AttributeError), apply_loras(LoraSet(broken)):
            raise AssertionError("it is never entered")


class TestMemory:
    def test_one_that_was_read_is_kept(self, checkpoint: Checkpoint, folder: Path, tmp_path: Path) -> None:
        loras = Loras()
        path = tmp_path / "a.safetensors"
        path.write_bytes((folder / "first.safetensors").read_bytes())
        one = loras._get(path, checkpoint.transformer, checkpoint.device, checkpoint.dtype)
        assert loras._get(path, checkpoint.transformer, checkpoint.device, checkpoint.dtype) is one
        os.utime(path, ns=(1, 1))
        assert loras._get(path, checkpoint.transformer, checkpoint.device, checkpoint.dtype) is not one

    def test_a_file_that_is_replaced_is_read_again(self, checkpoint: Checkpoint, folder: Path, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        path.write_bytes((folder / "first.safetensors").read_bytes())
        drawn(checkpoint, LoraUse("a", path))
        path.write_bytes((folder / "second.safetensors").read_bytes())
        assert torch.equal(drawn(checkpoint, LoraUse("a", path)), drawn(checkpoint, use(folder, "second")))

    @settings(max_examples=20)
    @given(names=st.lists(st.sampled_from(["first", "second", "third"]), max_size=8), room=st.integers(0, 3))
    def test_never_more_than_its_capacity(
        self, checkpoint: Checkpoint, folder: Path, names: list[str], room: int
    ) -> None:
        third = folder / "third.safetensors"
        if not third.exists():
            third.write_bytes((folder / "first.safetensors").read_bytes())
        size = self.nbytes(checkpoint, folder, "first")
        loras = Loras(room * size)
        for name in names:
            selected(loras, checkpoint, use(folder, name))
            assert loras.nbytes <= room * size

    def test_the_one_used_longest_ago_goes_first(self, checkpoint: Checkpoint, folder: Path, tmp_path: Path) -> None:
        paths = [tmp_path / f"{number}.safetensors" for number in range(3)]
        for path in paths:
            path.write_bytes((folder / "first.safetensors").read_bytes())
        loras = Loras(2 * self.nbytes(checkpoint, folder, "first"))
        for number in (0, 1, 0, 2):
            selected(loras, checkpoint, LoraUse("a", paths[number]))
        assert [path for path, _, _ in loras._loaded] == [paths[0], paths[2]]

    @staticmethod
    def nbytes(checkpoint: Checkpoint, folder: Path, name: str) -> int:
        loras = Loras()
        selected(loras, checkpoint, use(folder, name))
        return loras.nbytes


class TestErrors:
    def test_they_name_the_lora_and_its_place(self, checkpoint: Checkpoint, folder: Path) -> None:
        gone = LoraUse("portrait", folder / "gone.safetensors")
        with pytest.raises(LoraError, match="LoRA 'portrait' cannot be used: there is no file") as caught:
            begun(checkpoint, use(folder, "first"), gone)
        assert caught.value.path == "loras[1]"

    def test_one_that_vanishes_after_it_was_read(self, checkpoint: Checkpoint, folder: Path, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        path.write_bytes((folder / "first.safetensors").read_bytes())
        drawn(checkpoint, LoraUse("a", path))
        path.unlink()
        with pytest.raises(LoraError, match="there is no file"):
            begun(checkpoint, LoraUse("a", path))

    def test_warnings_reach_the_state(self, checkpoint: Checkpoint, tmp_path: Path) -> None:
        state = named(random_adapter(checkpoint.transformer)) | {"lora_te_x.lora_up.weight": torch.ones(1)}
        path = write(tmp_path / "a.safetensors", state)
        (warning,) = begun(checkpoint, LoraUse("a", path), LoraUse("a", path)).warnings
        assert "LoRA 'a'" in warning


class TestHub:
    @pytest.fixture(autouse=True)
    def offline(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
        return tmp_path

    @pytest.mark.parametrize("name", ["owner/style/style.safetensors", "owner/style/deep/style.safetensors"])
    def test_offline_is_said_plainly(self, checkpoint: Checkpoint, name: str) -> None:
        with pytest.raises(LoraError, match=f"'{name}' cannot be downloaded from the hub"):
            begun(checkpoint, LoraUse("a", Path(name)))

    @pytest.mark.parametrize("name", ["style.safetensors", "owner/style.safetensors"])
    def test_a_name_that_is_no_file_of_a_repository(self, checkpoint: Checkpoint, name: str) -> None:
        with pytest.raises(LoraError, match="neither a file nor a file of a hub repository"):
            begun(checkpoint, LoraUse("a", Path(name)))

    def test_what_was_downloaded_is_used(self, checkpoint: Checkpoint, folder: Path, offline: Path) -> None:
        repository = offline / "models--owner--style"
        snapshot = repository / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        (snapshot / "first.safetensors").write_bytes((folder / "first.safetensors").read_bytes())
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("0" * 40)
        from_hub = drawn(checkpoint, LoraUse("a", Path("owner/style/first.safetensors")))
        assert torch.equal(from_hub, drawn(checkpoint, use(folder, "first")))
