"""Every field of the wire's task can be set by a flag."""

from typing import Any

import pytest

from ownware.batch.tasks.flags import FLAGS, PROMPT, find_flag, kebab, nearest_flag, set_field
from server.api.runware.schema.tasks import ImageInference
from tests.docs.pages import ROOT
from tests.docs.test_pages import paths

# How a task is sent, and what only `--task` sets: faces for other model families, and what has one value.
NO_FLAG = {
    *("taskType", "taskUUID", "deliveryMethod", "outputType", "ttl", "includeCost", "webhookURL", "uploadEndpoint"),
    "safety.mode",
}
NO_FLAGS = "advancedFeatures."
WHOLE = ("lora[]", "controlNet[]", "outpaint")


def test_every_field_of_a_task_has_a_flag() -> None:
    fields = {name for name in paths(ImageInference.model_json_schema()) if not name.startswith(NO_FLAGS)}
    fields = {next((whole for whole in WHOLE if name.startswith(whole)), name) for name in fields} - NO_FLAG
    flags = {flag.path for flag in (PROMPT, *FLAGS)}
    assert fields == {f"{path}[]" if path in ("lora", "controlNet") else path for path in flags}


def test_every_flag_is_in_the_table_of_the_page() -> None:
    page = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    section = page.partition("## Flags of a task")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `--")]
    assert rows == [f"| `{flag.flag}` | `{flag.path}` | {flag.help} |" for flag in FLAGS]


def test_names_are_unique() -> None:
    names = [name for flag in (PROMPT, *FLAGS) for name in {flag.name.lower(), *map(str.lower, flag.also)}]
    assert len(names) == len(set(names))
    assert len({flag.flag for flag in FLAGS}) == len(FLAGS)


@pytest.mark.parametrize(
    ("name", "flag"),
    [("maskMargin", "mask-margin"), ("CFGScale", "cfg-scale"), ("trueCFGScale", "true-cfg-scale"), ("p", "p")],
)
def test_the_spelling_of_the_command_line(name: str, flag: str) -> None:
    assert kebab(name) == flag
    assert kebab(flag) == flag


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("prompt", "positivePrompt"),
        ("Instruction", "positivePrompt"),
        ("negative prompt", "negativePrompt"),
        ("inputs.strength", "inputs.strength"),
        ("mask_image", "inputs.maskImage"),
        ("CFG-Scale", "CFGScale"),
        ("references", "inputs.referenceImages"),
        ("loras", "lora"),
    ],
)
def test_columns_are_known_however_they_are_spelt(name: str, path: str) -> None:
    flag = find_flag(name)
    assert flag is not None
    assert flag.path == path


def test_unknown_and_misspelt_columns() -> None:
    assert find_flag("notes") is None
    assert nearest_flag("notes") is None
    assert nearest_flag("promt") == "prompt"
    assert nearest_flag("sede") == "seed"


def test_a_field_within_an_object() -> None:
    task: dict[str, Any] = {"inputs": {"strength": 1}}
    set_field(task, "inputs.maskImage", "m")
    set_field(task, "acceleratorOptions.fbCache", True)
    assert task == {"inputs": {"strength": 1, "maskImage": "m"}, "acceleratorOptions": {"fbCache": True}}
