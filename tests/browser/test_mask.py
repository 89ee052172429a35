"""The mask editor: what is painted by mouse and by keys is what the server gets and repaints."""

import io
import re
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.forms import finish, look, run
from tests.fakes import picture
from tests.live import LiveServer

pytestmark = pytest.mark.browser
WIDTH, HEIGHT = 256, 192
MASK = "[data-path='inputs.maskImage']"


@pytest.fixture
def seeded(make: Page, tmp_path: Path) -> Page:
    """The form with a picture to start from, at its own size."""
    path = tmp_path / "seed.png"
    path.write_bytes(picture(WIDTH, HEIGHT))
    make.get_by_label("Prompt", exact=True).fill("a small blue square at the left on a yellow background")
    make.get_by_label("Width").fill(str(WIDTH))
    make.get_by_label("Height").fill(str(HEIGHT))
    make.get_by_text("Start from a picture").click()
    make.locator("[data-path='inputs.seedImage'] input[type=file]").set_input_files(path)
    expect(make.get_by_role("button", name="Paint a mask")).to_be_visible()
    return make


def open_editor(page: Page, name: str = "Paint a mask") -> Locator:
    page.get_by_role("button", name=name).click()
    stage = page.get_by_role("application")
    expect(stage).to_be_focused()
    return stage


def drag(page: Page, stage: Locator, *points: tuple[float, float]) -> None:
    """Paint a line through points in pixels of the picture."""
    box = stage.bounding_box()
    assert box is not None
    scale = box["width"] / WIDTH
    first, *others = [(box["x"] + x * scale, box["y"] + y * scale) for x, y in points]
    page.mouse.move(*first)
    page.mouse.down()
    for point in others:
        page.mouse.move(*point, steps=4)
    page.mouse.up()


def brush(page: Page, size: int) -> None:
    page.get_by_label("Size", exact=True).last.fill(str(size))


def used_mask(page: Page, server: LiveServer) -> np.ndarray:
    """The mask as the server has it, after the editor is closed with it."""
    page.get_by_role("button", name="Use this mask").click()
    image = page.locator(f"{MASK} img")
    expect(image).to_be_visible()
    found = Image.open(io.BytesIO(httpx2.get(image.get_attribute("src") or "").content))
    assert found.size == (WIDTH, HEIGHT)
    pixels = np.asarray(found.convert("L"))
    assert {*np.unique(pixels)} <= {0, 255}
    return pixels


def share(page: Page) -> float:
    text = page.get_by_text("of the picture changes").inner_text()
    return float(text.split(" ")[0])


def test_what_is_painted_by_mouse_is_white_in_the_mask(seeded: Page, server: LiveServer) -> None:
    stage = open_editor(seeded)
    expect(seeded.get_by_role("button", name="Use this mask")).to_be_disabled()
    brush(seeded, 40)
    drag(seeded, stage, (60, 90), (200, 90))
    drag(seeded, stage, (128, 180), (128, 180))
    mask = used_mask(seeded, server)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    along = np.hypot(np.maximum(0, np.abs(columns - 130) - 70), rows - 90)
    dot = np.hypot(columns - 128, rows - 180)
    nearest = np.minimum(along, dot)
    assert mask[nearest < 17].min() == 255
    assert mask[nearest > 23].max() == 0


def test_the_server_repaints_what_is_marked_alone(seeded: Page, server: LiveServer) -> None:
    seeded.get_by_label("Steps", exact=True).fill("4")
    seeded.get_by_text("Scheduler and file").click()
    seeded.get_by_label("Format", exact=True).select_option("PNG")
    stage = open_editor(seeded)
    brush(seeded, 60)
    drag(seeded, stage, (60, 96), (100, 96))
    mask = used_mask(seeded, server)
    card = run(seeded)
    finish(card)
    file = (card.locator("a").first.get_attribute("href") or "").rsplit("/", 1)[1]
    made = np.asarray(Image.open(io.BytesIO(httpx2.get(f"{server.url}/image/{file}").content)).convert("RGB"))
    seed = np.asarray(Image.open(io.BytesIO(picture(WIDTH, HEIGHT))).convert("RGB"))
    assert np.array_equal(made[mask == 0], seed[mask == 0])
    assert np.abs(made[mask == 255].astype(int) - seed[mask == 255]).mean() > 2
    look(seeded, server, file)


