"""Calls that are made from the OpenAPI document, good and bad ones: none of them is answered with a 5xx.

`test_fuzz.py` of each dialect changes one parameter of a good call. These calls change everything that is described.
"""

import contextlib
from typing import Any, cast

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from starlette.testclient import TestClient

CALLS = 4  # of each path, good ones and bad ones
ONLY_NEW = settings(
    max_examples=CALLS,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[*cast("Any", HealthCheck)],
)


def call(client: TestClient, cases: Any) -> None:
    """Send calls of a strategy."""

    @ONLY_NEW
    @given(cases)
    def send(case: Any) -> None:
        call = requests.Request(**case.as_transport_kwargs(base_url=str(client.base_url))).prepare()
        headers, content = cast("dict[str, str]", dict(call.headers)), cast("bytes | None", call.body)
        response = client.request(call.method or "", call.url or "", headers=headers, content=content)
        assert response.status_code < 500, (call.method, call.url, headers, call.body, response.text)

    send()


@pytest.mark.slow
def test_no_call_of_the_document_is_answered_with_a_5xx(client: TestClient) -> None:
    from schemathesis import GenerationMode, openapi

    document = cast("Any", client.app).openapi()
    called = set()
    for found in openapi.from_dict(document).get_all_operations():
        operation = cast("Any", found).ok()
        modes = [GenerationMode.POSITIVE, *([GenerationMode.NEGATIVE] if operation.body else [])]
        for mode in modes:
            with contextlib.suppress(Unsatisfiable):  # a form with a file cannot be wrong
                call(client, operation.as_strategy(generation_mode=mode))
        called.add(operation.path)
    assert called == set(document["paths"])
