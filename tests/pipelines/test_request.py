import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from pydantic import TypeAdapter

from pipelines.request import (
    ControlUse,
    Deterministic,
    LoraUse,
    Outpaint,
    Reference,
    RenderRequest,
    Sampler,
    SolverName,
    Stochastic,
)

REFERENCE = Reference(Path("a.png"), "ab12", 60, 40)
REQUEST = RenderRequest("runware:108@1", "a", None, 256, 128, 20, Sampler(), 4.0, 7)

# As the first release wrote it, into receipts and into the table of jobs.
WRITTEN = {
    "model": "runware:108@1",
    "prompt": "a red circle",
    "negative_prompt": None,
    "width": 320,
    "height": 256,
    "steps": 20,
    "sampler": {"integrator": "dpmpp_2m_sde", "spacing": "karras"},
    "true_cfg_scale": 4.0,
    "seed": 11,
    "count": 1,
    "references": [],
    "seed_image": {"path": "seed.png", "sha256": "cd34", "width": 256, "height": 256},
    "strength": 0.8,
    "mask": None,
    "mask_margin": None,
    "outpaint": {"top": 0, "right": 0, "bottom": 0, "left": 64, "blur": 8},
    "loras": [{"name": "ownware:1@1", "path": "lora.safetensors", "weight": 0.8}],
    "controls": [
        {
            "name": "ownware:2@1",
            "weights": "edges",
            "guide": {"path": "guide.png", "sha256": "ef56", "width": 256, "height": 256},
            "weight": 0.9,
            "mode": "balanced",
            "start": 0,
            "end": 20,
        }
    ],
    "faces": None,
    "cache": None,
}


def test_what_the_first_release_wrote_is_read_and_written_alike() -> None:
    adapter = TypeAdapter(RenderRequest)
    text = json.dumps(WRITTEN, separators=(",", ":"))
    request = adapter.validate_json(text)
    assert request == replace(
        REQUEST,
        prompt="a red circle",
        width=320,
        height=256,
        sampler=Sampler("dpmpp_2m_sde", "karras"),
        seed=11,
        seed_image=Reference(Path("seed.png"), "cd34", 256, 256),
        strength=0.8,
        outpaint=Outpaint(left=64, blur=8),
        loras=(LoraUse("ownware:1@1", Path("lora.safetensors"), 0.8),),
        controls=(
            ControlUse("ownware:2@1", "edges", Reference(Path("guide.png"), "ef56", 256, 256), weight=0.9, end=20),
        ),
    )
    assert adapter.dump_json(request, by_alias=True).decode() == text


class TestExecutedSteps:
    def test_without_a_seed_image_all_are(self) -> None:
        assert replace(REQUEST, strength=0.5).executed_steps == 20

    @pytest.mark.parametrize(("strength", "executed"), [(1.0, 20), (0.8, 16), (0.51, 11), (0.04, 1), (0.0, 0)])
    def test_a_seed_image_skips_what_its_strength_leaves_out(self, strength: float, executed: int) -> None:
        assert replace(REQUEST, seed_image=REFERENCE, strength=strength).executed_steps == executed


def test_samplers_that_add_noise_between_steps() -> None:
    assert all(Sampler(name).stochastic for name in get_args(Stochastic))
    assert not any(Sampler(name).stochastic for name in get_args(Deterministic))
    assert set(get_args(SolverName)) == {*get_args(Stochastic), *get_args(Deterministic)}
