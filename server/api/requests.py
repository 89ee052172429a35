"""What a dialect with one JSON object in a body reads of a request: who sends it, and the object.

A large object is parsed and checked beside the event loop.
"""

from dataclasses import replace
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.requests import Request

from server.api.access.auth import bearer_or_bare_key
from server.api.access.client import Client
from server.api.bodies.body import read_body
from server.api.fields.validation import validate
from server.api.json_input.parsing import parse_object
from server.api.services import Services
from server.api.urls.base_url import base_url
from server.connections.bodies import release_body

M = TypeVar("M", bound=BaseModel)


def client_of(request: Request, services: Services) -> Client:
    """The sender, by the key in the header, with or without the word `Bearer`. Raises `Unauthorized`."""
    owner = services.keys.owner(bearer_or_bare_key(request.headers))
    return Client(owner, base_url(request, services.public_url), listens=False)


async def read_object(request: Request, client: Client, services: Services) -> tuple[dict[str, Any], Client]:
    """The JSON object of a request whose key is accepted, and its sender with the size of it.

    Raises `ApiError` or `TaskRejected`.
    """
    body = await read_body(request, services.max_body)
    parsed = await services.body_pool.run(len(body), parse_object, body)
    release_body(request)
    return parsed, replace(client, size=len(body))


async def read_fields(model: type[M], request: Request, services: Services) -> M:
    """The JSON object of a request whose key is accepted, validated. Raises `ApiError` or `TaskRejected`."""
    body = await read_body(request, services.max_body)
    fields = await services.body_pool.run(len(body), lambda: validate(model, parse_object(body)))
    release_body(request)
    return fields
