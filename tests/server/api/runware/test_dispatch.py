import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from server.api.json_input.parsing import MAX_NESTING
from server.api.runware.dispatch import MAX_TASKS, parse_tasks, task_ref
from server.api.runware.responses import TaskRef
from server.errors import InvalidRequest
from tests.server.conftest import error_of, new_task, post


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is not valid JSON"),
        (b"[", "is not valid JSON"),
        (b"{}", "must be a JSON array"),
        (b"[]", "has no task"),
        (b"[NaN]", "is not valid JSON"),
        (b"[" + b"0," * MAX_TASKS + b"0]", f"has {MAX_TASKS + 1} tasks"),
        (b"[" * 10_000 + b"]" * 10_000, "is not valid JSON"),
        (b'["\\ud800",' + b"[" * (MAX_NESTING + 1) + b"]" * (MAX_NESTING + 1) + b"]", "nested too deeply"),
    ],
)
def test_what_is_no_array_of_tasks(body: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        parse_tasks(body)


def test_tasks_of_a_request_are_read_from_bytes_and_from_text() -> None:
    assert parse_tasks(b'[{"a": 1}, 2]') == parse_tasks('[{"a": 1}, 2]') == [{"a": 1}, 2]


def test_half_a_surrogate_pair_fails_its_task_alone(client: TestClient) -> None:
    good, bad = new_task(), new_task(positivePrompt="\ud800")
    sent = json.dumps([good, bad])
    assert parse_tasks(sent) == [good, bad]
    body = client.post("/v1", content=sent.encode()).json()
    assert [item["taskUUID"] for item in body["data"]] == [good["taskUUID"]]
    assert [error["taskUUID"] for error in body["errors"]] == [bad["taskUUID"]]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"taskType": "ping", "taskUUID": "a"}, TaskRef("ping", "a")),
        ({"taskType": 5, "taskUUID": None}, TaskRef()),
        ({"taskType": "\ud800"}, TaskRef()),
        ("ping", TaskRef()),
        (None, TaskRef()),
    ],
    ids=["known", "no text", "half a pair", "text", "nothing"],
)
def test_the_task_of_an_answer_as_far_as_it_is_known(raw: Any, expected: TaskRef) -> None:
    assert task_ref(raw) == expected


@pytest.mark.parametrize("raw", [5, None, "task", ["task"]])
def test_a_task_must_be_an_object(shared_client: TestClient, raw: Any) -> None:
    error = error_of(post(shared_client, raw))
    assert (error["code"], error["message"]) == ("invalidRequest", "Each task must be a JSON object.")


def test_a_question_is_asked_once() -> None:
    one = {"taskType": "getResponse", "taskUUID": "83e5a68e-074f-4bea-8e26-a6723ae9b2da"}
    others = [one | {"taskType": "getTaskDetails"}, one | {"taskUUID": "other"}, one | {"taskUUID": None}]
    repeated = [one, *others, one, one | {"taskUUID": one["taskUUID"].upper()}, *others[:2]]
    assert parse_tasks(json.dumps(repeated)) == [one, *others]
    tasks = [{"taskType": "ping", "taskUUID": "a"}] * 2
    assert parse_tasks(json.dumps(tasks)) == tasks
