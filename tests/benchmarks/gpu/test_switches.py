import re

import pytest
import torch

from benchmarks.fit.__main__ import rows as fit_rows
from benchmarks.fit.bench import Bench as FitBench
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.rows import rows
from benchmarks.gpu.switches import SWITCHES
from benchmarks.random_models import ModelSize
from pipelines.models.planning.cards import GIB, Host, make_card
from pipelines.models.planning.planner import Planner, Wishes
from pipelines.models.planning.sizes import QWEN_IMAGE
from pipelines.models.planning.workload import Workload
from server.options.rendering import RenderingSettings

# What these choose changes neither the seconds nor the numbers of a render by itself.
WITHOUT_EFFECT = {"models", "weights", "devices", "plan_size", "plan_references"}


def test_every_option_that_changes_speed_or_numbers_is_there() -> None:
    named = {found[1].replace("-", "_") for switch in SWITCHES if (found := re.match(r"`--([a-z0-9-]+)", switch.name))}
    assert named == RenderingSettings.model_fields.keys() - WITHOUT_EFFECT


def test_the_rows_of_a_switch_exist() -> None:
    cuda = torch.device("cuda")
    known = {
        "gpu": {row.name for row in rows(Bench(ModelSize.load("small"), cuda), 50)},
        "fit": {row.name for row in fit_rows(FitBench(ModelSize.load("small"), cuda, 2))},
    }
    known["gpu"] |= {"ours, nf4"}  # with its library only
    assert all({switch.off, switch.on} <= known[switch.benchmark] for switch in SWITCHES)


def test_each_switch_is_there_once() -> None:
    assert len({switch.name for switch in SWITCHES}) == len(SWITCHES)


@pytest.mark.parametrize(("factor", "precision"), [(Wishes().exact_factor, "bf16"), (1.0, "fp8")])
def test_the_exact_factor_chooses_the_precisions_of_its_rows(factor: float, precision: str) -> None:
    card = make_card("NVIDIA H100 80GB HBM3", 80 * GIB, None)
    wishes = Wishes(exact_factor=factor)
    plan = Planner(QWEN_IMAGE, card, Host(128 * GIB), Workload(1024, 1024), wishes).plan()
    assert plan.transformer.precision == precision
