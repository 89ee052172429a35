import pickle
from pathlib import Path

from pipelines.models.plan import resident_plan
from pipelines.models.planning.entries import PlanOptions
from pipelines.models.residency.options import DEFAULT_OPTIONS, ModelOptions, PromptFolder


def test_options_travel_to_a_process() -> None:
    options = ModelOptions(PlanOptions(vram=10), PromptFolder(Path("/prompts"), 10))
    assert pickle.loads(pickle.dumps(options)) == options


def test_by_default_no_prompt_is_kept() -> None:
    assert DEFAULT_OPTIONS.prompts is None


def test_without_options_the_plan_stays() -> None:
    plan = resident_plan("bf16")
    assert DEFAULT_OPTIONS.adjust(plan) is plan


def test_the_user_decides_what_waits_in_host_memory() -> None:
    plan = ModelOptions(streamed_blocks=3, tables=True).adjust(resident_plan("bf16"))
    assert (plan.transformer.streamed_blocks, plan.tables) == (3, True)
    plan = ModelOptions(streamed_blocks=0, tables=False).adjust(plan)
    assert plan == resident_plan("bf16")


def test_workers_share_the_host_memory() -> None:
    options = ModelOptions(PlanOptions(host_memory=90))
    assert options.shared_by(1) == options
    assert options.shared_by(3).plan.host_memory == 30
    each = DEFAULT_OPTIONS.shared_by(2).plan.host_memory
    assert each is not None
    assert 0 < each < 2**50
