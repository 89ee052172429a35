from pathlib import Path

import pytest

from server.delivery.sender import DeliveryFailed, Sender
from server.delivery.uploads import send_file, upload_failure
from server.errors import Failure
from server.media.fetching.checked_transport import CheckedTransport
from tests.receivers import Receiver


async def test_the_bytes_of_the_file_with_their_type(tmp_path: Path, there: Receiver) -> None:
    (tmp_path / "a.webp").write_bytes(b"picture")
    await send_file(Sender(CheckedTransport(True)), f"{there.url}/put", tmp_path / "a.webp", "image/webp", 60.0)
    (got,) = there.requests
    assert (got.method, got.headers["content-type"], got.body) == ("PUT", "image/webp", b"picture")


@pytest.mark.parametrize(
    ("status", "final"), [(400, True), (403, True), (302, True), (408, False), (425, False), (429, False), (500, False)]
)
async def test_a_refusal_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, final: bool) -> None:
    async def send(*arguments: object) -> None:
        raise DeliveryFailed("no", status=status)

    monkeypatch.setattr(Sender, "send", send)
    (tmp_path / "a").touch()
    with pytest.raises(DeliveryFailed) as failed:
        await send_file(Sender(CheckedTransport(True)), "http://a.example/", tmp_path / "a", "image/png", 1.0)
    assert (failed.value.final, failed.value.status) == (final, status)


def test_the_failure_names_the_upload() -> None:
    message = "The image could not be uploaded. It is down."
    assert upload_failure("It is down.") == Failure("uploadFailed", message, 400, "upload")
