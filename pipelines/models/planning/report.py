"""A plan in words, for a terminal and for the log, and as JSON.

Knows plans; knows no terminal.
"""

from collections.abc import Iterator
from typing import Any

from pipelines.models.plan import ComponentPlan, WeightsPlan
from pipelines.models.planning.cards import GIB, Card, Host
from pipelines.models.planning.workload import Workload


def plan_lines(plan: WeightsPlan, card: Card, host: Host, workload: Workload) -> Iterator[str]:
    """The plan, one line for each component and each reason."""
    yield f"on {_card(card)} with {_gib(host.memory)} of host memory, for {workload}:"
    transformer, encoder, vae = plan.transformer, plan.text_encoder, plan.vae
    streamed = f", {_gib(transformer.streamed_bytes)} streamed a step" if transformer.streamed_bytes else ""
    yield f"  transformer   {transformer.precision:<7}{_gib(transformer.resident_bytes)} resident{streamed}"
    waiting = f"waits in host memory, {_gib(encoder.streamed_bytes)}"
    place = waiting if encoder.streamed_bytes else f"{_gib(encoder.resident_bytes)} resident"
    yield f"  text encoder  {encoder.precision:<7}{place}"
    yield f"  VAE           {vae.precision:<7}{_gib(vae.resident_bytes)} resident, images decoded whole"
    yield f"  modulation    {'tables for each sigma list' if plan.tables else 'evaluated in each step'}"
    yield f"  peak          {_gib(plan.peak_bytes)} of the card, {_gib(plan.host_bytes)} of host memory"
    if plan.seconds_per_step is not None:
        yield f"  speed         {plan.seconds_per_step:.2f} s a step (computed, not measured)"
    yield f"  exact         {'yes: the values of the files are used as they are' if plan.exact else 'no'}"
    yield from (f"  - {reason}" for reason in plan.reasons)


def plan_json(plan: WeightsPlan, card: Card, host: Host, workload: Workload) -> dict[str, Any]:
    """The plan as JSON. Sizes are in bytes."""
    return {
        "card": {"name": card.name, "generation": card.generation, "memoryBytes": card.memory},
        "hostMemoryBytes": host.memory,
        "workload": {
            "width": workload.width,
            "height": workload.height,
            "references": workload.references,
            "controlNets": workload.controls,
            "numberResults": workload.results,
        },
        "transformer": {**_component(plan.transformer), "streamedBlocks": plan.transformer.streamed_blocks},
        "textEncoder": {**_component(plan.text_encoder), "place": encoder_place(plan)},
        "vae": {**_component(plan.vae), "tiled": False, "decodeBytes": workload.decode_bytes},
        "modulationTables": plan.tables,
        "peakBytes": plan.peak_bytes,
        "hostBytes": plan.host_bytes,
        "secondsPerStep": None if plan.seconds_per_step is None else round(plan.seconds_per_step, 3),
        "measured": False,
        "exact": plan.exact,
        "reasons": list(plan.reasons),
    }


def encoder_place(plan: WeightsPlan) -> str:
    """Where the text encoder waits for a new prompt: on the card or in host memory."""
    return "host" if plan.text_encoder.streamed_bytes else "card"


def _component(part: ComponentPlan) -> dict[str, Any]:
    return {
        "precision": part.precision,
        "residentBytes": part.resident_bytes,
        "streamedBytes": part.streamed_bytes,
    }


def _card(card: Card) -> str:
    return f"{card.name} ({_gib(card.memory)})" if card.memory else card.name


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"
