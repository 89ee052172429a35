"""Draws docs/figures/page-*.png: the views of the web page.

    ownware serve --weights embedded --data-dir EMPTY_FOLDER &
    python -m docs.figures.page --out docs/figures [--url http://127.0.0.1:8000]

Drives the system's Chromium on a running server, as a visitor would. The pictures are those of the embedded checkpoint.
The figures' text chunk `weights` has the fingerprint of the weights, as the receipt of a picture says it.
"""

import argparse
import io
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Page, expect, sync_playwright

WIDE, NARROW = {"width": 1280, "height": 860}, {"width": 380, "height": 780}
PATIENCE = 240_000  # milliseconds; the machine may be busy
SMALL = {"width": "256", "height": "256", "acceleratorOptions": '{"teaCache":true}'}
DONE = (
    "a small blue square at the left on a yellow background",
    "a large green triangle at the center on a white background",
    "a large red circle at the center on a white background",
)
EDIT = "make the large red circle blue"
# It is caught in the middle, so it takes longer.
RUNNING = {
    "positivePrompt": "a large purple circle at the center on a yellow background",
    "width": "512",
    "height": "512",
    "steps": "50",
    "seed": "7",
    "acceleratorOptions": '{"teaCache":true}',
}
STEPS_SEEN = 20


@contextmanager
def visit(url: str, size: dict[str, int], theme: str) -> Iterator[Page]:
    """A page of a new visitor, at the form."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        context = browser.new_context(locale="en-US", viewport=size, color_scheme=theme)  # pyright: ignore[reportArgumentType]
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"{url}/#/make")
        expect(page.get_by_label("Model", exact=True)).not_to_have_value("")
        yield page
        browser.close()


def run_task(page: Page, url: str, draft: dict[str, str]) -> None:
    """Open the address of a draft, and send its task."""
    page.goto(f"{url}/#/make?{urlencode(draft)}")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value(draft["positivePrompt"])
    page.get_by_role("button", name="Make").click()


def save(page: Page, path: Path, weights: str) -> None:
    """Write what the window shows, and the fingerprint of the weights."""
    text = PngInfo()
    text.add_text("weights", weights)
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(path, pnginfo=text, optimize=True)


def draw_make(page: Page, url: str, path: Path) -> str:
    """The form, three pictures, and a fourth one on its way. Returns the fingerprint of the weights."""
    for seed, prompt in enumerate(DONE):
        run_task(page, url, {"positivePrompt": prompt, "seed": str(seed), **SMALL})
        expect(page.locator(".card").first).to_have_attribute("data-state", "done", timeout=PATIENCE)
    image = str(page.locator(".card a").first.get_attribute("href"))
    receipt = page.request.get(f"{url}/v1/receipts/{Path(image).stem}").json()["receipt"]
    weights = str(receipt["model"]["digest"])
    run_task(page, url, RUNNING)
    card = page.locator(".card").first
    # Looks in each frame; `expect` would look after pauses, in which a fast machine ends the task.
    card.locator(f".bar i:nth-child({STEPS_SEEN})[class]").wait_for(state="attached", timeout=PATIENCE)
    save(page, path, weights)
    return weights


def draw_server(page: Page, url: str, path: Path, weights: str) -> None:
    """What the server does and has, with its log of the tasks before."""
    page.goto(f"{url}/#/server")
    expect(page.get_by_role("cell", name="runware:108@20")).to_be_visible()
    save(page, path, weights)


def draw_gallery(page: Page, url: str, path: Path, weights: str) -> None:
    """The gallery with some chosen pictures."""
    page.goto(f"{url}/#/gallery")
    expect(page.locator(".tile").nth(2)).to_be_visible()
    page.locator(".tile input").nth(0).check()
    page.locator(".tile input").nth(2).click(modifiers=["Shift"])
    for image in page.locator(".tile img").all():
        expect(image).not_to_have_js_property("naturalWidth", 0, timeout=PATIENCE)
    save(page, path, weights)


def draw_mask(page: Page, url: str, path: Path, weights: str) -> None:
    """A mask that is painted over the picture of a red circle."""
    query = urlencode({"prompt": DONE[-1], "limit": 1})
    (image,) = page.request.get(f"{url}/v1/images?{query}").json()["images"]
    draft = {**SMALL, "maskMargin": "32", "inputs": json.dumps({"seedImage": image["imageUUID"]})}
    page.goto(f"{url}/#/make?{urlencode(draft)}")
    page.get_by_role("button", name="Paint a mask").click()
    box = page.get_by_role("application").bounding_box()
    if box is None:
        raise RuntimeError("the mask editor is not shown")
    middle, reach = box["y"] + box["height"] / 2, box["width"] / 8
    page.mouse.move(box["x"] + box["width"] / 2 - reach, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + reach, middle, steps=5)
    page.mouse.up()
    save(page, path, weights)


def draw_picture(page: Page, url: str, path: Path, weights: str) -> None:
    """An edit beside the picture it began with, and the decisions of its step cache."""
    run_task(page, url, {"positivePrompt": DONE[-1], "seed": "2", "width": "512", "height": "512"})
    expect(page.locator(".card").first).to_have_attribute("data-state", "done", timeout=PATIENCE)
    page.locator(".card .pictures a").click()
    page.get_by_role("button", name="Edit this").click()
    page.get_by_label("Prompt", exact=True).fill(EDIT)
    page.get_by_label("Seed", exact=True).fill("2")
    page.get_by_label("Steps", exact=True).fill("20")
    page.get_by_text("Step cache").click()
    page.get_by_label("Cache", exact=True).select_option("fbCache")
    page.get_by_role("button", name="Make").click()
    expect(page.locator(".card")).to_have_count(2)
    expect(page.locator(".card").first).to_have_attribute("data-state", "done", timeout=PATIENCE)
    page.locator(".card .pictures a").first.click()
    page.get_by_role("button", name="Slider").click()
    expect(page.locator(".timeline")).to_be_visible()
    for dismiss in page.locator(".toast button").all():
        dismiss.click()
    save(page, path, weights)


def draw_benchmark(page: Page, url: str, path: Path, weights: str) -> None:
    """A benchmark of two prompts that is done, from its plan to its front."""
    page.goto(f"{url}/#/benchmark")
    page.get_by_label("Fewer steps").fill("14, 10")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("heading", name="tasks are done")).to_have_text(re.compile("^All"), timeout=10 * PATIENCE)
    page.get_by_role("button", name=re.compile("^First block 0.25: .* times as fast")).press("Enter")
    page.evaluate("scrollTo(0, 0)")
    save(page, path, weights)


VIEWS = {
    "server": draw_server,
    "gallery": draw_gallery,
    "mask": draw_mask,
    "picture": draw_picture,
    "benchmark": draw_benchmark,
}


def main() -> None:
    """Draw every view."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    arguments = parser.parse_args()
    weights = ""
    for theme in ("light", "dark"):
        with visit(arguments.url, WIDE, theme) as page:
            weights = draw_make(page, arguments.url, arguments.out / f"page-make-{theme}.png")
    for name, draw in VIEWS.items():
        with visit(arguments.url, WIDE, "light") as page:
            draw(page, arguments.url, arguments.out / f"page-{name}.png", weights)
    with visit(arguments.url, NARROW, "light") as page:
        save(page, arguments.out / "page-narrow.png", weights)


if __name__ == "__main__":
    main()
