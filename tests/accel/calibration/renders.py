"""Small renders with guidance, with a cache or with a recorder."""

from dataclasses import replace

import torch

from accel.cache.plan import CachePlan
from accel.cache.report import Decision
from accel.calibration.recorder import Recorder
from accel.calibration.traces import Trace
from pipelines.catalog.models_file import load_catalog
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.render.prepare import prepare
from pipelines.render.state import RenderState
from pipelines.render.steps import advance
from pipelines.request import RenderRequest, Sampler, SolverName

ENTRY = replace(load_catalog().with_embedded_weights().entries[0], native_area=None)


def prepare_render(
    model: Checkpoint, seed: int, steps: int, plan: CachePlan | None = None, sampler: SolverName = "euler"
) -> RenderState:
    prompt = "a large red circle at the top left on a blue background"
    request = RenderRequest("", prompt, None, 64, 64, steps, Sampler(sampler), 4.0, seed, cache=plan)
    return prepare(request, 0, LoadedModel(model), ENTRY)


def run_all_steps(state: RenderState) -> torch.Tensor:
    """The final latents."""
    while state.step < state.total:
        advance([state])
    return state.latents


def record_trace(model: Checkpoint, seed: int, steps: int, sampler: SolverName = "euler") -> Trace:
    state = prepare_render(model, seed, steps, sampler=sampler)
    recorder = state.recorder = Recorder()
    run_all_steps(state)
    return Trace("", seed, steps, 4.0, 64, 64, recorder.observations)


def real_decisions(model: Checkpoint, plan: CachePlan, seed: int, steps: int) -> tuple[Decision, ...]:
    state = prepare_render(model, seed, steps, plan)
    run_all_steps(state)
    assert state.cache is not None
    return state.cache.report().decisions
