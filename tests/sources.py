"""The source tree as text: its packages, and what they import. Imports none of them."""

import ast
import functools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


@functools.cache
def imports(path: Path) -> frozenset[str]:
    """The modules that a file imports, wherever in it; `from a import b` may mean the module a.b."""
    return frozenset(_imported(_statements(ast.parse(path.read_text(encoding="utf-8")))))


def imports_at_start(path: Path) -> Iterator[str]:
    """The modules that a file imports when it is imported itself: neither in functions nor for types only."""
    yield from _imported(ast.parse(path.read_text(encoding="utf-8")).body)


def packages_at_start(module: str) -> set[str]:
    """The packages outside of the tree that are imported with a module, as its files say, those of Python left out."""
    found, waiting = set[str](), {module}
    seen = set[str]()
    while waiting:
        seen.add(name := waiting.pop())
        parts = name.split(".")
        if not (ROOT / parts[0] / "__init__.py").is_file():
            found.add(parts[0])
            continue
        waiting |= {".".join(parts[:depth]) for depth in range(1, len(parts))} - seen
        path = ROOT.joinpath(*parts)
        files = [file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()]
        waiting |= {each for file in files for each in imports_at_start(file)} - seen
    return found - set(sys.stdlib_module_names)


def _statements(block: ast.AST) -> Iterator[ast.AST]:
    """All statements of a block. They are a tenth of its nodes."""
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        for node in getattr(block, name, ()):
            yield node
            yield from _statements(node)


def _imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@functools.cache
def packages_needed(package: str) -> frozenset[str]:
    """A package of the tree and all others there that it needs, directly or through another."""
    needed: set[str] = set()
    found = {package}
    while found:
        needed |= found
        files = [path for name in found for path in (ROOT / name).rglob("*.py")]
        tops = {module.split(".")[0] for path in files for module in imports(path)}
        found = {name for name in tops if (ROOT / name / "__init__.py").is_file()} - needed
    return frozenset(needed)
