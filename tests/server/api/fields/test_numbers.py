import pytest

from server.api.fields.numbers import read_integer


@pytest.mark.parametrize(("text", "found"), [("5", 5), ("100", 100), ("007", 7)])
def test_an_integer_in_its_range(text: str, found: int) -> None:
    assert read_integer(text, 5, 100) == found


@pytest.mark.parametrize("text", ["", "4", "101", "0007", "-5", "+5", "5.0", "1e1", "٣", "²0", "9" * 5000])
def test_any_other_text(text: str) -> None:
    assert read_integer(text, 5, 100) is None
