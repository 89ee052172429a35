"""The view of one picture: opened, turned, zoomed, compared with the one before it, and used again."""

import base64
import json
import re
import uuid
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Console
from tests.browser.forms import PROMPT, fill_small, finish, look, post, receipt, render, run
from tests.fakes import picture
from tests.live import LiveServer

pytestmark = pytest.mark.browser


def percent(page: Page) -> int:
    return int((page.locator(".bar-of-stage output").text_content() or "").replace("%", "").replace(",", ""))


def left_edge(page: Page) -> float:
    return page.locator(".stage .layer").first.evaluate("each => each.getBoundingClientRect().left")


@pytest.fixture(scope="module")
def file(server: LiveServer) -> str:
    return render(server)


@pytest.fixture
def edited(make: Page, picture_file: Path) -> Page:
    """The view of an edit that this page has made."""
    make.get_by_label("Model", exact=True).select_option("runware:108@20")
    make.locator("[data-path='inputs.referenceImages'] input[type=file]").set_input_files(picture_file)
    expect(make.locator(".slot img")).to_have_count(1)
    fill_small(make)
    card = run(make)
    finish(card)
    card.locator(".pictures a").click()
    expect(make.get_by_role("button", name="Slider")).to_be_visible()
    return make


def test_a_picture_opens_and_escape_returns_to_it(make: Page) -> None:
    fill_small(make, steps=1)
    card = run(make)
    finish(card)
    link = card.locator(".pictures a")
    link.focus()
    make.keyboard.press("Enter")
    expect(make.locator(".facts")).to_contain_text("128 × 128")
    expect(make).to_have_url(re.compile(r"#/picture\?image="))
    make.keyboard.press("Escape")
    expect(make).to_have_url(re.compile("#/make"))
    expect(make.locator(".card .pictures a")).to_be_focused()
    expect(make.get_by_label("Steps", exact=True)).to_have_value("1")


def test_arrow_keys_turn_to_the_pictures_of_all_tasks(make: Page) -> None:
    fill_small(make, steps=1)
    for count in ("1", "2"):
        make.get_by_label("Pictures", exact=True).fill(count)
        finish(run(make))
    make.locator(".card .pictures a").first.click()
    expect(make.locator(".place")).to_have_text("1 of 3")
    expect(make.get_by_role("button", name="Previous picture")).to_be_disabled()
    for shown in ("2 of 3", "3 of 3", "3 of 3"):
        make.keyboard.press("ArrowRight")
        expect(make.locator(".place")).to_have_text(shown)
    make.keyboard.press("ArrowLeft")
    expect(make.locator(".place")).to_have_text("2 of 3")
    make.reload()
    expect(make.locator(".place")).to_have_text("2 of 3")
    make.keyboard.press("Escape")
    expect(make.locator(".card")).to_have_count(2)


def test_zoom_and_pan_by_keys(page: Page, server: LiveServer, file: str) -> None:
    look(page, server, file)
    expect(page.locator(".stage img")).to_be_visible()
    fitted = percent(page)
    page.keyboard.press("1")
    assert percent(page) == 100
    page.keyboard.press("0")
    assert percent(page) == fitted
    for _ in range(4):
        page.keyboard.press("+")
    assert percent(page) == pytest.approx(fitted * 1.25**4, rel=0.01)
    before = left_edge(page)
    page.keyboard.press("ArrowRight")
    assert left_edge(page) == pytest.approx(before - 60, abs=1)
    for _ in range(40):
        page.keyboard.press("ArrowLeft")
    stage = page.locator(".pane").evaluate("each => each.getBoundingClientRect().left")
    assert left_edge(page) == pytest.approx(stage, abs=1)  # it ends at its edge


