"""The image holds what the command imports."""

import re
import tomllib

from tests.sources import ROOT, packages_needed

DOCKERFILE = (ROOT / "Dockerfile.cuda").read_text(encoding="utf-8")
COPIED = {source for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE) for source in line.split()}


def test_every_package_that_the_command_imports_is_copied() -> None:
    assert {name for name in COPIED if (ROOT / name).is_dir()} == packages_needed("ownware")


def test_every_file_that_the_build_reads_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    read = {"pyproject.toml", project["readme"], *project["license-files"]}
    assert {name for name in COPIED if (ROOT / name).is_file()} == read


def test_nothing_else_is_sent_to_the_build() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "*"
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == COPIED
