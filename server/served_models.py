"""The models that a machine serves: the catalogue of the settings, on real or embedded weights. Imports no torch."""

import functools
from dataclasses import replace

from pipelines.catalog.catalog import BUILT_IN, Catalog
from pipelines.catalog.models_file import CatalogError, load_catalog
from pipelines.catalog.sources import missing_sources
from pipelines.models.planning.entries import PlanOptions
from pipelines.models.weights_check import check_weights
from server.machine.capacity import plan_capacity
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
    return _without_download(catalog, devices, settings.plan_options) if nothing_said else catalog


@functools.cache  # the Python API asks for every image
def _without_download(catalog: Catalog, devices: tuple[str, ...], options: PlanOptions) -> Catalog:
    here = tuple(entry for entry in catalog.entries if not missing_sources(entry))
    found = replace(catalog, entries=here or catalog.entries)
    capacity = plan_capacity(found.entries[0], devices, options)
    problem = None if capacity is None else capacity.problem
    if here and problem is None:
        return found
    if capacity is not None and capacity.refusal is not None:
        raise CatalogError(str(problem))
    fit = f"{capacity}, and this machine has that" if capacity else f"{found.entries[0].weights} is not here"
    raise CatalogError(
        f"{problem or fit}. --weights catalog {'loads' if here else 'downloads and loads'} it all the same; "
        "--weights embedded serves the small demonstration model"
    )
