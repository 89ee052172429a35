import json
from pathlib import Path

import pytest
from PIL import Image

from pipelines.catalog.catalog import EMBEDDED_FOLDER
from pipelines.catalog.weights_fingerprint import fingerprint
from training.scores.scoring import Scoring


def test_options_of_the_command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["score", "--count", "3", "--out", str(tmp_path / "scores.json")])
    scoring = Scoring.parse("Scores something.\n\nMore.")
    assert scoring == Scoring(EMBEDDED_FOLDER.resolve(), 3, tmp_path / "scores.json", None)


def test_scores_of_the_same_weights_are_merged_into_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scores.json"
    weights = fingerprint(str(EMBEDDED_FOLDER))
    path.write_text(json.dumps({"weights": weights, "old": {"a": 1}, "new": {"a": 1}}))
    Scoring(EMBEDDED_FOLDER, 1, path, None).save_scores({"new": {"b": 0.5}})
    assert json.loads(path.read_text()) == {"weights": weights, "old": {"a": 1}, "new": {"b": 0.5}}
    assert capsys.readouterr().out.split() == ["new", "b", "0.5"]


def test_scores_of_other_weights_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({"weights": "f" * 64, "old": {"a": 1}}))
    Scoring(EMBEDDED_FOLDER, 1, path, None).save_scores({"new": {"b": 0.5}})
    assert json.loads(path.read_text()) == {"weights": fingerprint(str(EMBEDDED_FOLDER)), "new": {"b": 0.5}}


def test_a_sheet_carries_the_fingerprint_of_its_weights(tmp_path: Path) -> None:
    Scoring(EMBEDDED_FOLDER, 1, None, tmp_path / "sheet.png").save_sheet(Image.new("RGB", (8, 8)))
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.info["weights"] == fingerprint(str(EMBEDDED_FOLDER))


def test_without_a_file_scores_are_only_printed(tmp_path: Path) -> None:
    Scoring(tmp_path, 1, None, None).save_scores({"new": {"b": 0.5}})
    assert not list(tmp_path.iterdir())
