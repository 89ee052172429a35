"""A task copied for programs: each one is a program that runs."""

import ast
import json
import shutil
import subprocess

import httpx2
import pytest
from playwright.sync_api import Page, expect

from tests.browser.forms import fill_small
from tests.live import LiveServer

pytestmark = pytest.mark.browser
AWKWARD = """it's a "red" $HOME `circle` \\ 圆"""


def copied(page: Page, language: str) -> str:
    page.get_by_role("button", name=language, exact=True).click()
    return page.locator("dialog.copy pre").inner_text()


def test_each_way_of_writing_a_task_sends_it(make: Page, server: LiveServer) -> None:
    fill_small(make, steps=1)
    make.get_by_label("Prompt", exact=True).fill(AWKWARD)
    make.get_by_role("button", name="Copy as").click()
    expect(make.get_by_role("dialog")).to_be_visible()

    done = subprocess.run(["/bin/sh", "-c", copied(make, "curl")], capture_output=True, text=True, check=True)
    (item,) = json.loads(done.stdout)["data"]
    details = [{"taskType": "getTaskDetails", "taskUUID": item["taskUUID"]}]
    (answer,) = httpx2.post(server.api, json=details).json()["data"]
    assert answer["request"][0]["positivePrompt"] == AWKWARD

    (item,) = httpx2.post(server.api, json=json.loads(copied(make, "JSON")), timeout=60).json()["data"]
    assert item["imageURL"]

    node = shutil.which("node")
    assert node is not None
    script = ["--input-type=module", "--eval", copied(make, "JavaScript")]
    assert "/image/" in subprocess.run([node, *script], capture_output=True, text=True, check=True).stdout

    program = ast.parse(copied(make, "Python"))
    texts = [node.value for node in ast.walk(program) if isinstance(node, ast.Constant)]
    assert AWKWARD in texts
