from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from accel.cache.plan import CachePlan
from pipelines.catalog.catalog import Mode
from pipelines.conditioning import encode_picture
from pipelines.errors import PictureError, PromptError
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.render.prepare import prepare
from pipelines.render.steps import advance, finish
from pipelines.request import ControlUse, Reference, Sampler
from tests.control import save_controlnet
from tests.pipelines.render.renders import asked, begun, drawn, entry


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


@pytest.mark.parametrize("side", [64, 128])
def test_a_sampler_with_a_schedule_of_its_own(checkpoint: Checkpoint, side: int) -> None:
    """The sigmas of Qwen-Image-Lightning, at every size."""
    sampler = Sampler(shift=3.0, terminal=0.0)
    state = begun(checkpoint, asked(steps=4, sampler=sampler, true_cfg_scale=1.0, width=side, height=side))
    assert [sigma.number for sigma in state.sigmas] == pytest.approx([1, 0.9, 0.75, 0.5, 0], abs=1e-6)


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
