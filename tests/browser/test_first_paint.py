"""The benchmark of the first paint, on the server of these tests."""

import pytest
from playwright.sync_api import Browser

from benchmarks.first_paint import VIEWS, measure
from tests.live import LiveServer

pytestmark = pytest.mark.browser


def test_each_view_is_painted(browser: Browser, server: LiveServer) -> None:
    lines = measure(browser, server.url, 1)
    assert [line["view"] for line in lines] == list(VIEWS)
    assert all(line["median"] > 0 and line["bytes"] > 10_000 for line in lines)
