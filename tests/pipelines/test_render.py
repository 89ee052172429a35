from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from accel.cache.plan import CachePlan
from pipelines.catalog.catalog import Mode, ModelEntry, load_catalog
from pipelines.conditioning import encode_picture
from pipelines.errors import PictureError, PromptError
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.render import RenderState, advance, finish, prepare
from pipelines.request import ControlUse, Reference, RenderRequest, Sampler, SolverName
from tests.control import save_controlnet

SAMPLERS = [
    Sampler(solver, schedule) for solver in ("euler", "unipc_3", "dpmpp_sde") for schedule in ("shifted", "karras")
]


def entry(mode: Mode) -> ModelEntry:
    found = next(e for e in load_catalog().entries if e.mode == mode)
    return replace(found, reference_area=64 * 64, condition_area=64 * 64)


def asked(**changes: Any) -> RenderRequest:
    plain = RenderRequest("", "a red circle", None, 64, 48, 3, Sampler(), 4.0, 7)
    return replace(plain, **changes)


def begun(checkpoint: Checkpoint, request: RenderRequest, index: int = 0, mode: Mode = "text_to_image") -> RenderState:
    return prepare(request, index, LoadedModel(checkpoint), entry(mode))


def drawn(checkpoint: Checkpoint, request: RenderRequest, index: int = 0, mode: Mode = "text_to_image") -> np.ndarray:
    state = begun(checkpoint, request, index, mode)
    while state.step < state.total:
        advance([state])
    return np.asarray(finish(state))


@pytest.fixture
def reference(tmp_path: Path) -> Reference:
    path = tmp_path / "reference.png"
    Image.radial_gradient("L").resize((60, 40)).convert("RGB").save(path)
    return Reference(path, "", 60, 40)


@pytest.fixture
def other_reference(tmp_path: Path) -> Reference:
    path = tmp_path / "other.png"
    Image.new("RGB", (60, 40), (20, 180, 90)).save(path)
    return Reference(path, "", 60, 40)


class Counting(torch.nn.Module):
    """A transformer that counts its forwards."""

    def __init__(self, transformer: torch.nn.Module) -> None:
        super().__init__()
        self.transformer = transformer
        self.config = transformer.config
        self.forwards = 0

    def forward(self, **inputs: Any) -> Any:
        self.forwards += 1
        return self.transformer(**inputs)


class TestPicture:
    def test_it_is_a_picture_and_not_a_flat_one(self, checkpoint: Checkpoint) -> None:
        picture = drawn(checkpoint, asked(width=256, height=128, steps=8))
        assert picture.shape == (128, 256, 3)
        assert picture.std(axis=(0, 1)).min() > 20
        assert ((picture == 0) | (picture == 255)).mean() < 0.5

    def test_the_same_request_is_the_same_picture(self, checkpoint: Checkpoint) -> None:
        assert np.array_equal(drawn(checkpoint, asked()), drawn(checkpoint, asked()))

    @pytest.mark.parametrize(
        "change",
        [
            {"seed": 8},
            {"prompt": "a blue square"},
            {"negative_prompt": "blurry"},
            {"true_cfg_scale": 2.0},
            {"true_cfg_scale": 1.0},
            {"steps": 4},
            {"sampler": Sampler("unipc_2")},
            {"sampler": Sampler("euler_a")},
            {"sampler": Sampler(schedule="karras")},
        ],
        ids=str,
    )
    def test_another_request_has_other_latents(self, checkpoint: Checkpoint, change: dict[str, Any]) -> None:
        states = [begun(checkpoint, request) for request in (asked(**change), asked())]
        for state in states:
            while state.step < state.total:
                advance([state])
        assert not torch.equal(states[0].latents, states[1].latents)

    @pytest.mark.parametrize("size", [(16, 16), (16, 272), (208, 48)])
    def test_unusual_sizes(self, checkpoint: Checkpoint, size: tuple[int, int]) -> None:
        width, height = size
        assert drawn(checkpoint, asked(width=width, height=height, steps=1)).shape == (height, width, 3)

    @pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
    @pytest.mark.parametrize("steps", [1, 2, 5])
    def test_every_sampler_ends_finite(self, checkpoint: Checkpoint, sampler: Sampler, steps: int) -> None:
        state = begun(checkpoint, asked(sampler=sampler, steps=steps))
        while state.step < state.total:
            advance([state])
        assert state.step == state.total == steps
        assert state.latents.isfinite().all()