def test_it_is_painted_erased_and_inverted_by_keys(seeded: Page, server: LiveServer) -> None:
    open_editor(seeded)
    keys = seeded.keyboard
    keys.down(" ")
    for _ in range(3):
        keys.press("Shift+ArrowRight")
    keys.up(" ")
    painted = share(seeded)
    assert painted > 1
    keys.press("Control+z")
    expect(seeded.get_by_text("Nothing is marked yet")).to_be_visible()
    keys.press("Control+Shift+Z")
    assert share(seeded) == painted
    seeded.get_by_role("button", name="Eraser").press("Enter")
    seeded.get_by_role("application").focus()
    keys.press(" ")
    assert share(seeded) < painted
    seeded.get_by_role("button", name="Undo").press("Enter")
    assert share(seeded) == painted
    expect(seeded.get_by_role("button", name="Redo")).to_be_enabled()
    seeded.get_by_role("button", name="Invert").press("Enter")
    assert share(seeded) == pytest.approx(100 - painted, abs=1.5)
    seeded.get_by_role("dialog").get_by_role("button", name="Clear").press("Enter")
    expect(seeded.get_by_text("Nothing is marked yet")).to_be_visible()
    seeded.get_by_role("button", name="Undo").press("Enter")
    mask = used_mask(seeded, server)
    assert mask[0, 0] == 255
    assert mask[HEIGHT // 2, WIDTH // 2 + 20] == 0


def test_the_margin_is_shown_around_the_marks(seeded: Page) -> None:
    stage = open_editor(seeded)
    brush(seeded, 20)
    drag(seeded, stage, (100, 96), (140, 96))
    reach = seeded.locator(".reach")
    expect(reach).to_be_hidden()
    seeded.get_by_role("dialog").get_by_label("Margin around the mask").fill("32")
    expect(reach).to_be_visible()
    box, whole = reach.bounding_box(), stage.bounding_box()
    assert box is not None
    assert whole is not None
    scale = whole["width"] / WIDTH
    # 60 pixels are marked, and 32 lie on each side.
    assert box["width"] / scale == pytest.approx(60 + 64, abs=3)
    assert box["height"] / scale == pytest.approx(20 + 64, abs=3)


def test_a_mask_survives_a_reload_and_is_changed(seeded: Page, server: LiveServer) -> None:
    stage = open_editor(seeded)
    brush(seeded, 40)
    drag(seeded, stage, (60, 60), (60, 60))
    before = used_mask(seeded, server)
    expect(seeded).to_have_url(re.compile("maskImage"))
    seeded.reload()
    stage = open_editor(seeded, "Change the mask")
    brush(seeded, 40)
    drag(seeded, stage, (200, 120), (200, 120))
    first = seeded.locator(f"{MASK} img").get_attribute("src") or ""
    seeded.get_by_role("button", name="Use this mask").click()
    expect(seeded.locator(f"{MASK} img")).not_to_have_attribute("src", first)
    second = httpx2.get(seeded.locator(f"{MASK} img").get_attribute("src") or "").content
    after = np.asarray(Image.open(io.BytesIO(second)).convert("L"))
    assert after[60, 60] == after[120, 200] == 255
    assert np.array_equal(after[:, :150], before[:, :150])


def test_it_is_painted_by_touch(seeded: Page, server: LiveServer) -> None:
    stage = open_editor(seeded)
    box = stage.bounding_box()
    assert box is not None
    center = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    session = seeded.context.new_cdp_session(seeded)
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [center]})
    session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [center | {"x": center["x"] + 100}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(seeded.get_by_text("of the picture changes")).to_be_visible()
    mask = used_mask(seeded, server)
    assert mask[HEIGHT // 2, WIDTH // 2 + 10] == 255
    assert mask[HEIGHT // 2, WIDTH // 2 - 40] == 0


def test_a_cancelled_painting_changes_nothing(seeded: Page) -> None:
    stage = open_editor(seeded)
    drag(seeded, stage, (60, 60), (90, 60))
    seeded.get_by_role("button", name="Cancel").click()
    expect(seeded.get_by_role("dialog")).to_have_count(0)
    expect(seeded.locator(f"{MASK} .slot")).to_have_count(0)
    expect(seeded.get_by_role("button", name="Paint a mask")).to_be_focused()


def test_esc_asks_before_marks_are_lost(seeded: Page) -> None:
    open_editor(seeded)
    seeded.keyboard.press("Escape")
    expect(seeded.get_by_role("dialog")).to_have_count(0)
    stage = open_editor(seeded)
    drag(seeded, stage, (60, 60), (90, 60))
    question = seeded.get_by_role("alertdialog")
    for _ in range(3):
        seeded.keyboard.press("Escape")
        expect(question).to_be_visible()
        seeded.keyboard.press("Escape")
        expect(question).to_have_count(0)
        expect(stage).to_be_focused()
    assert share(seeded) > 0
    seeded.keyboard.press("Escape")
    question.get_by_role("button", name="Discard").click()
    expect(seeded.get_by_role("dialog")).to_have_count(0)
    expect(seeded.locator(f"{MASK} .slot")).to_have_count(0)
