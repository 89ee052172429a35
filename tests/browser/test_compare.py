"""Two pictures compared: chosen, rendered with other settings, measured, and told apart in words."""

import io
import re

import httpx2
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from benchmarks.step_caches.similarity import compare
from tests.browser.conftest import Console
from tests.browser.forms import fill_small, finish, look, render, run
from tests.live import LiveServer

pytestmark = pytest.mark.browser


def pixels(server: LiveServer, file: str) -> Image.Image:
    return Image.open(io.BytesIO(httpx2.get(f"{server.url}/image/{file}").content))


def measure(page: Page, name: str) -> float:
    """A figure that the page has computed."""
    text = page.locator(f"[data-measure={name}]").inner_text()
    return float(re.sub(r"[^\d.]", "", text))


def test_ssim_and_psnr_are_those_of_the_benchmarks(page: Page, server: LiveServer) -> None:
    first = render(server, outputFormat="PNG", steps=6)
    second = render(server, outputFormat="PNG", steps=4, height=144, width=128)
    third = render(server, outputFormat="PNG", steps=4)
    look(page, server, first, f"&with={third}")
    expect(page.locator("[data-measure=psnr]")).to_be_visible()
    expected = compare(pixels(server, third), pixels(server, first))
    assert measure(page, "ssim") == pytest.approx(expected.ssim, abs=1e-3)
    assert measure(page, "psnr") == pytest.approx(expected.psnr, abs=0.01)
    look(page, server, first, f"&with={second}")
    expect(page.locator(".comparison")).to_contain_text("different sizes")
    look(page, server, first, f"&with={first}")
    expect(page.locator(".comparison")).to_contain_text("Every pixel is equal.")
    expect(page.locator(".comparison")).to_contain_text("All settings are the same.")


def test_a_picture_is_rendered_with_other_settings_and_compared(make: Page) -> None:
    fill_small(make, steps=12)
    make.get_by_label("Seed", exact=True).fill("7")
    finish(run(make))
    make.locator(".card .pictures a").click()
    make.get_by_role("button", name="Compare", exact=True).click()
    dialog = make.get_by_role("dialog")
    expect(dialog).to_contain_text("The page has no other picture yet.")
    dialog.get_by_label("Cache").select_option("teaCache")
    dialog.get_by_label("Threshold").fill("0.4")
    dialog.get_by_role("button", name="Make and compare").click()
    table = make.locator(".comparison table")
    expect(table).to_be_visible()
    rows = table.locator("tr[data-compared]").evaluate_all("rows => rows.map(row => row.dataset.compared)")
    assert rows == ["seconds", "computed", "cache"]
    expect(table.locator("[data-compared=cache]")).to_contain_text("TeaCache, threshold 0.24")
    expect(table.locator("[data-compared=computed] td").first).to_have_text("all")
    expect(table.locator("[data-compared=computed] td").last).to_have_text(re.compile(r"\d+ of 12"))
    expect(make).to_have_url(re.compile(r"with=[0-9a-f-]+\.jpg"))
    address = make.url
    make.get_by_role("button", name="Swap").click()
    expect(table.locator("[data-compared=computed] td").last).to_have_text("all")
    make.goto(address)
    make.reload()
    expect(table.locator("[data-compared=computed] td").first).to_have_text("all")
    make.get_by_role("button", name="End", exact=True).click()
    expect(table).to_have_count(0)


def test_another_picture_of_the_page_is_chosen_and_both_zoom_together(make: Page) -> None:
    fill_small(make, steps=1)
    finish(run(make))
    finish(run(make))
    make.locator(".card .pictures a").first.click()
    make.get_by_role("button", name="Compare", exact=True).click()
    make.locator(".choices button").click()
    expect(make.locator(".pane")).to_have_count(2)
    expect(make.locator("[data-compared=seed]")).to_be_visible()
    for key in ("+", "+", "+", "+", "+", "+", "ArrowRight"):
        make.keyboard.press(key)
    transforms = make.locator(".layer").evaluate_all("all => all.map(each => each.style.transform)")
    assert transforms[0] == transforms[1]
    assert "scale(" in transforms[0]


def test_a_picture_of_the_gallery_is_chosen(make: Page, server: LiveServer) -> None:
    first, second = render(server), render(server, seed=8, positivePrompt="a small gallery picture")
    look(make, server, first)
    make.get_by_role("button", name="Compare", exact=True).click()
    make.get_by_role("button", name="From the gallery").click()
    make.locator(".picker .tile", has_text="a small gallery picture").first.get_by_role("button").click()
    expect(make).to_have_url(re.compile(f"with={second}"))
    expect(make.locator("[data-compared=prompt]")).to_contain_text("a small gallery picture")


def test_a_task_that_fails_says_why(make: Page, console: Console, server: LiveServer) -> None:
    console.allow("status of 400")
    file = render(server)
    look(make, server, file)
    make.get_by_role("button", name="Compare", exact=True).click()
    dialog = make.get_by_role("dialog")
    dialog.get_by_label("Steps").evaluate("input => { input.removeAttribute('max'); input.value = 51 }")
    dialog.get_by_role("button", name="Make and compare").click()
    expect(make.locator(".about .bad")).to_contain_text("steps")