def test_zoom_and_pan_by_wheel_mouse_and_double_click(page: Page, server: LiveServer, file: str) -> None:
    look(page, server, file)
    expect(page.locator(".stage img")).to_be_visible()
    box = page.locator(".stage").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 4, box["y"] + box["height"] / 2
    fitted = percent(page)
    page.mouse.move(x, y)
    under = "x => { const r = document.querySelector('.layer').getBoundingClientRect(); return (x - r.left) / r.width }"
    share = page.evaluate(under, x)
    page.mouse.wheel(0, -400)
    expect(page.locator(".stage.larger")).to_be_attached()
    assert percent(page) == pytest.approx(fitted * 2.718, rel=0.02)
    assert page.evaluate(under, x) == pytest.approx(share, abs=0.005)  # the same point stays under the mouse
    before = left_edge(page)
    page.mouse.down()
    page.mouse.move(x + 30, y + 10)
    page.mouse.up()
    assert left_edge(page) == pytest.approx(before + 30, abs=1)
    page.mouse.dblclick(x, y)
    assert percent(page) == fitted
    page.mouse.dblclick(x, y)
    assert percent(page) == 100


def test_two_fingers_zoom(browser: Browser, server: LiveServer, file: str) -> None:
    page = browser.new_context(locale="en-US", viewport={"width": 400, "height": 800}, has_touch=True).new_page()
    look(page, server, file)
    expect(page.locator(".stage img")).to_be_visible()
    fitted, box = percent(page), page.locator(".stage").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    fingers = page.context.new_cdp_session(page)
    for kind, spread in (("touchStart", 40), ("touchMove", 60), ("touchMove", 80)):
        points = [{"x": x - spread, "y": y, "id": 0}, {"x": x + spread, "y": y, "id": 1}]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert percent(page) == pytest.approx(2 * fitted, rel=0.02)
    page.context.close()


def test_the_slider_is_moved_by_keys_and_by_dragging(edited: Page) -> None:
    edited.get_by_role("button", name="Slider").click()
    slider = edited.get_by_role("slider")
    expect(slider).to_have_attribute("aria-valuenow", "50")
    expect(slider).to_have_attribute("aria-valuetext", "50 % Before")
    slider.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuenow", "51")
    slider.press("Shift+ArrowLeft")
    expect(slider).to_have_attribute("aria-valuenow", "41")
    slider.press("Home")
    expect(slider).to_have_attribute("aria-valuenow", "0")
    box, stage = slider.bounding_box(), edited.locator(".stage .layer").first.bounding_box()
    assert box is not None
    assert stage is not None
    edited.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    edited.mouse.down()
    edited.mouse.move(stage["x"] + stage["width"] / 4, box["y"] + 50)
    edited.mouse.up()
    expect(slider).to_have_attribute("aria-valuenow", "25")


def test_another_browser_opens_the_same_from_the_address(edited: Page, browser: Browser) -> None:
    edited.get_by_role("button", name="Side by side").click()
    expect(edited.locator(".pane")).to_have_count(2)
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
    visitor = context.new_page()
    visitor.goto(edited.url)
    expect(visitor.get_by_role("button", name="Side by side")).to_have_attribute("aria-pressed", "true")
    sources = [page.locator(".pane img").evaluate_all("all => all.map(each => each.src)") for page in (edited, visitor)]
    assert sources[0] == sources[1]
    context.close()


def test_another_page_of_the_key_knows_what_an_edit_began_with(page: Page, server: LiveServer) -> None:
    before = render(server).split(".")[0]
    inputs = {"referenceImages": [before]}
    file = render(server, model="runware:108@20", positivePrompt="make the large red circle blue", inputs=inputs)
    look(page, server, file)
    expect(page.get_by_role("button", name="Slider")).to_be_visible()
    expect(page.locator("[data-fact=total]")).to_be_visible()
    page.get_by_role("button", name="Take the settings").click()
    expect(page.locator("[data-path='inputs.referenceImages'] .slot")).to_have_count(1)


def test_the_difference_says_its_scale(make: Page, server: LiveServer, file: str) -> None:
    look(make, server, file, f"&before={file.split('.')[0]}&mode=difference")
    expect(make.locator(".legend")).to_contain_text("full brightness is 17 of 255 or more")
    expect(make.locator(".legend")).to_contain_text("The largest is 0, the mean 0.")
    make.get_by_label("Amplified").select_option("51")
    expect(make.locator(".legend")).to_contain_text("full brightness is 5 of 255 or more")
    expect(make).to_have_url(re.compile("gain=51"))


