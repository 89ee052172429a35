"""CONTRIBUTING.md: a short recipe for each kind of extension; that for a step cache works to the letter."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, text_of
from tests.live import PLAIN_INSTALL, server_environment

PAGE = ROOT / "CONTRIBUTING.md"
RECIPES = {
    "A scheduler",
    "A step cache",
    "A dialect",
    "A view of the web page",
    "A model",
    "A weight format",
    "A quantization",
}
LONGEST = 10  # steps
PACKAGES = ("accel", "pipelines", "examples")

# Draws one image with the strategy on random weights, and prints which forwards were computed.
DRAW = """
import sys
from pathlib import Path
import torch
from accel.cache.plan import CachePlan
from pipelines.latents import grid, noise
from pipelines.models.loading.loader import load
from pipelines.render.prepare import begin
from pipelines.render.steps import advance
from pipelines.request import RenderRequest, Sampler

checkpoint = load(sys.argv[1], torch.device("cpu"), torch.float32, with_vision=True)
plan = CachePlan("alternate", 1.0, 0, 9, 3)
state = begin(
    RenderRequest("", "", None, 64, 48, 9, Sampler(), 1.0, 3, cache=plan),
    checkpoint,
    noise=noise(grid(64, 48, checkpoint.vae), 16, seed=3),
    cond=torch.zeros(1, 4, checkpoint.transformer.config["joint_attention_dim"]),
    uncond=None,
)
while state.step < state.total:
    advance([state])
print(state.cache.report().patterns["cond"])
"""


def recipes() -> dict[str, list[str]]:
    """The numbered steps under each heading."""
    _, _, text = text_of(PAGE).partition("## Recipes")
    parts = re.split(r"^### (.*)$", text, flags=re.MULTILINE)[1:]
    titles, bodies = parts[::2], parts[1::2]
    return {title: re.findall(r"^\d+\. (.*)$", body, re.MULTILINE) for title, body in zip(titles, bodies, strict=True)}


def test_there_is_a_short_recipe_for_each() -> None:
    assert set(recipes()) == RECIPES
    assert all(0 < len(steps) <= LONGEST for steps in recipes().values())


@pytest.mark.slow
def test_the_recipe_for_a_step_cache(tmp_path: Path, weights: Path) -> None:
    for package in PACKAGES:  # with the compiled files, which stay valid: a copy is as old as what it is made from
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("embedded"))
    followed = [step for step in recipes()["A step cache"] if follow(step, tmp_path)]
    assert len(followed) == 4
    done = subprocess.run(
        [sys.executable, "-c", DRAW, str(weights)],
        cwd=tmp_path,
        env=server_environment(PYTHONPATH=os.pathsep.join((str(tmp_path), str(PLAIN_INSTALL)))),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "CRCRCRCRC"


def follow(step: str, tree: Path) -> bool:
    """Carry out a step of a recipe on a copy of the tree. False for a step that asks for judgement."""
    if copied := re.match(r"Copy `(\S+)` to `(\S+)`\.", step):
        shutil.copy(tree / copied[1], tree / copied[2])
    elif line := re.match(r"Add `(from .*)` to the imports of `(\S+)`\.", step):
        path = tree / line[2]
        source = path.read_text(encoding="utf-8")
        first = next(node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom))
        path.write_text(inserted(source, first.lineno - 1, 0, line[1] + "\n"), encoding="utf-8")
    elif entry := re.match(r"Add `(\"alternate\".*)` to `(\w+)` in `(\S+)`\.", step):
        path = tree / entry[3]
        source = path.read_text(encoding="utf-8")
        end = end_of_value(source, entry[2])
        path.write_text(inserted(source, end[0] - 1, end[1] - 1, f", {entry[1]}"), encoding="utf-8")
        ast.parse(path.read_text(encoding="utf-8"))
    else:
        return False
    return True


def end_of_value(source: str, name: str) -> tuple[int, int]:
    """Line and column behind the value that is assigned to a name: behind its closing bracket."""
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if value is not None and any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return value.end_lineno, value.end_col_offset
    return pytest.fail(f"{name} is not assigned")


def inserted(source: str, line: int, column: int, text: str) -> str:
    """The source with a text put in, without a comma after a comma."""
    lines = source.splitlines(keepends=True)
    before = "".join(lines[:line]) + lines[line][:column]
    if text.startswith(", ") and before.rstrip().endswith(","):
        text = text.removeprefix(", ")
    return before + text + lines[line][column:] + "".join(lines[line + 1 :])
