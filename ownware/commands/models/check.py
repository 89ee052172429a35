"""`ownware models check`: open every file of a model, and say what would be loaded, and what goes where."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ownware.console import fail
from ownware.server_options import ModelsFile, read_settings

if TYPE_CHECKING:
    from pipelines.catalog.catalog import ModelEntry
    from server.settings import Settings

WRONG = 1


def check(
    names: Annotated[
        list[str] | None, typer.Argument(help="AIR identifiers or slugs; default: every row of the models file.")
    ] = None,
    models: ModelsFile = None,
) -> None:
    """Open every file of the models, and say in a line what would be loaded. The plan for this machine follows.

    Reads headers only: no GPU is needed. The exit status is 1 if a row is wrong, or if a named one is not here.
    """
    from ownware.models.check import check_row
    from ownware.models.rows import UnknownModel, require_row
    from pipelines.catalog.catalog import BUILT_IN, ModelEntry
    from pipelines.catalog.models_file import CatalogError, load_catalog
    from pipelines.catalog.sources import rows

    settings = read_settings([] if models is None else ["--models", str(models)])
    try:
        catalog = load_catalog(settings.models or BUILT_IN)
        wanted = [require_row(catalog, name) for name in names] if names else list(rows(catalog))
    except (CatalogError, UnknownModel) as error:
        fail(str(error))
    findings = [check_row(row, catalog) for row in wanted]
    devices: tuple[str, ...] = ()
    for row, finding in zip(wanted, findings, strict=True):
        typer.echo(f"{finding.air}: {'' if finding.state == 'right' else f'{finding.state}: '}{finding.text}")
        if finding.state == "right" and isinstance(row, ModelEntry) and not row.embedded:
            devices = devices or _find_devices(settings)
            for line in _plan_lines(row, devices, settings):
                typer.echo(f"  {line}")
    accepted = {"right"} if names else {"right", "not here"}
    if any(finding.state not in accepted for finding in findings):
        raise typer.Exit(WRONG)


def _find_devices(settings: "Settings") -> tuple[str, ...]:
    """The devices of this machine. Ends the command for one that is not here."""
    from server.machine.devices import DeviceError, find_devices

    try:
        return find_devices(settings.devices)
    except DeviceError as error:
        fail(f"--devices: {error}")


def _plan_lines(entry: "ModelEntry", devices: tuple[str, ...], settings: "Settings") -> Iterator[str]:
    """The plan of a model on these devices, and what this machine lacks."""
    from server.machine.capacity import plan_capacity

    capacity = plan_capacity(entry, devices, settings.plan_options)
    if capacity is None:
        yield "no plan: only torch can tell the GPUs of this machine; `ownware models plan` takes --card"
        return
    yield from capacity.lines()
    if capacity.problem is not None:
        yield capacity.problem
