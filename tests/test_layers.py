"""Dependencies point one way, no folders import each other in a circle, and the API process starts without torch."""

import subprocess
import sys
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.sources import ROOT, imports

# What each package may import besides itself.
BELOW = {
    "accel": set[str](),
    "pipelines": {"accel"},
    "server": {"pipelines", "accel"},
    "benchmarks": {"server", "pipelines", "accel"},
    "training": {"pipelines", "accel"},
    "ownware": {"benchmarks", "server", "pipelines", "accel"},
    "docs": {"benchmarks", "server", "pipelines", "accel"},
}
PACKAGES = {*BELOW, "tests"}
# Modules in one folder. More than about a dozen want rooms.
MOST_MODULES = 14


def name_of(path: Path) -> tuple[str, ...]:
    """A file's dotted name, in parts; a package is its folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


FILES = [path for package in BELOW for path in (ROOT / package).rglob("*.py") if "node_modules" not in path.parts]


@cache
def modules() -> dict[tuple[str, ...], frozenset[str]]:
    """What each module imports. Read by the tests: a process that runs none of them has no use for it."""
    return {name_of(path): imports(path) for path in FILES}


@pytest.mark.parametrize("package", BELOW)
def test_no_back_edge(package: str) -> None:
    imported = {module.split(".")[0] for name, found in modules().items() if name[0] == package for module in found}
    assert imported & PACKAGES - {package} <= BELOW[package]


@cache
def edges() -> set[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Each import between two of our modules, as names in parts."""
    dotted = {".".join(name): name for name in modules()}
    return {(name, dotted[module]) for name, found in modules().items() for module in found & dotted.keys()}


def siblings(folder: tuple[str, ...]) -> dict[str, set[str]]:
    """What each file and folder within a folder imports of the others there."""
    graph: dict[str, set[str]] = {}
    depth = len(folder)
    for name, target in edges():
        if name[:depth] == target[:depth] == folder and len(name) > depth and len(target) > depth:
            graph.setdefault(name[depth], set())
            if name[depth] != target[depth]:
                graph[name[depth]].add(target[depth])
    return graph


def test_no_circle_within_a_folder() -> None:
    circles = []
    for folder in sorted({name[:depth] for name in modules() for depth in range(len(name))}):
        try:
            TopologicalSorter(siblings(folder)).prepare()
        except CycleError as error:
            circles.append(f"{'.'.join(folder) or 'top level'}: {' → '.join(reversed(error.args[1]))}")
    assert circles == []


def test_no_folder_has_more_modules_than_a_reader_can_hold() -> None:
    folders = Counter(path.parent for path in FILES if path.stem != "__init__")
    crowded = {str(folder.relative_to(ROOT)): modules for folder, modules in folders.items() if modules > MOST_MODULES}
    assert not crowded


def test_a_dialect_is_imported_by_what_wires_it_up_alone() -> None:
    outside = {name for name, target in edges() if target[:3] == ("server", "api", "runware") != name[:3]}
    assert {name for name in outside if name[0] == "server"} == {("server", "app")}


def test_the_benchmark_of_step_caches_knows_the_wire_and_no_server() -> None:
    known = {target for name, target in edges() if name[:2] == ("benchmarks", "step_caches") and target[0] == "server"}
    wire = ("server", "api", "runware")
    assert known == {(*wire, "translate", "caches"), (*wire, "schema", "objects")}


def test_the_api_process_imports_no_torch() -> None:
    code = "import sys, ownware.cli, server.run; print({'torch', 'diffusers', 'transformers'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, ownware; print(ownware.__version__, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    _, torch_is_imported = done.stdout.split()
    assert torch_is_imported == "False"
