"""The server view over time: answers that overtake each other, tabs that nobody sees, and tasks of low priority."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import Console, open_page
from tests.live import LiveServer

pytestmark = pytest.mark.browser
PAGE = 25
HIDDEN = "Object.defineProperty(document, 'hidden', { get: () => window.seenByNobody === true })"
TURN = "hidden => { window.seenByNobody = hidden; document.dispatchEvent(new Event('visibilitychange')); }"


@pytest.fixture
def page(browser: Browser, console: Console) -> Iterator[Page]:
    """A page with a browser of its own, whose clock a test may set."""
    with browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900}) as context:
        yield open_page(context, console)


def logged(number: int, **members: Any) -> dict[str, Any]:
    """A row of the log."""
    row = {"taskUUID": f"{number:08d}-0000-4000-8000-000000000000", "dialect": "runware", "state": "done"}
    row |= {"priority": "normal", "model": "runware:108@1", "prompt": f"prompt {number}", "images": 1}
    row |= {"numberResults": 1, "created": 0, "started": 0, "finished": 1, "seconds": 1, "warnings": [], "error": None}
    return row | members


def answer(route: Route, *rows: dict[str, Any]) -> None:
    route.fulfill(content_type="application/json", body=json.dumps({"tasks": rows, "total": 2 * PAGE}))


def test_an_answer_that_is_late_does_not_turn_the_page_back(page: Page, server: LiveServer) -> None:
    late: list[Route] = []
    asked: list[int] = []

    def log(route: Route) -> None:
        offset = int(parse_qs(urlsplit(route.request.url).query)["offset"][0])
        asked.append(offset)
        if asked == [0, 0]:
            late.append(route)
        else:
            answer(route, logged(offset))

    page.clock.install()
    page.route("**/v1/server/tasks*", log)
    page.goto(f"{server.url}/#/server")
    expect(page.get_by_text("prompt 0")).to_be_visible()
    with page.expect_request("**/v1/server/tasks*"):
        page.clock.run_for(3500)
    page.get_by_role("button", name="Earlier").click()
    expect(page.get_by_text(f"prompt {PAGE}")).to_be_visible()
    assert late
    with page.expect_response("**/v1/server/tasks*"):
        answer(late[0], logged(0))
    page.evaluate("() => new Promise((done) => queueMicrotask(done))")
    expect(page.get_by_text(f"prompt {PAGE}")).to_be_visible()
    expect(page.get_by_role("cell", name="prompt 0", exact=True)).to_have_count(0)


def test_a_hidden_tab_asks_for_nothing_and_is_up_to_date_when_it_is_seen(page: Page, server: LiveServer) -> None:
    asked: list[str] = []
    page.clock.install()
    page.add_init_script(HIDDEN)
    page.goto(f"{server.url}/#/server")
    expect(page.get_by_role("cell", name="torch")).to_be_visible()
    page.wait_for_load_state("networkidle")
    page.evaluate(TURN, True)
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(60_000)
    assert asked == []
    with page.expect_response("**/v1/server"):
        page.evaluate(TURN, False)


def test_the_log_tells_errors_in_words_and_the_priority(page: Page, server: LiveServer) -> None:
    error = {"code": "inferenceError", "message": "The device ran out of memory."}
    page.route(
        "**/v1/server/tasks*", lambda route: answer(route, logged(1, priority="low", error=error, state="failed"))
    )
    page.goto(f"{server.url}/#/server")
    expect(page.get_by_role("cell", name="The device ran out of memory.")).to_be_visible()
    expect(page.get_by_text("low priority")).to_be_visible()
