"""Renders that start from a seed image. `test_canvas` checks the pixels without a model."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.editing.inpainting import Inpainting
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.render.prepare import prepare
from pipelines.render.state import RenderState
from pipelines.render.steps import advance, finish
from pipelines.request import Outpaint, Reference, RenderRequest, Sampler
from tests.odd_images import PLACES, in_p3, p3_profile, scene
from tests.pipelines.render.renders import Counting, asked, begun, drawn, entry

SIZE = (64, 48)
Saved = Callable[[Image.Image], Reference]
NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    folder = tmp_path_factory.mktemp("pictures")

    def save(picture: Image.Image) -> Reference:
        path = folder / f"{len(list(folder.iterdir()))}.png"
        picture.save(path)
        return Reference(path, "", *picture.size)

    return save


@pytest.fixture(scope="module")
def seed_image(saved: Saved) -> Reference:
    return saved(NOISE)


@pytest.fixture(scope="module")
def mask(saved: Saved) -> Reference:
    picture = Image.new("L", SIZE)
    picture.paste(255, (24, 16, 40, 37))
    return saved(picture)


class TestStrength:
    def test_none_returns_the_seed_image(self, checkpoint: Checkpoint, seed_image: Reference) -> None:
        state = begun(checkpoint, asked(seed_image=seed_image, strength=0.0))
        assert state.total == 0
        assert finish(state).tobytes() == NOISE.tobytes()

    def test_none_returns_it_scaled(self, checkpoint: Checkpoint, seed_image: Reference) -> None:
        state = begun(checkpoint, asked(seed_image=seed_image, strength=0.0, width=128, height=96))
        assert finish(state).tobytes() == NOISE.resize((128, 96), Image.Resampling.LANCZOS).tobytes()

    def test_all_of_it_is_text_to_image(self, checkpoint: Checkpoint, seed_image: Reference) -> None:
        assert np.array_equal(drawn(checkpoint, asked(seed_image=seed_image)), drawn(checkpoint, asked()))

    @pytest.mark.parametrize(("steps", "strength", "executed"), [(20, 0.8, 16), (20, 0.29, 6), (8, 0.01, 1), (3, 1, 3)])
    def test_how_many_steps_are_run(
        self, checkpoint: Checkpoint, seed_image: Reference, steps: int, strength: float, executed: int
    ) -> None:
        counting = Counting(checkpoint.transformer)
        request = asked(seed_image=seed_image, steps=steps, strength=strength, true_cfg_scale=1.0)
        drawn(replace(checkpoint, transformer=cast("Any", counting)), request)
        assert counting.forwards == request.executed_steps == executed

    def test_the_latents_stay_nearer_the_less_of_it_there_is(
        self, checkpoint: Checkpoint, seed_image: Reference
    ) -> None:
        begins = [begun(checkpoint, asked(seed_image=seed_image, steps=20, strength=s)) for s in (0.2, 0.5, 0.8)]
        still = begun(checkpoint, asked(seed_image=seed_image, steps=20, strength=0.0)).latents
        distances = [(state.latents - still).norm().item() for state in begins]
        assert distances == sorted(distances)
        assert distances[0] > 0


class TestMask:
    @settings(max_examples=12)
    @given(
        box=st.tuples(st.integers(0, 62), st.integers(0, 46), st.integers(1, 30), st.integers(1, 30)),
        strength=st.sampled_from([0.3, 0.8, 1.0]),
        margin=st.sampled_from([None, 4, 32]),
        native=st.booleans(),
    )
    def test_unmasked_pixels_come_back_exactly(
        self,
        checkpoint: Checkpoint,
        seed_image: Reference,
        saved: Saved,
        box: tuple[int, int, int, int],
        strength: float,
        margin: int | None,
        native: bool,
    ) -> None:
        left, top, width, height = box
        picture = Image.new("L", SIZE)
        picture.paste(200, (left, top, min(64, left + width), min(48, top + height)))
        request = asked(
            seed_image=seed_image, mask=saved(picture), strength=strength, mask_margin=margin, true_cfg_scale=1.0
        )
        model = replace(entry("text_to_image"), native_area=32 * 32) if native else entry("text_to_image")
        result = finished(prepare(request, 0, LoadedModel(checkpoint), model))
        free = np.asarray(picture) > 0
        assert np.array_equal(result[~free], np.asarray(NOISE)[~free])
        assert not np.array_equal(result[free], np.asarray(NOISE)[free])

    def test_all_black_returns_the_seed_image_and_says_so(
        self, checkpoint: Checkpoint, seed_image: Reference, saved: Saved
    ) -> None:
        state = begun(checkpoint, asked(seed_image=seed_image, mask=saved(Image.new("L", SIZE)), mask_margin=32))
        assert state.total == 0
        assert finish(state).tobytes() == NOISE.tobytes()
        assert len(state.warnings) == 1

    def test_all_white_is_image_to_image(self, checkpoint: Checkpoint, seed_image: Reference, saved: Saved) -> None:
        request = asked(seed_image=seed_image, strength=0.7)
        white = replace(request, mask=saved(Image.new("L", SIZE, 255)))
        assert np.array_equal(drawn(checkpoint, white), drawn(checkpoint, request))

    def test_what_is_grey_changes_less_than_what_is_white(
        self, checkpoint: Checkpoint, seed_image: Reference, saved: Saved
    ) -> None:
        changes = []
        for level in (40, 130, 255):
            request = asked(seed_image=seed_image, mask=saved(Image.new("L", SIZE, level)), steps=8)
            changes.append(np.abs(drawn(checkpoint, request).astype(int) - np.asarray(NOISE)).mean())
        assert changes == sorted(changes)
        assert changes[0] > 0

    def test_the_margin_zooms_in(self, checkpoint: Checkpoint, seed_image: Reference, mask: Reference) -> None:
        request = asked(seed_image=seed_image, mask=mask)
        near = replace(request, mask_margin=4)
        assert begun(checkpoint, near).shape == begun(checkpoint, request).shape
        assert not np.array_equal(drawn(checkpoint, near), drawn(checkpoint, request))

    def test_with_references(self, checkpoint: Checkpoint, seed_image: Reference, mask: Reference) -> None:
        request = asked(seed_image=seed_image, mask=mask, references=(seed_image,), sampler=Sampler("dpmpp_2m"))
        result = drawn(checkpoint, request, mode="edit")
        changed = (result != np.asarray(NOISE)).any(axis=2)
        assert changed[16:37, 24:40].mean() > 0.9
        assert changed.sum() == changed[16:37, 24:40].sum()


def test_outpainting_keeps_the_seed_image(checkpoint: Checkpoint, saved: Saved) -> None:
    small = saved(NOISE.crop((0, 0, 50, 30)))
    request = asked(seed_image=small, outpaint=Outpaint(top=10, right=14, bottom=8))
    result = drawn(checkpoint, request)
    assert np.array_equal(result[10:40, :50], np.asarray(NOISE)[:30, :50])


class TestSharing:
    def test_taking_turns_equals_alone(self, checkpoint: Checkpoint, seed_image: Reference, mask: Reference) -> None:
        painted, plain = asked(seed_image=seed_image, mask=mask, steps=4), asked(steps=4, seed=3)
        alone = [drawn(checkpoint, painted), drawn(checkpoint, plain)]
        states = [begun(checkpoint, painted), begun(checkpoint, plain)]
        for _ in range(4):
            advance(states)
        for state, expected in zip(states, alone, strict=True):
            assert np.array_equal(np.asarray(finish(state)), expected)

    def test_a_picture_and_a_prompt_are_encoded_once(
        self, checkpoint: Checkpoint, seed_image: Reference, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counted = CountingEncoders(checkpoint)
        request = asked(seed_image=seed_image, references=(seed_image,), count=3)
        model = LoadedModel(counted.checkpoint)
        pictures = [finished(prepare(request, index, model, entry("edit"))) for index in range(3)]
        assert counted.texts == 2  # the prompt and the neutral one
        assert counted.pictures == 2  # the reference at its size and the seed image at the picture's
        assert np.array_equal(pictures[2], drawn(checkpoint, replace(request, seed=request.seed + 2), mode="edit"))


class CountingEncoders:
    """A checkpoint that counts real encodings."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.texts = self.pictures = 0
        self.checkpoint = replace(
            checkpoint,
            text_encoder=cast("Any", _CountingTextEncoder(checkpoint.text_encoder, self)),
            vae=cast("Any", _CountingVae(checkpoint.vae, self)),
        )


