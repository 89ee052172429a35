import pytest

from server.delivery.sender import Sender
from server.errors import InvalidParameter, TaskRejected
from server.media.fetching.checked_transport import CheckedTransport
from server.tasks.receivers import check_receivers


async def test_each_url_that_nothing_is_sent_to_is_refused_by_its_name() -> None:
    urls = {"webhookURL": "http://127.0.0.1/hook", "uploadEndpoint": "http://10.0.0.1/put", "other": None}
    with pytest.raises(TaskRejected) as rejected:
        await check_receivers(Sender(CheckedTransport(False)), urls)
    found = [error.parameter for error in rejected.value.errors if isinstance(error, InvalidParameter)]
    assert found == ["webhookURL", "uploadEndpoint"]


async def test_others_pass() -> None:
    await check_receivers(Sender(CheckedTransport(True)), {"webhookURL": "http://127.0.0.1/hook", "upload": None})
