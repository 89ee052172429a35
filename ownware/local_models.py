"""The models that this machine can render with, for the commands and the Python API. Imports no torch."""

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ownware.console import print_message
from ownware.options import OptionError
from pipelines.catalog.catalog import Catalog, ModelEntry
from pipelines.models.residency.options import DEFAULT_OPTIONS, ModelOptions
from server.machine.devices import DeviceError, find_devices
from server.served_models import choose_catalog
from server.settings import Settings

if TYPE_CHECKING:
    from pipelines.models.checkpoint import LoadedModel
    from pipelines.models.residency.model_cache import ModelCache


@dataclass(frozen=True, slots=True)
class LocalModels:
    """The catalogue of the settings, the first of their devices, and how models are loaded there."""

    catalog: Catalog
    device: str
    options: ModelOptions = DEFAULT_OPTIONS

    @classmethod
    def find(cls, settings: Settings, option: str = "--devices") -> "LocalModels":
        """The models that a server with these settings would serve. Raises `CatalogError` or `OptionError`."""
        try:
            devices = _find_devices(settings.devices)
        except DeviceError as error:
            raise OptionError(option, str(error)) from error
        return cls(choose_catalog(settings, devices), devices[0], settings.model_options)

    def entry(self, option: str, name: str) -> ModelEntry:
        """The model of an AIR identifier or slug. Raises `OptionError`, naming the option."""
        entry = self.catalog.find(name)
        if entry is None:
            served = ", ".join(row.air for row in self.catalog.entries)
            raise OptionError(option, f"'{name}' is not in the catalogue; there are {served}")
        return entry

    def load(self, entry: ModelEntry) -> "LoadedModel":
        """Load a model as the settings say, and say so first: it takes seconds, and minutes for the 20B.

        Prompt encodings are not kept. Waits for the compiler, which would else work beside what is measured. Raises
        `LoadError`.
        """
        print_message(f"loading {entry.name} ({entry.files}) on {self.device} …")
        from pipelines.models.residency.model_cache import ModelCache

        return ModelCache(self.device, replace(self.options, prompts=None)).get_compiled(entry)

    def load_once(self, entry: ModelEntry) -> "LoadedModel":
        """Load a model without a message, unless this process has it already. It stays loaded. Raises `LoadError`."""
        return model_cache(self.device, replace(self.options, prompts=None)).get(entry)


@functools.cache
def model_cache(device: str, options: ModelOptions) -> "ModelCache":
    """The loaded models of a device, which stay between the pictures of this process."""
    from pipelines.models.residency.model_cache import ModelCache

    return ModelCache(device, options)


@functools.cache
def _find_devices(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Looked up once a process: asking the driver takes a moment, and the Python API does it for every image."""
    return find_devices(wanted)
