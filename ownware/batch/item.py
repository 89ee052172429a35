"""One picture that a command has to make, and why one or all of them cannot be made.

Knows no file format and no model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

WireTask = dict[str, Any]  # an imageInference task whose pictures are paths


class ItemError(Exception):
    """One picture cannot be made; the others can. The message says why."""


class BatchError(Exception):
    """No further picture can be made; the message says why."""


class Interrupted(Exception):
    """The user has asked to stop."""


@dataclass(frozen=True, slots=True)
class Item:
    """A task of the command with its source.

    `where` names it in messages: a path, or a table and its row. `stem` and `folder` are those of the result's name.
    `source` is the picture that is edited, None where a prompt alone is drawn. `problem` is why it cannot be made,
    where that is known already.
    """

    where: str
    stem: str
    task: Mapping[str, Any] = field(default_factory=dict)
    source: Path | None = None
    folder: PurePosixPath = field(default_factory=PurePosixPath)
    problem: str | None = None
