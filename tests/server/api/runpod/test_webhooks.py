import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from server.api.dialect import Notice
from server.api.runpod import dialect
from server.api.runpod.jobs import job_json
from server.api.runpod.webhooks import RunpodWebhooks
from server.api.sample_picture import SAMPLE_PICTURE
from server.delivery.targets import Webhook
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.receivers import Receiver
from tests.server.api.runpod.common import DONE, EDIT, body_of, end_of
from tests.server.media.images import images


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(dialect, "WEBHOOK_DELAYS", (0.0, 0.0))
    return settings.model_copy(update={"allow_private_urls": True, "webhook_timeout": 60.0})


def test_a_receiver_is_told_of_every_end(client: TestClient, worker: FakeWorker, there: Receiver) -> None:
    def told(path: str, times: int = 1, **changes: Any) -> dict[str, Any]:
        job_id = client.post(f"{EDIT}/run", json={**body_of(**changes), "webhook": there.url + path}).json()["id"]
        job = end_of(client, job_id)
        assert [json.loads(received.body) for received in there.wait_for(times, path)] == [job] * times
        return job

    assert told("/done", image=SAMPLE_PICTURE)["status"] == "COMPLETED"
    assert told("/failed", image="/a.png")["status"] == "FAILED"
    assert told("/fail/three", times=3, image=SAMPLE_PICTURE)["status"] == "COMPLETED"


async def test_a_webhook_gets_what_status_shows() -> None:
    target = Webhook("http://receiver", "http://box", (10.0, 10.0))
    post = await RunpodWebhooks(images()).write(Notice("n", 5, target, DONE))
    assert json.loads(post.body) == job_json(DONE, "http://box")
    gone = await RunpodWebhooks(images("an-image")).write(Notice("n", 5, target, DONE))
    assert json.loads(gone.body).items() >= {"status": "FAILED", "error": "The image has expired."}.items()
    assert post.headers == {"Content-Type": "application/json"}
