"""The timeline of a step cache: what is plotted, and what the table says, are the decisions of the receipt."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.forms import look, receipt, render
from tests.live import LiveServer

pytestmark = pytest.mark.browser
BRANCHES = {"cond": "Prompt", "uncond": "Negative"}


def rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}".rstrip("0").rstrip(".")


@pytest.mark.parametrize(
    "options", [{"fbCache": True}, {"teaCache": True, "teaCacheDistance": 0.3}], ids=["fbCache", "teaCache"]
)
def test_the_timeline_is_the_receipt(page: Page, server: LiveServer, options: dict[str, Any]) -> None:
    file = render(server, steps=12, acceleratorOptions=options)
    look(page, server, file)
    answer = receipt(server, file)
    cache, letters = answer["cache"], answer["receipt"]["cache"]
    rows = page.locator(".timeline tbody tr")
    expect(rows).to_have_count(len(cache["forwards"]))
    found = rows.evaluate_all("rows => rows.map(row => [...row.cells].map(cell => cell.textContent))")
    for cells, forward in zip(found, cache["forwards"], strict=True):
        assert cells[:2] == [str(forward["step"] + 1), BRANCHES[forward["branch"]]]
        assert cells[2].startswith("reused" if forward["reused"] else "computed: ")
        assert [float(cell or "nan") for cell in cells[3:]] == pytest.approx(
            [float(rounded(forward[name]) or "nan") for name in ("distance", "score")], abs=1e-4, nan_ok=True
        )
    for branch, name in BRANCHES.items():
        plotted = [cells[2][0].upper() for cells in found if cells[1] == name]
        assert "".join(plotted) == letters[branch]
    kinds = page.locator(".decisions rect").evaluate_all("all => all.map(each => each.getAttribute('class'))")
    assert kinds == ["reused" if forward["reused"] else "computed" for forward in cache["forwards"]]
    expect(page.get_by_role("img", name=f"{cache['reusedSteps']} of 12 steps reused")).to_be_visible()
    expect(page.locator(".timeline .key.threshold")).to_contain_text("threshold")


def test_a_sampler_that_calls_the_model_twice_has_two_rows_a_step(page: Page, server: LiveServer) -> None:
    file = render(server, steps=10, scheduler="Heun", CFGScale=1, acceleratorOptions={"dbCache": True})
    look(page, server, file)
    page.get_by_text("As a table").click()
    expect(page.get_by_role("columnheader", name="Call")).to_be_visible()
    expect(page.locator(".timeline tbody tr")).to_have_count(len(receipt(server, file)["cache"]["forwards"]))
    expect(page.locator(".decisions text.name", has_text="Negative")).to_have_count(0)


def test_a_picture_without_a_cache_has_no_timeline(page: Page, server: LiveServer) -> None:
    look(page, server, render(server))
    expect(page.locator("[data-fact=cache] dd")).to_have_text("none")
    expect(page.locator(".timeline")).to_have_count(0)
