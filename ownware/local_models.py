"""The models that this machine can render with, for the commands and the Python API. Imports no torch."""

import functools
from dataclasses import dataclass

from ownware.options import OptionError
from pipelines.catalog.catalog import Catalog, ModelEntry
from server.devices import DeviceError, find_devices
from server.served_models import choose_catalog
from server.settings import Settings


@dataclass(frozen=True, slots=True)
class LocalModels:
    """The catalogue of the settings, and the first of their devices."""

    catalog: Catalog
    device: str

    @classmethod
    def find(cls, settings: Settings) -> "LocalModels":
        """The models that a server with these settings would serve. Raises `CatalogError` or `OptionError`."""
        try:
            devices = _find_devices(settings.devices)
        except DeviceError as error:
            raise OptionError("--devices", str(error)) from error
        return cls(choose_catalog(settings, devices), devices[0])

    def entry(self, option: str, name: str) -> ModelEntry:
        """The model of an AIR identifier or slug. Raises `OptionError`, naming the option."""
        entry = self.catalog.find(name)
        if entry is None:
            served = ", ".join(row.air for row in self.catalog.entries)
            raise OptionError(option, f"'{name}' is not in the catalogue; there are {served}")
        return entry


@functools.cache
def _find_devices(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Looked up once a process: asking the driver takes a moment, and the Python API does it for every image."""
    return find_devices(wanted)
