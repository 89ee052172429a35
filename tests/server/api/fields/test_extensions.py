from typing import Any

import pytest

from server.api.fields.extensions import THRESHOLDS, Extensions
from server.api.fields.validation import validate
from server.errors import TaskRejected
from server.tasks.plain.cache_choice import CacheChoice
from server.tasks.plain.plain_task import PlainLora


def options(**fields: Any) -> dict[str, Any]:
    return validate(Extensions, fields).plain_options


def test_without_any_the_model_decides() -> None:
    assert options() == {
        "steps": None,
        "true_cfg_scale": None,
        "loras": (),
        "cache": None,
        "align_to": None,
        "keep_unchanged": False,
    }


@pytest.mark.parametrize("align_to", ["auto", 0, 2])
def test_the_drift_guard(align_to: Any) -> None:
    found = options(align_to=align_to, keep_unchanged="auto")
    assert (found["align_to"], found["keep_unchanged"]) == (align_to, True)


def test_steps_and_guidance() -> None:
    found = options(num_inference_steps=30, true_cfg_scale=1)
    assert (found["steps"], found["true_cfg_scale"]) == (30, 1.0)


@pytest.mark.parametrize(
    "lora", [{"path": "a", "scale": 0.5}, {"model": "a", "weight": 0.5}, {"name": "a", "scale": 0.5}]
)
def test_a_lora_in_each_spelling(lora: dict[str, Any]) -> None:
    assert options(loras=[lora, "b"])["loras"] == (PlainLora("a", 0.5), PlainLora("b"))


@pytest.mark.parametrize("name", list(THRESHOLDS))
def test_a_cache_by_its_name_alone(name: Any) -> None:
    assert options(cache=name)["cache"] == CacheChoice(name, THRESHOLDS[name], 3)


def test_a_cache_with_its_options() -> None:
    field = {"type": "fbcache", "threshold": 0.1, "start_step": 2, "end_step": 9, "max_consecutive_steps": 1}
    assert options(cache=field)["cache"] == CacheChoice("fbcache", 0.1, 1, (2, 9))


@pytest.mark.parametrize(
    "fields",
    [
        {"num_inference_steps": 0},
        {"num_inference_steps": 51},
        {"true_cfg_scale": -1},
        {"loras": ["a"] * 21},
        {"align_to": -1},
        {"align_to": "seedImage"},
        {"keep_unchanged": True},
        {"loras": "a"},
        {"cache": {"type": "fbcache", "start_step": 2}},
        {"cache": {"type": "fbcache", "start_step": 9, "end_step": 9}},
        {"cache": {"type": "fbcache", "threshold": 1.1}},
    ],
)
def test_what_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(TaskRejected):
        validate(Extensions, fields)
