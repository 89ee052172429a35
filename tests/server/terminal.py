"""A server that runs in this process, and the terminal that its user looks at."""

import os
import signal
from pathlib import Path
from typing import Any

from server.settings import Settings


class Terminal:
    """What is printed. The user presses Ctrl-C twice when the greeting appears."""

    def __init__(self) -> None:
        self.printed: list[str] = []

    def echo(self, text: str, *, err: bool = False) -> None:
        self.printed.append(text)
        if "Try it:" in text:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)

    @property
    def text(self) -> str:
        return "\n".join(self.printed)


def settings(tmp_path: Path, **changes: Any) -> Settings:
    """Settings of a server that keeps its data below a folder."""
    return Settings(**{"data_dir": tmp_path / "data", "port": 0, "devices": ("cpu",)} | changes)
