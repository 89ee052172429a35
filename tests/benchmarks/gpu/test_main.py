import json
from pathlib import Path

import pytest

from benchmarks.gpu import __main__ as command
from tests.sources import packages_at_start

# A card may be lent for minutes, without a registry: the fewer packages a measurement needs, the better.
FEW = {"torch", "diffusers", "transformers", "accelerate", "numpy", "safetensors", "PIL", "pydantic", "structlog"}


def test_each_row_is_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "gpu.jsonl"
    options = ["--tiny", "--device", "cpu", "--steps", "2", "--only", "1.3 times", "--out", str(out)]
    command.main(options)
    (line,) = [json.loads(text) for text in out.read_text().splitlines()]
    assert line["row"] == "ours, 1.3 times the side"
    assert (line["full_size"], line["dtype"], line["card"]) == (False, "float32", "cpu")
    assert capsys.readouterr().out.startswith(line["row"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "cpu"], "the full size needs a CUDA device"),
        (["--tiny", "--device", "cpu", "--only", "nothing"], "no row has nothing in its name"),
    ],
)
def test_options_that_cannot_be_carried_out(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(options)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_committed_pages_are_those_of_the_committed_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page, readme = tmp_path / "page.md", tmp_path / "README.md"
    committed, readme_text = (each.read_text(encoding="utf-8") for each in (command.PAGE, command.README))
    readme.write_text(readme_text, encoding="utf-8")
    monkeypatch.setattr(command, "PAGE", page)
    monkeypatch.setattr(command, "README", readme)
    monkeypatch.setattr(command, "FIGURES", tmp_path)
    command.main(["report"])
    assert page.read_text(encoding="utf-8") == committed
    assert readme.read_text(encoding="utf-8") == readme_text


def test_a_loss_fails_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    setup = {"full_size": True, "card": "H100", "row": "ours"}
    old, new = tmp_path / "old.jsonl", tmp_path / "new.jsonl"
    old.write_text(json.dumps(setup | {"seconds": 10.0}))
    monkeypatch.setattr(command, "RESULTS", old)
    for seconds, code in ((10.4, 0), (10.6, "1 of 1 rows failed or are slower by more than 5%")):
        new.write_text(json.dumps(setup | {"seconds": seconds}))
        with pytest.raises(SystemExit) as ended:
            command.main(["check", str(new)])
        assert ended.value.code == code
    assert "ours: 10 s, now 10.6 s (+6.0%)" in capsys.readouterr().out


def test_a_card_without_a_committed_line_fails_the_check() -> None:
    assert command.check([], [{"card": "H100", "row": "ours"}]) == "there is no committed line of H100 to compare with"


@pytest.mark.parametrize("benchmark", ["gpu", "fit"])
def test_a_card_is_measured_with_few_packages(benchmark: str) -> None:
    assert packages_at_start(f"benchmarks.{benchmark}.__main__") <= FEW | {"pillow_heif"}
