"""Every view in both colors and languages, narrow and wide: readable by everybody, and no wider than the window."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.forms import look, render, visit
from tests.live import LiveServer
from tests.sources import ROOT

pytestmark = pytest.mark.browser
AXE = ROOT / "tests" / "browser" / "node_modules" / "axe-core" / "axe.min.js"
VIEWS = ("make", "gallery", "benchmark", "server")
WIDTHS = (380, 900, 3840)
# After the second frame all that follows a change of size has been laid out.
LAID_OUT_WIDTH = """() => new Promise((done) => requestAnimationFrame(() =>
    requestAnimationFrame(() => done(document.documentElement.scrollWidth))))"""
FORM = (
    '#/make?model=runware:108@22&lora=[{"model":"ownware:1@1"}]&controlNet=[{"model":"ownware:2@1"}]'
    '&acceleratorOptions={"dbCache":true}&outputFormat=PNG'
)


@pytest.fixture
def open_page(browser: Browser, server: LiveServer) -> Iterator[Page]:
    """A page whose policy lets the checker in."""
    context = browser.new_context(bypass_csp=True, locale="en-US", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{server.url}/#/make")
    yield page
    context.close()


def violations(page: Page) -> list[str]:
    """What axe finds, one line each."""
    if not page.evaluate("'axe' in window"):
        page.add_script_tag(path=AXE)
    found = page.evaluate("async () => (await axe.run()).violations")
    return [f"{each['id']}: {node['target']} {node['failureSummary']}" for each in found for node in each["nodes"]]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_view_violates_a_rule_of_accessibility(
    open_page: Page, server: LiveServer, theme: str, picture_file: Path
) -> None:
    open_page.evaluate("name => (localStorage.setItem('ownware.theme', name))", theme)
    open_page.reload()
    render(server)
    for view in VIEWS:
        visit(open_page, server, view)
        expect(open_page.get_by_role("heading", level=1)).to_be_attached()
        assert violations(open_page) == [], view
    open_page.goto(f"{server.url}/{FORM}")
    open_page.locator("[data-path='inputs.referenceImages'] input[type=file]").set_input_files(picture_file)
    expect(open_page.locator(".slot img")).to_have_count(1)
    open_page.get_by_role("button", name="From the gallery: Pictures to edit").click()
    expect(open_page.locator(".picker img").first).to_be_visible()
    assert violations(open_page) == []
    open_page.keyboard.press("Escape")
    open_page.get_by_text("Start from a picture").click()
    open_page.locator("[data-path='inputs.seedImage'] input[type=file]").set_input_files(picture_file)
    open_page.get_by_role("button", name="Paint a mask").click()
    expect(open_page.get_by_role("application")).to_be_focused()
    open_page.keyboard.press("Space")
    assert violations(open_page) == []
    open_page.keyboard.press("Escape")
    expect(open_page.get_by_role("alertdialog")).to_be_visible()
    assert violations(open_page) == []
    open_page.get_by_role("button", name="Discard").click()
    open_page.get_by_role("button", name="Copy as").click()
    assert violations(open_page) == []
    open_page.keyboard.press("Escape")
    open_page.get_by_role("button", name="API key").click()
    assert violations(open_page) == []
    open_page.keyboard.press("Escape")
    file = render(server, steps=10, acceleratorOptions={"fbCache": True})
    for mode in ("single", "slider", "side", "difference"):
        look(open_page, server, file, f"&before={file.split('.')[0]}&mode={mode}")
        expect(open_page.get_by_role("group", name="View", exact=True)).to_be_visible()
        assert violations(open_page) == [], mode
    look(open_page, server, file, f"&with={file}")
    open_page.get_by_text("As a table").click()
    expect(open_page.locator("[data-measure]")).to_be_visible()
    assert violations(open_page) == []
    open_page.get_by_role("button", name="Compare", exact=True).click()
    expect(open_page.get_by_role("dialog")).to_be_visible()
    assert violations(open_page) == []


@pytest.mark.parametrize("view", [*VIEWS, FORM.removeprefix("#/")])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_is_wider_than_the_window(page: Page, server: LiveServer, view: str, language: str) -> None:
    page.add_init_script(f"localStorage.setItem('ownware.language', '{language}')")
    page.set_viewport_size({"width": WIDTHS[0], "height": 800})
    visit(page, server, view)
    expect(page.locator("html")).to_have_attribute("lang", language)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(LAID_OUT_WIDTH) <= width, width


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_picture_is_wider_than_the_window(page: Page, server: LiveServer, language: str) -> None:
    page.add_init_script(f"localStorage.setItem('ownware.language', '{language}')")
    file = render(server, steps=10, acceleratorOptions={"fbCache": True})
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        for mode in ("single", "slider", "side", "difference"):
            look(page, server, file, f"&before={file.split('.')[0]}&mode={mode}")
            expect(page.locator(".modes")).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (width, mode)


def test_the_server_view_tells_what_the_server_does(page: Page, server: LiveServer) -> None:
    page.goto(f"{server.url}/#/server")
    expect(page.get_by_role("heading", name="Devices")).to_be_visible()
    expect(page.get_by_role("cell", name="runware:108@22")).to_be_visible()
    expect(page.get_by_text("of at most 200 tasks wait")).to_be_visible()
    expect(page.get_by_role("cell", name="torch")).to_be_visible()


def test_the_form_is_used_by_keys_alone(make: Page) -> None:
    make.keyboard.press("Tab")
    expect(make.get_by_role("link", name="Skip to content")).to_be_focused()
    make.keyboard.press("Enter")
    make.keyboard.press("Tab")
    expect(make.get_by_label("Model", exact=True)).to_be_focused()
    make.keyboard.press("Tab")
    expect(make.get_by_label("Prompt", exact=True)).to_be_focused()
