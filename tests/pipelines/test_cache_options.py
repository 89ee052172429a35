"""The wire's options on the trained checkpoint: each knob turned towards reuse reuses more, never less."""

from typing import Any

import pytest
import torch

from pipelines.catalog.catalog import load_catalog
from pipelines.latents import grid, noise
from pipelines.models.loader import Checkpoint
from pipelines.render import advance, begin
from pipelines.request import RenderRequest, Sampler
from server.api.runware.schema.objects import AcceleratorOptions
from server.api.runware.translate.caches import ThresholdDirection, cache_plan

ENTRY = load_catalog().with_embedded_weights().entries[0]
STEPS = 16


def reused(trained: Checkpoint, direction: ThresholdDirection, options: dict[str, Any]) -> int:
    plan, _ = cache_plan(AcceleratorOptions.model_validate(options), ENTRY, STEPS, direction)
    if plan is None:
        return 0
    state = begin(
        RenderRequest("", "", None, 64, 64, STEPS, Sampler(), 1.0, 3, cache=plan),
        trained,
        noise=noise(grid(64, 64, trained.vae), 16, seed=3),
        cond=torch.randn((1, 9, 128), generator=torch.Generator().manual_seed(1)),
        uncond=None,
    )
    while state.step < state.total:
        advance([state])
    assert state.cache is not None
    return state.cache.report().reused_forwards


WIDE = {"cacheStartStep": 1, "cacheEndStep": 16, "cacheMaxConsecutiveSteps": 5}
KNOBS: list[tuple[dict[str, Any], str, list[Any], list[Any]]] = [
    ({"fbCache": True, **WIDE}, "fbCacheThreshold", [1, 0.25, 0], [0, 0.25, 1]),
    ({"dbCache": True, **WIDE}, "dbCacheThreshold", [1, 0.25, 0], [0, 0.25, 1]),
    ({"teaCache": True, **WIDE}, "teaCacheDistance", [0, 0.5, 1], [0, 0.5, 1]),
    ({"dbCache": True, "cacheMaxConsecutiveSteps": 5}, "dbCacheSkipInterval", [1, 2, 5], [1, 2, 5]),
    ({"fbCache": True}, "cacheMaxConsecutiveSteps", [1, 2, 3], [1, 2, 3]),
    ({"fbCache": True}, "cacheStartStep", [13, 8, 2], [13, 8, 2]),
    ({"fbCache": True}, "cacheEndStep", [4, 9, 15], [4, 9, 15]),
    ({"fbCache": True}, "cacheStartStepPercentage", [90, 50, 10], [90, 50, 10]),
    ({"fbCache": True}, "cacheEndStepPercentage", [25, 60, 100], [25, 60, 100]),
]


@pytest.mark.parametrize(("base", "knob", "documented", "library"), KNOBS, ids=[knob for _, knob, _, _ in KNOBS])
def test_every_knob_turns_one_way(
    trained: Checkpoint, base: dict[str, Any], knob: str, documented: list[Any], library: list[Any]
) -> None:
    directions: list[tuple[ThresholdDirection, list[Any]]] = [("documented", documented), ("library", library)]
    for direction, values in directions:
        counts = [reused(trained, direction, base | {knob: value}) for value in values]
        assert counts == sorted(counts), (direction, counts)
        assert counts[0] < counts[-1], (direction, counts)
