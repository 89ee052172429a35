"""`ownware edit` on the embedded checkpoint: a folder, a table, and what is wrong with some of it."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from ownware.batch.manifest import NAME
from ownware.cli import app
from ownware.receipt_files import read_source
from tests.bombs import BOMB
from tests.fakes import picture
from tests.odd_images import save, scene, shows_scene
from tests.ownware.batch.fakes import write_pictures

SMALL = ["--width", "128", "--height", "128", "--steps", "2", "--weights", "embedded", "--devices", "cpu"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["edit", *map(str, arguments), *SMALL])


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # One for all, so that the model stays loaded.
    monkeypatch.setenv("OWNWARE_DATA_DIR", str(tmp_path_factory.getbasetemp() / "data"))


def files(folder: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()} - {
        f".{NAME}.lock"
    }


def test_a_folder(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", "a.png", "sub/b.jpg", "sub/c.tif")
    result = run("in", "-p", "make it red", "-o", "out", "--compare")
    assert result.exit_code == 0, result.output
    assert files("out") == {"a.png", "sub/b.jpg", "sub/c.png", "compare.html", NAME}
    assert result.stdout == "out/a.png\nout/sub/b.jpg\nout/sub/c.png\n"
    made = [read_source(f"out/{name}").receipt.request for name in ("a.png", "sub/b.jpg")]
    assert [request.model for request in made] == ["runware:108@20"] * 2
    assert made[0].seed != made[1].seed


@pytest.mark.slow
def test_a_second_run_makes_what_is_missing(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", "a.png", "b.png")
    assert run("in", "-p", "make it red", "-o", "out").exit_code == 0
    Path("out/b.png").unlink()
    write_pictures(tmp_path / "in", "c.png")
    before = Path("out/a.png").read_bytes()
    result = run("in", "-p", "make it red", "-o", "out")
    assert result.stdout == "out/b.png\nout/c.png\n"
    assert Path("out/a.png").read_bytes() == before


@pytest.mark.slow
def test_files_that_are_wrong_leave_the_others(tmp_path: Path) -> None:
    odd = {each.name: each.data for each in shows_scene()}
    write_pictures(tmp_path / "in", "good.png")
    for name, data in {
        "empty.png": b"",
        "text.jpg": b"hello",
        "truncated.jpg": picture(400, 300, "JPEG")[:3000],
        "huge.png": BOMB,
        "animated.gif": odd["GIF of two frames"],
        "cmyk.jpg": odd["JPEG CMYK"],
        "deep.png": odd["PNG RGB of 16 bits"],
    }.items():
        (tmp_path / "in" / name).write_bytes(data)
    result = run("in", "-p", "make it red", "-o", "out")
    assert result.exit_code == 1
    assert files("out") == {"good.png", "animated.png", "cmyk.jpg", "deep.png", NAME}
    rows = [json.loads(line) for line in Path("out", NAME).read_text().splitlines()]
    reasons = {Path(row["where"]).name: row["reason"] for row in rows if row["state"] == "failed"}
    assert reasons.keys() == {"empty.png", "text.jpg", "truncated.jpg", "huge.png"}
    assert reasons["empty.png"] == "the file is empty"
    assert "truncated" in reasons["truncated.jpg"]
    notes = {Path(row["where"]).name: row["notes"] for row in rows if row["state"] == "done"}
    assert notes["deep.png"] == ["16 bits a channel are reduced to 8"]
    assert notes["animated.gif"] == ["2 frames: the first one is used"]
    assert notes["cmyk.jpg"] == ["CMYK: the result is RGB"]
    for reason in ("the file is empty", "the file is no picture", "too large"):
        assert reason in result.output


def test_a_table_with_a_mask_and_a_row_that_fails_in_the_middle(tmp_path: Path) -> None:
    write_pictures(tmp_path, "a.png", "b.png", "hat.png")
    mask = Image.new("L", (40, 30), 0)
    mask.paste(255, (20, 0, 40, 30))
    mask.save("mask.png")
    text = "source;prompt;seed;mask;references\r\na.png;make it red;7;mask.png;\r\nmissing.png;x;8;;\r\n"
    Path("rows.csv").write_text(f"{text}b.png;put the hat on;9;;hat.png\r\n", encoding="utf-8-sig")
    result = run("rows.csv", "-o", "out", "--name", "{stem}-{seed}.{ext}")
    assert result.exit_code == 1
    assert files("out") == {"a-7.png", "b-9.png", NAME}
    assert "rows.csv:3" in result.output
    first, last = (read_source(f"out/{name}").receipt.request for name in ("a-7.png", "b-9.png"))
    assert first.seed_image == first.references[0]
    assert first.mask is not None
    assert (last.model, len(last.references)) == ("runware:108@22", 2)


def test_a_photo_is_upright_and_keeps_its_capture_data() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    Path("in").mkdir()
    Path("in/a.jpg").write_bytes(save(scene(), "JPEG", exif=exif.tobytes()))
    arguments = ["in", "-p", "make it red", "--steps", "2", "--weights", "embedded", "--devices", "cpu"]
    result = CliRunner().invoke(app, ["edit", *arguments, "-o", "out", "--steps", "1"])
    assert result.exit_code == 0, result.output
    with Image.open("out/a.jpg") as image:
        assert image.width < image.height
        assert (image.getexif().get(0x010F), image.getexif().get(0x0112)) == ("Maker", 1)


def test_a_task_file(tmp_path: Path) -> None:
    write_pictures(tmp_path, "in/a.png")
    Path("task.json").write_text(json.dumps({"positivePrompt": "make it red", "seed": 3, "steps": 9}))
    assert run("in", "--task", "task.json", "-o", "out").exit_code == 0
    request = read_source("out/a.png").receipt.request
    assert (request.prompt, request.seed, request.steps) == ("make it red", 3, 2)


def test_a_dry_run(tmp_path: Path) -> None:
    write_pictures(tmp_path, "in/a.png")
    result = run("in", "-p", "make it red", "-o", "out", "--dry-run")
    assert result.exit_code == 0
    assert "in/a.png → a.png\n1 pictures, 1 to make; about " in result.stdout
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["in", "-o", "in", "-p", "x"], "is the folder of the source"),
        (["in/a.png", "-o", "in", "-p", "x"], "is the folder of the source"),
        (["empty", "-o", "out", "-p", "x"], "has no picture"),
        (["missing", "-o", "out", "-p", "x"], "no such file or folder"),
        (["rows.csv", "-o", "out", "-p", "x"], "has no column 'source'"),
        (["in", "-o", "in/a.png", "-p", "x"], "is no folder"),
        (["in", "-o", "out", "-p", "x", "--name", "../{stem}"], "does not stay in the output folder"),
        (["in", "-o", "out", "-p", "x", "--output-format", "gif"], "none of PNG, JPG and WEBP"),
    ],
)
def test_what_cannot_be_done(tmp_path: Path, arguments: list[str], reason: str) -> None:
    write_pictures(tmp_path, "in/a.png")
    Path("empty").mkdir()
    Path("rows.csv").write_text("name,seed\nx,1\n")
    result = run(*arguments)
    assert result.exit_code == 2
    assert reason in result.output
    assert not Path("out").exists()


def test_without_an_instruction_each_picture_says_so(tmp_path: Path) -> None:
    write_pictures(tmp_path, "in/a.png")
    result = run("in", "-o", "out")
    assert result.exit_code == 1
    assert "positivePrompt" in result.output
