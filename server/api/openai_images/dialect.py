"""OpenAI's dialect of images: parses calls; renders images and errors.

A client waits for its images, so there is no acknowledgement and no task id on the wire.
"""

import asyncio
import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.catalog.catalog import REFERENCES, Catalog, ModelEntry
from server.api.access.client import Client
from server.api.fields.extensions import EXTENSION_NAMES
from server.api.fields.sizes import parse_size
from server.api.openai_images.fields import AUTO, NEUTRAL, EditFields, GenerationFields
from server.api.urls.image_urls import image_url, picture_text
from server.errors import ApiError, Failure, InvalidParameter, NotFound, TaskCancelled
from server.jobs.job import Job, Result
from server.media.encode import DEFAULT_QUALITY, Encoding
from server.media.metadata import Format
from server.media.store import MediaStore
from server.tasks.lora_library import LoraLibrary
from server.tasks.plain.parameter_names import parameter_at_fault
from server.tasks.plain.plain_task import PlainTask, to_spec
from server.tasks.spec import TaskSpec

NAME = "openai"
Json = dict[str, Any]
Kind = Literal["generation", "edit"]

# The qualities of JPEG and WebP: 0 and 100 percent of the vendor are the least and the most that the encoder takes.
MIN_QUALITY, MAX_QUALITY = 1, 99
_FORMATS: dict[str, Format] = {"png": "PNG", "jpeg": "JPG", "webp": "WEBP"}
_WIRE_FORMATS = {ours: theirs for theirs, ours in _FORMATS.items()}
_NAMES = {**EXTENSION_NAMES, "task_id": "X-Client-Request-Id", "width": "size", "height": "size", "seed_image": "image"}
_EDIT_NAMES = _NAMES | {"references": "image", "references[]": "image[]"}
# The field of the other vendor of this path; see `server.api.generations_route`.
_GENERATION_NAMES = _NAMES | {"references": "image_urls"}
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_UNAUTHORIZED, _SERVER_ERROR = "invalid_api_key", "server_error"


@dataclass(frozen=True, slots=True)
class ImageCall:
    """One call with validated fields. `images` and `mask` are the texts that name stored or remote pictures."""

    task_id: str
    fields: GenerationFields
    sent: Json
    images: tuple[str, ...] = ()
    mask: str | None = None

    @property
    def kind(self) -> Kind:
        """What the vendor's events call it."""
        return "edit" if isinstance(self.fields, EditFields) else "generation"


class OpenAIDialect:
    """See `server.api.dialect.Dialect`."""

    def __init__(self, loras: LoraLibrary, media: MediaStore) -> None:
        self._loras = loras
        self._media = media

    def parse(self, request: ImageCall, client: Client) -> TaskSpec:
        """The spec of a call. Raises `TaskRejected` or another `ApiError`."""
        fields, catalog = request.fields, self._loras.catalog(client.owner)
        entry = _model(fields.model, len(request.images), catalog)
        size = _size(fields.size)
        plain = PlainTask(
            model=entry,
            prompt=fields.prompt,
            encoding=Encoding(_FORMATS[fields.output_format], _quality(fields)),
            negative_prompt=fields.negative_prompt,
            images=tuple(picture_text(text, client.base_url) for text in request.images),
            mask=request.mask,
            size=size,
            size_picture="references[0]" if request.mask is not None and request.images else None,
            seed=fields.seed,
            count=fields.n,
            names=_GENERATION_NAMES if request.kind == "generation" else _EDIT_NAMES,
            **fields.plain_options,
        )
        return to_spec(
            plain,
            catalog,
            owner=client.owner,
            dialect=NAME,
            task_id=request.task_id,
            task=request.sent,
            wait=True,
            warnings=tuple(_warnings(fields, size)),
        )

    async def result(self, job: Job, image: Result, client: Client) -> Json:
        """One finished image, as base64 or as a URL. Raises `NotFound` when its file has expired."""
        work = job.submission
        if work.task.get("response_format") == "url":
            return {"url": image_url(client.base_url, image.image_uuid, work.encoding.extension)}
        found = await self._media.get(image.image_uuid, owner=work.owner)
        if found is None:
            raise NotFound("The image has expired.", code="imageNotFound")
        return {"b64_json": await asyncio.to_thread(lambda: base64.b64encode(found.path.read_bytes()).decode("ascii"))}

    def answer(self, job: Job, images: list[Json]) -> Json:
        """The body of a finished call."""
        return {"created": int(job.created), "data": images, **self.description(job), "usage": usage()}

    def description(self, job: Job) -> Json:
        """What the vendor tells of the images of a call."""
        request = job.submission.request
        return {
            "background": "opaque",
            "output_format": _WIRE_FORMATS[job.submission.encoding.format],
            "quality": AUTO,
            "size": f"{request.width}x{request.height}",
        }

    def error(self, failure: Failure | ApiError, job: Job | None = None) -> Json:
        """The vendor's error object."""
        item = {
            "message": failure.message,
            "type": _kind(status_of(failure)),
            "param": parameter_at_fault(failure, _EDIT_NAMES),
            "code": _code(failure),
        }
        return {"error": item}


def status_of(failure: Failure | ApiError) -> int:
    """The HTTP status of a failure. A cancelled task is no failure of the server: clients would send it again."""
    return 400 if failure.code == TaskCancelled.default_code else failure.status


def usage() -> Json:
    """The counted tokens. There are none, and your own GPU costs nothing; clients read the whole object."""
    details = {"text_tokens": 0, "image_tokens": 0}
    return {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0, "input_tokens_details": details}


def _model(name: str | None, pictures: int, catalog: Catalog) -> ModelEntry:
    """The first model of a name that takes this number of pictures, else the first of the name. None is any name.

    Raises `NotFound` for a name that is not served.
    """
    named = catalog.entries if name is None else catalog.named(NAME, name)
    if not named:
        raise NotFound(f"The model '{name}' does not exist.", code="model_not_found", parameter="model")
    return next((entry for entry in named if _takes(entry, pictures)), named[0])


def _takes(entry: ModelEntry, pictures: int) -> bool:
    least, most = REFERENCES[entry.mode]
    return least <= pictures <= most


def _size(text: str) -> tuple[int, int] | None:
    """The size in pixels, None for `auto`. Raises `InvalidParameter`."""
    if text == AUTO:
        return None
    try:
        return parse_size(text)
    except ValueError as error:
        raise InvalidParameter("size", f"Invalid value for 'size' parameter. It {error}.") from error


def _quality(fields: GenerationFields) -> int:
    if fields.output_compression is None:
        return DEFAULT_QUALITY
    return min(MAX_QUALITY, max(MIN_QUALITY, fields.output_compression))


def _warnings(fields: GenerationFields, size: tuple[int, int] | None) -> Iterator[str]:
    for name, neutral in NEUTRAL.items():
        value = getattr(fields, name, None)
        if value is not None and value not in neutral:
            yield f"{name} is ignored: it has no effect on the models served here."
    if fields.output_compression is not None and fields.output_format == "png":
        yield "output_compression is ignored: PNG has no quality."
    if size is not None and f"{size[0]}x{size[1]}" != fields.size:
        yield f"size is {size[0]}x{size[1]}: sides are multiples of 16."


def _kind(status: int) -> str:
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    return kinds.get(status, _SERVER_ERROR if status >= 500 else "invalid_request_error")


def _code(failure: Failure | ApiError) -> str:
    """The vendor's code where it has one, else ours in the vendor's spelling."""
    if failure.status == 401:
        return _UNAUTHORIZED
    return _WORDS.sub("_", failure.code).lower()
