import re

import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.rows import rows
from benchmarks.gpu.switches import SWITCHES
from benchmarks.random_models import ModelSize
from server.options.rendering import RenderingSettings

# What these choose changes neither the seconds nor the numbers of a render by itself.
WITHOUT_EFFECT = {"models", "weights", "devices", "plan_size", "plan_references"}


def test_every_option_that_changes_speed_or_numbers_is_there() -> None:
    named = {found[1].replace("-", "_") for switch in SWITCHES if (found := re.match(r"`--([a-z0-9-]+)", switch.name))}
    assert named == RenderingSettings.model_fields.keys() - WITHOUT_EFFECT


def test_the_rows_of_a_switch_exist() -> None:
    known = {row.name for row in rows(Bench(ModelSize.load("small"), torch.device("cuda")), 50)}
    known |= {"ours, nf4"}  # with its library only
    assert {row for switch in SWITCHES for row in (switch.off, switch.on) if row is not None} <= known


def test_a_switch_has_both_rows_or_none() -> None:
    assert all((switch.off is None) == (switch.on is None) for switch in SWITCHES)
    assert len({switch.name for switch in SWITCHES}) == len(SWITCHES)
