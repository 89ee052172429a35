import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api.json_input import long_texts
from server.api.json_input.long_texts import put_back, take_out
from server.api.json_input.parsing import parse_json

TEXTS = st.text(st.sampled_from('ab"\\\n\x7f:é 0'), max_size=12)
JSON = st.recursive(
    TEXTS | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(autouse=True)
def _short() -> Iterator[None]:
    """Strings of four characters are long, and are copied in pieces of three."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_texts, "LONG", 4)
        patch.setattr(long_texts, "_PIECE", 3)
        yield


@given(JSON, st.booleans(), st.sampled_from([None, 1]), st.sampled_from([bytes, bytearray, str]))
def test_a_value_is_what_the_whole_text_means(value: Any, ascii_only: bool, indent: int | None, kind: Any) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    body = text if kind is str else kind(text.encode())
    short, texts = take_out(body)
    assert type(short) is kind or kind is bytearray
    assert put_back(json.loads(short), texts) == value
    assert parse_json(body) == value


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ('["abcd", "abc"]', ["abcd"]),
        ('{"abcd" : "abcdefgh"}', ["abcdefgh"]),
        ('{"abcd": {"a": ["wxyz"]}, "b": "abcd"}', ["wxyz", "abcd"]),
        (r'["a\"bcd", "ab\\\\", "abcd"]', ["abcd"]),
        ('["abcdé", "ab\ncd"]', []),
        ("no JSON", []),
        ('["abcd', []),
    ],
)
def test_which_strings_are_taken_out(text: str, taken: list[str]) -> None:
    for body in (text, text.encode()):
        short, texts = take_out(body)
        assert list(texts.values()) == taken
        assert (short is body) is not bool(taken)


def test_a_mark_of_a_client_is_no_mark() -> None:
    short, texts = take_out(b'["abcd"]')
    (mark,) = json.loads(short)
    assert texts == {mark: "abcd"}
    assert parse_json(json.dumps([mark, "abcd"])) == [mark, "abcd"]


def test_very_many_backslashes_are_not_looked_at() -> None:
    for number, taken in ((62, ["abcd"]), (64, [])):
        assert list(take_out('["' + "\\" * number + '", "abcd"]')[1].values()) == taken


def test_very_many_quotes_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_texts, "MAX_QUOTES", 4)
    assert list(take_out(b'["abcd", "abcd", "abcd"]')[1].values()) == ["abcd", "abcd"]
