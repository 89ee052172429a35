import json

import pytest

from server.api.response_headers import WARNINGS_HEADER, response_headers


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {}),
        (400, {}),
        (413, {"Connection": "close"}),
        (429, {"Retry-After": "10"}),
        (503, {"Retry-After": "10"}),
    ],
)
def test_when_to_try_again(status: int, headers: dict[str, str]) -> None:
    assert response_headers(status) == headers


def test_each_warning_once_and_in_ascii() -> None:
    header = response_headers(200, ["ä", "b", "ä"])[WARNINGS_HEADER]
    assert header.isascii()
    assert json.loads(header) == ["ä", "b"]
