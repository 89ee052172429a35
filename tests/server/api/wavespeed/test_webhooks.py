import hashlib
import hmac
import json
from dataclasses import replace
from pathlib import Path

from server.api.dialect import Notice
from server.api.wavespeed import account
from server.api.wavespeed.account import WebhookSecrets
from server.api.wavespeed.webhooks import WaveSpeedWebhooks
from server.database import Database
from server.delivery.targets import Webhook
from server.errors import Failure
from server.media import store as media_tables
from server.media.store import MediaStore
from tests.server.api.wavespeed.common import DONE, EDIT

TARGET = Webhook("http://receiver", "http://box", (1.0,))


async def test_the_end_of_a_prediction_is_told_and_signed(tmp_path: Path) -> None:
    database = Database(tmp_path / "db.sqlite", [media_tables.SCHEMA, account.SCHEMA])
    secrets = WebhookSecrets(database)
    writer = WaveSpeedWebhooks(MediaStore(database, tmp_path), secrets)
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