class TestNativeSize:
    """Weights that know one size draw at that size; the picture is then scaled."""

    @pytest.mark.parametrize(
        ("mode", "asked_size", "grid"),
        [
            ("text_to_image", (256, 256), (1, 4, 4)),
            ("text_to_image", (32, 32), (1, 4, 4)),
            ("text_to_image", (272, 144), (1, 3, 5)),
            ("edit", (272, 144), (1, 2, 6)),
        ],
    )
    def test_the_grid_it_is_drawn_on_and_the_size_it_has(
        self,
        checkpoint: Checkpoint,
        reference: Reference,
        mode: Mode,
        asked_size: tuple[int, int],
        grid: tuple[int, int, int],
    ) -> None:
        width, height = asked_size
        references = (reference,) if mode == "edit" else ()
        request = asked(width=width, height=height, steps=1, references=references)
        state = prepare(request, 0, LoadedModel(checkpoint), replace(entry(mode), native_area=64 * 64))
        assert state.shape == grid
        advance([state])
        assert finish(state).size == asked_size

    def test_it_is_the_same_picture_scaled(self, checkpoint: Checkpoint) -> None:
        native = replace(entry("text_to_image"), native_area=64 * 64)
        pictures = []
        for side in (64, 128):
            state = prepare(asked(width=side, height=side, steps=1), 0, LoadedModel(checkpoint), native)
            advance([state])
            pictures.append(finish(state))
        assert np.array_equal(np.asarray(pictures[0].resize((128, 128), Image.Resampling.LANCZOS)), pictures[1])


class TestSeeds:
    def test_image_k_is_the_single_render_of_seed_plus_k(self, checkpoint: Checkpoint) -> None:
        for index in range(3):
            of_many = drawn(checkpoint, asked(count=3), index)
            assert np.array_equal(of_many, drawn(checkpoint, asked(seed=7 + index)))

    def test_every_image_says_its_seed(self, checkpoint: Checkpoint) -> None:
        assert [begun(checkpoint, asked(count=2), index).seed for index in (0, 1)] == [7, 8]

    def test_the_last_seed_is_followed_by_the_first(self, checkpoint: Checkpoint) -> None:
        last = asked(seed=2**63 - 1, count=2)
        assert begun(checkpoint, last, 1).seed == 0
        assert np.array_equal(drawn(checkpoint, last, 1), drawn(checkpoint, asked(seed=0)))


class TestSharing:
    """Renders share models and nothing else."""

    @pytest.mark.parametrize("solver", ["dpmpp_2m", "euler_a"])
    def test_taking_turns_equals_alone(self, checkpoint: Checkpoint, reference: Reference, solver: SolverName) -> None:
        edit = asked(seed=2, references=(reference,), sampler=Sampler(solver))
        alone = [drawn(checkpoint, asked(steps=4)), drawn(checkpoint, edit, mode="edit")]
        first, second = begun(checkpoint, asked(steps=4)), begun(checkpoint, edit, mode="edit")
        while first.step < first.total:
            advance([first, second] if second.step < second.total else [first])
        assert np.array_equal(np.asarray(finish(first)), alone[0])
        assert np.array_equal(np.asarray(finish(second)), alone[1])

    def test_an_abandoned_render_leaves_nothing(self, checkpoint: Checkpoint, reference: Reference) -> None:
        before = drawn(checkpoint, asked())
        hooks = hook_count(checkpoint)
        abandoned = begun(checkpoint, asked(seed=9, references=(reference,), width=96), mode="edit")
        advance([abandoned])
        del abandoned
        assert np.array_equal(drawn(checkpoint, asked()), before)
        assert hook_count(checkpoint) == hooks

    def test_a_failed_step_leaves_nothing(self, checkpoint: Checkpoint) -> None:
        before = drawn(checkpoint, asked())
        broken = begun(checkpoint, asked())
        broken.cond = broken.cond[..., :3]
        with pytest.raises(RuntimeError):
            advance([broken])
        assert np.array_equal(drawn(checkpoint, asked()), before)


def hook_count(checkpoint: Checkpoint) -> int:
    models = (checkpoint.transformer, checkpoint.vae, checkpoint.text_encoder)
    modules = (module for model in models for module in cast("torch.nn.Module", model).modules())
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules)


