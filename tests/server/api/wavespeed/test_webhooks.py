import hashlib
import hmac
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.api.dialect import Notice
from server.api.wavespeed import account, dialect
from server.api.wavespeed.account import WebhookSecrets
from server.api.wavespeed.webhooks import WaveSpeedWebhooks
from server.app import create_app
from server.database import Database
from server.delivery.targets import Webhook
from server.errors import Failure
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.receivers import Received, Receiver
from tests.server.api.wavespeed.common import DONE, EDIT, ROOT, TWO, data_of, end_of, submit
from tests.server.media.images import images

TARGET = Webhook("http://receiver", "http://box", (1.0,))


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(dialect, "WEBHOOK_DELAYS", (0.0, 0.0, 0.0))
    return settings.model_copy(update={"allow_private_urls": True, "webhook_timeout": 60.0})


def check_signature(client: TestClient, received: Received) -> dict[str, Any]:
    """The body, whose signature is checked as the vendor's page "Verifying Webhooks" says."""
    key = data_of(client.get(f"{ROOT}/webhook/secret"))["secret"].removeprefix("whsec_")
    signed = f"{received.headers['webhook-id']}.{received.headers['webhook-timestamp']}.".encode() + received.body
    expected = hmac.new(key.encode(), signed, hashlib.sha256).hexdigest()
    assert received.headers["webhook-signature"] == f"v3,{expected}"
    return json.loads(received.body)


def test_a_receiver_is_told_of_every_end(client: TestClient, worker: FakeWorker, there: Receiver) -> None:
    done = end_of(client, data_of(submit(client, query=f"?webhook={there.url}/done")))
    (received,) = there.wait_for(1, "/done")
    body = check_signature(client, received)
    assert body.pop("input")["prompt"] == "a red circle"
    assert body == done
    failed = end_of(client, data_of(submit(client, EDIT, image="/a.png", webhook_url=f"{there.url}/unusable")))
    (received,) = there.wait_for(1, "/unusable")
    assert check_signature(client, received)["error"] == failed["error"]
    submit(client, webhook_url=f"{there.url}/fail")
    tries = there.wait_for(4, "/fail")
    assert len({received.message_id for received in tries}) == 1


def test_a_private_receiver_is_refused_at_once(
    settings: Settings, catalog: Catalog, worker: FakeWorker, there: Receiver
) -> None:
    app = create_app(settings.model_copy(update={"allow_private_urls": False}), catalog, [worker])
    with TestClient(app, base_url="http://box:8000", headers=TWO) as client:
        response = submit(client, webhook_url=there.url)
        assert response.status_code == 400
        assert "'webhook_url'" in response.json()["message"]
        for operation in ("run", "runsync"):
            body = {"input": {"prompt": "a"}, "webhook": there.url}
            refused = client.post(f"/v2/qwen-image-t2i/{operation}", json=body)
            assert refused.status_code == 400
            assert "'webhook'" in refused.json()["error"]
    assert worker.jobs == there.requests == []


async def test_the_end_of_a_prediction_is_told_and_signed(tmp_path: Path) -> None:
    database = Database(tmp_path / "db.sqlite", [account.SCHEMA])
    secrets = WebhookSecrets(database)
    writer = WaveSpeedWebhooks(images(), secrets)
    post = await writer.write(Notice("n", 1795228730, TARGET, DONE))
    body = json.loads(post.body)
    assert (body["id"], body["status"], body["input"]) == ("c0ffee", "completed", {"prompt": "a"})
    assert (body["model"], body["outputs"]) == (EDIT, ["http://box/image/an-image.webp"])
    # As the vendor's page "Verifying Webhooks" tells a receiver to check it.
    key = (await secrets.get("me")).removeprefix("whsec_")
    signed = f"{post.headers['webhook-id']}.{post.headers['webhook-timestamp']}.".encode() + post.body
    expected = hmac.new(key.encode(), signed, hashlib.sha256).hexdigest()
    assert post.headers["webhook-signature"] == f"v3,{expected}"
    failed = replace(DONE, state="failed", failure=Failure("inferenceError", "why", 500), results=())
    body = json.loads((await writer.write(Notice("n", 5, TARGET, failed))).body)
    assert (body["status"], body["code"], body["outputs"]) == ("failed", 1403, [])
    database.close()
