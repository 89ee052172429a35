import json
from pathlib import Path

import pytest

from training.scores import curve
from training.scores.curve import main, score_snapshots
from training.timed.run import CURVE


def test_each_snapshot_is_scored_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[str] = []

    def scores(folder: Path, count: int) -> dict[str, dict[str, float]]:
        scored.append(folder.name)
        return {"one thing": {"shape": count / 10}}

    monkeypatch.setattr(curve, "_scores", scores)
    out = tmp_path / "curve.json"
    (tmp_path / "snapshots" / "2.part").mkdir(parents=True)  # its copy was interrupted
    for name, samples in (("1", 100), ("2", 200)):
        folder = tmp_path / "snapshots" / name
        folder.mkdir(parents=True)
        (folder / "training.json").write_text(json.dumps({"steps": 1, "samples": samples}))
        score_snapshots(tmp_path, out, 5)
    assert scored == ["1", "2"]
    points = json.loads(out.read_text())
    assert points == [{"samples": samples, "scores": {"one thing": {"shape": 0.5}}} for samples in (100, 200)]


def test_the_curve_stays_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curve, "_scores", lambda folder, count: {"word": {"word": count / 20}})
    (tmp_path / "snapshots" / "5").mkdir(parents=True)
    (tmp_path / "snapshots" / "5" / "training.json").write_text('{"steps": 1, "samples": 7}')
    monkeypatch.setattr("sys.argv", ["curve", "--run", str(tmp_path), "--count", "10"])
    main()
    assert json.loads((tmp_path / CURVE).read_text()) == [{"samples": 7, "scores": {"word": {"word": 0.5}}}]
