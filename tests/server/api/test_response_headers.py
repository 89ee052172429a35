import json

import pytest

from server.api.response_headers import MAX_WARNINGS_BYTES, WARNINGS_HEADER, response_headers


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


@pytest.mark.parametrize(("status", "headers"), [(200, {}), (429, {"Retry-After": "42"})])
def test_an_estimate_of_when_to_try_again(status: int, headers: dict[str, str]) -> None:
    assert response_headers(status, retry_after=42) == headers


def test_each_warning_once_and_in_ascii() -> None:
    header = response_headers(200, ["ä", "b", "ä"])[WARNINGS_HEADER]
    assert header.isascii()
    assert json.loads(header) == ["ä", "b"]


def test_a_header_that_every_client_accepts() -> None:
    header = response_headers(200, [f"{number} " + "ä" * 40 for number in range(200)])[WARNINGS_HEADER]
    *kept, last = json.loads(header)
    assert MAX_WARNINGS_BYTES - 300 < len(header) <= MAX_WARNINGS_BYTES
    assert last == f"{200 - len(kept)} more; getTaskDetails has those of a task."
    many = json.loads(response_headers(200, map(str, range(100_000)))[WARNINGS_HEADER])
    assert many == [*map(str, range(len(many) - 1)), f"{100_001 - len(many)} more; getTaskDetails has those of a task."]
    assert json.loads(response_headers(200, ["a" * 9000])[WARNINGS_HEADER])[0].startswith("1 more")
