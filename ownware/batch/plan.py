"""Plans a batch: what each item becomes, under which name, and what is done already.

An item is known again by a hash of its task, its pictures and its place. Renders nothing.
"""

import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ownware.batch.item import Item, ItemError, WireTask
from ownware.batch.manifest import Entry, Manifest
from ownware.batch.names import PATTERN, PATTERN_OF_SEVERAL, format_of_source, parse_format, result_names
from ownware.batch.picture_facts import read_facts
from ownware.batch.renderers.base import Renderer
from ownware.batch.tasks.pictures import map_pictures
from pipelines.catalog.fingerprint import file_digest
from server.media.encode import DEFAULT_QUALITY, Encoding

_SEED_BITS = 32


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """Where results go. `pattern` None means the default. With `overwrite`, a name that exists is used again."""

    folder: Path
    pattern: str | None = None
    strip: bool = False
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """An item with its complete task and the names of its results within the folder.

    `before` is what became of it in an earlier run. `problem` is why it cannot be made.
    """

    item: Item
    key: str
    task: WireTask
    outputs: tuple[str, ...]
    seed: int
    encoding: Encoding
    strip: bool
    notes: tuple[str, ...] = ()
    done: bool = False
    before: Entry | None = None
    problem: str | None = None


def plan_batch(items: Sequence[Item], renderer: Renderer, manifest: Manifest, options: OutputOptions) -> list[Planned]:
    """The plan of all items in order. What is wrong with one is its `problem`. Raises `BatchError`."""
    repeats: Counter[str] = Counter()
    planned: list[Planned] = []
    drafts = []
    for item in items:
        draft = _Draft.make(item, renderer)
        digest = draft.digest(options.strip)
        repeats[digest] += 1
        drafts.append((draft, f"{digest}-{repeats[digest]}"))
    entries = [entry for entry in manifest.entries.values() if entry.state != "failed"]
    taken = {name.lower() for entry in entries for name in entry.outputs}
    for number, (draft, key) in enumerate(drafts, 1):
        one = _planned(draft, key, number, manifest, options, taken)
        taken.update(name.lower() for name in one.outputs)
        planned.append(one)
    return planned


def to_do(planned: Iterable[Planned], *, failed_only: bool) -> Iterator[Planned]:
    """What is missing or has failed; with `failed_only`, what has failed in an earlier run."""
    for each in planned:
        failed = each.before is not None and each.before.state == "failed"
        if not each.done and (failed or not failed_only):
            yield each


@dataclass(frozen=True, slots=True)
class _Draft:
    """An item whose task is complete, or a problem."""

    item: Item
    task: WireTask
    encoding: Encoding
    notes: tuple[str, ...] = ()
    problem: str | None = None

    @classmethod
    def make(cls, item: Item, renderer: Renderer) -> "_Draft":
        task = dict(item.task)
        encoding = Encoding("PNG", DEFAULT_QUALITY)
        if item.problem is not None:
            return cls(item, task, encoding, problem=item.problem)
        try:
            facts = None if item.source is None else read_facts(item.source)
            if "outputFormat" in task:
                encoding = replace(encoding, format=parse_format(str(task["outputFormat"])))
            elif facts is not None:
                encoding = replace(encoding, format=format_of_source(facts.format, has_alpha=facts.has_alpha))
            task = renderer.complete(task)
            renderer.check(task)
        except ItemError as error:
            return cls(item, task, encoding, problem=str(error))
        encoding = replace(encoding, quality=int(task.get("outputQuality", DEFAULT_QUALITY)))
        return cls(item, task, encoding, () if facts is None else facts.notes)

    def digest(self, strip: bool) -> str:
        """A hash of all that decides the result, and of its place. Pictures count by their contents."""
        identity: dict[str, Any] = {
            "task": map_pictures(self.task, _contents),
            "place": [str(self.item.folder), self.item.stem],
            "encoding": [self.encoding.format, self.encoding.quality],
            "strip": strip,
            "where": self.item.where if self.problem else None,
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]


def _planned(
    draft: _Draft, key: str, number: int, manifest: Manifest, options: OutputOptions, taken: set[str]
) -> Planned:
    item, before = draft.item, manifest.entries.get(key)
    count = 1 if draft.problem else int(draft.task.get("numberResults", 1))
    seed = draft.task.get("seed")
    if draft.problem or not isinstance(seed, int):
        seed = secrets.randbits(_SEED_BITS) if before is None else before.seed
    if before is not None and before.state != "failed":  # a failed one has left no file
        outputs = before.outputs
    else:
        pattern = options.pattern or (PATTERN if count == 1 else PATTERN_OF_SEVERAL)
        seeds = range(seed, seed + count)
        free_in = None if options.overwrite else options.folder
        outputs = result_names(item, pattern, seeds, draft.encoding.extension, number, taken, free_in)
    return Planned(
        item=item,
        key=key,
        task=draft.task if draft.problem else {**draft.task, "seed": seed},
        outputs=() if draft.problem else outputs,
        seed=seed,
        encoding=draft.encoding,
        strip=options.strip,
        notes=draft.notes,
        done=manifest.is_done(key, options.folder),
        before=before,
        problem=draft.problem,
    )


def _contents(text: str) -> str:
    """The hash of a picture's file; the text itself where there is none."""
    try:
        return file_digest(Path(text)) if Path(text).is_absolute() else text
    except OSError:
        return text
