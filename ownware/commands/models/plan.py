"""`ownware models plan`: what goes where on a card, without the card and without the weights."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ownware.console import fail
from ownware.server_options import read_settings

if TYPE_CHECKING:
    from pipelines.models.planning.cards import Card
    from server.settings import Settings


def plan(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="AIR identifier or slug.")],
    card: Annotated[
        str | None, typer.Option(help="A card such as 'RTX 4090'; default: the one of this machine.")
    ] = None,
    host_memory: Annotated[
        float | None, typer.Option(help="Host memory in GiB; default: what is free here.", min=1)
    ] = None,
    size: Annotated[str | None, typer.Option(help="Pixels, such as 1328x800; default: the model's.")] = None,
    references: Annotated[
        int | None, typer.Option(help="Reference images; default: one if the model edits.", min=0, max=3)
    ] = None,
    controls: Annotated[int, typer.Option(help="ControlNets.", min=0, max=4)] = 0,
    results: Annotated[int, typer.Option(help="Images that advance together.", min=1, max=20)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what goes where on a card, and how fast it would be.

    Takes the options of `serve` too: --vram, --precision, --encoder-precision, --exact-factor and --models.
    """
    from ownware.options import OptionError, parse_size
    from pipelines.catalog.catalog import BUILT_IN
    from pipelines.catalog.models_file import CatalogError, load_catalog
    from pipelines.models.planning.cards import GIB, Host
    from pipelines.models.planning.entries import plan_entry, usual_workload
    from pipelines.models.planning.host_memory import free_host_memory
    from pipelines.models.planning.planner import PlanError
    from pipelines.models.planning.report import plan_json, plan_lines

    settings = read_settings(context.args)
    try:
        catalog = load_catalog(settings.models or BUILT_IN)
        entry = catalog.find(model)
        if entry is None:
            served = ", ".join(row.air for row in catalog.entries)
            fail(f"'{model}' is not in the catalogue; there are {served}")
        found = _card(card, settings)
        host = Host(int(host_memory * GIB) if host_memory else free_host_memory())
        workload = replace(usual_workload(entry, settings.plan_options), controls=controls, results=results)
        if size is not None:
            width, height = parse_size("--size", size)
            workload = replace(workload, width=width, height=height)
        if references is not None:
            workload = replace(workload, references=references)
        made = plan_entry(entry, found, host, settings.plan_options, workload)
    except (CatalogError, OptionError, PlanError) as error:
        fail(str(error))
    if as_json:
        body = {"model": entry.air, "weights": entry.weights, **plan_json(made, found, host, workload)}
        typer.echo(json.dumps(body, indent=2, ensure_ascii=False))
        return
    first, *others = plan_lines(made, found, host, workload)
    typer.echo("\n".join((f"{entry.name} ({entry.air}) {first}", *others)))


def _card(name: str | None, settings: "Settings") -> "Card":
    """The card that is named, else that of this machine, else the usual one with the memory of --vram."""
    from pipelines.models.planning.cards import COMMON_CARDS, CPU, find_card, typical_card
    from server.machine.devices import find_cards

    if name is not None:
        card = find_card(name)
        if card is None:
            fail(f"--card: '{name}' is no known card; there are {', '.join(card.name for card in COMMON_CARDS)}")
        return settings.plan_options.limit(card)
    if settings.devices == ("cpu",):
        return CPU
    if here := find_cards(whole=True):
        return settings.plan_options.limit(min(here, key=lambda card: card.memory))
    vram = settings.plan_options.vram
    if vram is None:
        fail("there is no GPU here: name one with --card 'RTX 4090', or its memory with --vram 24")
    return typical_card(vram)
