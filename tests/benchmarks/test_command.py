import json
from pathlib import Path

import pytest
import torch

from benchmarks.command import Command


def test_the_options_and_the_line_that_names_the_setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "costs.jsonl"
    monkeypatch.setattr("sys.argv", ["costs", "--device", "cpu", "--repeats", "3", "--out", str(out)])
    command = Command.parse("costs", None)
    assert command == Command("costs", torch.device("cpu"), False, 3, out)
    assert command.size == "small"
    command.record({"figure": "a LoRA", "ratio": 1.1}, ("torch", "no-such-package"))
    line = json.loads(out.read_text(encoding="utf-8"))
    assert (line["benchmark"], line["figure"], line["ratio"]) == ("costs", "a LoRA", 1.1)
    assert line["device"].startswith("cpu (")
    assert (line["dtype"], line["full_size"]) == ("float32", False)
    assert line["versions"] == {"torch": torch.__version__, "no-such-package": None}


def test_the_full_size_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["costs", "--full-size"])
    assert Command.parse("costs", None).size == "full"
