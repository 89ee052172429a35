"""What the tests of the page do with its form, and with the API beside it."""

import uuid
from pathlib import Path
from typing import Any

import httpx2
from playwright.sync_api import Locator, Page, expect

from tests.live import LiveServer

PROMPT = "a large red circle at the center on a white background"
# What is there in each view, in any language, once the server has answered.
FILLED = {
    "make": "form option[value^='runware:']",
    "gallery": ".image-grid[aria-busy=false]",
    "benchmark": "form option[value^='runware:']",
    "server": ".server-grid td:text('torch')",
}


def visit(page: Page, server: LiveServer, view: str) -> None:
    """Open a view by its address, and wait for what the server tells it."""
    page.goto(f"{server.url}/#/{view}")
    expect(page.locator(FILLED[view.partition("?")[0]]).first).to_be_attached()


def fill_small(page: Page, *, steps: int = 4) -> None:
    """A picture of little work."""
    page.get_by_label("Prompt", exact=True).fill(PROMPT)
    page.get_by_label("Width").fill("128")
    page.get_by_label("Height").fill("128")
    page.get_by_label("Steps", exact=True).fill(str(steps))


def run(page: Page) -> Locator:
    """Send the task, and return its card."""
    page.get_by_role("button", name="Make").click()
    return page.locator(".card").first


def finish(card: Locator) -> None:
    """Wait until a task is done."""
    expect(card).to_have_attribute("data-state", "done")


def drop(page: Page, selector: str, *files: tuple[str, str, bytes]) -> None:
    """Drop files, each with a name, a type and its bytes, on an element."""
    transfer = page.evaluate_handle(
        """files => {
            const transfer = new DataTransfer();
            for (const [name, type, bytes] of files) {
                transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
            }
            return transfer;
        }""",
        [[name, kind, list(content)] for name, kind, content in files],
    )
    page.dispatch_event(selector, "dragover", {"dataTransfer": transfer})
    page.dispatch_event(selector, "drop", {"dataTransfer": transfer})


def drop_picture(page: Page, selector: str, path: Path) -> None:
    """Drop a PNG on an element."""
    drop(page, selector, (path.name, "image/png", path.read_bytes()))


def post(server: LiveServer, **task: Any) -> dict[str, Any]:
    """Send one task, and return its first item."""
    body = [{"taskUUID": str(uuid.uuid4()), **task}]
    return httpx2.post(server.api, json=body, timeout=120).json()["data"][0]


def render(server: LiveServer, **members: Any) -> str:
    """Make a small picture, and return the name of its file."""
    task = {"model": "runware:108@1", "positivePrompt": PROMPT, "width": 128, "height": 128, "steps": 4, "seed": 7}
    return Path(post(server, taskType="imageInference", **task | members)["imageURL"]).name


def receipt(server: LiveServer, file: str) -> dict[str, Any]:
    """What the server tells about a picture."""
    return httpx2.get(f"{server.api}/receipts/{Path(file).stem}").json()


def module(page: Page, name: str) -> str:
    """The address of a module of the page."""
    sheet = page.locator("link[rel=stylesheet]").first.get_attribute("href") or ""
    return "/" + sheet.replace("style.css", name)


def look(page: Page, server: LiveServer, file: str, more: str = "") -> None:
    """Open the view of a picture, and wait for its receipt."""
    page.goto(f"{server.url}/#/picture?image={file}{more}")
    expect(page.locator(".facts")).to_be_visible()
