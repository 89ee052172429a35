"""Runs the server from start to end: devices, models, data folder, sockets, and what goes wrong with them.

Knows the terminal. Imports no torch, and the web server only when all is well.
"""

import asyncio
import contextlib
import errno
import socket
import sqlite3

import structlog
import typer

from accel.cache.profile import ProfileError
from pipelines.catalog.models_file import CatalogError
from pipelines.models.planning.cards import CPU
from server.api.access.auth import ApiKeys
from server.extras import DETECTOR, TRACING, install_command, is_installed
from server.jobs.workers.process.fork_server import begun_imports
from server.keys.key_table import KeyTable
from server.machine.capacity import plan_capacity
from server.machine.devices import DeviceError, find_cards, find_devices
from server.process.data_lock import DataFolderInUse, lock_data_folder
from server.process.listen import LOOPBACK, is_loopback, listen
from server.process.log_stream import protect_standard_streams
from server.process.logs import configure_logs
from server.served_models import choose_catalog
from server.settings import Settings

log = structlog.get_logger()


def serve(settings: Settings) -> int:
    """Serve until interrupted. Returns the process's exit status."""
    protect_standard_streams()
    configure_logs(settings.log_options)
    if settings.safety_default and not is_installed(DETECTOR):
        typer.echo(f"ownware: --safety-default needs the content check: {install_command('safety')}", err=True)
        return 2
    if settings.tracing and not is_installed(TRACING):
        typer.echo(f"ownware: --tracing needs OpenTelemetry: {install_command('otel')}", err=True)
        return 2
    if settings.face_refinement and not is_installed(DETECTOR):
        typer.echo(f"ownware: --face-refinement needs the face detector: {install_command('faces')}", err=True)
        return 2
    try:
        devices = find_devices(settings.devices)
        catalog = choose_catalog(settings, devices)
    except DeviceError as error:
        typer.echo(f"ownware: --devices: {error}", err=True)
        return 2
    except CatalogError as error:
        typer.echo(f"ownware: {error}", err=True)
        return 2
    if settings.devices == ("auto",) and devices == ("cpu",) and find_cards():
        log.warning("the GPU is not used: this torch is a build for the CPU only")
    capacity = plan_capacity(catalog.entries[0], devices, settings.plan_options)
    if capacity is not None and not capacity.entry.embedded:
        if capacity.refusal is not None:
            typer.echo(f"ownware: {capacity.problem}", err=True)
            return 2
        for line in capacity.lines() if capacity.card != CPU else ():
            typer.echo(line, err=True)
        if capacity.problem is not None:
            log.warning(capacity.problem)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(lock_data_folder(settings.data_dir))
            required = _keys_required(settings)
        except DataFolderInUse as error:
            typer.echo(
                f"ownware: another server ({error.process}) uses the data folder {settings.data_dir}: "
                "stop it, or give this one its own --data-dir and --port",
                err=True,
            )
            return 2
        except (OSError, sqlite3.Error) as error:
            return _data_folder_unusable(settings, error)
        try:
            settings = settings if required else _without_keys(settings)
        except OSError as error:
            return _cannot_listen(settings.host, settings.port, "--port", error)
        sockets = list[socket.socket]()
        for flag, port in settings.ports.items():
            try:
                sockets += [held.enter_context(sock) for sock in listen(settings.host, port)]
            except OSError as error:
                return _cannot_listen(settings.host, port, flag, error)
        held.enter_context(begun_imports(devices))
        # The import takes more than a second, beside those of the workers.
        from server.web_server import open_web_server

        try:
            web_server = open_web_server(settings, catalog, devices)
        except ProfileError as error:
            typer.echo(f"ownware: {error}", err=True)
            return 2
        except (OSError, sqlite3.Error) as error:
            return _data_folder_unusable(settings, error)
        return asyncio.run(web_server.run_to_end(sockets))


def _keys_required(settings: Settings) -> bool:
    keys = ApiKeys(settings.api_keys, KeyTable(settings.data_dir))
    try:
        return keys.required
    finally:
        keys.close()


def _without_keys(settings: Settings) -> Settings:
    """The settings of a server without keys: it stays on this machine, unless it is to be open. The log says so."""
    log.warning("any API key is accepted, and all clients share their tasks; `ownware keys add NAME` restricts them")
    if settings.open or is_loopback(settings.host):
        return settings
    log.warning(
        f"listening on {LOOPBACK} instead of {settings.host}, because there are no API keys: "
        "add one with `ownware keys add NAME` or OWNWARE_API_KEYS and start again, or allow it with --open"
    )
    return settings.model_copy(update={"host": LOOPBACK})


def _cannot_listen(host: str, port: int, flag: str, error: OSError) -> int:
    reason = f"it is in use; choose another one with {flag}" if error.errno == errno.EADDRINUSE else error
    typer.echo(f"ownware: cannot listen on port {port} of {host}: {reason}", err=True)
    return 2


def _data_folder_unusable(settings: Settings, error: Exception) -> int:
    typer.echo(f"ownware: the data folder {settings.data_dir} cannot be used: {error}", err=True)
    return 2
