from dataclasses import replace

import pytest
import torch

from benchmarks.fit.bench import Bench
from benchmarks.fit.cards import Case
from benchmarks.random_models import ModelSize


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(replace(ModelSize.load("small"), side=64), torch.device("cpu"), steps=2)


@pytest.mark.parametrize(
    "case",
    [
        Case("bf16", 24),
        *(
            pytest.param(case, marks=pytest.mark.slow)
            for case in (Case("bf16", 12, 1), Case("fp8", 12), Case("bf16", 48))
        ),
    ],
    ids=str,
)
@torch.inference_mode()
def test_an_emulated_card_draws_what_resident_weights_do(bench: Bench, case: Case) -> None:
    figures = bench.measure(case)
    assert figures["bit_equal"]
    assert figures["latents_relative_difference"] == 0
    assert figures["finite"]
    assert figures["tables"]
    assert (figures["streamed_blocks"] > 0) == (case.gib != 48)
    assert figures["limit_gib"] == case.gib
    assert figures["peak_gib"] is figures["within_limit"] is None  # only a GPU can be limited
    assert figures["ratio"] == pytest.approx(
        figures["seconds_per_step"] / figures["resident_seconds_per_step"], rel=0.05, abs=0.01
    )


@torch.inference_mode()
def test_a_resident_render_is_its_own_measure(bench: Bench) -> None:
    figures = bench.measure(Case("bf16", None))
    assert (figures["ratio"], figures["streamed_gib"], figures["tables"]) == (1.0, 0.0, False)


def test_the_link_is_measured_once(bench: Bench) -> None:
    assert bench.measure_link()["copy_gb_per_second"] >= 0
    assert bench.link == bench.link > 0
