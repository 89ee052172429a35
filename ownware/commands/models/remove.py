"""`ownware models remove`: free the disk that downloaded weights take."""

import sys
from typing import Annotated

import typer

from ownware.console import fail, print_message
from ownware.server_options import ModelsFile


def remove(
    names: Annotated[list[str], typer.Argument(help="AIR identifiers, slugs, or hub names.")],
    models: ModelsFile = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
) -> None:
    """Delete downloaded weights from the hub's cache; what another row uses is kept.

    The rows of the models file stay, and so do your own files and folders.
    """
    from rich.filesize import decimal

    from ownware.models.remove import carry_out, plan_removal
    from ownware.models.rows import UnknownModel, read_catalog
    from pipelines.catalog.models_file import CatalogError

    try:
        removals = plan_removal(read_catalog(models), names)
    except (CatalogError, UnknownModel) as error:
        fail(str(error))
    for removal in removals:
        kept = f"; the rest is kept for {', '.join(removal.kept_for)}" if removal.kept_for else ""
        count = len(removal.files)
        typer.echo(f"{removal.repository}: {decimal(removal.bytes)} in {count} file{'s' * (count != 1)}{kept}")
    if not any(removal.files for removal in removals):
        print_message("there is nothing to delete: no download of it is here, or another row uses all of it")
        return
    if not yes:
        if not is_terminal():
            fail("nothing is deleted: --yes deletes without asking")
        typer.confirm("Delete them?", abort=True)
    try:
        for removal in filter(lambda removal: removal.files, removals):
            carry_out(removal)
    except OSError as error:
        fail(f"cannot delete: {error}")


def is_terminal() -> bool:
    """Whether somebody can answer a question."""
    return sys.stdin.isatty()
