"""`ownware simulate`, as a user runs it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ownware.cli import app

TRACES = Path(__file__).parents[3] / "docs" / "embedded.traces.jsonl"


def simulate(*options: str, trace: Path = TRACES, command: tuple[str, ...] = ("simulate",)) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*command, str(trace), *options])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.mark.parametrize("strategy", ["fbcache", "dbcache", "teacache"])
def test_one_line_a_threshold(strategy: str) -> None:
    code, said = simulate("--strategy", strategy, "--threshold", "0,0.2,9")
    assert code == 0
    nothing, some, most = said.splitlines()
    assert (
        nothing
        == f"{strategy} at 0: 0 of 60 steps reused, 0 of 120 forwards, so denoising is at most 1.00 times as fast"
    )
    assert int(some.split()[3]) <= int(most.split()[3]) == 3 * 12  # of 15 in the window, three in a row
    assert "at most 2.50 times" in most


def test_patterns() -> None:
    window = ["--start", "1", "--end", "4", "--max-run", "2"]
    _, said = simulate("--strategy", "fbcache", "--threshold", "9", *window, "--each")
    _, *images = said.splitlines()
    assert len(images) == 3
    for line in images:
        assert "cond CRRCCCCCCCCCCCCCCCCC  uncond CRRC" in line


def test_the_former_name_still_works() -> None:
    options = ("--strategy", "fbcache", "--threshold", "0.2")
    assert simulate(*options, command=("bench", "replay")) == simulate(*options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--strategy", "magic", "--threshold", "1"], "--strategy: 'magic' is none of fbcache, "),
        (["--strategy", "fbcache", "--threshold", "high"], "--threshold: 'high' is no list of numbers"),
        (["--strategy", "fbcache", "--threshold", "1", "--max-run", "6"], "--max-run: 6 is not from 1 to 5"),
        (["--strategy", "teacache", "--threshold", "1", "--profile", "/x.toml"], "/x.toml: "),
    ],
)
def test_mistakes_are_named_by_option(options: list[str], said: str) -> None:
    code, output = simulate(*options)
    assert code == 2
    assert said in output


def test_a_file_that_is_no_trace() -> None:
    code, said = simulate("--strategy", "fbcache", "--threshold", "1", trace=Path("/nowhere.jsonl"))
    assert (code, "/nowhere.jsonl" in said) == (2, True)
