import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.runs import command as module
from benchmarks.runs.budget import Budget
from benchmarks.runs.command import Command


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


def command_of(monkeypatch: pytest.MonkeyPatch, *options: str) -> Command:
    monkeypatch.setattr("sys.argv", ["costs", *options])
    return Command.parse("costs", None)


NAMES = ["a LoRA", "a ControlNet", "decoding"]


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ((), NAMES),
        (("--only", "Net"), ["a ControlNet"]),
        (("--only", "LoRA", "--only", "dec"), ["a LoRA", "decoding"]),
    ],
)
def test_parts_are_chosen_by_their_names(
    monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], chosen: list[str]
) -> None:
    assert list(command_of(monkeypatch, *options).select(NAMES)) == chosen


def test_no_part_of_that_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="no part has hats in its name; there are: a LoRA, a ControlNet, decoding"):
        list(command_of(monkeypatch, "--only", "hats").select(NAMES))


def test_a_part_that_no_longer_fits_is_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    command = replace(command_of(monkeypatch), budget=Budget(1, lambda: now[0]))
    measured = []
    for name in command.select(NAMES):
        measured.append(name)
        now[0] += 35
    assert measured == NAMES[:1]
    assert capsys.readouterr().out == "a ControlNet: skipped, 25 s are left\ndecoding: skipped, 25 s are left\n"
