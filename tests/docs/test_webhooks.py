"""The lines that verify a signature, as the page has them."""

import time
from typing import Any

import pytest

from server.delivery.signatures import secret_key, standard_headers
from tests.docs.pages import ROOT, blocks

PAGE = ROOT / "docs" / "how-to" / "webhooks.md"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"data":[{"taskUUID":"a"}]}'


@pytest.fixture(scope="module")
def is_genuine() -> Any:
    (code,) = blocks(PAGE, "python")
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    return namespace["is_genuine"]


def headers(age: int = 0) -> dict[str, str]:
    return standard_headers(secret_key(SECRET), "id", int(time.time()) - age, BODY)


def test_what_this_server_signs_is_genuine(is_genuine: Any) -> None:
    assert is_genuine(SECRET, headers(), BODY)
    assert is_genuine(SECRET.removeprefix("whsec_"), headers(200), BODY)


def test_anything_else_is_not(is_genuine: Any) -> None:
    assert not is_genuine(SECRET, headers(), BODY + b" ")
    assert not is_genuine(SECRET, headers(400), BODY)
    assert not is_genuine(SECRET, headers() | {"webhook-id": "other"}, BODY)
    assert not is_genuine(SECRET.replace("Mf", "mF"), headers(), BODY)
