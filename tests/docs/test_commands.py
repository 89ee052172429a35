"""The commands that pages show: their options exist, and those that send tasks run as they are printed."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from ownware.cli import app
from server.settings import Settings
from tests.docs.pages import PAGES, ROOT, blocks, name_of, text_of
from tests.live import API_KEY, LiveServer

SERVED = {f"--{name.replace('_', '-')}" for name in Settings.model_fields}
SENDS = re.compile(r"^(?:curl -s http://127\.0\.0\.1:8000/v1 |examples/\w+\.sh )", re.MULTILINE)
SENDING = [
    pytest.param(page, marks=() if page.name == "edit-a-picture.md" else pytest.mark.slow, id=name_of(page))
    for page in PAGES
    if any(SENDS.search(code) for code in blocks(page, "sh"))
]


def command_lines(page: Path) -> list[str]:
    """Every `ownware …` of a page's shell blocks, and of its inline code that has options."""
    shown = [line for code in blocks(page, "sh") for line in code.splitlines()]
    shown += [code for code in re.findall(r"`([^`\n]+)`", text_of(page)) if " --" in code]
    found = [re.search(r"(?:^|[ /])(ownware (?!\.|ownware ).*)", line.split(" #")[0]) for line in shown]
    return [match[1] for match in found if match is not None]


@pytest.mark.parametrize("page", [page for page in PAGES if command_lines(page)], ids=name_of)
def test_every_command_and_option_exists(page: Path) -> None:
    for line in command_lines(page):
        words = line.split()[1:]
        command: Any = typer.main.get_command(app)
        while hasattr(command, "commands") and words and not words[0].startswith("-"):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        if command.context_settings.get("ignore_unknown_options"):
            known |= SERVED
        assert {word for word in words if word.startswith("--")} <= known, line


@pytest.mark.slow
@pytest.mark.parametrize("page", SENDING)
def test_the_commands_that_send_tasks(page: Path, live: LiveServer) -> None:
    last = ""
    for code in blocks(page, "sh"):
        if not SENDS.search(code):
            continue
        code = code.replace("http://127.0.0.1:8000", live.url)
        code = code.replace("curl -s", f"curl -s -H 'Authorization: Bearer {API_KEY}'")
        for command in [code] if "curl" in code else code.splitlines():
            last = answered(command.replace("IMAGE_UUID", last), live)


def answered(command: str, live: LiveServer) -> str:
    """Run a command, and return the UUID of the picture that it made."""
    variables = {"BASE_URL": live.url, "RUNWARE_API_KEY": API_KEY, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    (item,) = json.loads(done.stdout)["data"]
    return item.get("guideImageUUID") or item["imageUUID"]


def test_every_command_is_in_the_table() -> None:
    page = text_of(ROOT / "docs" / "reference" / "commands.md")
    assert {name for name in commands(typer.main.get_command(app), "ownware") if f"`{name}" not in page} == set()


def commands(command: Any, name: str) -> Iterator[str]:
    """A command or, of a group, those below it, as they are typed; former names are hidden."""
    if not hasattr(command, "commands"):
        yield from [] if command.hidden else [name]
        return
    for word, child in command.commands.items():
        yield from commands(child, f"{name} {word}")


def test_every_make_target_is_in_the_table() -> None:
    page = text_of(ROOT / "docs" / "reference" / "commands.md")
    targets = re.findall(r"^\.PHONY: (.*)$", text_of(ROOT / "Makefile"), re.MULTILINE)[0].split()
    assert {target for target in targets if f"| `make {target}` |" not in page} == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_make_target_exists(page: Path) -> None:
    makefile = text_of(ROOT / "Makefile")
    for target in set(re.findall(r"(?:`|^|\s)make ([a-z-]+)(?:`| +ARGS|$| +#)", text_of(page), re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
