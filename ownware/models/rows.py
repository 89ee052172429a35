"""Finds rows of the models file by name, for the commands about models. Imports no torch."""

import difflib
from pathlib import Path

from ownware.server_options import read_settings
from pipelines.catalog.catalog import BUILT_IN, Catalog
from pipelines.catalog.hub.cache import is_repository, split_file
from pipelines.catalog.models_file import load_catalog
from pipelines.catalog.sources import Row, Source, rows, sources


class UnknownModel(ValueError):
    """A name is neither of the catalogue nor of the hub; the message tells the nearest known name."""


def models_file(given: Path | None) -> Path | None:
    """The user's models file, from the option or the variable; None for the built-in one."""
    return read_settings([] if given is None else ["--models", str(given)]).models


def read_catalog(given: Path | None) -> Catalog:
    """The catalogue that the option or the variable names, as its file says. Raises `CatalogError`."""
    return load_catalog(models_file(given) or BUILT_IN)


def find_row(catalog: Catalog, name: str) -> Row | None:
    """The model, LoRA or ControlNet of an AIR identifier or slug."""
    return catalog.find(name) or catalog.find_lora(name) or catalog.find_controlnet(name)


def require_row(catalog: Catalog, name: str) -> Row:
    """The row of a name. Raises `UnknownModel`."""
    row = find_row(catalog, name)
    if row is None:
        raise UnknownModel(f"'{name}' is not in the models file{nearest_name(catalog, name)}")
    return row


def find_sources(catalog: Catalog, name: str) -> tuple[Source, ...]:
    """The sources of a row, or of a hub name such as owner/repository or owner/repository/file.

    Raises `UnknownModel`.
    """
    if (row := find_row(catalog, name)) is not None:
        return sources(row)
    if is_repository(name) or split_file(name) is not None:
        return (Source(name),)
    raise UnknownModel(f"'{name}' is no AIR identifier, slug or hub name{nearest_name(catalog, name)}")


def nearest_name(catalog: Catalog, name: str) -> str:
    """A hint to the nearest name of the catalogue, or to the list of all."""
    known = [known for row in rows(catalog) for known in (row.air.lower(), *row.slugs)]
    near = difflib.get_close_matches(name.lower(), known, n=1)
    return f"; the nearest is '{near[0]}'" if near else "; `ownware models list` shows all"