class _CountingTextEncoder:
    def __init__(self, encoder: Any, counts: CountingEncoders) -> None:
        self._encoder, self._counts = encoder, counts

    def model(self, **inputs: Any) -> Any:
        self._counts.texts += 1
        return self._encoder.model(**inputs)


class _CountingVae:
    def __init__(self, vae: Any, counts: CountingEncoders) -> None:
        self._vae, self._counts = vae, counts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vae, name)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        self._counts.pictures += 1
        return self._vae.encode(pixels)


class TestInpainting:
    """A soft mask frees latent pixels after a share of the steps."""

    @pytest.mark.parametrize(
        ("level", "free"), [(0.0, [0, 0, 0, 0]), (0.25, [0, 0, 0, 1]), (0.5, [0, 0, 1, 1]), (1.0, [1, 1, 1, 1])]
    )
    def test_when_a_level_is_set_free(self, level: float, free: list[int]) -> None:
        clean, noise, latents = torch.zeros(1, 2, 4), torch.ones(1, 2, 4), torch.full((1, 2, 4), 7.0)
        held = Inpainting(clean, noise, torch.full((1, 2, 4), level))
        found = [(held.blend(latents, torch.tensor(0.5), step / 4 - 0.01) == 7).all().item() for step in (1, 2, 3, 4)]
        assert found == [bool(one) for one in free]

    def test_what_is_held_has_the_noise_of_its_sigma(self) -> None:
        clean, noise = torch.full((1, 2, 4), 2.0), torch.ones(1, 2, 4)
        held = Inpainting(clean, noise, torch.zeros(1, 2, 4)).blend(clean, torch.tensor(0.25), 1.0)
        assert (held == 1.75).all()


def finished(state: RenderState) -> np.ndarray:
    while state.step < state.total:
        advance([state])
    return np.asarray(finish(state))


def test_executed_steps_without_a_seed_image_are_all() -> None:
    assert cast("RenderRequest", asked(strength=0.1)).executed_steps == 3


def test_a_seed_image_in_another_color_space_comes_back_in_srgb(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "seed.png"
    in_p3(scene()).save(path, icc_profile=p3_profile())
    seed = Reference(path, "", *scene().size)
    picture = finish(begun(checkpoint, asked(seed_image=seed, strength=0.0, width=48, height=32)))
    assert picture.info == {}
    for place, color in PLACES.items():
        assert picture.getpixel(place) == pytest.approx(color, abs=2)


def test_a_profile_that_cannot_be_used_is_told(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "seed.png"
    scene().save(path, icc_profile=b"no profile at all")
    state = begun(checkpoint, asked(seed_image=Reference(path, "", 48, 32), strength=0.0))
    assert state.warnings == ("The color profile of the seed image is damaged: its colors count as sRGB.",)
