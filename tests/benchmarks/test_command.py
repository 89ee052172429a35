import json
from pathlib import Path

import pytest
import torch

from benchmarks.command import Command, installed


def parsed(monkeypatch: pytest.MonkeyPatch, *options: str) -> Command:
    monkeypatch.setattr("sys.argv", ["benchmark", *options])
    return Command.parse("caches", "what it measures")


def test_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert parsed(monkeypatch) == Command("caches", torch.device("cpu"), False, 7, None)


def test_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    command = parsed(monkeypatch, "--device", "cuda", "--full-size", "--repeats", "3", "--out", "lines.jsonl")
    assert command == Command("caches", torch.device("cuda"), True, 3, Path("lines.jsonl"))


def test_figures_are_appended_as_lines(tmp_path: Path) -> None:
    out = tmp_path / "lines.jsonl"
    command = Command("caches", torch.device("cpu"), False, 7, out)
    command.record({"figure": "one", "seconds": 0.5})
    command.record({"figure": "two"}, ["torch", "no-such-package"])
    first, second = (json.loads(line) for line in out.read_text(encoding="utf-8").splitlines())
    assert (first["benchmark"], first["figure"], first["seconds"]) == ("caches", "one", 0.5)
    assert first["device"].startswith("cpu")
    assert (first["dtype"], first["full_size"]) == ("float32", False)
    assert second["versions"] == {"torch": installed("torch"), "no-such-package": None}


def test_without_a_file_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Command("caches", torch.device("cpu"), False, 7, None).record({"figure": "one"})
    assert not list(tmp_path.iterdir())
