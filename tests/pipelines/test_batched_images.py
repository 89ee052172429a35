"""Images that go through the blocks together, against each of them alone. Each is at a step of its own."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
import torch

from accel.weights.placement import HostShare, place_transformer
from pipelines.catalog.catalog import Mode
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.render.prepare import prepare
from pipelines.render.steps import advance, evaluate_next
from pipelines.request import LoraUse, Reference, RenderRequest, Sampler, SolverName
from tests.adapters import named, random_adapter, write
from tests.control import deeper
from tests.fakes import picture
from tests.pipelines.render.renders import asked, entry

if TYPE_CHECKING:
    from pipelines.render.state import RenderState

DEPTH = 3
SOLVERS = cast("tuple[SolverName, ...]", ("euler", "heun", "unipc_3", "euler_a", "dpmpp_sde"))


def solvers(reference: Reference) -> list[RenderRequest]:
    return [
        asked(seed=number, steps=3 + number % 2, sampler=Sampler(name), true_cfg_scale=1.0)
        for number, name in enumerate(SOLVERS)
    ]


def guidance(reference: Reference) -> list[RenderRequest]:
    return [asked(true_cfg_scale=1.0), asked(prompt="a long green square", true_cfg_scale=2.0), asked(steps=4)]


def sources(reference: Reference) -> list[RenderRequest]:
    return [
        asked(seed_image=reference, strength=0.7, steps=5, true_cfg_scale=1.0),
        asked(seed=8),
        asked(seed_image=reference, seed=9),
    ]


def edits(reference: Reference) -> list[RenderRequest]:
    return [asked(seed=number, prompt="red " * (number + 1), references=(reference,)) for number in range(3)]


CASES: dict[str, tuple[Mode, Callable[[Reference], list[RenderRequest]]]] = {
    "solvers": ("text_to_image", solvers),
    "guidance": ("text_to_image", guidance),
    "sources": ("text_to_image", sources),
    "edits": ("edit", edits),
}


def alone(model: LoadedModel, requests: Sequence[RenderRequest], mode: Mode) -> list[torch.Tensor]:
    states = [prepare(request, 0, model, entry(mode)) for request in requests]
    for state in states:
        while state.step < state.total:
            advance([state])
    return [state.latents for state in states]


def together(model: LoadedModel, requests: Sequence[RenderRequest], mode: Mode) -> list[torch.Tensor]:
    """Another image joins at each step, and each leaves after its last one."""
    states: list[RenderState] = []
    while len(states) < len(requests) or any(state.step < state.total for state in states):
        if len(states) < len(requests):
            states.append(prepare(requests[len(states)], 0, model, entry(mode)))
        under_way = [state for state in states if state.step < state.total]
        evaluate_next(under_way)
        advance(under_way)
        assert all(state.velocity is None for state in states)
    return [state.latents for state in states]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "zero_cond_t"])
def plain(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> Checkpoint:
    return deeper(checkpoint, DEPTH, zero_cond_t=request.param)


@pytest.fixture(scope="module")
def streamed(plain: Checkpoint, checkpoint: Checkpoint) -> Checkpoint:
    copy = deeper(checkpoint, DEPTH, zero_cond_t=plain.transformer.zero_cond_t)
    return replace(copy, placed=place_transformer(copy.transformer, torch.device("cpu"), HostShare(DEPTH, tables=True)))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    path = tmp_path_factory.mktemp("reference") / "reference.png"
    path.write_bytes(picture(60, 40))
    return Reference(path, "", 60, 40)


@pytest.fixture(scope="module")
def each_alone(plain: Checkpoint, reference: Reference) -> Callable[[str], list[torch.Tensor]]:
    """Renders the images of a case one after the other, each case once."""

    @cache
    def rendered(case: str) -> list[torch.Tensor]:
        mode, make = CASES[case]
        return alone(LoadedModel(plain), make(reference), mode)

    return rendered


@pytest.mark.parametrize("case", CASES)
def test_the_bits_are_those_of_each_alone(
    plain: Checkpoint,
    streamed: Checkpoint,
    reference: Reference,
    each_alone: Callable[[str], list[torch.Tensor]],
    case: str,
) -> None:
    mode, make = CASES[case]
    requests, expected = make(reference), each_alone(case)
    for checkpoint in (plain, streamed):
        found = together(LoadedModel(checkpoint), requests, mode)
        assert all(torch.equal(*pair) for pair in zip(expected, found, strict=True))


@pytest.mark.parametrize("case", ["guidance", "edits"])
def test_as_one_batch_along_the_tokens_up_to_rounding(
    plain: Checkpoint,
    streamed: Checkpoint,
    reference: Reference,
    each_alone: Callable[[str], list[torch.Tensor]],
    case: str,
) -> None:
    mode, make = CASES[case]
    requests, expected = make(reference), each_alone(case)
    for checkpoint in (plain, streamed):
        found = together(LoadedModel(replace(checkpoint, batch_branches=True)), requests, mode)
        for pair in zip(found, expected, strict=True):
            torch.testing.assert_close(*pair, atol=2e-4, rtol=2e-4)


def test_loras_act_on_all_of_them(plain: Checkpoint, tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors", named(random_adapter(plain.transformer)))
    loras = (LoraUse("a", tmp_path / "a.safetensors", 1.0),)
    model, requests = LoadedModel(plain), [asked(seed=number, loras=loras) for number in range(2)]
    expected, found = (way(model, requests, "text_to_image") for way in (alone, together))
    assert all(torch.equal(*pair) for pair in zip(expected, found, strict=True))
    without = alone(model, [replace(request, loras=()) for request in requests], "text_to_image")
    assert not torch.equal(found[0], without[0])


def test_an_error_changes_none_of_them(plain: Checkpoint) -> None:
    model = LoadedModel(plain)
    states = [prepare(asked(seed=number), 0, model, entry("text_to_image")) for number in range(2)]
    before, right = [state.latents for state in states], states[1].cond
    states[1].cond = right[..., :3]
    with pytest.raises(RuntimeError):
        evaluate_next(states)
    states[1].cond = right
    assert all(
        state.latents is latents and state.velocity is None for state, latents in zip(states, before, strict=True)
    )
    while states[0].step < states[0].total:
        evaluate_next(states)
        advance(states)
    expected = alone(model, [asked(seed=number) for number in range(2)], "text_to_image")
    assert all(torch.equal(state.latents, latents) for state, latents in zip(states, expected, strict=True))


def test_after_an_error_each_goes_on_alone_with_the_modulation_of_its_step(
    plain: Checkpoint, streamed: Checkpoint
) -> None:
    """Heun evaluates twice a step. The first evaluation after the error had the modulation of the second one."""
    requests = [asked(seed=number, steps=3, sampler=Sampler("heun")) for number in range(2)]
    expected = alone(LoadedModel(plain), requests, "text_to_image")
    states = [prepare(request, 0, LoadedModel(streamed), entry("text_to_image")) for request in requests]
    right = states[1].cond
    states[1].cond = right[..., :3]
    with pytest.raises(RuntimeError):
        evaluate_next(states)
    states[1].cond = right
    while states[0].step < states[0].total:
        advance(states)
    assert all(torch.equal(state.latents, latents) for state, latents in zip(states, expected, strict=True))
