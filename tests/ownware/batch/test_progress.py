"""What is said of a batch, on a terminal and elsewhere. Results go to standard output."""

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from ownware.batch.progress import Progress, TerminalProgress, in_words, open_progress


def test_a_line_for_each_picture(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(3)
    progress.start("a.png")
    progress.step(1, 2)
    progress.finish("a.png", [Path("out/a.png")], ["16 bits a channel are reduced to 8"], 1.5)
    progress.fail("b.png", "the file is empty")
    progress.finish("c.png", [Path("out/c-1.png"), Path("out/c-2.png")], [], 1)
    progress.close()
    out, err = capsys.readouterr()
    assert out == "out/a.png\nout/c-1.png\nout/c-2.png\n"
    lines = err.splitlines()
    assert lines[0].startswith("ownware: 1 of 3: a.png, 1.5 s, ")
    assert "pictures a minute, about" in lines[0]
    assert lines[1:] == [
        "ownware: a.png: 16 bits a channel are reduced to 8",
        "ownware: 2 of 3: b.png failed: the file is empty",
        "ownware: 3 of 3: c.png, 1.0 s",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_two_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, out = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "stdout", out)
    progress = open_progress(2)
    assert isinstance(progress, TerminalProgress)
    progress._bars.live.console = Console(file=screen, force_terminal=True, width=120)
    progress.start("[red]a.png")
    progress.step(1, 2)
    progress.finish("[red]a.png", [Path("a.png")], ["a [note]"], 1)
    progress.fail("b.png", "[why]")
    progress.close()
    shown = screen.getvalue()
    for text in ("[red]a.png", "1/2", "a minute", "left", "ownware: [red]a.png: a [note]", "b.png failed: [why]"):
        assert text in shown
    assert out.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (11_100, "3 h 5 min")]
)
def test_a_time_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
