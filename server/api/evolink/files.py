"""Uploads over HTTP: as base64, as a form, from a URL; and the list of a key's files."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.api.access.client import Client
from server.api.bodies.body import read_body
from server.api.evolink.file_table import FileTable, UploadedFile
from server.api.evolink.queries import MAX_PAGE, MAX_PAGE_SIZE, number
from server.api.fields.form import read_form
from server.api.fields.validation import validate
from server.api.requests import client_of, read_fields
from server.api.services import Services
from server.api.urls.image_urls import image_url
from server.errors import MediaError, MissingParameter, NotFound
from server.media.inline_images import decode_base64
from server.media.store import Media

KEPT_SECONDS = 72 * 3600

Name = Annotated[StrictStr, Field(max_length=255)]


class FileNames(BaseModel):
    """What a sender may call a file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    file_name: Name | None = None
    upload_path: Name = ""


class Base64Upload(FileNames):
    """A file as base64, with or without the head of a data URI."""

    base64_data: Annotated[StrictStr, Field(min_length=1)]


class UrlUpload(FileNames):
    """A file that the server fetches."""

    file_url: Annotated[StrictStr, Field(min_length=1)]


class EvoLinkFiles:
    """Answers about files."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._table = FileTable(services.database)

    async def upload_base64(self, request: Request) -> Response:
        """Store a file of a JSON body."""
        client = client_of(request, self._services)
        fields = await read_fields(Base64Upload, request, self._services)
        text = fields.base64_data
        begin = text.find(",") + 1 if text.startswith("data:") else 0
        try:
            data = await asyncio.to_thread(decode_base64, text, begin)
        except MediaError as error:
            raise MediaError("It is no base64.").for_parameter("base64_data") from error
        return await self._add(data, client, fields, "base64_data")

    async def upload_stream(self, request: Request) -> Response:
        """Store a file of a form."""
        client = client_of(request, self._services)
        body = await read_body(request, self._services.max_body)
        form = await read_form(request.headers, body, self._services.body_pool)
        if not form.files.get("file"):
            raise MissingParameter("file", "Missing required parameter 'file'.")
        return await self._add(form.files["file"][0], client, validate(FileNames, form.fields), "file")

    async def upload_url(self, request: Request) -> Response:
        """Fetch and store a file."""
        client = client_of(request, self._services)
        fields = await read_fields(UrlUpload, request, self._services)
        try:
            data = await self._services.image_fetcher.fetch(fields.file_url)
        except MediaError as error:
            raise error.for_parameter("file_url") from error
        return await self._add(data, client, fields, "file_url")

    async def list_files(self, request: Request) -> Response:
        """The files of a key, the latest first."""
        client, query = client_of(request, self._services), request.query_params
        page = number(query.get("page"), "page", 1, MAX_PAGE)
        size = number(query.get("page_size"), "page_size", 20, MAX_PAGE_SIZE)
        files = await self._table.page(client.owner, offset=(page - 1) * size, limit=size)
        total, _ = await self._table.usage(client.owner)
        items = [_file(file, client) for file in files]
        return _success({"files": items, "total": total, "page": page, "page_size": size})

    async def quota(self, request: Request) -> Response:
        """How much a key has stored. There is no limit but the disk."""
        client = client_of(request, self._services)
        count, size = await self._table.usage(client.owner)
        return _success({"used_files": count, "used_bytes": size, "unlimited": True})

    async def delete(self, request: Request) -> Response:
        """Delete a file. Raises `NotFound`."""
        client, file_id = client_of(request, self._services), request.path_params["file_id"]
        if not await self._table.delete(client.owner, file_id):
            raise NotFound(f"File {file_id} is not known.", code="fileNotFound", parameter="file_id")
        await self._services.media.delete(file_id, owner=client.owner)
        return _success({"file_id": file_id})

    async def _add(self, data: bytes, client: Client, names: FileNames, parameter: str) -> Response:
        try:
            media = await self._services.inputs.add_upload(data, owner=client.owner)
        except MediaError as error:
            raise error.for_parameter(parameter) from error
        file = _row(media, len(data), names)
        await self._table.put(file)
        return _success(_file(file, client))


def _row(media: Media, size: int, names: FileNames) -> UploadedFile:
    now, stored = time.time(), f"{media.uuid}{media.path.suffix}"
    original = names.file_name or stored
    return UploadedFile(
        media.uuid, media.owner, original, stored, names.upload_path, size, media.mime, now, now + KEPT_SECONDS
    )


def _file(file: UploadedFile, client: Client) -> dict[str, Any]:
    url = image_url(client.base_url, file.file_id, file.file_name.rpartition(".")[2])
    return {
        "file_id": file.file_id,
        "file_name": file.file_name,
        "original_name": file.original_name,
        "file_size": file.size,
        "mime_type": file.mime,
        "upload_path": file.upload_path,
        "file_url": url,
        "download_url": url,
        "upload_time": _time(file.created),
        "expires_at": _time(file.expires),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _success(data: dict[str, Any]) -> Response:
    return JSONResponse({"success": True, "code": 200, "msg": "success", "data": data})
