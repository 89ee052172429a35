"""The API key: asked for, refused, and revoked while the page is open."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Console
from tests.browser.forms import fill_small, finish, run
from tests.live import LiveServer, live_server

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "data"


def keys(data_dir: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "ownware", "keys", *arguments, "--data-dir", str(data_dir)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def key(data_dir: Path) -> str:
    return next(word for word in keys(data_dir, "add", "visitor").split() if len(word) > 20)


@pytest.fixture(scope="module")
def server(data_dir: Path, key: str) -> Iterator[LiveServer]:
    with live_server(data_dir, "--weights", "embedded") as running:
        yield running


def enter_key(page: Page, text: str) -> None:
    page.get_by_label("Key", exact=True).fill(text)
    page.get_by_role("button", name="Use this key").click()


def test_a_key_is_asked_for_and_a_wrong_or_revoked_one_is_refused(
    page: Page, console: Console, server: LiveServer, key: str, data_dir: Path
) -> None:
    console.allow("status of 401")
    page.goto(server.url)
    expect(page.get_by_role("dialog")).to_contain_text("This server needs a key")
    enter_key(page, "wrong")
    expect(page.get_by_role("dialog")).to_contain_text("refuses this key")
    enter_key(page, key)
    expect(page.get_by_label("Model", exact=True)).not_to_have_value("")
    fill_small(page)
    finish(run(page))
    keys(data_dir, "revoke", "visitor")
    card = run(page)
    expect(card).to_have_attribute("data-state", "failed")
    expect(page.get_by_role("dialog")).to_contain_text("refuses this key")
