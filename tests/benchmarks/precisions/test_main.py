import json
from pathlib import Path

import pytest

from benchmarks.precisions import __main__ as module
from benchmarks.precisions.__main__ import main
from benchmarks.step_caches.prompts import Prompt
from pipelines.catalog.catalog import EMBEDDED
from pipelines.catalog.weights_fingerprint import fingerprint


@pytest.mark.slow
def test_the_errors_of_layers_and_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "default_prompts", lambda entry: (Prompt("a red circle"),))
    main(["--precision", "fp8", "--steps", "1", "--size", "128", "--out", str(tmp_path / "out.jsonl")])
    line, encoder = [json.loads(text) for text in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert (line["component"], encoder["component"]) == ("transformer", "text_encoder")
    assert line["weights"] == encoder["weights"] == fingerprint(EMBEDDED)
    assert "layers" not in encoder
    assert encoder["psnr"]["least"] > line["psnr"]["least"]
    assert (line["precision"], line["pictures"], line["steps"]) == ("fp8", 1, 1)
    assert len(line["layers"]) == 12  # query, key, value and output of two streams, and two layers of two MLPs
    assert all(0.001 < kind["median"] <= kind["worst"] < 0.1 for kind in line["layers"].values())
    assert line["psnr"]["least"] <= line["psnr"]["median"] < 60
    assert "attn.to_q" in capsys.readouterr().out
