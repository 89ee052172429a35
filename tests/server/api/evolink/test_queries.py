import pytest

from server.api.evolink.queries import number
from server.errors import InvalidParameter


@pytest.mark.parametrize(("text", "found"), [(None, 20), ("1", 1), ("100", 100), ("007", 7)])
def test_a_number(text: str | None, found: int) -> None:
    assert number(text, "page", 20, 100) == found


@pytest.mark.parametrize("text", ["", "0", "101", "-1", "1.0", "a", "٣", "9" * 5000])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(InvalidParameter, match="integer from 1 to 100"):
        number(text, "page", 20, 100)
