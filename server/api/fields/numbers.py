"""Reads the numbers of query strings. Pure: what a number means, and the error of a wrong one, are the dialect's."""


def read_integer(text: str, low: int, high: int) -> int | None:
    """The integer from `low` to `high` in a text of ASCII digits. None for any other text."""
    if text.isascii() and text.isdecimal() and len(text) <= len(str(high)) and low <= int(text) <= high:
        return int(text)
    return None
