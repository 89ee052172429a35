"""The options of `ownware serve`, which other commands accept too.

`Settings` declares them once; the commands pass unknown flags on to it. Imports the settings only when a command runs.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ownware.console import fail

if TYPE_CHECKING:
    from server.settings import Settings

# For `typer.Typer.command`: collect every flag that the command does not declare.
PASS_THROUGH: dict[str, Any] = {"context_settings": {"allow_extra_args": True, "ignore_unknown_options": True}}

# The option of the commands about models, which read the models file only.
ModelsFile = Annotated[
    Path | None, typer.Option("--models", help="A models file of your own; default: OWNWARE_MODELS, else the built-in.")
]


def read_settings(arguments: Sequence[str]) -> "Settings":
    """Read the settings from flags, then from variables, then from defaults. Wrong ones end the command."""
    from pydantic import ValidationError
    from pydantic_settings import CliApp

    from server.settings import PREFIX, Settings, unknown_variables

    if messages := unknown_variables(os.environ):
        fail(*messages)
    try:
        return CliApp.run(Settings, cli_args=list(arguments))
    except ValidationError as error:
        found = [(str(each["loc"][0]), each["msg"]) for each in error.errors()]
        fail(*(f"{PREFIX}{name.upper()} or --{name.replace('_', '-')}: {message}" for name, message in found))
