"""What the tests of the page do with its form."""

from pathlib import Path

from playwright.sync_api import Locator, Page, expect

PROMPT = "a large red circle at the center on a white background"


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
