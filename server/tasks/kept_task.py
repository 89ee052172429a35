"""A client's task as it is stored and shown again. Its inline pictures are not stored twice. Knows no wire format."""

from collections.abc import Mapping, Sequence
from typing import Any

# An inline picture is longer. It is stored as a file, and the stored task names it.
LONGEST_NAME_OF_A_PICTURE = 300  # characters
# Far more than any prompt has. A longer text is that of no parameter that a dialect knows.
LONGEST_TEXT = 65_536  # characters
_SHOWN = 64  # characters of a text that is not kept


def kept_task(task: Mapping[str, Any], pictures: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The task without inline pictures and other very long texts. `pictures` are the text and the UUID of each."""
    inline = [(text, name) for text, name in pictures if len(text) > LONGEST_NAME_OF_A_PICTURE]
    return {name: _replaced(value, inline) for name, value in task.items()}


def shortened(value: Any, longest: int) -> Any:
    """A JSON value in which each text of more characters is only hinted at."""
    if isinstance(value, dict):
        return {name: shortened(item, longest) for name, item in value.items()}
    if isinstance(value, list):
        return [shortened(item, longest) for item in value]
    long = isinstance(value, str) and len(value) > longest
    return f"{value[:_SHOWN]}… ({len(value)} characters)" if long else value


def _replaced(value: Any, texts: Sequence[tuple[str, str]]) -> Any:
    """A JSON value in which some strings have become others.

    They are compared, which takes no time for others of their length. The hash of 100 MB would hold up all clients.
    """
    if isinstance(value, dict):
        return {key: _replaced(item, texts) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, texts) for item in value]
    if isinstance(value, str):
        new = next((new for old, new in texts if old == value), None)
        return shortened(value, LONGEST_TEXT) if new is None else new
    return value
