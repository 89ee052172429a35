"""The form: from a prompt to a picture, and what it refuses."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Console
from tests.browser.forms import PROMPT, fill_small, finish, module, run

pytestmark = pytest.mark.browser


def test_a_prompt_becomes_a_picture(make: Page) -> None:
    fill_small(make)
    make.get_by_label("Seed", exact=True).fill("7")
    make.get_by_label("Prompt", exact=True).press("Control+Enter")
    picture = make.locator(".card .pictures a img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 128
    expect(make.locator(".card .status")).to_contain_text("done")
    assert make.locator(".bar i.computed").count() == 4


def test_the_draft_is_in_the_address_and_survives_a_reload(make: Page) -> None:
    fill_small(make)
    expect(make).to_have_url(re.compile("steps=4"))
    make.reload()
    expect(make.get_by_label("Prompt", exact=True)).to_have_value(PROMPT)
    expect(make.get_by_label("Width")).to_have_value("128")


def test_what_is_not_filled_in_shows_what_the_server_takes(make: Page) -> None:
    expect(make.get_by_label("Steps", exact=True)).to_have_attribute("placeholder", "20")
    expect(make.get_by_label("Guidance")).to_have_attribute("placeholder", "4")
    expect(make.get_by_label("Width")).to_have_attribute("placeholder", "1024")


def test_a_refusal_stands_beside_its_field(make: Page, console: Console) -> None:
    console.allow("status of 400")
    make.goto(make.url.split("#")[0] + "#/make?positivePrompt=x&width=128&height=129")
    make.get_by_role("button", name="Make").click()
    expect(make.locator("[data-path=height] .refusal")).to_contain_text("height")


def test_what_the_server_remarks_stands_at_the_picture(make: Page) -> None:
    fill_small(make, steps=1)
    make.get_by_label("Negative prompt").fill("blue")
    make.get_by_label("Guidance").fill("1")
    card = run(make)
    finish(card)
    expect(card).to_contain_text("negativePrompt is ignored")


def test_the_page_speaks_chinese(make: Page) -> None:
    make.get_by_role("button", name="中文").click()
    expect(make.get_by_role("button", name="生成")).to_be_visible()
    assert make.evaluate("document.documentElement.lang") == "zh"
    make.get_by_role("button", name="English").click()
    expect(make.get_by_role("button", name="Make")).to_be_visible()


def test_every_text_is_there_in_both_languages(make: Page) -> None:
    english, chinese = make.evaluate(
        "async path => { const { all } = await import(path); return [Object.keys(all('en')), Object.keys(all('zh'))] }",
        module(make, "i18n.js"),
    )
    assert sorted(english) == sorted(chinese)