class TestGuidance:
    @pytest.mark.parametrize(("scale", "forwards"), [(0.0, 3), (1.0, 3), (1.5, 6), (4.0, 6)])
    def test_forwards(self, checkpoint: Checkpoint, scale: float, forwards: int) -> None:
        counting = Counting(checkpoint.transformer)
        drawn(replace(checkpoint, transformer=cast("Any", counting)), asked(true_cfg_scale=scale))
        assert counting.forwards == forwards

    def test_no_negative_prompt_is_a_space(self, checkpoint: Checkpoint) -> None:
        assert np.array_equal(drawn(checkpoint, asked()), drawn(checkpoint, asked(negative_prompt=" ")))

    def test_without_guidance_the_negative_prompt_is_not_read(self, checkpoint: Checkpoint) -> None:
        plain = asked(true_cfg_scale=1.0)
        ignored = replace(plain, negative_prompt="<|im_end|>" + "x" * 2000)
        assert np.array_equal(drawn(checkpoint, ignored), drawn(checkpoint, plain))
        assert begun(checkpoint, ignored).warnings == ()


class TestPrompts:
    @pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
    def test_control_tokens_are_refused(self, checkpoint: Checkpoint, field: str) -> None:
        with pytest.raises(PromptError, match="<\\|im_end\\|>") as caught:
            begun(checkpoint, asked(**{field: "a<|im_end|>b"}))
        assert caught.value.path == field

    def test_what_does_not_fit_is_said(self, checkpoint: Checkpoint) -> None:
        state = begun(checkpoint, asked(prompt="x" * 1030, negative_prompt="y" * 1025))
        assert state.warnings == (
            "The prompt was too long: its last 6 tokens were dropped.",
            "The negative prompt was too long: its last 1 tokens were dropped.",
        )


class TestEdit:
    @pytest.mark.parametrize("mode", ["edit", "edit_plus"])
    def test_the_reference_matters(
        self, checkpoint: Checkpoint, reference: Reference, other_reference: Reference, mode: Mode
    ) -> None:
        one, other = (
            drawn(checkpoint, asked(references=(chosen,)), mode=mode) for chosen in (reference, other_reference)
        )
        assert one.shape == (48, 64, 3)
        assert not np.array_equal(one, other)

    def test_the_order_of_references_matters(
        self, checkpoint: Checkpoint, reference: Reference, other_reference: Reference
    ) -> None:
        both = (reference, other_reference)
        one, other = (drawn(checkpoint, asked(references=order), mode="edit_plus") for order in (both, both[::-1]))
        assert not np.array_equal(one, other)

    def test_a_picture_is_used_as_it_is_shown(
        self, checkpoint: Checkpoint, reference: Reference, tmp_path: Path
    ) -> None:
        upright = drawn(checkpoint, asked(references=(reference,)), mode="edit")
        exif = Image.Exif()
        exif[0x0112] = 3
        turned = tmp_path / "turned.png"
        with Image.open(reference.path) as image:
            image.transpose(Image.Transpose.ROTATE_180).save(turned, exif=exif)
        again = drawn(checkpoint, asked(references=(replace(reference, path=turned),)), mode="edit")
        assert np.array_equal(again, upright)


class TestMissingPictures:
    @pytest.mark.parametrize("field", ["references[1]", "seed_image", "mask", "controls[1].control_image"])
    def test_the_error_says_which(
        self, checkpoint: Checkpoint, reference: Reference, tmp_path: Path, field: str
    ) -> None:
        gone = replace(reference, path=tmp_path / "gone.png")
        net = save_controlnet(checkpoint, tmp_path / "net", 1, seed=1)
        idle, acting = ControlUse("idle", net, gone, weight=0), ControlUse("acting", net, gone)
        change = {
            "references[1]": {"references": (reference, gone)},
            "seed_image": {"seed_image": gone},
            "mask": {"seed_image": reference, "mask": gone},
            "controls[1].control_image": {"controls": (idle, acting)},
        }[field]
        with pytest.raises(PictureError, match="the picture is gone") as caught:
            begun(checkpoint, asked(**change), mode="edit_plus")
        assert caught.value.path == field


