"""The common course of `generate` and `edit`: open the place that renders, plan, render, and say what came of it."""

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ownware.batch.item import Item
from ownware.batch.manifest import Manifest
from ownware.batch.plan import OutputOptions, plan_batch, to_do
from ownware.batch.progress import open_progress
from ownware.batch.render_place import RenderPlace
from ownware.batch.renderers.base import Renderer
from ownware.batch.results.compare_page import Pair, compare_page
from ownware.batch.runner import Runner
from ownware.batch.stopping import StopRequest
from ownware.batch.summary import DONE, NOT_ALL, print_plan, report
from ownware.console import print_message, print_messages
from server.media.files import write_file
from server.settings import CLIENT_KEY

COMPARE_PAGE = "compare.html"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a batch runs. Without `resume`, the folder gets no manifest."""

    output: OutputOptions
    resume: bool = True
    dry_run: bool = False
    failed_only: bool = False
    compare: bool = False


def open_renderer(place: RenderPlace) -> Renderer:
    """The place that renders: a server at an address, else this process. Raises `BatchError`."""
    place.check()
    if place.server is None:
        from ownware.batch.renderers.local import LocalRenderer

        return LocalRenderer(place.settings())
    from ownware.batch.renderers.remote import RemoteRenderer

    renderer = RemoteRenderer(place.server, place.key or os.environ.get(CLIENT_KEY))
    renderer.connect()
    return renderer


def run_batch(items: Sequence[Item], notes: Sequence[str], renderer: Renderer, options: RunOptions) -> int:
    """Make the pictures of all items, and return the exit status. Raises `BatchError`."""
    folder = options.output.folder
    with closing(renderer):
        manifest = Manifest(folder if options.resume else None)
        if options.dry_run:
            planned = plan_batch(items, renderer, manifest, options.output)
            print_messages(notes)
            print_plan(planned, list(to_do(planned, failed_only=options.failed_only)), manifest, renderer)
            return DONE
        with manifest.lock(), (stop := StopRequest()).listen():
            manifest.read()
            manifest.remove_drafts()
            planned = plan_batch(items, renderer, manifest, options.output)
            print_messages(notes)
            todo = list(to_do(planned, failed_only=options.failed_only))
            before = sum(each.done for each in planned)
            runner = Runner(renderer, manifest, folder, open_progress(len(todo)), stop)
            outcome = runner.run(todo)
            page_status = _write_page(manifest, folder) if options.compare else DONE
    return report(outcome, len(planned), before, folder) or page_status


def _write_page(manifest: Manifest, folder: Path) -> int:
    """Write the page of all pairs that are done, those of earlier runs too. Returns the exit status."""
    pairs = [
        Pair(name, Path(entry.source), folder / name)
        for entry in manifest.entries.values()
        if entry.state == "done" and entry.source is not None
        for name in entry.outputs
    ]
    page = folder / COMPARE_PAGE
    try:
        write_file(page, compare_page(folder.name, pairs).encode())
    except OSError as error:
        print_message(f"{page} cannot be written: {error.strerror}")
        return NOT_ALL
    print_message(f"{page} compares {len(pairs)} pairs")
    return DONE
