"""Uploads in the vendor's two ways: a ticket with a URL to put the file to, or one multipart form.

The URL of a ticket is a secret that needs no key. It takes exactly the announced bytes, once, for a while.
"""

import secrets
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from server.api.access.client import Client
from server.api.services import Services
from server.api.urls.image_urls import image_url
from server.api.wavespeed.predictions import ROOT, Json
from server.api.wavespeed.schema import UploadTicket
from server.errors import InvalidParameter, InvalidRequest, MediaError, NotFound, ValueTooLarge
from server.media.store import Media

SCHEMA = """
CREATE TABLE IF NOT EXISTS wavespeed_uploads (
    file TEXT PRIMARY KEY,
    ticket TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    size INTEGER NOT NULL,
    used INTEGER NOT NULL DEFAULT 0,
    media_uuid TEXT,
    expires REAL NOT NULL
);
"""
FILES = f"{ROOT}/media/files"
TICKETS = f"{ROOT}/media/uploads"
TICKET_SECONDS = 3600  # enough for the largest file over a slow line
FILE_SECONDS = 7 * 86_400  # the vendor keeps uploads for 7 days
SECRET_BYTES = 24


@dataclass(frozen=True, slots=True)
class Ticket:
    """A redeemed ticket: its file must have exactly `size` bytes, and will belong to `owner`."""

    file: str
    owner: str
    size: int


class Uploads:
    """The uploads of one server."""

    def __init__(self, services: Services) -> None:
        self._database = services.database
        self._inputs = services.inputs
        self._media = services.media
        self._max_bytes = services.max_body

    async def create(self, wanted: UploadTicket, client: Client) -> Json:
        """A ticket. Raises `ValueTooLarge`."""
        if wanted.size > self._max_bytes:
            raise ValueTooLarge(f"The file is larger than {self._max_bytes} bytes.")
        file, ticket = secrets.token_urlsafe(SECRET_BYTES), secrets.token_urlsafe(SECRET_BYTES)
        now = time.time()

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM wavespeed_uploads WHERE expires <= ?", (now,))
            query = "INSERT INTO wavespeed_uploads (file, ticket, owner, size, expires) VALUES (?, ?, ?, ?, ?)"
            connection.execute(query, (file, ticket, client.owner, wanted.size, now + TICKET_SECONDS))

        await self._database.run(work)
        name = quote(PurePosixPath(wanted.filename).name or "upload", safe="")
        instruction = {
            "method": "PUT",
            "url": f"{client.base_url}{TICKETS}/{ticket}",
            "headers": {"Content-Type": wanted.content_type},
        }
        return {
            "type": "image",
            "download_url": f"{client.base_url}{FILES}/{file}/{name}",
            "filename": wanted.filename,
            "size": wanted.size,
            "upload": instruction,
        }

    async def redeem(self, ticket: str) -> Ticket:
        """What a ticket allows. It is used up then. Raises `NotFound`."""

        def work(connection: sqlite3.Connection) -> sqlite3.Row | None:
            query = "UPDATE wavespeed_uploads SET used = 1 WHERE ticket = ? AND NOT used AND expires > ? RETURNING *"
            return connection.execute(query, (ticket, time.time())).fetchone()

        if (row := await self._database.run(work)) is None:
            raise NotFound("The upload ticket is unknown, used or expired.", code="ticketNotFound")
        return Ticket(row["file"], row["owner"], row["size"])

    async def fill(self, ticket: Ticket, data: bytes) -> None:
        """Store the bytes of a redeemed ticket. Raises `InvalidRequest` or `InvalidParameter`."""
        if len(data) != ticket.size:
            raise InvalidRequest(f"The file has {len(data)} bytes; {ticket.size} were announced.")
        media = await self._store(data, ticket.owner)

        def work(connection: sqlite3.Connection) -> None:
            query = "UPDATE wavespeed_uploads SET media_uuid = ?, expires = ? WHERE file = ?"
            connection.execute(query, (media.uuid, time.time() + FILE_SECONDS, ticket.file))

        await self._database.run(work)

    async def add(self, data: bytes, filename: str, client: Client) -> Json:
        """Store the file of a form. Raises `InvalidParameter`."""
        media = await self._store(data, client.owner)
        url = image_url(client.base_url, media.uuid, media.path.suffix[1:])
        return {"type": "image", "download_url": url, "filename": filename, "size": len(data)}

    async def url_of(self, file: str, base_url: str) -> str:
        """The URL of the image of a filled ticket. Raises `NotFound`."""
        media = await self._find(file, owner=None)
        if media is None:
            raise NotFound("No such file, or it has expired.", code="fileNotFound")
        return image_url(base_url, media.uuid, media.path.suffix[1:])

    async def resolved(self, body: Mapping[str, Any], client: Client) -> Json:
        """A submitted body in which the URLs of uploads have become UUIDs, which need no download."""
        return {
            name: await self._resolve(value, client) if name in ("image", "images") else value
            for name, value in body.items()
        }

    async def _resolve(self, value: Any, client: Client) -> Any:
        if isinstance(value, list):
            return [await self._resolve(item, client) for item in value]
        start = f"{client.base_url}{FILES}/"
        if not (isinstance(value, str) and value.startswith(start)):
            return value
        media = await self._find(value.removeprefix(start).partition("/")[0], owner=client.owner)
        return value if media is None else media.uuid

    async def _find(self, file: str, *, owner: str | None) -> Media | None:
        def work(connection: sqlite3.Connection) -> sqlite3.Row | None:
            query = "SELECT media_uuid FROM wavespeed_uploads WHERE file = ? AND expires > ? AND media_uuid NOT NULL"
            return connection.execute(query, (file, time.time())).fetchone()

        row = await self._database.run(work)
        return None if row is None else await self._media.get(row["media_uuid"], owner=owner)

    async def _store(self, data: bytes, owner: str) -> Media:
        try:
            return await self._inputs.add_upload(data, owner=owner)
        except MediaError as error:
            raise InvalidParameter("file", f"The file cannot be used. {error.message}", code="invalidFile") from error
