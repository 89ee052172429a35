import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from server.errors import MediaError
from server.media.decoding import decoder_process
from server.media.decoding.decode import Picture
from server.media.decoding.decoder_process import DecoderProcess
from tests.fakes import picture

LIMIT = 64_000_000
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def decoder() -> Iterator[DecoderProcess]:
    decoder = DecoderProcess()
    yield decoder
    decoder.kill()


def pid_of(decoder: DecoderProcess) -> int:
    process = decoder._process
    assert process is not None
    return process.pid


def test_one_process_decodes_many_pictures(decoder: DecoderProcess, tmp_path: Path) -> None:
    assert decoder.decode(picture(40, 30, "JPEG"), LIMIT, None) == Picture("image/jpeg", "jpg", 40, 30)
    pid = pid_of(decoder)
    written = decoder.decode(picture(40, 30), LIMIT, tmp_path / "new")
    assert written == Picture("image/png", "png", 40, 30)
    with Image.open(tmp_path / "new") as new, Image.open(io.BytesIO(picture(40, 30))) as sent:
        assert new.tobytes() == sent.tobytes()
    assert decoder.decode(picture(40, 30), LIMIT, tmp_path / "small", 20) == Picture("image/webp", "webp", 20, 15)
    with pytest.raises(MediaError, match="no image"):
        decoder.decode(b"hello", LIMIT, None)
    with pytest.raises(MediaError, match="40×30, the limit"):
        decoder.decode(picture(40, 30), 1000, None)
    assert pid_of(decoder) == pid


def test_a_folder_that_is_gone_is_an_error_of_the_system(decoder: DecoderProcess, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        decoder.decode(picture(), LIMIT, tmp_path / "gone" / "new")


@LINUX
def test_a_process_that_ends_fails_its_picture_only(decoder: DecoderProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder.decode(picture(), LIMIT, None)
    monkeypatch.setattr(decoder_process, "MAX_WAIT_SECONDS", 0.05)
    os.kill(pid_of(decoder), signal.SIGSTOP)
    with pytest.raises(MediaError, match="takes too long"):
        decoder.decode(picture(), LIMIT, None)
    monkeypatch.undo()
    assert decoder.decode(picture(), LIMIT, None).width == 64
    os.kill(pid_of(decoder), signal.SIGKILL)
    os.waitid(os.P_PID, pid_of(decoder), os.WEXITED | os.WNOWAIT)
    assert decoder.decode(picture(), LIMIT, None).width == 64


@LINUX
def test_the_process_has_no_keys_and_no_torch(decoder: DecoderProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWNWARE_API_KEYS", "secret")
    own = DecoderProcess()
    try:
        own.decode(picture(), LIMIT, None)
        folder = Path(f"/proc/{pid_of(own)}")
        assert b"OWNWARE" not in (folder / "environ").read_bytes()
        assert "torch" not in (folder / "maps").read_text()
    finally:
        own.kill()


def test_the_process_gives_way_to_the_server(decoder: DecoderProcess) -> None:
    decoder.decode(picture(), LIMIT, None)
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, pid_of(decoder)) == min(19, ours + decoder_process.NICENESS)


def test_the_limits_grow_with_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[dict[int, int]] = []
    for pixels in (0, LIMIT):
        limits: dict[int, int] = {}
        monkeypatch.setattr(decoder_process, "_set_limit", limits.__setitem__)
        decoder_process._limit(pixels)
        found.append(limits)
    small, large = found
    assert large[decoder_process.resource.RLIMIT_CPU] - small[decoder_process.resource.RLIMIT_CPU] in (32, 33)
    if decoder_process.resource.RLIMIT_AS in small:
        assert large[decoder_process.resource.RLIMIT_AS] > small[decoder_process.resource.RLIMIT_AS] + 1_900_000_000


@pytest.mark.slow
@LINUX
def test_a_picture_that_computes_for_too_long_ends_its_process() -> None:
    lines = [
        "from server.media.decoding import decoder_process as d",
        "d.BASE_SECONDS = 0",
        "d._limit(0)",
        "while True: pass",
    ]
    assert subprocess.run([sys.executable, "-c", "\n".join(lines)], check=False).returncode == -signal.SIGXCPU


@LINUX
def test_a_picture_that_takes_too_much_memory_is_refused() -> None:
    lines = ["from server.media.decoding import decoder_process as d", "d._limit(0)", "bytearray(2**33)"]
    ended = subprocess.run([sys.executable, "-c", "\n".join(lines)], check=False, capture_output=True, text=True)
    assert "MemoryError" in ended.stderr
