import inspect
from typing import Any

from ownware.batch.option_groups import spread_parameter


def option(name: str) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=str | None)


def test_two_groups_stand_in_the_places_of_their_parameters() -> None:
    calls: list[dict[str, Any]] = []

    def draw(word: str, *, place: dict[str, Any], flags: int) -> None:
        """Draw."""
        calls.append({"word": word, "place": place, "flags": flags})

    command = spread_parameter(draw, "place", [option("server"), option("key")], lambda values: values)
    command = spread_parameter(command, "flags", [option("steps")], len)
    assert [*inspect.signature(command).parameters] == ["word", "server", "key", "steps"]
    assert (command.__name__, command.__doc__) == ("draw", "Draw.")
    command(word="a", server="box", key=None, steps="4")
    assert calls == [{"word": "a", "place": {"server": "box", "key": None}, "flags": 1}]
