"""`ownware keys`: the API keys of a data folder. A running server accepts and refuses them at once."""

import contextlib
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ownware.console import fail, print_message
from ownware.server_options import PASS_THROUGH, read_settings

if TYPE_CHECKING:
    from server.keys.api_key import ApiKey
    from server.keys.key_table import KeyTable

NAME = re.compile(r"[\w.@-]{1,64}", re.ASCII)  # one word in a list and in a log
UNITS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}
DAYS = 7  # of the shorter count of images
MAX_LEFT = 100 * 366 * 86_400  # seconds: a list shows years of four digits

app = typer.Typer(
    help="API keys of a data folder: --data-dir or OWNWARE_DATA_DIR names it, as for the server.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(help="Name of the key.")]


@app.command(**PASS_THROUGH)
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the key: letters, digits and . _ @ -")],
    weight: Annotated[
        float, typer.Option(help="Share of the devices beside other keys that wait.", min=0.01, max=1000)
    ] = 1,
    rate: Annotated[int | None, typer.Option(help="Tasks that it may send in a minute.", min=1)] = None,
    concurrency: Annotated[int | None, typer.Option(help="Its tasks that may wait or run at a time.", min=1)] = None,
    expires: Annotated[
        str | None, typer.Option(help="When it ends: 12h, 30d, 8w, or a date such as 2030-12-31 (UTC).")
    ] = None,
) -> None:
    """Add a key and print it. It is shown this once."""
    from server.keys.api_key import KeyLimits
    from server.keys.key_table import KeyNameTaken

    if NAME.fullmatch(name) is None:
        fail(f"'{name}' is no name of a key: it has 1 to 64 letters, digits and . _ @ -")
    end = None if expires is None else parse_expiry(expires, time.time())
    with open_keys(context) as keys:
        try:
            secret = keys.add(name, KeyLimits(weight, rate, concurrency), end)
        except KeyNameTaken:
            fail(f"there is a key '{name}': `ownware keys rotate {name}` gives it a new secret")
    print_message(f"keep the key of '{name}', because it is not shown again:")
    typer.echo(secret)


@app.command("list", **PASS_THROUGH)
def list_keys(context: typer.Context) -> None:
    """List the keys with their limits, and their images: of the last 7 days, and all.

    Of a secret, its first letters are shown.
    """
    from server.keys.usage import day_of, images_since

    with open_keys(context) as keys:
        late = images_since(keys.path, day_of(time.time()) - DAYS + 1)
        all_days = images_since(keys.path, 0)
        lines = [_cells(key, late.get(key.owner, 0), all_days.get(key.owner, 0)) for key in keys.all()]
    if not lines:
        print_message("there are no keys; `ownware keys add NAME` adds one")
        return
    head = ("NAME", "KEY", "STATE", "WEIGHT", "RATE", "CONCURRENCY", "CREATED", "EXPIRES", f"IMAGES {DAYS}D", "IMAGES")
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    for cells in (head, *lines):
        typer.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip())


@app.command(**PASS_THROUGH)
def revoke(context: typer.Context, name: Name) -> None:
    """Accept a key no longer. Its accepted tasks go on."""
    with open_keys(context) as keys, _named(name):
        keys.revoke(name)
    print_message(f"'{name}' is revoked")


@app.command(**PASS_THROUGH)
def rotate(context: typer.Context, name: Name) -> None:
    """Replace the secret of a key and print it. The old one ends at once; tasks, images and limits stay."""
    with open_keys(context) as keys, _named(name):
        secret = keys.rotate(name)
    print_message(f"keep the new key of '{name}', because it is not shown again:")
    typer.echo(secret)


def parse_expiry(text: str, now: float) -> float:
    """The end of a key in seconds since the epoch. A text that is no end in the future ends the command."""
    end = now
    if match := re.fullmatch(r"(\d{1,6})([hdw])", text):
        end = now + int(match[1]) * UNITS[match[2]]
    with contextlib.suppress(ValueError):
        date = datetime.fromisoformat(text)
        end = (date.replace(tzinfo=UTC) if date.tzinfo is None else date).timestamp()
    if not now < end < now + MAX_LEFT:
        fail(f"--expires: '{text}' is no time from now such as 30d, and no date to come such as 2030-12-31")
    return end


@contextlib.contextmanager
def open_keys(context: typer.Context) -> "Iterator[KeyTable]":
    """The keys of the data folder that the flags name. A folder or file that cannot be used ends the command."""
    import sqlite3

    from server.keys.key_table import KeyTable

    folder = read_settings(context.args).data_dir
    try:
        with contextlib.closing(KeyTable(folder)) as keys:
            yield keys
    except (OSError, sqlite3.Error) as error:
        fail(f"the keys of the data folder {folder} cannot be used: {error}")


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    from server.keys.key_table import NoSuchKey

    try:
        yield
    except NoSuchKey:
        fail(f"there is no key '{name}'; `ownware keys list` names them")


def _cells(key: "ApiKey", late_images: int, images: int) -> tuple[str, ...]:
    limits = key.limits
    return (
        key.name,
        f"{key.prefix}…",
        key.state(time.time()),
        f"{limits.weight:g}",
        "-" if limits.rate is None else f"{limits.rate}/min",
        "-" if limits.concurrency is None else str(limits.concurrency),
        _date(key.created),
        "-" if key.expires is None else _date(key.expires),
        str(late_images),
        str(images),
    )


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
