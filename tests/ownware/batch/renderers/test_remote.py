"""What is sent to a server, and what becomes of its answers: refusals, a restart, a full queue, a wrong key."""

import base64
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from ownware.batch.item import BatchError, Interrupted, ItemError
from ownware.batch.renderers import remote
from ownware.batch.renderers.local import LocalRenderer
from ownware.batch.renderers.remote import RemoteRenderer
from server.settings import Settings
from tests.live import API_KEY, LiveServer
from tests.ownware.batch.fakes import write_pictures

TASK: dict[str, Any] = {"positivePrompt": "a circle", "model": "runware:108@1", "width": 128, "height": 128, "seed": 7}
Answer = httpx2.Response | Exception


def no_step(step: int, steps: int) -> None:
    """Go on."""


def answer(*items: dict[str, Any], status: int = 200, **headers: str) -> httpx2.Response:
    return httpx2.Response(status, json={"data": list(items)}, headers=headers)


def error(code: str, message: str = "no", status: int = 400, **headers: str) -> httpx2.Response:
    return httpx2.Response(status, json={"errors": [{"code": code, "message": message}]}, headers=headers)


def result(seed: int = 7) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (seed, 0, 0)).save(buffer, "PNG")
    return {"status": "success", "seed": seed, "imageBase64Data": base64.b64encode(buffer.getvalue()).decode()}