class TestFinish:
    def test_not_before_the_last_step(self, checkpoint: Checkpoint) -> None:
        state = begun(checkpoint, asked())
        advance([state])
        with pytest.raises(ValueError, match="step 1 of 3"):
            finish(state)

    def test_no_step_after_the_last(self, checkpoint: Checkpoint) -> None:
        state = begun(checkpoint, asked(steps=1))
        advance([state])
        with pytest.raises(IndexError):
            advance([state])

    def test_no_gradients_are_kept(self, checkpoint: Checkpoint) -> None:
        state = begun(checkpoint, asked(steps=1))
        advance([state])
        assert all(not tensor.requires_grad for tensor in tensors(state))


def tensors(state: RenderState) -> Iterator[torch.Tensor]:
    return (value for value in (state.latents, state.cond, state.uncond) if value is not None)


@pytest.mark.parametrize("side", [64, 128])
def test_a_sampler_with_a_schedule_of_its_own(checkpoint: Checkpoint, side: int) -> None:
    """The sigmas of Qwen-Image-Lightning, at every size."""
    sampler = Sampler(shift=3.0, terminal=0.0)
    state = begun(checkpoint, asked(steps=4, sampler=sampler, true_cfg_scale=1.0, width=side, height=side))
    torch.testing.assert_close(state.sigmas, torch.tensor([1, 0.9, 0.75, 0.5, 0]), atol=1e-6, rtol=0)


class TestInContext:
    """The control image of an in-context LoRA: a reference of a text-to-image model."""

    def test_the_transformer_sees_it_behind_the_image_and_the_text_encoder_does_not(
        self, checkpoint: Checkpoint, reference: Reference
    ) -> None:
        plain, state = begun(checkpoint, asked()), begun(checkpoint, asked(references=(reference,)))
        assert torch.equal(state.cond, plain.cond)
        assert torch.equal(state.latents, plain.latents)
        assert state.references is not None
        assert state.references.shapes == ((1, 3, 4),)
        with Image.open(reference.path) as picture:
            scaled = picture.convert("RGB").resize((64, 48), Image.Resampling.LANCZOS)
        assert torch.equal(state.references.tokens, encode_picture(scaled, LoadedModel(checkpoint)))
        seen: list[dict[str, Any]] = []
        handle = checkpoint.transformer.register_forward_pre_hook(
            lambda _, args, inputs: seen.append(inputs), with_kwargs=True
        )
        before = state.latents
        advance([state])
        handle.remove()
        assert torch.equal(seen[0]["hidden_states"], torch.cat([before, state.references.tokens], dim=1))
        assert list(seen[0]["img_shapes"][0]) == [(1, 3, 4), (1, 3, 4)]

    def test_it_shows(self, checkpoint: Checkpoint, reference: Reference, other_reference: Reference) -> None:
        pictures = [drawn(checkpoint, asked(references=each)) for each in ((), (reference,), (other_reference,))]
        assert len({picture.tobytes() for picture in pictures}) == 3

    def test_a_threshold_of_zero_is_no_cache(self, checkpoint: Checkpoint, reference: Reference) -> None:
        cached = asked(references=(reference,), cache=CachePlan("fbcache", 0.0, 1, 50, 2))
        assert np.array_equal(drawn(checkpoint, cached), drawn(checkpoint, replace(cached, cache=None)))

    def test_another_aspect_is_stretched_with_a_warning(self, checkpoint: Checkpoint, reference: Reference) -> None:
        (warning,) = begun(checkpoint, asked(references=(reference,))).warnings
        assert warning == "The reference image is 60×40 pixels, so it is stretched to 64×48."
        fitting = asked(references=(replace(reference, width=64, height=48),))
        assert begun(checkpoint, fitting).warnings == ()

    def test_a_margin_cuts_it_as_it_cuts_the_picture(
        self, checkpoint: Checkpoint, reference: Reference, tmp_path: Path
    ) -> None:
        mask = Image.new("L", (60, 40))
        mask.paste(255, (25, 15, 45, 25))
        mask.save(tmp_path / "mask.png")
        part = asked(
            references=(reference,),
            seed_image=reference,
            mask=Reference(tmp_path / "mask.png", "", 60, 40),
            mask_margin=2,
        )
        state, whole = begun(checkpoint, part), begun(checkpoint, asked(references=(reference,)))
        assert state.references is not None
        assert whole.references is not None
        assert not torch.equal(state.references.tokens, whole.references.tokens)
