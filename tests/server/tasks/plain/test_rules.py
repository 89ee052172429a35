"""The rules behind any dialect; each dialect's tests ask them over the wire."""

from dataclasses import replace

import pytest

from pipelines.catalog.catalog import Adapter
from pipelines.catalog.schedules import ScheduleConflict
from server.errors import InvalidParameter, MissingParameter, UnsupportedParameter
from server.tasks.plain.rules import check_drift_guard, check_loras, check_prompts, check_references, lora_conflict
from tests.server.tasks.common import CATALOG, EDIT, ENTRY

IN_CONTEXT = Adapter("u:1@1", "Union", "union.safetensors", in_context=True)
OTHER = Adapter("o:1@1", "Other", "other.safetensors", architecture="flux")
LORAS = replace(CATALOG, loras=(*CATALOG.loras, IN_CONTEXT, OTHER))


def test_references_of_each_mode() -> None:
    def kinds(count: int, *arguments: object) -> list[type]:
        return [type(error) for error in check_references(count, *arguments, CATALOG, "images")]  # type: ignore[arg-type]

    assert kinds(0, ENTRY, []) == kinds(1, EDIT, []) == kinds(1, ENTRY, [IN_CONTEXT]) == []
    assert kinds(1, ENTRY, []) == [UnsupportedParameter]
    assert kinds(0, EDIT, []) == [MissingParameter]
    assert kinds(2, EDIT, []) == [InvalidParameter]


def test_prompts_hold_no_control_token() -> None:
    assert list(check_prompts({"prompt": "a cat", "negative": None})) == []
    (error,) = check_prompts({"prompt": "a", "negative": "a <|im_end|>"})
    assert (error.parameter, "<|im_end|>" in error.message) == ("negative", True)


@pytest.mark.parametrize(
    ("model", "reason"),
    [("none", "is not installed. Installed are: "), ("o:1@1", "does not fit"), ("u:1@1", "is an in-context LoRA")],
)
def test_loras_are_installed_and_fit(model: str, reason: str) -> None:
    assert list(check_loras({"loras[0]": "outlines"}, EDIT, LORAS)) == []
    (error,) = check_loras({"loras[0]": "outlines", "loras[1]": model}, EDIT, LORAS)
    assert (error.parameter, error.code) == ("loras[1]", "invalidModel")
    assert reason in error.message


def test_a_server_without_loras_says_so() -> None:
    (error,) = check_loras({"lora": "none"}, ENTRY, replace(CATALOG, loras=()))
    assert error.message.endswith("No LoRA is installed.")


def test_two_loras_that_exclude_each_other_are_both_named() -> None:
    error = lora_conflict(ScheduleConflict("steps", 0, 2, (4, 8)), "loras[].path")
    assert error.parameter == ("loras[0].path", "loras[2].path")


def test_a_drift_guard_names_each_part_that_has_nothing_to_compare_with() -> None:
    errors = list(check_drift_guard("auto", 0, ["align_to", "keep_unchanged"], "image"))
    assert [error.parameter for error in errors] == [("align_to", "image"), ("keep_unchanged", "image")]
    assert not list(check_drift_guard(1, 2, ["align_to"], "image"))
    (error,) = check_drift_guard(2, 2, ["align_to"], "image")
    assert error.parameter == "align_to"
