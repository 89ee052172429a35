"""The models that a machine serves: the catalogue of the settings, on real or embedded weights. Imports no torch."""

from pipelines.catalog.catalog import BUILT_IN, Catalog, load_catalog
from server.settings import Settings


def choose_catalog(settings: Settings, devices: tuple[str, ...]) -> Catalog:
    """The catalogue of the settings for these devices. Raises `CatalogError`.

    The embedded checkpoint replaces all weights when the settings say so, or on a CPU when they say nothing.
    """
    catalog = load_catalog(settings.models or BUILT_IN)
    on_cpu = all(device == "cpu" for device in devices)
    nothing_said = settings.weights == "auto" and settings.models is None and on_cpu
    return catalog.with_embedded_weights() if nothing_said or settings.weights == "embedded" else catalog
