"""The commands that pages show: their options exist, and those that send tasks run as they are printed."""

import io
import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import pytest
import typer
from PIL import Image

from ownware.cli import app
from server.settings import Settings
from tests.docs.pages import PAGES, ROOT, blocks, name_of, text_of
from tests.docs.prompts import REQUESTS, seen_and_wanted, sending_commands, sent_by
from tests.live import API_KEY, LiveServer

SERVED = {f"--{name.replace('_', '-')}" for name in Settings.model_fields}


def command_lines(page: Path) -> list[str]:
    """Every `ownware …` of a page's shell blocks, and of its inline code that has options."""
    shown = [line for code in blocks(page, "sh") for line in code.splitlines()]
    shown += [code for code in re.findall(r"`([^`\n]+)`", text_of(page)) if " --" in code]
    found = [re.search(r"(?:^|[ /])(ownware (?!\.|ownware ).*)", line.split(" #")[0]) for line in shown]
    return [match[1] for match in found if match is not None]


@cache
def tree() -> Any:
    """The commands as typer has them. Making them takes longer than a test."""
    return typer.main.get_command(app)


@pytest.mark.parametrize("page", [page for page in PAGES if command_lines(page)], ids=name_of)
def test_every_command_and_option_exists(page: Path) -> None:
    for line in command_lines(page):
        words = line.split()[1:]
        command = tree()
        while hasattr(command, "commands") and words and not words[0].startswith("-"):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        if command.context_settings.get("ignore_unknown_options"):
            known |= SERVED
        assert {word for word in words if word.startswith("--")} <= known, line


def pages_that_send() -> dict[str, list[str]]:
    """The commands by page; those of a page of which each is on an earlier page are left out."""
    found: dict[str, list[str]] = {}
    for page in PAGES:
        commands = sending_commands(page)
        if set(commands) - {command for earlier in found.values() for command in earlier}:
            found[name_of(page)] = commands
    return found


SENDING = pages_that_send()


def test_the_commands_are_found() -> None:
    """A pattern that matches nothing would test nothing."""
    assert SENDING.keys() >= {"README.md", "docs/how-to/clients.md", "docs/tutorials/edit-a-picture.md"}
    sent = "".join(command for commands in SENDING.values() for command in commands)
    assert all(name_of(file) in sent for file in REQUESTS)


@pytest.mark.slow
@pytest.mark.parametrize("page", SENDING)
def test_the_commands_that_send_tasks(page: str, live: LiveServer) -> None:
    """They run as they are printed, and their pictures show what is asked for."""
    last = ""
    for command in SENDING[page]:
        item = answered(command.replace("IMAGE_UUID", last), live)
        last = item.get("guideImageUUID") or item["imageUUID"]
        task = sent_by(command)
        if "positivePrompt" in task and "controlNet" not in task:  # whose control image is of another prompt here
            picture = Image.open(io.BytesIO(httpx2.get(item["imageURL"]).content))
            seen, wanted = seen_and_wanted(picture, task)
            assert seen == wanted


def answered(command: str, live: LiveServer) -> dict[str, Any]:
    """Run a command against a server, and return the result that it prints."""
    command = command.replace("http://127.0.0.1:8000", live.url)
    command = command.replace("curl -s", f"curl -s -H 'Authorization: Bearer {API_KEY}'")
    variables = {"BASE_URL": live.url, "RUNWARE_API_KEY": API_KEY, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    (item,) = json.loads(done.stdout)["data"]
    return item


def test_every_command_is_in_the_table() -> None:
    page = text_of(ROOT / "docs" / "reference" / "commands.md")
    assert {name for name in commands(tree(), "ownware") if f"`{name}" not in page} == set()


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
