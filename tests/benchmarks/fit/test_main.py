import json
from pathlib import Path

import pytest
import torch

from benchmarks.fit import __main__ as command
from benchmarks.fit.bench import Bench
from benchmarks.random_models import ModelSize


def test_each_row_is_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "fit.jsonl"
    options = ["--tiny", "--device", "cpu", "--steps", "2", "--only", "bf16, 16 GB, text", "--only", "copies"]
    command.main([*options, "--out", str(out)])
    copies, line = [json.loads(text) for text in out.read_text().splitlines()]
    assert copies["row"] == "copies from pinned memory"
    assert line["row"] == "bf16, 16 GB, text to image"
    assert (line["bit_equal"], line["full_size"], line["card"]) == (True, False, "cpu")
    assert capsys.readouterr().out.startswith(copies["row"])


def test_the_most_valuable_rows_come_first_and_all_cards_are_there() -> None:
    names = [row.name for row in command.rows(Bench(ModelSize.load("small"), torch.device("cpu"), 2))]
    assert names[1:5] == [f"bf16, {card}, text to image" for card in ("resident", "24 GB", "16 GB", "12 GB")]
    assert len(set(names)) == len(names)
    for precision in ("bf16", "fp8", "int8", "nf4"):
        for card in ("24 GB", "16 GB", "12 GB"):
            assert f"{precision}, {card}, text to image" in names
            assert f"{precision}, {card}, edit, 1 reference" in names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "cpu"], "the full size needs a CUDA device"),
        (["--tiny", "--device", "cpu", "--only", "nothing"], "no row has nothing in its name"),
        (["--tiny", "--device", "cpu", "--steps", "1"], "--steps must be at least 2"),
    ],
)
def test_options_that_cannot_be_carried_out(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(options)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
