"""Every parameter that takes a URL refuses a malformed one by its own error, and repeats no credentials."""

import base64
import json
import socket
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from pipelines.catalog.models_file import load_catalog
from server.app import create_app
from server.media.fetching.resolver import Resolver
from server.settings import Settings
from tests.fakes import FakeWorker, picture
from tests.server.conftest import error_of, new_lora, new_task, post

MALFORMED = [
    "http://host:99999/a.png",
    "http://host:65536/a.png",
    "http://host:0/a.png",
    "http://host:-1/a.png",
    "http://host:+80/a.png",
    "http://host:1_0/a.png",
    "http://host:８０/a.png",
    "http://host: 80/a.png",
    "http://host:text/a.png",
    "http://host:80:80/a.png",
    "http://::1/a.png",
    "http://[::1/a.png",
    "http://::1]/a.png",
    "http://[::1]x/a.png",
    "http://[host]/a.png",
    "http://[fe80::1%25eth0]/a.png",
    "http:///a.png",
    "http://:80/a.png",
    "http://?a.png",
    "http://#a.png",
    f"http://{'a' * 300}/a.png",
    f"http://{'a' * 64}.example/a.png",
    f"http://{'.'.join(['a' * 60] * 5)}/a.png",
    "http://a..example/a.png",
    "http://.example/a.png",
    "http://\u0301a.example/a.png",
    "http://a\u200db.example/a.png",
    "http://ho\x00st/a.png",
    "http://ho\tst/a.png",
    "http://host/\x01a.png",
    "http://ho st/a.png",
    "http://host\\other/a.png",
    "http://ho*st/a.png",
    "http://999.1.1.1/a.png",
]
WITH_CREDENTIALS = [
    "http://user:s3cret@host.example/a.png",
    "http://s3cret@host.example/a.png",
    "http://:s3cret@host.example/a.png",
    "https://user:s3cret@host.example:99999/a.png",
    "http://user:s3cret@[::1/a.png",
]
NOT_FETCHED = ["ftp://user:s3cret@host.example/a.png", "file://user:s3cret@host/a.png", "//user:s3cret@host/a.png"]


def tasks_with(url: str) -> dict[str, dict[str, Any]]:
    """A task for each parameter that takes a URL, by the code of its error."""
    seed = "data:image/png;base64," + base64.b64encode(picture()).decode()
    return {
        "invalidReferenceImages": new_task(model="runware:108@20", inputs={"referenceImages": [url]}),
        "invalidSeedImage": new_task(inputs={"seedImage": url}),
        "invalidMaskImage": new_task(inputs={"seedImage": seed, "maskImage": url}),
        "invalidControlNet": new_task(controlNet=[{"model": "edges", "guideImage": url}]),
        "invalidInputImage": _identified()
        | {"taskType": "controlNetPreprocess", "inputImage": url, "preProcessorType": "canny"},
        "invalidImage": _identified() | {"taskType": "imageUpload", "image": url},
        "invalidMedia": _identified() | {"taskType": "mediaStorage", "operation": "upload", "media": url},
        "invalidDownloadURL": new_lora(url),
    }


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server whose resolver looks at what it is given as the real one does, and knows no name."""

    async def resolve_no_name(_: Resolver, host: str, port: int) -> list[str]:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return [str(entry[4][0]) for entry in found]

    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Resolver, "resolve", resolve_no_name)
        app = create_app(settings, load_catalog().with_embedded_weights(), [FakeWorker()])
    with TestClient(app, base_url="http://box:8000", raise_server_exceptions=False) as test_client:
        yield test_client


def _identified() -> dict[str, str]:
    return {"taskUUID": str(uuid.uuid4())}


def errors_for(client: TestClient, url: str) -> dict[str, str]:
    """The message for each parameter that a URL is given to, by the error's code; all in one request."""
    tasks = tasks_with(url)
    response = client.post("/v1", content=json.dumps(list(tasks.values())))
    assert response.status_code == 400, response.text
    errors = response.json()["errors"]
    assert [error["taskUUID"] for error in errors] == [task["taskUUID"] for task in tasks.values()]
    assert [error["code"] for error in errors] == list(tasks)
    return {error["code"]: error["message"] for error in errors}


@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_url_is_an_error_of_its_parameter(client: TestClient, url: str) -> None:
    for message in errors_for(client, url).values():
        assert "http or https address" in message


@pytest.mark.parametrize("url", WITH_CREDENTIALS + NOT_FETCHED)
def test_credentials_are_refused_and_not_repeated(
    client: TestClient, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    for message in errors_for(client, url).values():
        assert "s3cret" not in message
        if url in WITH_CREDENTIALS:
            assert "contains a user name or password" in message
    assert "s3cret" not in "".join(capsys.readouterr())


def test_addresses_that_are_stored_are_checked_too(client: TestClient) -> None:
    task = tasks_with("http://host.example/a.png")["invalidDownloadURL"] | {"heroImageURL": WITH_CREDENTIALS[0]}
    error = error_of(post(client, task))
    assert (error["code"], error["parameter"]) == ("invalidHeroImageURL", "heroImageURL")
    assert "s3cret" not in error["message"]


@pytest.mark.parametrize("parameter", ["webhookURL", "uploadEndpoint"])
@pytest.mark.parametrize(
    "url",
    [
        *(url for url in MALFORMED + WITH_CREDENTIALS + NOT_FETCHED),
        "https://host.example/" + "a" * (2049 - 21),
        "http://127.0.0.1/hook",
        "http://[::1]:9/hook",
        "http://169.254.169.254/latest",
        "http://[::ffff:10.0.0.1]/hook",
    ],
)
def test_a_receiver_that_is_never_sent_to_is_refused_at_once(client: TestClient, parameter: str, url: str) -> None:
    response = client.post("/v1", content=json.dumps([new_task(**{parameter: url})]))
    error = error_of(response)
    code = "invalid" + parameter[0].upper() + parameter[1:]
    assert (response.status_code, error["code"], error["parameter"]) == (400, code, parameter)
    assert "s3cret" not in error["message"]


AUTHORITIES = st.lists(
    st.sampled_from(["user", ":", "@", "[", "]", "::1", "80", "99999", ".", "a.example", "xn--a", "%", "\\", " "])
    | st.text(max_size=3),
    max_size=6,
).map("".join)


@given(scheme=st.sampled_from(["http://", "https://", "HTTP://", "http:", "//", ""]), authority=AUTHORITIES)
def test_no_text_is_an_internal_error(client: TestClient, scheme: str, authority: str) -> None:
    errors_for(client, f"{scheme}{authority}/a.png")
