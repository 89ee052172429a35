"""Tasks on their way: cancelled, many at once, and over a restart of the server."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Console
from tests.browser.forms import fill_small, finish, run
from tests.live import live_server

pytestmark = pytest.mark.browser


def test_a_task_is_cancelled_in_the_middle(make: Page) -> None:
    fill_small(make, steps=50)
    make.get_by_label("Width").fill("512")
    make.get_by_label("Height").fill("512")
    card = run(make)
    expect(card.locator(".preview")).to_be_visible()
    card.get_by_role("button", name="Cancel").click()
    expect(card).to_have_attribute("data-state", "cancelled")
    expect(card.locator(".status")).to_have_text("cancelled")


def test_reused_steps_have_another_color(make: Page) -> None:
    fill_small(make, steps=20)
    make.get_by_text("Step cache").click()
    make.get_by_label("Cache", exact=True).select_option("teaCache")
    card = run(make)
    finish(card)
    assert card.locator(".bar i.reused").count() > 0
    assert card.locator(".bar i").count() == 20
    expect(card.locator(".status")).to_contain_text("steps reused")


def test_sixty_tasks_at_once_all_end(make: Page) -> None:
    fill_small(make, steps=1)
    make.get_by_label("Guidance").fill("1")
    for _ in range(60):
        make.get_by_label("Prompt", exact=True).press("Control+Enter")
    expect(make.locator(".card")).to_have_count(60)
    expect(make.locator(".card[data-state=done]")).to_have_count(60, timeout=120_000)
    assert make.locator(".card a img").count() == 60


def test_tasks_go_on_after_a_reload(make: Page) -> None:
    fill_small(make, steps=30)
    run(make)
    expect(make.locator(".card[data-state=rendering]")).to_be_visible()
    make.reload()
    card = make.locator(".card").first
    finish(card)
    expect(card.locator("a img")).to_have_count(1)


def test_a_restart_of_the_server_in_the_middle(page: Page, console: Console, tmp_path: Path) -> None:
    console.allow("ERR_CONNECTION_REFUSED")
    console.allow("ERR_INCOMPLETE_CHUNKED_ENCODING")
    console.allow("ERR_CONNECTION_RESET")
    console.allow("ERR_EMPTY_RESPONSE")
    console.allow("status of 503")
    with live_server(tmp_path / "data", "--weights", "embedded") as server:
        port = server.url.rpartition(":")[2]
        page.goto(f"{server.url}/#/make")
        expect(page.get_by_label("Model", exact=True)).not_to_have_value("")
        fill_small(page, steps=24)
        page.get_by_label("Width").fill("512")
        page.get_by_label("Height").fill("512")
        card = run(page)
        expect(card.locator(".preview")).to_be_visible()
    expect(page.locator("#banner")).to_contain_text("does not answer")
    with live_server(tmp_path / "data", "--weights", "embedded", "--port", port):
        expect(page.locator("#banner")).to_be_empty()
        finish(card)
        expect(page.locator(".card")).to_have_count(1)


def test_a_prompt_is_never_markup(make: Page) -> None:
    text = "<img src=x onerror=alert(1)><b>bold</b>"
    make.get_by_label("Width").fill("128")
    make.get_by_label("Height").fill("128")
    make.get_by_label("Steps", exact=True).fill("1")
    make.get_by_label("Prompt", exact=True).fill(text)
    card = run(make)
    finish(card)
    expect(card.locator(".prompt")).to_have_text(text)
    expect(make.locator("b")).to_have_count(0)
    expect(make).to_have_title(re.compile("Ownware"))