class Script:
    """A server that gives prepared answers to each type of task; the last one again and again."""

    def __init__(self, **answers: Sequence[Answer]) -> None:
        self.answers: dict[str, Sequence[Answer]] = {
            "imageInference": [answer({})],
            "getResponse": [answer(result())],
            "getTaskDetails": [answer({"warnings": ["it is late"]})],
            "cancelTask": [answer({})],
            "ping": [answer({"pong": True})],
            **answers,
        }
        self.sent: list[dict[str, Any]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        (task,) = json.loads(request.content)
        self.sent.append(task)
        found, *rest = self.answers[task["taskType"]]
        self.answers[task["taskType"]] = rest or [found]
        if isinstance(found, Exception):
            raise found
        return httpx2.Response(found.status_code, content=found.content, headers=found.headers)

    def types(self) -> list[str]:
        return [task["taskType"] for task in self.sent]


@pytest.fixture
def open_script(monkeypatch: pytest.MonkeyPatch) -> Callable[[Script], RemoteRenderer]:
    monkeypatch.setattr(remote, "POLL_SECONDS", 0)
    monkeypatch.setattr(remote, "_RETRY_SECONDS", 0)

    def open_it(script: Script) -> RemoteRenderer:
        renderer = RemoteRenderer("http://box:8000/", None, patience=0.2)
        renderer._http = httpx2.Client(transport=httpx2.MockTransport(script))
        return renderer

    return open_it


def test_what_is_sent(open_script: Callable[[Script], RemoteRenderer], tmp_path: Path) -> None:
    paths = [str(path) for path in write_pictures(tmp_path, "a.png", "b.jpg")]
    script = Script()
    inputs = {"referenceImages": [paths[0], "https://box/c.png"], "maskImage": paths[1]}
    control = [{"model": "edges", "guideImage": paths[0]}]
    (made,) = open_script(script).render({**TASK, "inputs": inputs, "controlNet": control}, no_step)
    sent = script.sent[0]
    encoded = base64.b64encode(Path(paths[0]).read_bytes()).decode()
    assert sent["inputs"]["referenceImages"] == [f"data:image/png;base64,{encoded}", "https://box/c.png"]
    assert sent["inputs"]["maskImage"].startswith("data:image/jpeg;base64,")
    assert sent["controlNet"][0]["guideImage"] == f"data:image/png;base64,{encoded}"
    assert (sent["outputType"], sent["outputFormat"], sent["deliveryMethod"]) == ("base64Data", "PNG", "async")
    assert (made.seed, made.receipt, made.notes, made.image.size) == (7, None, ("it is late",), (8, 8))


def test_progress_and_several_results(open_script: Callable[[Script], RemoteRenderer]) -> None:
    script = Script(
        getResponse=[
            answer({"status": "processing", "progress": 40}),
            answer(result(8) | {"NSFWContent": True}, result(7)),
        ]
    )
    steps: list[tuple[int, int]] = []
    made = list(open_script(script).render(TASK, lambda step, total: steps.append((step, total))))
    assert [each.seed for each in made] == [7, 8]
    assert [each.notes for each in made] == [("it is late",), ("it is late", "not safe for work")]
    assert steps == [(40, 100)]


@pytest.mark.parametrize(
    "lost",
    [
        httpx2.ConnectError("refused"),
        httpx2.ReadTimeout("slow"),
        error("rateLimitExceeded", status=429, **{"Retry-After": "0"}),
        error("serviceUnavailable", status=503),
        httpx2.Response(502, text="<html>bad gateway</html>"),
    ],
)
def test_it_waits_for_a_server_that_is_away_or_full(
    open_script: Callable[[Script], RemoteRenderer], lost: Answer
) -> None:
    script = Script(imageInference=[lost, answer({})], getResponse=[lost, answer(result())])
    assert [made.seed for made in open_script(script).render(TASK, no_step)] == [7]
    assert script.sent[0]["taskUUID"] == script.sent[1]["taskUUID"]


def test_a_task_whose_answer_was_lost_is_not_rendered_twice(open_script: Callable[[Script], RemoteRenderer]) -> None:
    script = Script(imageInference=[httpx2.ReadError("cut"), error("conflictTaskUUID")])
    assert [made.seed for made in open_script(script).render(TASK, no_step)] == [7]


def test_patience_ends(open_script: Callable[[Script], RemoteRenderer]) -> None:
    script = Script(imageInference=[httpx2.ConnectError("refused")])
    with pytest.raises(BatchError, match="http://box:8000/v1 does not answer as a server does: refused"):
        list(open_script(script).render(TASK, no_step))


@pytest.mark.parametrize("code", ["invalidApiKey", "insufficientStorage"])
def test_what_no_task_would_survive(open_script: Callable[[Script], RemoteRenderer], code: str) -> None:
    with pytest.raises(BatchError, match="no"):
        list(open_script(Script(imageInference=[error(code)])).render(TASK, no_step))


@pytest.mark.parametrize("place", ["imageInference", "getResponse"])
def test_a_task_that_is_refused_or_fails(open_script: Callable[[Script], RemoteRenderer], place: str) -> None:
    script = Script(**{place: [error("inferenceError", "the worker failed")]})
    with pytest.raises(ItemError, match="the worker failed"):
        list(open_script(script).render(TASK, no_step))


def test_the_user_stops(open_script: Callable[[Script], RemoteRenderer]) -> None:
    def stop(step: int, steps: int) -> None:
        raise Interrupted

    script = Script(getResponse=[answer({"status": "processing", "progress": 10})])
    with pytest.raises(Interrupted):
        list(open_script(script).render(TASK, stop))
    assert script.types()[-1] == "cancelTask"


def test_a_server_that_is_away_at_first(open_script: Callable[[Script], RemoteRenderer]) -> None:
    open_script(Script()).connect()
    for problem, reason in (
        (httpx2.ConnectError("refused"), "--server: nothing answers at http://box:8000/v1"),
        (httpx2.Response(200, text="hello"), "--server: nothing answers"),
        (error("invalidApiKey", "the key is not accepted"), "--server: the key is not accepted"),
    ):
        with pytest.raises(BatchError, match=reason):
            open_script(Script(ping=[problem])).connect()
    with pytest.raises(BatchError, match="'box' is no address"):
        RemoteRenderer("box", None)


def test_a_missing_picture_is_found_before_it_is_sent(open_script: Callable[[Script], RemoteRenderer]) -> None:
    script = Script()
    renderer = open_script(script)
    with pytest.raises(ItemError, match="there is no such file"):
        renderer.check({**TASK, "inputs": {"seedImage": "/missing.png"}})
    renderer.check({**TASK, "inputs": {"seedImage": "https://box/a.png"}, "aFieldOfTomorrow": 1})
    with pytest.raises(ItemError, match="'numberResults' parameter"):
        renderer.check({**TASK, "numberResults": 10**9})
    assert (script.sent, renderer.seconds(TASK)) == ([], None)


def test_a_server_renders_what_this_process_renders(live: LiveServer, tmp_path: Path) -> None:
    (path,) = write_pictures(tmp_path, "a.png")
    task = {**TASK, "model": "runware:108@20", "steps": 2, "inputs": {"referenceImages": [str(path)]}}
    here = LocalRenderer(Settings(data_dir=tmp_path, devices=("cpu",), weights="embedded"))
    there = RemoteRenderer(live.url, API_KEY)
    there.connect()
    (one,), (other,) = here.render(here.complete(task), no_step), there.render(there.complete(task), no_step)
    assert one.image.tobytes() == other.image.tobytes()
    assert one.receipt is not None
    assert other.receipt is not None
    assert one.receipt.request == other.receipt.request
    for renderer in (here, there):
        renderer.close()
    wrong = RemoteRenderer(live.url, "wrong")
    with pytest.raises(BatchError, match="--server: "):
        wrong.connect()
    wrong.close()