def test_the_facts_are_those_of_the_receipt(page: Page, server: LiveServer) -> None:
    file = render(
        server,
        steps=20,
        CFGScale=2.5,
        scheduler="DPM++ Karras",
        outputFormat="PNG",
        acceleratorOptions={"fbCache": True},
    )
    look(page, server, file)
    answer = receipt(server, file)

    def fact(key: str) -> Locator:
        return page.locator(f"[data-fact={key}] dd")

    expect(fact("seed")).to_have_text("7")
    expect(fact("guidance")).to_have_text("2.5")
    expect(fact("scheduler")).to_have_text("DPM++ Karras")
    expect(fact("file")).to_have_text("PNG")
    expect(fact("cache")).to_contain_text("First block, threshold 0.25, steps 4 to 18")
    cache = answer["cache"]
    expect(fact("computed")).to_have_text(f"{cache['steps'] - cache['reusedSteps']} of {cache['steps']}")
    expect(page.locator(".prompt-text")).to_have_text(PROMPT)
    page.get_by_text("Receipt as JSON").click()
    assert json.loads(page.locator(".about pre").inner_text()) == answer


def test_a_picture_is_made_again_with_another_seed(page: Page, server: LiveServer, file: str) -> None:
    look(page, server, file)
    page.get_by_role("button", name="Again, other seed").click()
    card = page.locator(".card").first
    finish(card)
    card.locator(".pictures a").click()
    expect(page.locator("[data-fact=steps] dd")).to_have_text("4")
    expect(page.locator("[data-fact=seed] dd")).not_to_have_text("7")


def test_a_picture_is_edited(page: Page, server: LiveServer, file: str) -> None:
    look(page, server, file)
    page.get_by_role("button", name="Edit this").click()
    expect(page.get_by_label("Model", exact=True)).to_have_value("runware:108@20")
    image = page.locator("[data-path='inputs.referenceImages'] .slot img")
    expect(image).to_have_attribute("src", re.compile(file))


def test_the_settings_of_a_picture_are_taken(page: Page, server: LiveServer, file: str) -> None:
    look(page, server, file)
    page.get_by_role("button", name="Take the settings").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value(PROMPT)
    expect(page.get_by_label("Seed", exact=True)).to_have_value("7")
    expect(page.get_by_label("Steps", exact=True)).to_have_value("4")


def test_a_picture_is_downloaded_with_its_receipt(page: Page, server: LiveServer, file: str) -> None:
    look(page, server, file)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == file
    assert b'{"format":1,"request":{' in Path(download.value.path()).read_bytes()


def test_a_picture_that_is_gone_says_so(page: Page, console: Console, server: LiveServer) -> None:
    console.allow("status of 404")
    page.goto(f"{server.url}/#/picture?image={uuid.uuid4()}.jpg")
    expect(page.locator(".stage")).to_contain_text("not here any more")
    page.goto(f"{server.url}/#/picture?image=<b>x</b>")
    expect(page.locator(".stage")).to_contain_text("not here any more")
    page.keyboard.press("Escape")
    expect(page.get_by_label("Prompt", exact=True)).to_be_visible()


def test_an_uploaded_picture_has_no_receipt(page: Page, console: Console, server: LiveServer) -> None:
    console.allow("status of 404")
    item = post(server, taskType="imageUpload", image=base64.b64encode(picture()).decode())
    page.goto(f"{server.url}/#/picture?image={Path(item['imageURL']).name}")
    expect(page.locator(".about")).to_contain_text("There is no receipt")
    expect(page.get_by_role("button", name="Edit this")).to_be_visible()


def test_a_picture_appears_when_the_server_answers_again(
    make: Page, console: Console, server: LiveServer, file: str
) -> None:
    console.allow("ERR_FAILED")
    gone = re.compile(r"/(v1|healthz)\b")
    make.route(gone, lambda route: route.abort())
    make.goto(f"{server.url}/#/picture?image={file}")
    expect(make.locator("#banner")).to_contain_text("does not answer")
    expect(make.locator(".facts")).to_have_count(0)
    make.unroute(gone)
    expect(make.locator(".facts")).to_be_visible()
    expect(make.locator("#banner")).to_be_empty()
