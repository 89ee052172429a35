"""The pages against the code they describe, and against the rules for pages."""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from docs.figures.parameters import PAIRS
from pipelines.catalog.catalog import BUILT_IN, Adapter, ModelEntry
from pipelines.catalog.models_file import load_catalog
from server import errors
from server.api.runware.check.validation import task_model, validate
from server.api.runware.schema.objects import AcceleratorOptions
from server.api.runware.schema.tasks import TASKS, ImageInference
from server.metrics import Metrics
from server.settings import Settings
from tests.docs.pages import PAGES, ROOT, blocks, headings, name_of, sentences, text_of

REFERENCE = ROOT / "docs" / "reference"
SCHEMA = ImageInference.model_json_schema()
LONGEST_SENTENCE = 20  # words
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=name_of)


@EVERY_PAGE
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", text_of(page)):
        if not target.startswith(("http://", "https://")):
            name, _, heading = target.partition("#")
            path = page.parent / name if name else page
            assert path.exists(), target
            assert not heading or heading in headings(path), target


PATH = re.compile(r"`((?:accel|benchmarks|docs|examples|ownware|pipelines|server|tests|training)/[\w./-]*)`")
# One is made by the recipe, the other is a pattern.
MADE = {"accel/cache/strategies/alternate.py", "benchmarks/results/gpu.jsonl", "tests/a/b/test_c.py"}


@EVERY_PAGE
def test_every_path_of_the_project_exists(page: Path) -> None:
    assert {name for name in PATH.findall(text_of(page)) if not (ROOT / name).exists()} <= MADE


def test_the_architecture_names_what_is_in_a_file() -> None:
    places = re.findall(r"\| `(\w+)` in `([\w/.]+)` \|", text_of(ROOT / "docs" / "architecture.md"))
    assert len(places) > 9
    for name, path in places:
        assert re.search(rf"^\s*(?:def |class )?{name}\b[:(\s]", text_of(ROOT / path), re.MULTILINE), (name, path)


def test_every_package_is_in_the_architecture() -> None:
    page = text_of(ROOT / "docs" / "architecture.md")
    folders = {path.parent.relative_to(ROOT) for path in ROOT.glob("*/__init__.py")}
    folders |= {path.parent.relative_to(ROOT) for path in ROOT.glob("*/*/__init__.py") if path.parts[-3] != "tests"}
    # Their packages have a line.
    inner = {
        "ownware/commands",
        "benchmarks/fit",
        "benchmarks/gpu",
        "benchmarks/precisions",
        "benchmarks/runs",
        "benchmarks/step_caches",
        "docs/figures",
    }
    assert {name for folder in folders if f"| `{(name := folder.as_posix())}` |" not in page} <= inner


@EVERY_PAGE
def test_sentences_are_short(page: Path) -> None:
    assert [text for text in sentences(page) if len(text.split()) > LONGEST_SENTENCE] == []


def test_every_page_is_in_the_index() -> None:
    linked: set[Path] = set()
    for index in (ROOT / "docs" / "README.md", ROOT / "docs" / "decisions" / "README.md"):
        targets = re.findall(r"\]\(([^)#]+)", text_of(index))
        linked |= {(index.parent / target).resolve() for target in targets}
    assert set((ROOT / "docs").rglob("*.md")) - linked == {ROOT / "docs" / "README.md"}


@EVERY_PAGE
def test_the_json_of_a_page_is_what_the_server_takes(page: Path) -> None:
    for code in blocks(page, "json"):
        document = json.loads(code)
        for task in document if isinstance(document, list) else []:
            if task.get("taskUUID") == "TASK_UUID":
                accept(task)


def accept(task: dict[str, Any]) -> None:
    """Validate a task of a page, which uses the documented spelling. Raises `Rejected`."""
    task = task | {"taskUUID": "7b1f6f0e-2c3b-4a55-9d43-0a4a0f3e7b10"}
    validate(task_model(task), task, ignore_unknown=False)


