"""Groups of options that several commands have: each reaches its command as one value. Knows no option."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

Command = Callable[..., None]


def spread_parameter(
    command: Command, name: str, options: Sequence[inspect.Parameter], collect: Callable[[dict[str, Any]], object]
) -> Command:
    """The command with `options` in the place of its keyword-only parameter `name`.

    It gets under that name what `collect` makes of the options' values. `options` are keyword-only.
    """

    def run(**given: Any) -> None:
        values = {option.name: given.pop(option.name) for option in options}
        command(**given, **{name: collect(values)})

    own = inspect.signature(command).parameters.values()
    parameters = [each for parameter in own for each in (options if parameter.name == name else (parameter,))]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run
