"""The pages in docs/ against the code they describe."""

import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from accel.cache.plan import CachePlan
from accel.cache.strategies import table
from docs.figures.parameters import PAIRS
from pipelines.latents import grid, noise
from pipelines.models.loader import Checkpoint
from pipelines.render import advance, begin
from pipelines.request import RenderRequest, Sampler
from server.api.runware.schema.tasks import ImageInference

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = ImageInference.model_json_schema()


def paths(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Every parameter of the task, as `outpaint.top` or `lora[].weight`."""
    if "$ref" in node:
        node = SCHEMA["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    if "anyOf" in node:
        yield from paths(next(branch for branch in node["anyOf"] if branch.get("type") != "null"), prefix)
    elif node.get("type") == "array" and "$ref" in node["items"]:
        yield from paths(node["items"], f"{prefix}[]")
    elif "properties" in node:
        for name, child in node["properties"].items():
            yield from paths(child, f"{prefix}.{name}" if prefix else name)
    else:
        yield prefix


def test_every_parameter_is_in_the_table() -> None:
    page = (DOCS / "parameters.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w.\[\]]+)`", page))
    expected = set(paths(SCHEMA))
    assert len(expected) > 60
    assert expected - named == set()


# What a task is told by and how its pictures come back, and what is not supported.
NOT_IN_THE_PICTURE = re.compile(
    r"task(Type|UUID)|model|output(Type|Format)|deliveryMethod|ttl|includeCost|webhookURL|uploadEndpoint|safety\..*"
    r"|controlNet\[\]\.(model|guideImage)|lora\[\]\.(model|transformer)|.*[pP]rocess.*"
)


def named_in(value: Any, prefix: str = "") -> Iterator[str]:
    """The parameters of a task that is sent, by the names of `paths`."""
    if isinstance(value, dict):
        for name, child in value.items():
            yield from named_in(child, f"{prefix}.{name}" if prefix else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from named_in(value[0], f"{prefix}[]")
    else:
        yield prefix


def test_every_parameter_that_changes_the_picture_has_a_pair_of_pictures() -> None:
    shown = {name for pair in PAIRS for task in pair.tasks for name in named_in(task)}
    assert {name for name in paths(SCHEMA) if not NOT_IN_THE_PICTURE.fullmatch(name)} - shown == set()


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if not target.startswith(("http://", "https://")):
            name, _, heading = target.partition("#")
            path = page.parent / name if name else page
            assert path.is_file(), target
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE) if heading else []
            assert not heading or heading in {text.lower().replace(" ", "-") for text in headings}, target


def test_the_strategy_of_the_guide_works(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (DOCS / "caching.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    module = types.ModuleType("alternate")
    monkeypatch.setitem(sys.modules, "alternate", module)
    exec(code, module.__dict__)
    monkeypatch.setitem(table.STRATEGIES, "fbcache", module.__dict__["from_plan"])
    plan = CachePlan("fbcache", 1.0, 0, 9, 3)
    state = begin(
        RenderRequest("", "", None, 64, 48, 9, Sampler(), 1.0, 3, cache=plan),
        checkpoint,
        noise=noise(grid(64, 48, checkpoint.vae), 16, seed=3),
        cond=torch.zeros(1, 4, checkpoint.transformer.config["joint_attention_dim"]),
        uncond=None,
    )
    while state.step < state.total:
        advance([state])
    assert state.cache is not None
    assert state.cache.report().patterns == {"cond": "CRCRCRCRC"}
