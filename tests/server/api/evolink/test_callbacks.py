import json
from collections.abc import AsyncIterator

import pytest

from server.api.dialect import Notice
from server.api.evolink.callbacks import CallbackCheck, EvoLinkWebhooks
from server.api.evolink.dialect import EvoLinkDialect
from server.delivery.targets import Webhook
from server.errors import InvalidParameter
from server.jobs.job import CANCELLED, Job
from tests.server.jobs.common import submission

ADDRESSES = {"example.com": "93.184.216.34", "box.lan": "192.168.0.7", "both.example": "10.0.0.1"}


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        if host in ADDRESSES:
            return [ADDRESSES[host]]
        if host.replace(".", "").isdecimal() or ":" in host:
            return [host]
        raise OSError("no such host")

    monkeypatch.setattr("server.media.checked_transport._resolve_host", resolve)


@pytest.fixture(params=[False, True], ids=["public", "private"])
async def check(request: pytest.FixtureRequest) -> AsyncIterator[CallbackCheck]:
    check = CallbackCheck(request.param)
    yield check
    await check.close()


async def test_a_public_https_address_is_accepted(check: CallbackCheck) -> None:
    url = "https://example.com/webhooks/image?key=1"
    assert await check.check(url) == url


@pytest.mark.parametrize("check", [False], indirect=True)
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.com/a", "Only https"),
        ("https://127.0.0.1/a", "Private and loopback"),
        ("https://10.1.2.3/a", "Private and loopback"),
        ("https://172.31.0.1/a", "Private and loopback"),
        ("https://192.168.1.1/a", "Private and loopback"),
        ("https://box.lan/a", "Private and loopback"),
        ("https://[::1]/a", "Private and loopback"),
        ("https://nowhere.example/a", "has no address"),
        ("https://user:pass@example.com/", "user name"),
        ("ftp://example.com", "not a valid http"),
        ("example.com", "not a valid http"),
        ("", "not a valid http"),
    ],
)
async def test_what_is_not_called(check: CallbackCheck, url: str, reason: str) -> None:
    with pytest.raises(InvalidParameter, match=reason) as caught:
        await check.check(url)
    assert caught.value.parameter == "callback_url"


@pytest.mark.parametrize("check", [True], indirect=True)
@pytest.mark.parametrize("url", ["http://example.com/a", "https://box.lan/a", "http://127.0.0.1:9000/a"])
async def test_unless_private_addresses_are_allowed(check: CallbackCheck, url: str) -> None:
    assert await check.check(url) == url


async def test_a_call_has_the_task_as_a_query_has_it() -> None:
    dialect = EvoLinkDialect(None)  # type: ignore[arg-type]  # a finished task needs no LoRAs
    webhook = Webhook("https://example.com", "http://box:8000", (1.0, 2.0, 4.0))
    job = Job(1, submission(), "cancelled", 5.0, failure=CANCELLED)
    post = await EvoLinkWebhooks(dialect).write(Notice("id", 7, webhook, job))
    assert json.loads(post.body) == dialect.task(job, "http://box:8000")
    assert json.loads(post.body)["error"]["code"] == "request_cancelled"
    assert post.headers == {"Content-Type": "application/json"}
