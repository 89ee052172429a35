"""Checks of devices and models: drivers, files, profiles, and the plan of the weights. Imports no torch."""

import os
from collections.abc import Iterator, Sequence

from accel.cache.profile import ProfileError
from ownware.doctor.finding import Finding, State
from ownware.models.check import check_row
from pipelines.catalog.catalog import Catalog
from pipelines.catalog.models_file import CatalogError
from pipelines.catalog.profiles import Profiles
from server.machine.capacity import plan_capacity
from server.machine.devices import DeviceError, TorchBuild, find_cards, find_devices
from server.served_models import choose_catalog
from server.settings import Settings


def check_devices_and_models(settings: Settings) -> Iterator[Finding]:
    """The devices, then the models that they would serve. Without devices, nothing can be said about models."""
    try:
        devices = find_devices(settings.devices)
        torch = TorchBuild.find()
    except DeviceError as error:
        yield Finding("stops", "devices", str(error))
        return
    cards = find_cards()
    if cards and all(device == "cpu" for device in devices):
        yield Finding("note", "devices", f"cpu: {cards[0].name} is not used; torch is {torch.version}")
    else:
        names = f" ({', '.join(str(card.name) for card in cards)})" if cards else ""
        yield Finding("ok", "devices", f"{', '.join(devices)}{names}; torch {torch.version}")
    try:
        catalog = choose_catalog(settings, devices)
    except CatalogError as error:
        yield Finding("stops", "models", str(error))
        return
    yield from _check_models(catalog)
    yield from _check_profiles(settings, catalog)
    yield from _check_plan(settings, catalog, devices)


def _check_models(catalog: Catalog) -> Iterator[Finding]:
    """One line for each model. The first one is loaded at the start, the others at their first task."""
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    for number, entry in enumerate(catalog.entries):
        found = check_row(entry, catalog)
        bad: State = "note" if number else "stops"
        states: dict[str, State] = {"right": "ok", "wrong": bad, "not here": bad if offline else "note"}
        yield Finding(states[found.state], "model", f"{entry.air}: {found.text}")


def _check_profiles(settings: Settings, catalog: Catalog) -> Iterator[Finding]:
    try:
        Profiles(catalog, settings.profiles)
    except ProfileError as error:
        yield Finding("stops", "profiles", str(error))


def _check_plan(settings: Settings, catalog: Catalog, devices: Sequence[str]) -> Iterator[Finding]:
    first = catalog.entries[0]
    if first.embedded:
        yield Finding("ok", "plan", f"{first.air} is the embedded demonstration model, which fits everywhere")
        return
    capacity = plan_capacity(first, devices, settings.plan_options)
    if capacity is None:
        yield Finding("note", "plan", "the GPUs are known to torch alone, so it is made at the start")
    elif capacity.refusal is not None:
        yield Finding("stops", "plan", str(capacity.problem))
    elif capacity.problem is not None:
        yield Finding("note", "plan", capacity.problem)
    else:
        yield Finding("ok", "plan", capacity.lines()[0])
