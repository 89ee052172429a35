"""`ownware models list`: every row of the models file, and whether its weights are on this machine."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ownware.console import fail
from ownware.server_options import ModelsFile

if TYPE_CHECKING:
    from pipelines.catalog.sources import Row


def list_models(
    models: ModelsFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """List the models, LoRAs and ControlNets of the models file, and what of their weights is here."""
    from rich.filesize import decimal

    from ownware.models.rows import read_catalog
    from pipelines.catalog.models_file import CatalogError

    try:
        catalog = read_catalog(models)
    except CatalogError as error:
        fail(str(error))
    kinds = (("model", catalog.entries), ("lora", catalog.loras), ("controlnet", catalog.controlnets))
    lines = [_describe(kind, row) for kind, rows in kinds for row in rows]
    if as_json:
        for line in lines:
            typer.echo(json.dumps(line))
        return
    width = max(len(str(line["air"])) for line in lines)
    for line in lines:
        size = f"{decimal(line['bytes']):>8}" if line["bytes"] else " " * 8
        names = f" ({', '.join(line['slugs'])})" if line["slugs"] else ""
        weights = ", ".join(line["weights"])
        typer.echo(f"{line['air']:<{width}}  {line['state']:<8} {size}  {line['name']}{names}: {weights}")


def _describe(kind: str, row: "Row") -> dict[str, Any]:
    from pipelines.catalog.sources import disk_bytes, missing_sources, sources

    taken = disk_bytes(sources(row))
    missing = missing_sources(row)
    state = "here" if not missing else "in part" if taken else "not here"
    return {
        "kind": kind,
        "air": row.air,
        "slugs": list(row.slugs),
        "name": row.name,
        "weights": [source.name for source in sources(row)],
        "state": state,
        "missing": [source.name for source in missing],
        "bytes": taken,
    }
