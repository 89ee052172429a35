from pathlib import Path

import pytest

from server.devices import find_devices


def test_named_devices_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_devices(("cuda:1", "cpu")) == ("cuda:1", "cpu")


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert find_devices(("auto",)) == ("cpu",)


def test_every_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H200 (UUID: a)'\necho 'GPU 1: NVIDIA H200 (UUID: b)'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_devices(("auto",)) == ("cuda:0", "cuda:1")
