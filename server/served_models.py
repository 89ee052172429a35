"""The models that a machine serves: the catalogue of the settings, on real or embedded weights. Imports no torch."""

import functools
from dataclasses import replace

from pipelines.catalog.catalog import BUILT_IN, Catalog, CatalogError, load_catalog
from pipelines.catalog.hub.cache import local_folder
from pipelines.models.weights_check import check_weights
from server.capacity import Need, shortages
from server.settings import Settings


def choose_catalog(settings: Settings, devices: tuple[str, ...]) -> Catalog:
    """The catalogue of the settings for these devices. Raises `CatalogError`.

    The embedded checkpoint replaces all weights when the settings say so, or on a CPU when they say nothing. On a GPU
    they then are the built-in models whose weights are here and fit: nobody has asked for a download.
    """
    models_file = settings.models or BUILT_IN
    catalog = load_catalog(models_file)
    on_cpu = all(device == "cpu" for device in devices)
    nothing_said = settings.weights == "auto" and settings.models is None
    if settings.weights == "embedded" or (nothing_said and on_cpu):
        catalog = catalog.with_embedded_weights()
        nothing_said = False
    check_weights(catalog, models_file)
    return _without_download(catalog, devices) if nothing_said else catalog


def missing_capacity(catalog: Catalog, devices: tuple[str, ...]) -> str | None:
    """What the first model takes and this machine lacks, in words; None when it fits or is the embedded one."""
    first = catalog.entries[0]
    need = Need.of(first.weights, devices)
    if first.embedded or not (short := shortages(need)):
        return None
    return f"{need}, but {' and '.join(short)}"


@functools.cache  # the Python API asks for every image
def _without_download(catalog: Catalog, devices: tuple[str, ...]) -> Catalog:
    here = tuple(entry for entry in catalog.entries if local_folder(entry.weights) is not None)
    found = replace(catalog, entries=here or catalog.entries)
    missing = missing_capacity(found, devices)
    if here and missing is None:
        return found
    fit = missing or f"{Need.of(found.entries[0].weights, devices)}, and this machine has that"
    raise CatalogError(
        f"{fit}. --weights catalog {'loads' if here else 'downloads and loads'} it all the same; "
        "--weights embedded serves the small demonstration model"
    )
