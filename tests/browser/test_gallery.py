"""The gallery: found by filters, chosen, downloaded, used and deleted; and the same pictures in the form."""

import io
import re
import uuid
import zipfile
from datetime import datetime
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Console
from tests.browser.forms import module, render
from tests.live import LiveServer

pytestmark = pytest.mark.browser
REFERENCES = "[data-path='inputs.referenceImages']"


@pytest.fixture
def words() -> str:
    """A text that the prompts of one test have: all tests share a server."""
    return f"circle {uuid.uuid4().hex[:8]}"


def images_of(server: LiveServer, words: str) -> list[str]:
    """What the server has of them."""
    found = httpx2.get(f"{server.api}/images", params={"prompt": words}).json()["images"]
    return [image["imageUUID"] for image in found]


def show(page: Page, server: LiveServer, words: str, count: int) -> None:
    page.goto(f"{server.url}/#/gallery?prompt={words}")
    expect(page.locator(".tile")).to_have_count(count)


def choose(page: Page, place: int, *, shift: bool = False) -> None:
    page.locator(".tile input").nth(place).click(modifiers=["Shift"] if shift else [])


def thumbnail(server: LiveServer, file: str) -> str:
    return f"{server.url}/image/{Path(file).stem}/thumbnail.webp"


def test_tiles_load_small_copies_whose_size_is_known_before(page: Page, server: LiveServer, words: str) -> None:
    file = render(server, positivePrompt=words, steps=1, width=512, height=256)
    whole: list[str] = []
    page.on("request", lambda request: whole.append(request.url) if request.url.endswith(file) else None)
    show(page, server, words, 1)
    image = page.locator(".tile img")
    expect(image).to_have_js_property("naturalWidth", 384)
    expect(image).to_have_attribute("loading", "lazy")
    assert [image.get_attribute(name) for name in ("width", "height")] == ["512", "256"]
    assert whole == []


def test_filters_are_in_the_address(page: Page, server: LiveServer, words: str) -> None:
    first, second = (render(server, positivePrompt=f"{words} {name}", steps=1) for name in ("RED", "blue"))
    show(page, server, words, 2)
    expect(page.locator(".tile img").first).to_have_attribute("src", thumbnail(server, second))
    page.get_by_role("searchbox").fill(f"{words} red")
    expect(page.locator(".tile")).to_have_count(1)
    expect(page.locator(".tile img")).to_have_attribute("src", thumbnail(server, first))
    expect(page).to_have_url(re.compile(r"#/gallery\?prompt=.*red"))
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value(f"{words} red")
    expect(page.locator(".tile")).to_have_count(1)
    page.get_by_label("Model").select_option("runware:108@20")
    expect(page.get_by_text("No picture matches.")).to_be_visible()
    expect(page).to_have_url(re.compile("model=runware%3A108%4020"))


def test_more_pictures_come_by_scrolling_and_by_a_button(page: Page, server: LiveServer, words: str) -> None:
    render(server, positivePrompt=words, steps=1, CFGScale=1, numberResults=14)
    # Short pages and a small window, so that few pictures are enough.
    page.route(
        "**/v1/images?*limit=48*",
        lambda route: route.continue_(url=route.request.url.replace("limit=48", "limit=12")),
    )
    page.set_viewport_size({"width": 380, "height": 300})
    show(page, server, words, 12)
    page.get_by_role("button", name="Show more").press("Enter")
    expect(page.locator(".tile")).to_have_count(14)
    expect(page.locator(".tile a").nth(12)).to_be_focused()
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()
    page.reload()
    expect(page.locator(".tile")).to_have_count(12)
    page.mouse.move(200, 200)
    page.mouse.wheel(0, 20_000)
    expect(page.locator(".tile")).to_have_count(14)


