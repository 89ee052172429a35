"""`GET /v1/receipts/<imageUUID>`: how an image was made, without a key, for as long as the image is there.

The UUID is the secret, as it is for the image itself, which carries the same receipt.
"""

import json
from typing import Any

from fastapi import APIRouter

from server.api.cache_reports import cache_json
from server.errors import NotFound
from server.jobs.storage.store import JobStore
from server.media.store import MediaStore

RECEIPT_ROUTE = "/v1/receipts"


def router(jobs: JobStore, media: MediaStore) -> APIRouter:
    """The receipt route over the stored results."""
    routes = APIRouter()

    @routes.get(RECEIPT_ROUTE + "/{image_uuid}", tags=["receipts"], summary="How an image was made")
    async def receipt(image_uuid: str) -> dict[str, Any]:
        """The resolved request, seed, weights, versions and timings. `ownware replay` renders the same bytes."""
        result, found = await jobs.result(image_uuid), await media.get(image_uuid.lower(), owner=None)
        if result is None or found is None:
            raise NotFound("No image with this UUID was rendered here, or it has expired.", code="imageNotFound")
        cache = {} if result.cache is None else {"cache": cache_json(result.cache)}
        return {
            "imageUUID": result.image_uuid,
            "sha256": found.sha256,
            "created": round(found.created, 3),
            "seconds": round(result.seconds, 4),
            "receipt": json.loads(result.receipt),
            **cache,
        }

    return routes
