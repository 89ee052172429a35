"""The query parameters of lists. Pure."""

from server.api.fields.numbers import read_integer
from server.errors import InvalidParameter

MAX_PAGE_SIZE = 100
MAX_PAGE = 1_000_000  # a page beyond is empty, and the database counts up to it


def number(text: str | None, name: str, default: int, high: int) -> int:
    """The integer from 1 to `high` in a text, or the default without one. Raises `InvalidParameter`."""
    if text is None:
        return default
    if (found := read_integer(text, 1, high)) is None:
        raise InvalidParameter(name, f"Invalid value for '{name}' parameter. It must be an integer from 1 to {high}.")
    return found
