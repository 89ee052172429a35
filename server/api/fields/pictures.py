"""The pictures of a request that may name them in one of several fields, as a text or as an array.

Shared by the vendors whose clients choose the field by the number of the pictures. Knows no dialect.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.api.access.client import Client
from server.api.urls.image_urls import picture_text
from server.errors import IncompatibleParameters, TaskRejected


@dataclass(frozen=True, slots=True)
class Sent:
    """The texts of the pictures, and the client's names of them for `server.tasks.plain.parameter_names`."""

    texts: tuple[str, ...]
    names: Mapping[str, str]


def sent_pictures(raw: Mapping[str, Any], fields: Mapping[str, tuple[str, ...]], client: Client) -> Sent:
    """The pictures of the one field that has some. URLs of this server become UUIDs, which need no download.

    `raw` is the request, which says how each field was written. The first field is named where pictures are missing.
    Raises `TaskRejected` when several fields have some.
    """
    given = [name for name, texts in fields.items() if texts]
    if len(given) > 1:
        message = f"Give '{given[0]}' or '{given[1]}', not both."
        raise TaskRejected(IncompatibleParameters(message, parameter=tuple(given)))
    name = given[0] if given else next(iter(fields))
    texts = tuple(picture_text(text, client.base_url) for text in fields[name])
    each = f"{name}[]" if isinstance(raw.get(name), list) else name
    return Sent(texts, {"references": name, "references[]": each})
