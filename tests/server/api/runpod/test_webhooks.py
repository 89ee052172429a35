import json

from server.api.dialect import Notice
from server.api.runpod.jobs import job_json
from server.api.runpod.webhooks import RunpodWebhooks
from server.delivery.targets import Webhook
from tests.server.api.runpod.common import DONE


async def test_a_webhook_gets_what_status_shows() -> None:
    target = Webhook("http://receiver", "http://box", (10.0, 10.0))
    post = await RunpodWebhooks().write(Notice("n", 5, target, DONE))
    assert json.loads(post.body) == job_json(DONE, "http://box")
    assert post.headers == {"Content-Type": "application/json"}
