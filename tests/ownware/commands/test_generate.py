"""`ownware generate` on the embedded checkpoint: a prompt, a table, and a receipt with changes."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import ownware
from ownware.cli import app
from ownware.receipt_files import read_source
from tests.live import API_KEY, LiveServer

PROMPT = "a large red circle at the center on a white background"
SMALL = ["--width", "128", "--height", "128", "--steps", "2", "--seed", "7"]
LOCAL = ["--weights", "embedded", "--devices", "cpu"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["generate", *map(str, arguments)])


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # One for all, so that the model stays loaded.
    monkeypatch.setenv("OWNWARE_DATA_DIR", str(tmp_path_factory.getbasetemp() / "data"))


def test_a_file_is_what_the_python_api_saves(tmp_path: Path) -> None:
    result = run(PROMPT, "-o", "circle.png", *SMALL, *LOCAL)
    assert result.exit_code == 0, result.output
    wanted = ownware.generate(PROMPT, width=128, height=128, steps=2, seed=7, device="cpu").save(tmp_path / "api.png")
    assert (tmp_path / "circle.png").read_bytes() == wanted.read_bytes()
    assert result.stdout == "circle.png\n"


@pytest.mark.slow
def test_without_a_name_it_is_called_like_its_prompt(tmp_path: Path) -> None:
    for _ in range(2):
        assert run(PROMPT, *SMALL, *LOCAL).exit_code == 0
    names = {path.name for path in tmp_path.glob("*.png")}
    assert names == {"a-large-red-circle-at-the-center-on-7.png", "a-large-red-circle-at-the-center-on-7-2.png"}
    assert not list(tmp_path.glob("*.jsonl"))


@pytest.mark.slow
def test_several_results_in_a_format(tmp_path: Path) -> None:
    assert run(PROMPT, "-o", "c{x}.jpeg", "--number-results", "2", *SMALL, *LOCAL).exit_code == 0
    assert {path.name for path in tmp_path.glob("*.jpeg")} == {"c{x}-7.jpeg", "c{x}-8.jpeg"}


def test_a_receipt_is_repeated_with_changes(tmp_path: Path) -> None:
    assert run(PROMPT, "-o", "a.png", "--fbCache", "--cacheStartStep", "1", *SMALL, *LOCAL).exit_code == 0
    assert run("--from", "a.png", "-o", "b.png", *LOCAL).exit_code == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert run("--from", "a.png", "-o", "c.png", "--steps", "3", *LOCAL).exit_code == 0
    one, other = (read_source(name).receipt.request for name in ("a.png", "c.png"))
    assert (other.steps, other.seed, other.prompt) == (3, one.seed, one.prompt)


@pytest.mark.slow
def test_a_table_can_be_resumed(tmp_path: Path) -> None:
    Path("rows.csv").write_text(f"prompt;seed;name\n{PROMPT};1;one\n{PROMPT};x;two\n{PROMPT};3;three\n")
    arguments = ["--table", "rows.csv", "-o", "out", *SMALL[:6], *LOCAL]
    result = run(*arguments)
    assert result.exit_code == 1
    assert "'x' is no whole number" in result.output
    assert "2 of 3 pictures are in out" in result.output
    assert {path.name for path in Path("out").glob("*.png")} == {"one.png", "three.png"}
    Path("rows.csv").write_text(f"prompt;seed;name\n{PROMPT};1;one\n{PROMPT};2;two\n{PROMPT};3;three\n")
    result = run(*arguments)
    assert result.exit_code == 0
    assert result.stdout == "out/two.png\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "say what to draw"),
        ([PROMPT, "-o", "a.png", "--output-format", "JPG"], "'a.png' is no name of a JPG"),
        ([PROMPT, "--name", "{size}"], "--name: "),
        (["--table", "missing.csv", "-o", "out"], "No such file"),
        (["--table", "missing.csv", "-o", "out.png"], "name a folder"),
        (["--from", "missing.png"], "--from: "),
        ([PROMPT, "--server", "http://127.0.0.1:9"], "nothing answers"),
        ([PROMPT, "--server", "box"], "is no address"),
        ([PROMPT, "--server", "http://127.0.0.1:9", "--weights", "embedded"], "--weights has no effect"),
        ([PROMPT, "--key", "x"], "--key needs --server"),
        ([PROMPT, "--outpaint", "x"], "--outpaint: "),
    ],
)
def test_what_cannot_be_done(arguments: list[str], reason: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert reason in result.output


def test_what_the_schema_refuses_is_a_failure() -> None:
    result = run(PROMPT, "--steps", "99", *LOCAL)
    assert result.exit_code == 1
    assert "between 1 and 50" in " ".join(result.output.split())


@pytest.mark.slow
def test_through_a_server(live: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWNWARE_API_KEY", API_KEY)
    assert run(PROMPT, "-o", "there.webp", "--server", live.url, *SMALL).exit_code == 0
    monkeypatch.delenv("OWNWARE_API_KEY")
    assert run(PROMPT, "-o", "here.webp", *SMALL, *LOCAL).exit_code == 0
    there, here = (read_source(name).receipt for name in ("there.webp", "here.webp"))
    assert there.request == here.request
