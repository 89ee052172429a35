"""What can go wrong with the hub, in one sentence that says what to do. Imports no torch."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.catalog.hub.cache import hub_cache
from pipelines.errors import first_line

_NOT_FOUND = (401, 403, 404)  # of a mirror that does not say why, as the hub itself does


class HubError(OSError):
    """Weights cannot be had from the hub; the message says why, and what to do."""


@contextmanager
def client_errors(repository: str) -> Iterator[None]:
    """Turn what the hub's client raises about a repository into `HubError`. Broken connections pass through."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    hub = constants.ENDPOINT
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise HubError(f"{repository} is not wholly here, and HF_HUB_OFFLINE=1 forbids its download") from error
    except GatedRepoError as error:
        raise HubError(
            f"{repository} is gated: accept its conditions at {hub}/{repository}, and set HF_TOKEN to a token of yours"
        ) from error
    except RepositoryNotFoundError as error:
        raise HubError(_not_found(hub, repository)) from error
    except (RevisionNotFoundError, HFValidationError) as error:
        raise HubError(f"{repository}: {first_line(error)}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in _NOT_FOUND:
            raise HubError(_not_found(hub, repository)) from error
        raise HubError(
            f"the hub {hub} answers {status} for {repository}: try again later, or name a mirror with HF_ENDPOINT"
        ) from error


def _not_found(hub: str, repository: str) -> str:
    return f"the hub {hub} has no repository {repository}, or it is private and HF_TOKEN does not open it"


@contextmanager
def connection_errors(repository: str) -> Iterator[None]:
    """Turn a hub that cannot be reached, or that does not answer in time, into `HubError`."""
    import httpx2
    from huggingface_hub import constants

    try:
        yield
    except httpx2.TransportError as error:
        raise HubError(
            f"{repository} is not wholly here, and the hub {constants.ENDPOINT} cannot be reached "
            f"({first_line(error)}): check the network, or name a mirror with HF_ENDPOINT"
        ) from error


@contextmanager
def disk_errors(repository: str) -> Iterator[None]:
    """Turn a full disk, or a cache that cannot be written, into `HubError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HubError(
                f"the disk of {hub_cache()} is full, and {repository} is not wholly here: free some, and the same "
                "command goes on"
            ) from error
        if isinstance(error, PermissionError | NotADirectoryError | FileExistsError):
            raise HubError(f"the hub's cache cannot be written: {error}; HF_HOME names another folder") from error
        raise
