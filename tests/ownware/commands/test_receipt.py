import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from accel.cache.plan import CachePlan
from ownware.cli import app
from ownware.commands.receipt import describe
from pipelines.receipt import WeightsRef
from pipelines.request import ControlUse, LoraUse, Outpaint, Reference
from server.media.encode import Encoding, encode
from tests.ownware.batch.tasks.test_receipt_task import receipt_of

PICTURE = Reference(Path(), "ab" * 32, 64, 48)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    path.write_bytes(encode(Image.new("RGB", (64, 48)), Encoding("JPG", 95), receipt_of().to_json()))
    return path


def test_in_words(picture: Path) -> None:
    result = CliRunner().invoke(app, ["receipt", str(picture)])
    assert result.exit_code == 0
    lines = dict(line.split(None, 1) for line in result.output.splitlines() if len(line.split()) > 1)
    assert (lines["prompt"], lines["seed"], lines["size"], lines["guidance"]) == ("a circle", "7", "256×256", "4")


def test_as_it_is_stored(picture: Path) -> None:
    result = CliRunner().invoke(app, ["receipt", str(picture), "--json"])
    assert json.loads(result.output)["request"]["prompt"] == "a circle"


def test_everything_that_a_receipt_may_have() -> None:
    receipt = receipt_of(
        negative_prompt="blue",
        references=(PICTURE, PICTURE),
        seed_image=PICTURE,
        strength=0.5,
        mask=PICTURE,
        mask_margin=32,
        outpaint=Outpaint(left=64),
        loras=(LoraUse("outlines", Path(), 0.6),),
        controls=(ControlUse("edges", "", PICTURE),),
        cache=CachePlan("fbcache", 0.25, 3, 18, 3),
        true_cfg_scale=1.0,
        watermark="made here",
    )
    adapters = {"loras": (WeightsRef("o", "cd" * 32),), "controlnets": (WeightsRef("e", None),)}
    lines = dict(describe(replace(receipt, **adapters, cache={"cond": "CCRC"}, encoding=("JPG", 80))))
    assert lines["steps"] == "10 of 20"
    assert lines["guidance"] == "off"
    assert lines["reference 2"] == "64×48, SHA-256 abababababab…"
    assert lines["mask"].endswith("margin 32")
    assert lines["LoRA"] == "outlines, weight 0.6, cdcdcdcdcdcd…"
    assert lines["ControlNet"].endswith("no digest")
    assert lines["  cond"] == "CCRC (1 of 4 reused)"
    assert lines["file"] == "JPG, quality 80"


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "no receipt"), (b"hello", "cannot identify"), (b"{}", "this is no receipt"), (None, "No such file")],
)
def test_what_carries_none(tmp_path: Path, data: bytes | None, reason: str) -> None:
    path = tmp_path / "a.png"
    if data is not None:
        path.write_bytes(data)
    result = CliRunner().invoke(app, ["receipt", str(path)])
    assert result.exit_code == 2
    assert reason in result.output or "cannot identify" in result.output
    assert "Traceback" not in result.output
