"""`ownware generate`: draw a prompt, the rows of a table, or a picture's receipt with changes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ownware.batch.render_place import RenderPlace, with_render_place
from ownware.batch.tasks.flag_options import with_task_flags
from ownware.console import fail, print_messages

if TYPE_CHECKING:
    from ownware.batch.item import Item, WireTask
    from ownware.batch.plan import OutputOptions


@with_task_flags
@with_render_place
def generate(
    prompt: Annotated[str | None, typer.Argument(help="What to draw.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A file ending in .png, .jpg or .webp, or a folder. Default: here."),
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="Draw each row of a CSV or JSONL into the folder; it can be resumed.")
    ] = None,
    receipt: Annotated[
        Path | None, typer.Option("--from", help="Repeat a picture from its receipt; flags change it.")
    ] = None,
    picture: Annotated[
        list[Path] | None, typer.Option(help="An input picture of the receipt. It may be repeated.")
    ] = None,
    task: Annotated[Path | None, typer.Option(help="A task of the API as JSON. Flags win over it.")] = None,
    name: Annotated[str | None, typer.Option(help="Pattern of names, of {stem}, {seed}, {number} and {ext}.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and the time, and make nothing.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Of a table, make only what failed in an earlier run.")
    ] = False,
    *,
    place: RenderPlace,
    flags: dict[str, Any],
) -> None:
    """Draw a picture from a prompt, or one for each row of a table."""
    from ownware.batch.command import RunOptions, open_renderer, run_batch
    from ownware.batch.item import BatchError, ItemError
    from ownware.batch.tasks.receipt_source import read_receipt_task
    from ownware.batch.tasks.shared_task import read_shared_task

    try:
        repeated: WireTask | None = None
        if receipt is not None:
            repeated, notes = read_receipt_task(receipt, picture or [], place.settings())
            print_messages(notes)
        shared = read_shared_task(task, flags, prompt, repeated)
        items, table_notes, where = _plan(shared, output, table, name)
        options = RunOptions(where, resume=table is not None, dry_run=dry_run, failed_only=retry_failed)
        renderer = open_renderer(place)
        raise typer.Exit(run_batch(items, table_notes, renderer, options))
    except (BatchError, ItemError) as error:
        fail(str(error))


def _plan(
    shared: "WireTask", output: Path | None, table: Path | None, name: str | None
) -> "tuple[tuple[Item, ...], tuple[str, ...], OutputOptions]":
    """The items, notes on the table, and where the results go. Raises `BatchError`."""
    from ownware.batch.item import BatchError, Item
    from ownware.batch.names import PATTERN_OF_SEVERAL, check_pattern, format_of_name, parse_format, stem_of_prompt
    from ownware.batch.plan import OutputOptions
    from ownware.batch.sources.collect import collect_drawings

    pattern = None if name is None else check_pattern(name)
    output = Path() if output is None else output.expanduser()
    file_format = None if output.is_dir() else format_of_name(output)
    if table is not None:
        if file_format is not None:
            raise BatchError("--output: name a folder for the results of a table")
        items, notes = collect_drawings(table, shared)
        return items, notes, OutputOptions(output, pattern)
    if not shared.get("positivePrompt"):
        raise BatchError("say what to draw: a prompt, --table, --task or --from")
    if file_format is None:
        item = Item("the picture", stem_of_prompt(str(shared["positivePrompt"])), shared)
        return (item,), (), OutputOptions(output, pattern or PATTERN_OF_SEVERAL)
    if "outputFormat" in shared and parse_format(str(shared["outputFormat"])) != file_format:
        raise BatchError(f"--output: '{output.name}' is no name of a {shared['outputFormat']}")
    several = shared.get("numberResults", 1) != 1
    literal = output.stem.replace("{", "{{").replace("}", "}}")
    pattern = pattern or f"{literal}{'-{seed}' if several else ''}{output.suffix}"
    item = Item("the picture", output.stem, {**shared, "outputFormat": file_format})
    return (item,), (), OutputOptions(output.parent, pattern, overwrite=not several)
