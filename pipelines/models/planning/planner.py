"""Chooses what goes where: the most exact plan that is about as fast as the card can be, and fits.

Every combination of precisions and places is computed. Pure arithmetic on cards, hosts, sizes and workloads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from pipelines.models.plan import EXACT, ComponentPlan, Precision, WeightsPlan
from pipelines.models.planning.cards import GIB, Card, Host
from pipelines.models.planning.sizes import (
    WEIGHT_BYTES,
    EncoderSizes,
    ModelSizes,
    Packed,
    TransformerSizes,
    precise_ends,
)
from pipelines.models.planning.workload import Workload

Wish = Literal["auto", "bf16", "fp8", "int8", "nf4"]

# The CUDA context, the libraries' workspaces, and what the allocator cannot use.
_CONTEXT_BYTES, _UNUSABLE_SHARE = GIB, 0.02
# LoRAs and embeddings stay on the card between requests: a share of it, within these limits.
_KEPT_SHARE, _MIN_KEPT, _MAX_KEPT = 0.05, GIB // 2, int(4.2 * GIB)
EMBEDDING_SHARE = 0.25  # of what is kept
# Of the captured graphs of blocks, where they are wanted and the card has it to spare.
_GRAPH_BYTES = GIB
# The system, the API process, and a worker with its libraries and a shard that is being read.
_HOST_RESERVE = 4 * GIB
# A block is copied while the one before runs, so two lie in buffers.
_BUFFERS = 2
# Copies take bandwidth from the computation that they hide behind.
_COPY_COST = 0.05
# Matrix products against bfloat16. FP8 gains 1.2 to 1.3 on Hopper (torchao, Unsloth). bitsandbytes' int8 quantizes and
# dequantizes activations in kernels of their own: an estimate.
_GAIN: dict[Precision, float] = {"fp32": 0.5, "bf16": 1.0, "packed": 1.0, "fp8": 1.2, "int8": 0.8, "nf4": 1.0}
# Bytes of card memory that are read and written to dequantize one weight for a forward. NF4 takes one kernel, GGUF
# about ten elementwise ones: 70 to 80 % of its time (Unsloth).
_TRAFFIC = {"nf4": 4.5, "packed": 40.0}

# From the most exact to the least. The first two give the same values.
_RANKS: tuple[tuple[Precision, ...], ...] = (("bf16", "packed"), ("fp8",), ("int8",), ("nf4",))


class PlanError(ValueError):
    """Nothing fits; the message says what is there, what it takes, and what to do."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user asks for. `exact_factor` is how much slower than the fastest precision an exact plan may be.

    `graphs` keeps room for captured graphs.
    """

    precision: Wish = "auto"
    encoder_precision: Wish = "auto"
    exact_factor: float = 1.3
    graphs: bool = False


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One combination that fits the card. `rank` and `encoder_rank` are places in the list of precisions."""

    plan: WeightsPlan
    rank: int
    encoder_rank: int
    prompt_seconds: float

    @property
    def inexactness(self) -> tuple[int, int]:
        """Grows with what is rounded. Two components that are rounded a little count as one that is rounded more."""
        return self.rank + self.encoder_rank, self.rank


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans one model on one card. Raises `PlanError` where nothing fits."""

    sizes: ModelSizes
    card: Card
    host: Host
    workload: Workload
    wishes: Wishes

    def plan(self) -> WeightsPlan:
        """The plan, with its reasons."""
        fitting = [found for found in self._candidates() if found.plan.host_bytes <= self._host_room]
        if not fitting:
            raise PlanError(self._refusal())
        best = _fastest_of_each_exactness(fitting)
        considered = self._precisions(self.wishes.precision, self.sizes.transformer.packed)
        fastest = min(self._compute_seconds(precision) for _, precision in considered)
        limit = self.wishes.exact_factor * fastest
        smallest = min(best, key=lambda found: (-found.rank, found.encoder_rank))
        chosen = next(found for found in best if _seconds(found) <= limit or found is smallest)
        return replace(chosen.plan, reasons=tuple(self._reasons(chosen, best, limit)))

    def _precisions(self, wish: Wish, packed: Packed | None) -> list[tuple[int, Precision]]:
        """The precisions to consider, each with its place in the list."""
        return [(place, precision) for place, rank in self._ranks(wish, packed) for precision in rank]

    def _ranks(self, wish: Wish, packed: Packed | None) -> Iterator[tuple[int, tuple[Precision, ...]]]:
        for place, rank in enumerate(_RANKS):
            if wish != "auto":
                if wish in rank:
                    yield place, (wish,)
                continue
            if rank == ("fp8",) and not self.card.has_fp8:
                continue
            if packed is None or packed.kind != "gguf":
                yield place, tuple(each for each in rank if each != "packed")
            elif rank[0] in ("bf16", "fp8"):  # GGUF is quantized already: it is not rounded to int8 or NF4 unasked
                yield place, rank

    def _candidates(self) -> Iterator[_Candidate]:
        choices = product(
            self._precisions(self.wishes.precision, self.sizes.transformer.packed),
            self._precisions(self.wishes.encoder_precision, self.sizes.text_encoder.packed),
            (True, False),
            (True, False),
        )
        for (rank, precision), (encoder_rank, encoder), tables, resident in choices:
            plan = self._fit(precision, encoder, tables=tables, encoder_resident=resident)
            if plan is not None:
                yield _Candidate(plan, rank, encoder_rank, plan.text_encoder.streamed_bytes / self.card.link)

    def _fit(
        self, precision: Precision, encoder: Precision, *, tables: bool, encoder_resident: bool
    ) -> WeightsPlan | None:
        """The plan with as many resident blocks as fit; None where not even the buffers do."""
        work, model = self.workload, self.sizes.transformer
        block = _block_bytes(model, precision, tables=tables)
        modulation = model.blocks * _bytes(
            model.modulation, "packed" if precision == "packed" else "bf16", model.packed
        )
        outside = int(model.rest * WEIGHT_BYTES["bf16"])
        text = _encoder_bytes(self.sizes.text_encoder, encoder)
        fixed = self._fixed_bytes + outside + self.sizes.vae_bytes + (text if encoder_resident else 0)
        fixed += self._table_bytes if tables else 0
        encoding = work.encode_bytes
        if not encoder_resident:
            encoding += _encoder_working_bytes(self.sizes.text_encoder, encoder, pictures=bool(work.references))
        other = max(encoding, work.decode_bytes)
        room = self.card.memory - fixed - max(work.denoise_bytes, other)
        resident = model.blocks
        working = max(work.denoise_bytes, other)
        if room < model.blocks * block:
            working = max(work.denoise_bytes + _BUFFERS * block, other)
            room = self.card.memory - fixed - working
            if room < 0:
                return None
            resident = min(model.blocks - 1, room // block)
        # Blocks that are streamed have no graphs. No block is streamed for the sake of graphs.
        graphs = 0 if resident < model.blocks or not self.wishes.graphs else room - resident * block
        graphs = min(_GRAPH_BYTES, graphs)
        streamed = (model.blocks - resident) * block
        buffers = _BUFFERS * block if streamed else 0
        return WeightsPlan(
            transformer=ComponentPlan(
                precision, outside + resident * block + buffers, streamed, model.blocks - resident
            ),
            text_encoder=ComponentPlan(encoder, text if encoder_resident else 0, 0 if encoder_resident else text),
            vae=ComponentPlan("bf16", self.sizes.vae_bytes),
            tables=tables,
            peak_bytes=fixed + resident * block + working + graphs,
            host_bytes=streamed + (modulation if tables else 0) + (0 if encoder_resident else text),
            adapter_bytes=int(self._kept_bytes * (1 - EMBEDDING_SHARE)),
            graph_bytes=graphs,
            seconds_per_step=self._step_seconds(precision, streamed),
        )

    @property
    def _kept_bytes(self) -> int:
        return min(_MAX_KEPT, max(_MIN_KEPT, int(self.card.memory * _KEPT_SHARE)))

    @property
    def _fixed_bytes(self) -> int:
        return _CONTEXT_BYTES + int(self.card.memory * _UNUSABLE_SHARE) + self._kept_bytes

    @property
    def _table_bytes(self) -> int:
        """The modulation of every block at every step, and at time 0 where there are references."""
        model, work = self.sizes.transformer, self.workload
        rows = work.steps * (2 if work.references else 1)
        return rows * model.blocks * 12 * model.width * 2

    @property
    def _host_room(self) -> int:
        return self.host.memory - _HOST_RESERVE

    def _compute_seconds(self, precision: Precision) -> float:
        model, work = self.sizes.transformer, self.workload
        forwards = (2 if work.guided else 1) * work.results
        traffic = _TRAFFIC.get(precision, 0) * model.blocks * model.block * forwards
        flops = self.card.flops * (_GAIN[precision] if self.card.has_bf16 else _GAIN["fp32"])
        return work.flops(model) / flops + traffic / self.card.bandwidth

    def _step_seconds(self, precision: Precision, streamed: int) -> float:
        """The copies hide behind the computation, or the other way round."""
        copy = streamed / self.card.link
        return max(self._compute_seconds(precision), copy) + _COPY_COST * copy

    def _reasons(self, chosen: _Candidate, best: Sequence[_Candidate], limit: float) -> Iterator[str]:
        plan = chosen.plan
        name, seconds = plan.transformer.precision, _seconds(chosen)
        fastest = min(best, key=_seconds)
        if self.wishes.precision != "auto":
            yield f"The transformer is in {name} as asked."
        elif chosen.plan.exact and chosen is not fastest:
            other = fastest.plan.transformer.precision
            yield (
                f"Exact {name} is kept: {seconds:.2f} s a step is at most {self.wishes.exact_factor:g} times the time "
                f"of the fastest precision, {other} with {_seconds(fastest):.2f} s."
            )
        elif plan.transformer.precision in EXACT:
            yield f"Exact {name} is the fastest precision that fits."
        else:
            yield self._why_not_exact(chosen, best, limit)
        if plan.transformer.streamed_bytes:
            gib = plan.transformer.streamed_bytes / GIB
            hidden = plan.transformer.streamed_bytes / self.card.link <= self._compute_seconds(name)
            yield (
                f"{gib:.1f} GiB of the transformer are copied from host memory in each step"
                f"{', hidden behind the computation' if hidden else ', which takes longer than the computation'}."
            )
        if self.wishes.graphs:
            yield f"{plan.graph_bytes / GIB:.1f} GiB of the card are kept for captured graphs."
        if plan.tables:
            yield "The modulation layers are evaluated once for each sigma list, and stay in host memory."
        if plan.text_encoder.streamed_bytes:
            yield f"The text encoder waits in host memory: a new prompt takes {chosen.prompt_seconds:.1f} s of copying."
        if chosen.encoder_rank and self.wishes.encoder_precision == "auto":
            yield f"The text encoder is in {plan.text_encoder.precision}, because it does not fit unrounded."

    def _why_not_exact(self, chosen: _Candidate, best: Sequence[_Candidate], limit: float) -> str:
        name, seconds = chosen.plan.transformer.precision, _seconds(chosen)
        exact = next((found for found in best if found.rank == 0 and found.inexactness < chosen.inexactness), None)
        if exact is None:
            return (
                f"{name} rounds the weights: exact bf16 does not fit into the memory of the card and of the host, "
                "or would round the text encoder more."
            )
        return (
            f"{name} rounds the weights and takes {seconds:.2f} s a step: exact bf16 would take "
            f"{_seconds(exact):.2f} s, more than {limit:.2f} s. --precision bf16 keeps it exact."
        )

    def _refusal(self) -> str:
        """Say what the smallest plan would take."""
        what = self.workload
        on_card = [found.plan for found in self._candidates()]
        if not on_card:
            return (
                f"{self.card.memory / GIB:.1f} GiB of GPU memory are too few for {what}: at least "
                f"{self._least_memory() / GIB:.1f} GiB are needed. Use a larger card or a smaller size, "
                "or --weights embedded for the small demonstration model."
            )
        least = min(plan.host_bytes for plan in on_card) + _HOST_RESERVE
        wished = (self.wishes.precision, self.wishes.encoder_precision) != ("auto", "auto")
        return (
            f"{self.host.memory / GIB:.1f} GiB of host memory are too few for {what} on {self.card.name}: at least "
            f"{least / GIB:.1f} GiB are needed. Add host memory, or use a card with more memory"
            f"{', or leave the precision to auto' if wished else ''}."
        )

    def _least_memory(self) -> int:
        """The memory of the smallest card that fits, to an eighth of a GiB."""
        small, large = self.card.memory, 1024 * GIB
        while large - small > GIB // 8:
            middle = (small + large) // 2
            if any(replace(self, card=replace(self.card, memory=middle))._candidates()):
                large = middle
            else:
                small = middle
        return large


def _fastest_of_each_exactness(found: Sequence[_Candidate]) -> list[_Candidate]:
    """The most exact first. One that is no faster than a more exact one is left out."""
    fastest: dict[tuple[int, int], _Candidate] = {}
    for each in sorted(found, key=lambda each: (_seconds(each), each.prompt_seconds)):
        fastest.setdefault(each.inexactness, each)
    best: list[_Candidate] = []
    for key in sorted(fastest):
        if not best or _seconds(fastest[key]) < _seconds(best[-1]):
            best.append(fastest[key])
    return best


def _seconds(candidate: _Candidate) -> float:
    return candidate.plan.seconds_per_step or 0.0


def _bytes(parameters: int, precision: Precision, packed: Packed | None) -> int:
    if precision == "packed" and packed is not None:
        return int(parameters * packed.weight_bytes)
    return int(parameters * WEIGHT_BYTES[precision])


def _block_bytes(model: TransformerSizes, precision: Precision, *, tables: bool) -> int:
    return _bytes(model.block + (0 if tables else model.modulation), precision, model.packed)


def _encoder_bytes(model: EncoderSizes, precision: Precision) -> int:
    """Quantized encoders keep their embeddings and their vision tower in bfloat16."""
    precise = 2 * precise_ends(precision, model.layers)
    layers = _bytes((model.layers - precise) * model.layer, precision, model.packed)
    return layers + _bytes(precise * model.layer + model.embeddings + model.vision, "bf16", None)


def _encoder_working_bytes(model: EncoderSizes, precision: Precision, *, pictures: bool) -> int:
    """What an encoder that waits in host memory takes of the card while it encodes: two layers and the rest."""
    rest = model.embeddings + (model.vision if pictures else 0)
    largest: Precision = "bf16" if precise_ends(precision, model.layers) else precision
    return _BUFFERS * _bytes(model.layer, largest, model.packed) + _bytes(rest, "bf16", None)
