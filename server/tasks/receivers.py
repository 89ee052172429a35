"""Refuses a webhook or an upload that could never be sent, before its task is accepted. Knows no wire format."""

from collections.abc import Mapping

from server.delivery.sender import Sender
from server.errors import ApiError, InvalidParameter, TaskRejected


async def check_receivers(sender: Sender, urls: Mapping[str, str | None]) -> None:
    """Raise `TaskRejected` for each URL that nothing is ever sent to. They are by the client's names of them."""
    errors: list[ApiError] = []
    for name, url in urls.items():
        if url is not None and (reason := await sender.refusal(url)):
            message = f"Invalid value for '{name}' parameter. The URL {reason}."
            errors.append(InvalidParameter(name, message, details={"type": "string"}))
    if errors:
        raise TaskRejected(*errors)
