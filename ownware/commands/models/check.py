"""`ownware models check`: open every file of a model, and say what would be loaded."""

from typing import Annotated

import typer

from ownware.console import fail
from ownware.server_options import ModelsFile

WRONG = 1


def check(
    names: Annotated[
        list[str] | None, typer.Argument(help="AIR identifiers or slugs; default: every row of the models file.")
    ] = None,
    models: ModelsFile = None,
) -> None:
    """Open every file of the models, and say in a line what would be loaded.

    Reads headers only: no GPU is needed. The exit status is 1 if a row is wrong, or if a named one is not here.
    """
    from ownware.models.check import check_row
    from ownware.models.rows import UnknownModel, read_catalog, require_row
    from pipelines.catalog.catalog import CatalogError
    from pipelines.catalog.sources import rows

    try:
        catalog = read_catalog(models)
        wanted = [require_row(catalog, name) for name in names] if names else list(rows(catalog))
    except (CatalogError, UnknownModel) as error:
        fail(str(error))
    findings = [check_row(row, catalog) for row in wanted]
    for finding in findings:
        typer.echo(f"{finding.air}: {'' if finding.state == 'right' else f'{finding.state}: '}{finding.text}")
    accepted = {"right"} if names else {"right", "not here"}
    if any(finding.state not in accepted for finding in findings):
        raise typer.Exit(WRONG)
