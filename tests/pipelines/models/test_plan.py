from dataclasses import replace

import pytest

from pipelines.models.plan import EXACT, ComponentPlan, Precision, resident_plan


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp8"])
def test_a_resident_plan_streams_nothing(precision: Precision) -> None:
    plan = resident_plan(precision)
    parts = (plan.transformer, plan.text_encoder, plan.vae)
    assert {part.precision for part in parts} == {precision}
    assert not any(part.streamed_bytes for part in parts)
    assert not plan.tables
    assert plan.exact == (precision in EXACT)


@pytest.mark.parametrize("component", ["transformer", "text_encoder", "vae"])
def test_one_rounded_component_makes_a_plan_inexact(component: str) -> None:
    assert not replace(resident_plan("bf16"), **{component: ComponentPlan("nf4")}).exact
    assert replace(resident_plan("bf16"), **{component: ComponentPlan("packed")}).exact