def test_pictures_are_deleted_after_one_question(page: Page, server: LiveServer, words: str) -> None:
    for seed in range(4):
        render(server, positivePrompt=words, steps=1, seed=seed)
    oldest = images_of(server, words)[-1]
    show(page, server, words, 4)
    choose(page, 0)
    choose(page, 2, shift=True)
    expect(page.get_by_text("3 chosen")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("alertdialog")).to_contain_text("Delete 3 pictures?")
    expect(page.get_by_role("alertdialog")).to_contain_text("cannot be undone")
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Enter")
    assert len(images_of(server, words)) == 4
    page.keyboard.press("Delete")
    page.get_by_role("alertdialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".tile")).to_have_count(1)
    expect(page.locator(".chosen")).to_be_hidden()
    expect(page.locator(".tile a")).to_be_focused()
    assert images_of(server, words) == [oldest]


def test_what_is_gone_already_counts_as_deleted(page: Page, server: LiveServer, console: Console, words: str) -> None:
    console.allow("status of 404")
    render(server, positivePrompt=words, steps=1)
    show(page, server, words, 1)
    httpx2.delete(f"{server.api}/images/{images_of(server, words)[0]}")
    choose(page, 0)
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No picture matches.")).to_be_visible()


def test_one_is_downloaded_as_a_file_with_its_receipt(page: Page, server: LiveServer, words: str) -> None:
    file = render(server, positivePrompt=f"../a “{words}” <b>", steps=1)
    show(page, server, words, 1)
    choose(page, 0)
    with page.expect_download() as found:
        page.get_by_role("button", name="Download").click()
    assert found.value.suggested_filename == f"a-{words.replace(' ', '-')}-b-7-{file[:8]}.jpg"
    content = Path(found.value.path()).read_bytes()
    assert content == httpx2.get(f"{server.url}/image/{file}").content
    assert b'"prompt":"../a' in content


def test_several_are_downloaded_in_one_archive(page: Page, server: LiveServer, console: Console, words: str) -> None:
    console.allow("status of 404")
    files = [render(server, positivePrompt=f"{words} 红", steps=1, seed=seed) for seed in range(3)]
    page.route("**/image/*", lambda route: route.continue_())  # switches the browser's cache off
    show(page, server, words, 3)
    httpx2.delete(f"{server.api}/images/{files.pop(0).split('.')[0]}")
    page.get_by_role("button", name="Choose all shown").click()
    with page.expect_download() as found:
        page.get_by_role("button", name="Download").click()
    assert found.value.suggested_filename == "ownware.zip"
    with zipfile.ZipFile(found.value.path()) as archive:
        assert archive.testzip() is None
        contents = {name: archive.read(name) for name in archive.namelist()}
    names = [f"{words.replace(' ', '-')}-红-{seed}-{file[:8]}.jpg" for seed, file in zip((1, 2), files, strict=True)]
    assert contents == {
        name: httpx2.get(f"{server.url}/image/{file}").content for name, file in zip(names, files, strict=True)
    }
    expect(page.get_by_text("1 of them were gone already.")).to_be_visible()


def test_an_archive_is_what_python_reads(make: Page) -> None:
    content = bytes(range(256)) * 500
    packed = make.evaluate(
        """async ([path, content]) => {
            const { zipOf } = await import(path);
            const time = new Date(2031, 11, 24, 23, 58, 59);
            const file = (name, bytes) => ({ name, time, blob: new Blob([new Uint8Array(bytes)]) });
            const files = [file("leer.txt", []), file("grün/红.png", content)];
            return [...new Uint8Array(await (await zipOf(files)).arrayBuffer())];
        }""",
        [module(make, "zip.js"), list(content)],
    )
    with zipfile.ZipFile(io.BytesIO(bytes(packed))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {"leer.txt": b"", "grün/红.png": content}
        times = {datetime(*found.date_time) for found in archive.infolist()}
    assert times == {datetime(2031, 12, 24, 23, 58, 58)}  # its clock has steps of two seconds


def test_a_picture_is_opened_and_the_way_back_leads_to_it(page: Page, server: LiveServer, words: str) -> None:
    files = [render(server, positivePrompt=words, steps=1, seed=seed) for seed in range(3)]
    show(page, server, words, 3)
    page.locator(".tile a").nth(1).click()
    expect(page).to_have_url(re.compile(f"#/picture.*{files[1]}"))
    expect(page.locator(".facts")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(files[0]))
    page.keyboard.press("Escape")
    expect(page.locator(".tile a").nth(2)).to_be_focused()


def test_pictures_become_references(page: Page, server: LiveServer, words: str) -> None:
    files = [render(server, positivePrompt=words, steps=1, seed=seed) for seed in range(2)]
    show(page, server, words, 2)
    choose(page, 0)
    page.get_by_role("button", name="Edit this").click()
    expect(page.locator(f"{REFERENCES} .slot img")).to_have_count(1)
    expect(page.get_by_label("Model", exact=True)).to_have_value("runware:108@20")
    page.get_by_label("Model", exact=True).select_option("runware:108@22")
    page.get_by_role("link", name="Gallery").click()
    choose(page, 1)
    page.get_by_role("button", name="Use as reference").click()
    sources = page.locator(f"{REFERENCES} .slot img").evaluate_all("images => images.map(image => image.src)")
    assert [source.rsplit("/", 1)[1] for source in sources] == files[::-1]


def test_the_form_takes_pictures_from_the_gallery(make: Page, server: LiveServer, words: str) -> None:
    file = render(server, positivePrompt=words, steps=1)
    make.get_by_text("Start from a picture").click()
    make.get_by_role("button", name="From the gallery: Picture", exact=True).click()
    make.get_by_role("dialog").get_by_role("searchbox").fill(words)
    expect(make.locator(".picker .tile")).to_have_count(1)
    make.locator(".picker .tile button").click()
    expect(make.get_by_role("dialog")).to_have_count(0)
    expect(make.locator("[data-path='inputs.seedImage'] img")).to_have_attribute("src", re.compile(file))
    expect(make).to_have_url(re.compile(file.split(".")[0]))


def test_a_new_picture_appears_at_once(page: Page, server: LiveServer, words: str) -> None:
    page.goto(f"{server.url}/#/make?positivePrompt={words}&width=128&height=128&steps=20")
    page.get_by_role("button", name="Make").click()
    page.get_by_role("link", name="Gallery").click()
    page.get_by_role("searchbox").fill(words)
    expect(page.locator(".tile")).to_have_count(1)


def test_a_server_that_is_gone_is_asked_again(page: Page, server: LiveServer, console: Console, words: str) -> None:
    console.allow("ERR_FAILED")
    render(server, positivePrompt=words, steps=1)
    page.route("**/v1/images?*", lambda route: route.abort())
    page.goto(f"{server.url}/#/gallery?prompt={words}")
    expect(page.locator(".foot-of-grid .bad")).to_have_text("The server cannot be reached.")
    page.unroute("**/v1/images?*")
    expect(page.locator(".tile")).to_have_count(1)


def test_another_prompt_is_never_markup(browser: Browser, page: Page, server: LiveServer, words: str) -> None:
    text = f"<img src=x onerror=alert(1)> {words}"
    render(server, positivePrompt=text, steps=1)
    show(page, server, words, 1)
    expect(page.locator(".tile p").first).to_have_text(text)
    expect(page.locator(".tile img")).to_have_count(1)