@pytest.mark.parametrize("request_file", sorted((ROOT / "examples" / "requests").glob("*.json")), ids=name_of)
def test_request_files_are_what_the_server_takes(request_file: Path) -> None:
    for task in json.loads(text_of(request_file)):
        accept(task)


@EVERY_PAGE
def test_the_toml_of_a_page_is_what_the_server_reads(page: Path, tmp_path: Path) -> None:
    for number, code in enumerate(blocks(page, "toml")):
        rows = "" if "models" in tomllib.loads(code) else BUILT_IN.read_text(encoding="utf-8")
        path = tmp_path / f"{number}.toml"
        path.write_text(rows + code, encoding="utf-8")
        load_catalog(path)


class TestParameters:
    # How a task is named and its pictures come back, and what is not supported.
    NOT_IN_THE_PICTURE = re.compile(
        r"task(Type|UUID)|model|output(Type|Format)|deliveryMethod|ttl|includeCost|webhookURL|uploadEndpoint|safety\..*"
        r"|ownware\.priority"
        r"|controlNet\[\]\.(model|guideImage)|lora\[\]\.(model|transformer)|.*[pP]rocess.*"
    )

    def test_every_parameter_is_in_the_table(self) -> None:
        named = set(re.findall(r"`([\w.\[\]]+)`", text_of(REFERENCE / "parameters.md")))
        expected = set(paths(SCHEMA))
        assert len(expected) > 60
        assert expected - named == set()

    def test_every_parameter_that_changes_the_picture_has_a_pair_of_pictures(self) -> None:
        shown = {name for pair in PAIRS for task in pair.tasks for name in named_in(task)}
        assert {name for name in paths(SCHEMA) if not self.NOT_IN_THE_PICTURE.fullmatch(name)} - shown == set()


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


def named_in(value: Any, prefix: str = "") -> Iterator[str]:
    """The parameters of a task that is sent, by the names of `paths`."""
    if isinstance(value, dict):
        for name, child in value.items():
            yield from named_in(child, f"{prefix}.{name}" if prefix else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from named_in(value[0], f"{prefix}[]")
    else:
        yield prefix


def test_every_task_type_is_in_the_table() -> None:
    assert {name for name in TASKS if f"| `{name}` |" not in text_of(REFERENCE / "api.md")} == set()


def test_every_option_is_in_the_table() -> None:
    assert {name for name in Settings.model_fields if f"| `{name}` |" not in text_of(REFERENCE / "options.md")} == set()


def test_every_error_is_in_the_table() -> None:
    rows = [line for line in text_of(REFERENCE / "errors.md").splitlines() if line.startswith("| `")]
    for kind in descendants(errors.ApiError):
        code = kind.default_code.replace("Parameter", "<Parameter>") if "Parameter" in kind.__name__ else None
        names = {kind.default_code, code}
        found = [row for row in rows if any(f"`{name}`" in row for name in names)]
        assert any(str(kind.status) in row for row in found), kind


def descendants(kind: type[errors.ApiError]) -> Iterator[type[errors.ApiError]]:
    for child in kind.__subclasses__():
        yield child
        yield from descendants(child)


def test_every_metric_is_in_the_table() -> None:
    families = re.findall(r"^# TYPE (\w+) (\w+)$", Metrics().text(0).decode(), re.MULTILINE)
    named = {name for name, _ in families if not name.endswith("_created")}
    assert named == set(re.findall(r"^\| `(ownware_\w+)`", text_of(REFERENCE / "metrics.md"), re.MULTILINE))


def test_every_key_of_the_models_file_is_in_the_table() -> None:
    page = text_of(REFERENCE / "models-file.md")
    names = {field.name for row in (ModelEntry, Adapter) for field in fields(row)}
    assert {name for name in names if f"`{name}`" not in page} == set()


def test_every_option_of_step_caches_is_in_the_table() -> None:
    page = text_of(REFERENCE / "step-caches.md")
    assert {name for name in AcceleratorOptions.model_fields if f"`{name}`" not in page} == set()
