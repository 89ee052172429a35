"""Checks of the machine: the address to listen on, API keys, and packages that some options need."""

import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ownware.doctor.finding import Finding
from server.database import read_only
from server.extras import DETECTOR, TRACING, install_command, is_installed
from server.keys.key_table import DATABASE_NAME
from server.process.data_lock import lock_holder
from server.process.listen import LOOPBACK, is_loopback, listen
from server.settings import Settings

# A module of each extra that the server can use, and what it is for.
EXTRAS = {
    "gpu": ("gguf", "GGUF files and --precision nf4"),
    "faces": (DETECTOR, "--face-refinement"),
    "safety": (DETECTOR, "the content check"),
    "otel": (TRACING, "--tracing"),
}


def check_keys(settings: Settings) -> Iterator[Finding]:
    """Who may use the server, and from where."""
    stored = _stored_keys(settings.data_dir)
    if settings.api_keys or stored:
        yield Finding("ok", "API keys", f"{len(settings.api_keys)} of the settings, {stored} of the data folder")
    elif settings.open or _is_loopback(settings.host):
        yield Finding("note", "API keys", "none: everybody who reaches the server may use it")
    else:
        yield Finding("note", "API keys", f"none: the server will listen on {LOOPBACK} instead of {settings.host}")


def check_ports(settings: Settings) -> Iterator[Finding]:
    """Whether the addresses can be listened on."""
    for flag, port in settings.ports.items():
        name, address = flag.removeprefix("--").replace("-", " "), f"{port} of {settings.host}"
        try:
            for sock in listen(settings.host, port):
                sock.close()
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            if in_use and lock_holder(settings.data_dir) is not None:
                yield Finding("ok", name, f"{address} is in use, and a server runs in the data folder")
            else:
                reason = f"it is in use; choose another one with {flag}" if in_use else str(error)
                yield Finding("stops", name, f"{address}: {reason}")
        else:
            yield Finding("ok", name, f"{address} is free")


def check_extras(settings: Settings) -> Iterator[Finding]:
    """Which packages of the extras are here. One that an option needs stops the server."""
    options = {"faces": settings.face_refinement, "safety": settings.safety_default, "otel": settings.tracing}
    needed = {extra for extra, wanted in options.items() if wanted}
    for extra, (module, purpose) in EXTRAS.items():
        if is_installed(module):
            yield Finding("ok", f"extra {extra}", f"installed, for {purpose}")
        else:
            state = "stops" if extra in needed else "note"
            yield Finding(state, f"extra {extra}", f"not installed, for {purpose}: {install_command(extra)}")


def _stored_keys(folder: Path) -> int:
    """How many keys the data folder has, revoked ones too. None can be counted in a damaged database."""
    path = folder / DATABASE_NAME
    try:
        with read_only(path) as connection:
            return connection.execute("SELECT count(*) FROM api_keys").fetchone()[0]
    except sqlite3.Error:  # no file, no table yet, or damage that the check of the database tells
        return 0


def _is_loopback(host: str) -> bool:
    try:
        return is_loopback(host)
    except OSError:  # the check of the port says so
        return False
