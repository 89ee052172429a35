"""Everything a request can ask for, together: any mix of modes, seed image, mask, LoRAs, ControlNets and samplers."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.catalog.catalog import Mode
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.render.prepare import prepare
from pipelines.render.state import RenderState
from pipelines.render.steps import advance, finish
from pipelines.request import (
    ControlMode,
    ControlUse,
    LoraUse,
    Outpaint,
    Reference,
    RenderRequest,
    Sampler,
    ScheduleName,
    SolverName,
)
from tests.adapters import named, random_adapter, write
from tests.control import save_controlnet
from tests.pipelines.render.renders import asked, entry

WIDTH, HEIGHT = 64, 48
NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))


class Parts:
    """Files that requests are made of."""

    def __init__(self, folder: Path, checkpoint: Checkpoint) -> None:
        mask = Image.new("L", (WIDTH, HEIGHT))
        mask.paste(255, (20, 10, 50, 30))
        small = NOISE.crop((0, 0, 48, 32))
        self.picture, self.mask, self.small = (
            self._saved(folder / f"{name}.png", picture)
            for name, picture in (("picture", NOISE), ("mask", mask), ("small", small))
        )
        self.loras = [
            write(folder / f"{n}.safetensors", named(random_adapter(checkpoint.transformer, n))) for n in (1, 2)
        ]
        self.nets = [save_controlnet(checkpoint, folder / f"net{n}", layers=n, seed=n) for n in (1, 2)]

    def _saved(self, path: Path, picture: Image.Image) -> Reference:
        picture.save(path)
        return Reference(path, "", *picture.size)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, checkpoint: Checkpoint) -> Parts:
    return Parts(tmp_path_factory.mktemp("parts"), checkpoint)


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> LoadedModel:
    return LoadedModel(checkpoint)


EXAMPLES = settings.default.max_examples if settings.default else 0  # of the profile: 10 or 40
STARTS = ("nothing", "seed image", "mask", "margin", "outpaint")


@st.composite
def mixes(draw: st.DrawFn) -> dict[str, Any]:
    """What a request has, without the files."""
    mode: Mode = draw(st.sampled_from(get_args(Mode)))
    return {
        "mode": mode,
        "references": {"text_to_image": 0, "edit": 1, "edit_plus": draw(st.integers(1, 3))}[mode],
        "start": draw(st.sampled_from(STARTS)),
        "strength": draw(st.sampled_from([0.0, 0.3, 0.7, 1.0])),
        "sampler": Sampler(draw(st.sampled_from(get_args(SolverName))), draw(st.sampled_from(get_args(ScheduleName)))),
        "scale": draw(st.sampled_from([1.0, 4.0])),
        "steps": draw(st.integers(1, 4)),
        "loras": draw(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([-1.0, 0.0, 0.5])), max_size=2)),
        "controls": draw(
            st.lists(
                st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.8]), st.sampled_from(get_args(ControlMode))),
                max_size=2,
            )
        ),
    }


def request_of(mix: dict[str, Any], parts: Parts) -> RenderRequest:
    start = mix["start"]
    seed_image = {"nothing": None, "outpaint": parts.small}.get(start, parts.picture)
    return asked(
        references=(parts.picture,) * mix["references"],
        seed_image=seed_image,
        strength=mix["strength"],
        mask=parts.mask if start in ("mask", "margin") else None,
        mask_margin=8 if start == "margin" else None,
        outpaint=Outpaint(top=8, bottom=8, left=16) if start == "outpaint" else None,
        sampler=mix["sampler"],
        true_cfg_scale=mix["scale"],
        steps=mix["steps"],
        loras=tuple(LoraUse(str(n), parts.loras[n], weight) for n, weight in mix["loras"]),
        controls=tuple(
            ControlUse(str(n), parts.nets[n], parts.picture, weight, how) for n, weight, how in mix["controls"]
        ),
    )


def begun(model: LoadedModel, mix: dict[str, Any], parts: Parts) -> RenderState:
    return prepare(request_of(mix, parts), 0, model, entry(mix["mode"]))


def drawn(model: LoadedModel, mix: dict[str, Any], parts: Parts) -> np.ndarray:
    return finished(begun(model, mix, parts))


def finished(state: RenderState) -> np.ndarray:
    while state.step < state.total:
        advance([state])
    assert torch.isfinite(state.latents).all()
    return np.asarray(finish(state))


@settings(max_examples=EXAMPLES // 2)
@given(mix=mixes())
def test_any_mix_draws_a_picture_and_keeps_what_it_must(model: LoadedModel, parts: Parts, mix: dict[str, Any]) -> None:
    picture = drawn(model, mix, parts)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    before = np.asarray(NOISE)
    if mix["start"] in ("mask", "margin"):
        kept = np.ones((HEIGHT, WIDTH), bool)
        kept[10:30, 20:50] = False
        assert np.array_equal(picture[kept], before[kept])
    elif mix["start"] == "outpaint":
        assert np.array_equal(picture[8:40, 16:], before[:32, :48])
    elif mix["start"] == "seed image" and mix["strength"] == 0:
        assert np.array_equal(picture, before)


@settings(max_examples=EXAMPLES // 4)
@given(first=mixes(), second=mixes())
def test_any_two_in_turns_equal_each_alone(
    model: LoadedModel, parts: Parts, first: dict[str, Any], second: dict[str, Any]
) -> None:
    alone = [drawn(model, mix, parts) for mix in (first, second)]
    states = [begun(model, mix, parts) for mix in (first, second)]
    while going := [state for state in states if state.step < state.total]:
        advance(going)
    for state, expected in zip(states, alone, strict=True):
        assert np.array_equal(np.asarray(finish(state)), expected)


@settings(max_examples=EXAMPLES // 5)
@given(mix=mixes())
def test_any_mix_is_as_without_what_has_weight_zero(model: LoadedModel, parts: Parts, mix: dict[str, Any]) -> None:
    loras, controls = ([(n, 0.0, *how) for n, _, *how in mix[name]] for name in ("loras", "controls"))
    weightless = {**mix, "loras": [*loras, (0, 0.0)], "controls": [*controls, (1, 0.0, "prompt")]}
    plain = {**mix, "loras": [], "controls": []}
    assert np.array_equal(drawn(model, weightless, parts), drawn(model, plain, parts))


@settings(max_examples=EXAMPLES // 5)
@given(mix=mixes(), index=st.integers(1, 19))
def test_any_result_of_several_is_the_single_one_with_its_seed(
    model: LoadedModel, parts: Parts, mix: dict[str, Any], index: int
) -> None:
    request, served = request_of(mix, parts), entry(mix["mode"])
    one_of_several = finished(prepare(replace(request, count=20), index, model, served))
    single = finished(prepare(replace(request, seed=request.seed + index), 0, model, served))
    assert np.array_equal(one_of_several, single)


@settings(max_examples=EXAMPLES // 8)
@given(mix=mixes(), steps=st.integers(0, 2))
def test_any_abandoned_one_leaves_nothing(model: LoadedModel, parts: Parts, mix: dict[str, Any], steps: int) -> None:
    plain = {**mix, "start": "nothing", "mode": "text_to_image", "references": 0, "loras": [], "controls": []}
    before = drawn(model, plain, parts)
    state = begun(model, mix, parts)
    for _ in range(min(steps, state.total)):
        advance([state])
    del state
    assert np.array_equal(drawn(model, plain, parts), before)
