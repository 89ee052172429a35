from dataclasses import FrozenInstanceError, fields, replace
from typing import Any, cast

import pytest

from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.plan import ComponentPlan, resident_plan


def test_nothing_of_a_checkpoint_can_be_replaced(checkpoint: Checkpoint) -> None:
    for field in fields(checkpoint):
        with pytest.raises(FrozenInstanceError):
            setattr(checkpoint, field.name, None)
    with pytest.raises(TypeError):
        cast("Any", checkpoint.scheduler)["shift"] = 3.0


def test_models_of_one_checkpoint_have_memories_of_their_own(checkpoint: Checkpoint) -> None:
    one, other = LoadedModel(checkpoint), LoadedModel(checkpoint)
    one.memory.get("embedding", "a", lambda: 1)
    assert one.memory.values("embedding") == (1,)
    assert other.memory.values("embedding") == ()


def test_the_precision_names_what_is_quantized(checkpoint: Checkpoint) -> None:
    assert LoadedModel(checkpoint).precision == "float32"
    assert LoadedModel(checkpoint, resident_plan("fp32")).precision == "float32"
    plan = replace(resident_plan("fp32"), transformer=ComponentPlan("fp8"))
    assert LoadedModel(checkpoint, plan).precision == "float32, transformer fp8"
    plan = replace(plan, text_encoder=ComponentPlan("nf4"))
    assert LoadedModel(checkpoint, plan).precision == "float32, transformer fp8, text encoder nf4"
