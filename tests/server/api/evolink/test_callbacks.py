import json

import pytest
from starlette.testclient import TestClient

from server.api.dialect import Notice
from server.api.evolink.callbacks import EvoLinkWebhooks, check_scheme
from server.api.evolink.dialect import EvoLinkDialect
from server.delivery.targets import Webhook
from server.errors import InvalidParameter
from server.jobs.job import CANCELLED, Job
from tests.fakes import FakeWorker
from tests.server.api.evolink.conftest import BODY, CREATE
from tests.server.jobs.common import submission
from tests.server.media.images import images


@pytest.mark.parametrize("url", ["https://example.com/a", "HTTPS://example.com"])
def test_https_is_called(url: str) -> None:
    check_scheme(url, allow_private=False)


@pytest.mark.parametrize("url", ["http://example.com/a", "ftp://example.com", "example.com", ""])
def test_other_schemes_are_not(url: str) -> None:
    with pytest.raises(InvalidParameter, match="Only https") as caught:
        check_scheme(url, allow_private=False)
    assert caught.value.parameter == "callback_url"
    check_scheme(url, allow_private=True)


@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1/a", "https://10.1.2.3/a", "https://172.31.0.1/a", "https://192.168.1.1/a", "https://[::1]/a",
     "https://user:pass@example.com/", "https://"],
)  # fmt: skip
def test_private_addresses_are_refused_when_the_task_is_sent(
    shared_client: TestClient, shared_worker: FakeWorker, url: str
) -> None:
    response = shared_client.post(CREATE, json=BODY | {"callback_url": url})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "callback_url")
    assert shared_worker.jobs == []


class Told:
    """Seventy percent were told of every task."""

    async def of(self, *jobs: Job) -> list[int]:
        return [70] * len(jobs)


async def test_a_call_has_the_task_as_a_query_has_it() -> None:
    dialect = EvoLinkDialect(None)  # type: ignore[arg-type]  # a finished task needs no LoRAs
    webhook = Webhook("https://example.com", "http://box:8000", (1.0, 2.0, 4.0))
    job = Job(1, submission(), "cancelled", 5.0, failure=CANCELLED)
    webhooks = EvoLinkWebhooks(dialect, Told(), images())  # type: ignore[arg-type]
    post = await webhooks.write(Notice("id", 7, webhook, job))
    assert json.loads(post.body) == dialect.task(job, "http://box:8000", 70)
    assert json.loads(post.body)["error"]["code"] == "request_cancelled"
    assert post.headers == {"Content-Type": "application/json"}
