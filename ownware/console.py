"""Messages of the commands on the error stream, and the exit status of a command that cannot run."""

from collections.abc import Iterable
from typing import NoReturn

import typer

IMPOSSIBLE = 2


def print_message(message: str) -> None:
    """Print a line to the error stream, so that standard output holds results only."""
    typer.echo(f"ownware: {message}", err=True)


def fail(*messages: str) -> NoReturn:
    """Print each message and end the command with status 2."""
    print_messages(messages)
    raise typer.Exit(IMPOSSIBLE)


def print_messages(messages: Iterable[str]) -> None:
    """Print one line for each message."""
    for message in messages:
        print_message(message)
