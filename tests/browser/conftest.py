"""A real browser on a real server with the embedded checkpoint. A page fails its test by any error in its console."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.live import LiveServer, live_server

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
# A picture of the embedded checkpoint takes about a second, and the machine may be busy.
PATIENCE_MILLISECONDS = 30_000


@pytest.fixture(scope="session", autouse=True)
def _patience() -> None:
    expect.set_options(timeout=PATIENCE_MILLISECONDS)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server without keys."""
    with live_server(tmp_path_factory.mktemp("page") / "data", "--weights", "embedded") as running:
        yield running


@dataclass
class Console:
    """What a page has complained about. A test that provokes a refusal allows it."""

    errors: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    def note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def allow(self, part: str) -> None:
        """Expect errors with this text."""
        self.allowed.append(part)

    @property
    def unexpected(self) -> list[str]:
        return [error for error in self.errors if not any(part in error for part in self.allowed)]


@pytest.fixture
def console() -> Iterator[Console]:
    """The page's console. A violation of the Content-Security-Policy is an error there too."""
    console = Console()
    yield console
    assert console.unexpected == []


def open_page(context: BrowserContext, console: Console) -> Page:
    """An empty page whose errors are noted."""
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MILLISECONDS)
    page.on("console", console.note)
    page.on("pageerror", lambda error: console.errors.append(str(error)))
    return page


@pytest.fixture(scope="session")
def visitors(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that reads English. Its cache has the files of the page, so only the first visitor loads them."""
    with browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900}) as context:
        yield context


@pytest.fixture
def page(visitors: BrowserContext, server: LiveServer, console: Console) -> Iterator[Page]:
    """An empty page of a new visitor: nothing of the one before is stored."""
    page = open_page(visitors, console)
    session = visitors.new_cdp_session(page)
    session.send("Storage.clearDataForOrigin", {"origin": server.url, "storageTypes": "all"})
    session.detach()
    yield page
    for opened in visitors.pages:
        opened.close()


@pytest.fixture
def make(page: Page, server: LiveServer) -> Page:
    """The page at the form."""
    page.goto(f"{server.url}/#/make")
    expect(page.get_by_label("Model", exact=True)).not_to_have_value("")
    return page


@pytest.fixture
def picture_file(tmp_path: Path) -> Path:
    """A picture on the visitor's disk."""
    from tests.fakes import picture

    path = tmp_path / "photo.png"
    path.write_bytes(picture())
    return path
