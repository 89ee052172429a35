"""The events of a streamed call: previews on the way, each finished image, an error. Knows no transport."""

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing

from server.api.access.client import Client
from server.api.openai_images.dialect import ImageCall, Json, OpenAIDialect, usage
from server.errors import ApiError
from server.jobs.events import Ended, PreviewReady, ResultReady
from server.tasks.watching import TaskNews


class ImageStream:
    """The vendor's events of one call. Each image has at most `partial_images` previews, spread over its steps."""

    def __init__(self, dialect: OpenAIDialect, call: ImageCall, client: Client) -> None:
        self._dialect = dialect
        self._call = call
        self._client = client
        self._sent: Counter[int] = Counter()

    async def events(self, news: AsyncGenerator[TaskNews]) -> AsyncGenerator[Json]:
        """Each event as the vendor's JSON, whose `type` is its name, up to the end of the task."""
        async with aclosing(news):
            async for event in news:
                if isinstance(event, PreviewReady) and self._wants(event):
                    yield await self._partial(event)
                elif isinstance(event, ResultReady):
                    yield await self._completed(event)
                elif isinstance(event, Ended) and event.job.failure is not None:
                    yield {"type": "error", **self._dialect.error(event.job.failure, event.job)}

    def _wants(self, preview: PreviewReady) -> bool:
        """Whether the steps of an image have come to its next preview."""
        wanted, sent = self._call.fields.partial_images, self._sent[preview.index]
        steps = preview.job.submission.request.steps
        return sent < wanted and preview.step * (wanted + 1) >= (sent + 1) * steps

    async def _partial(self, preview: PreviewReady) -> Json:
        number = self._sent[preview.index]
        self._sent[preview.index] += 1
        text = await asyncio.to_thread(lambda: base64.b64encode(preview.jpeg).decode("ascii"))
        item = {"b64_json": text, "partial_image_index": number, "created_at": int(preview.job.created)}
        description = self._dialect.description(preview.job) | {"output_format": "jpeg"}
        return {"type": f"image_{self._call.kind}.partial_image", **item, **description}

    async def _completed(self, result: ResultReady) -> Json:
        try:
            item = await self._dialect.result(result.job, result.result, self._client)
        except ApiError as error:  # its file is gone
            return {"type": "error", **self._dialect.error(error, result.job)}
        told = {"created_at": int(result.job.created), "usage": usage()}
        return {"type": f"image_{self._call.kind}.completed", **item, **told, **self._dialect.description(result.job)}
