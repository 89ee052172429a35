"""`ownware edit`: edit files, folders and tables of pictures by an instruction, without a server or through one."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ownware.batch.render_place import RenderPlace, with_render_place
from ownware.batch.tasks.flag_options import with_task_flags
from ownware.console import fail


@with_task_flags
@with_render_place
def edit(
    sources: Annotated[
        list[str], typer.Argument(help="Pictures, folders, patterns such as 'in/*.jpg', or tables: CSV, JSONL.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the results; it is made if need be.")],
    prompt: Annotated[str | None, typer.Option("--prompt", "--positive-prompt", "-p", help="The instruction.")] = None,
    pattern: Annotated[
        list[str] | None, typer.Option(help="Of a folder, take names like this only: '*.jpg'. It may be repeated.")
    ] = None,
    task: Annotated[Path | None, typer.Option(help="A task of the API as JSON. Flags win over it.")] = None,
    name: Annotated[str | None, typer.Option(help="Pattern of names, of {stem}, {seed}, {number} and {ext}.")] = None,
    strip: Annotated[bool, typer.Option("--strip", help="Keep neither capture data nor color profile.")] = False,
    compare: Annotated[bool, typer.Option("--compare", help="Write a page that compares before and after.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and the time, and make nothing.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Make only what failed in an earlier run.")
    ] = False,
    *,
    place: RenderPlace,
    flags: dict[str, Any],
) -> None:
    """Edit pictures by an instruction; the same command again makes what is missing or has failed."""
    from ownware.batch.command import RunOptions, open_renderer, run_batch
    from ownware.batch.item import BatchError, ItemError
    from ownware.batch.names import check_pattern
    from ownware.batch.plan import OutputOptions
    from ownware.batch.sources.collect import collect_edits
    from ownware.batch.sources.folders import check_output_folder
    from ownware.batch.tasks.shared_task import read_shared_task

    try:
        output = output.expanduser()
        check_output_folder(sources, output)
        shared = read_shared_task(task, flags, prompt)
        items, notes = collect_edits(sources, pattern or (), shared, output)
        options = RunOptions(
            OutputOptions(output, None if name is None else check_pattern(name), strip),
            dry_run=dry_run,
            failed_only=retry_failed,
            compare=compare,
        )
        renderer = open_renderer(place)
        raise typer.Exit(run_batch(items, notes, renderer, options))
    except (BatchError, ItemError) as error:
        fail(str(error))
