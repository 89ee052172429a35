"""The options of `serve` that say which models render, for commands whose other arguments are files.

Those commands cannot pass unknown flags on. All other options of `serve` can be set by variables.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from ownware.batch.item import BatchError
from ownware.server_options import read_settings

if TYPE_CHECKING:
    from server.settings import Settings

_PANEL = "Where it renders"

Models = Annotated[str | None, typer.Option(help="A models file of your own.", rich_help_panel=_PANEL)]
Weights = Annotated[str | None, typer.Option(help="auto, embedded or catalog.", rich_help_panel=_PANEL)]
Devices = Annotated[str | None, typer.Option(help="auto, cpu or cuda:0.", rich_help_panel=_PANEL)]
DataDir = Annotated[str | None, typer.Option(help="The data folder.", rich_help_panel=_PANEL)]
Server = Annotated[
    str | None,
    typer.Option(help="Address of a server that renders, such as http://box:8000.", rich_help_panel=_PANEL),
]
Key = Annotated[
    str | None, typer.Option(help="API key for --server; default: OWNWARE_API_KEY.", rich_help_panel=_PANEL)
]


def refuse_with_server(server: str | None, **options: str | None) -> None:
    """Raise `BatchError` for an option that has no effect where a server renders."""
    for name, value in options.items():
        if server is not None and value is not None:
            raise BatchError(f"--{name} has no effect with --server: the server has its own")


def settings_of(models: str | None, weights: str | None, devices: str | None, data_dir: str | None) -> "Settings":
    """The settings of a server with these options. Wrong ones end the command."""
    given = {"--models": models, "--weights": weights, "--devices": devices, "--data-dir": data_dir}
    return read_settings([word for flag, value in given.items() if value is not None for word in (flag, value)])
