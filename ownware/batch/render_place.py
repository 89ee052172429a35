"""Where a command renders: through a server, or in this process with the options of `serve` that say which models.

The commands' other arguments are files, so they pass no unknown flags on. Variables set all other options of `serve`.
"""

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ownware.batch.item import BatchError
from ownware.batch.option_groups import Command, spread_parameter
from ownware.server_options import read_settings

if TYPE_CHECKING:
    from server.settings import Settings

_PANEL = "Where it renders"
_MODEL_OPTIONS = ("models", "weights", "devices")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderPlace:
    """The options as they are typed. Each field declares its flag."""

    server: Annotated[
        str | None,
        typer.Option(help="Address of a server that renders, such as http://box:8000.", rich_help_panel=_PANEL),
    ] = None
    key: Annotated[
        str | None, typer.Option(help="API key for --server; default: OWNWARE_API_KEY.", rich_help_panel=_PANEL)
    ] = None
    models: Annotated[str | None, typer.Option(help="A models file of your own.", rich_help_panel=_PANEL)] = None
    weights: Annotated[str | None, typer.Option(help="auto, embedded or catalog.", rich_help_panel=_PANEL)] = None
    devices: Annotated[str | None, typer.Option(help="auto, cpu or cuda:0.", rich_help_panel=_PANEL)] = None
    data_dir: Annotated[str | None, typer.Option(help="The data folder.", rich_help_panel=_PANEL)] = None

    def check(self) -> None:
        """Raise `BatchError` for an option that has no effect where it renders."""
        if self.server is None:
            if self.key is not None:
                raise BatchError("--key needs --server")
            return
        for name in _MODEL_OPTIONS:
            if getattr(self, name) is not None:
                raise BatchError(f"--{name} has no effect with --server: the server has its own")

    def settings(self) -> "Settings":
        """The settings of a server with these options. Wrong ones end the command."""
        given = {name: getattr(self, name) for name in (*_MODEL_OPTIONS, "data_dir")}
        flags = {f"--{name.replace('_', '-')}": value for name, value in given.items() if value is not None}
        return read_settings([word for pair in flags.items() for word in pair])


def with_render_place(command: Command) -> Command:
    """The command with a flag for each field of `RenderPlace`. It gets them as `place`."""
    options = [*inspect.signature(RenderPlace).parameters.values()]
    return spread_parameter(command, "place", options, lambda values: RenderPlace(**values))
