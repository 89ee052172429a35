"""The planner over a table of cards, and properties that hold for every card."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.models.plan import EXACT, Precision, WeightsPlan
from pipelines.models.planning.cards import COMMON_CARDS, GIB, Card, Host, find_card, typical_card
from pipelines.models.planning.planner import PlanError, Planner, Wish, Wishes
from pipelines.models.planning.sizes import QWEN_IMAGE, ModelSizes, Packed
from pipelines.models.planning.workload import Workload

Q4 = Packed("gguf", 0.64)
FP8_FILE = Packed("fp8", 1.0)
# Exactness, from the most exact.
ORDER: tuple[Precision, ...] = ("bf16", "packed", "fp8", "int8", "nf4")


def common(name: str) -> Card:
    card = find_card(name)
    assert card is not None
    return card


def plan(
    card: Card | str,
    host: int = 64,
    work: Workload | None = None,
    wishes: Wishes | None = None,
    sizes: ModelSizes = QWEN_IMAGE,
) -> WeightsPlan:
    card = common(card) if isinstance(card, str) else card
    return Planner(sizes, card, Host(host * GIB), work or Workload(), wishes or Wishes()).plan()


def packed_transformer(packed: Packed) -> ModelSizes:
    return replace(QWEN_IMAGE, transformer=replace(QWEN_IMAGE.transformer, packed=packed))


@pytest.mark.parametrize(
    ("card", "resident", "streamed", "encoder_waits"),
    [
        # The table of the arithmetic by hand: GiB of the transformer on the card, and copied in each step.
        ("H100", 25.4, 0, False),
        ("L40S", 25.4, 0, False),
        ("RTX 5090", 25.4, 0, True),
        ("RTX 4090", 19, 7, True),
        ("RTX 4080", 11, 15, True),
        ("RTX 4070", 8, 18, True),
        ("RTX 4060", 4, 22, True),
    ],
)
def test_exact_bf16_on_common_cards(card: str, resident: float, streamed: float, encoder_waits: bool) -> None:
    made = plan(card)
    assert made.transformer.precision == "bf16"
    assert made.exact
    assert made.tables
    assert made.transformer.resident_bytes / GIB == pytest.approx(resident, abs=0.6)
    assert made.transformer.streamed_bytes / GIB == pytest.approx(streamed, abs=0.8)
    assert bool(made.text_encoder.streamed_bytes) == encoder_waits
    block = 2 * QWEN_IMAGE.transformer.block
    assert made.transformer.streamed_blocks * block == made.transformer.streamed_bytes


@pytest.mark.parametrize(("card", "most"), [("RTX 4090", 1.05), ("RTX 4080", 1.25), ("RTX 4070", 1.6)])
def test_streaming_exact_bf16_costs_little(card: str, most: float) -> None:
    resident = plan(replace(common(card), memory=80 * GIB)).seconds_per_step
    streamed = plan(card).seconds_per_step
    assert resident is not None
    assert streamed is not None
    assert 1 < streamed / resident <= most


@pytest.mark.parametrize(
    ("card", "host", "precision"),
    [
        ("RTX 4090", 16, "fp8"),
        ("RTX 3090", 16, "nf4"),  # Ampere multiplies no FP8
        ("RTX 4080", 16, "nf4"),
        ("RTX 4080", 32, "fp8"),
        ("RTX 3060", 32, "int8"),
    ],
)
def test_a_host_without_room_for_exact_weights_rounds_them_and_says_so(
    card: str, host: int, precision: Precision
) -> None:
    made = plan(card, host)
    assert made.transformer.precision == precision
    assert "rounds the weights: exact bf16 does not fit" in made.reasons[0]


def test_a_rounded_transformer_goes_before_an_encoder_that_is_rounded_more() -> None:
    made = plan("RTX 4090", 32)
    assert (made.transformer.precision, made.text_encoder.precision) == ("fp8", "bf16")
    assert plan("RTX 4090", 32, wishes=Wishes("bf16")).text_encoder.precision == "nf4"


def test_a_slow_link_makes_exactness_cost_too_much() -> None:
    card = replace(common("RTX 4080"), link=6e9)
    made = plan(card)
    assert made.transformer.precision == "fp8"
    assert "--precision bf16 keeps it exact" in made.reasons[0]
    patient = plan(card, wishes=Wishes(exact_factor=3))
    assert patient.exact
    assert patient.reasons[0].startswith("Exact bf16 is kept")


@pytest.mark.parametrize("precision", ["bf16", "fp8", "int8", "nf4"])
def test_a_wish_is_carried_out(precision: Wish) -> None:
    made = plan("RTX 4090", wishes=Wishes(precision, precision))
    assert made.transformer.precision == made.text_encoder.precision == precision
    assert made.reasons[0] == f"The transformer is in {precision} as asked."


@pytest.mark.parametrize("card", COMMON_CARDS, ids=lambda card: card.name)
def test_captured_graphs_get_room_that_is_spare_and_change_nothing_else(card: Card) -> None:
    without, wanted = plan(card), plan(card, wishes=Wishes(graphs=True))
    assert without.graph_bytes == 0
    assert wanted.graph_bytes == (
        0 if wanted.transformer.streamed_blocks else min(GIB, card.memory - without.peak_bytes)
    )
    assert wanted.peak_bytes == without.peak_bytes + wanted.graph_bytes <= card.memory
    assert f"{wanted.graph_bytes / GIB:.1f} GiB of the card are kept for captured graphs." in wanted.reasons
    assert replace(wanted, graph_bytes=0, peak_bytes=0, reasons=()) == replace(without, peak_bytes=0, reasons=())


def test_a_card_of_80_gb_keeps_a_gib_for_captured_graphs() -> None:
    assert plan("H100", wishes=Wishes(graphs=True)).graph_bytes == GIB


def test_a_q4_file_is_dequantized_into_bf16_where_that_is_faster() -> None:
    assert plan("RTX 3090", 64, sizes=packed_transformer(Q4)).transformer.precision == "bf16"
    short = plan("RTX 3090", 32, sizes=packed_transformer(Q4))
    assert short.transformer.precision == "packed"
    assert short.exact


@pytest.mark.parametrize("host", [32, 64, 128])
@pytest.mark.parametrize("card", [card for card in COMMON_CARDS if card.memory >= 12 * GIB], ids=lambda card: card.name)
def test_a_gguf_is_not_rounded_into_int8_or_nf4_unasked(card: Card, host: int) -> None:
    made = plan(card, host, sizes=packed_transformer(Q4))
    assert made.transformer.precision in (*EXACT, "fp8")


def test_an_fp8_file_stays_fp8_where_the_host_is_too_small_for_bf16() -> None:
    sizes = packed_transformer(FP8_FILE)
    assert plan("RTX 4090", 64, sizes=sizes).transformer.precision == "bf16"
    short = plan("RTX 4080", 32, sizes=sizes)
    assert short.transformer.precision == "fp8"
    assert "packed" not in {plan(card, sizes=sizes).transformer.precision for card in COMMON_CARDS}


@pytest.mark.parametrize("wish", ["auto", "nf4"])
def test_too_small_a_card_is_refused_with_what_it_takes(wish: Wish) -> None:
    with pytest.raises(PlanError, match=r"4\.0 GiB of GPU memory are too few for 1024×1024: at least [4-6]\.\d GiB"):
        plan(typical_card(4 * GIB), wishes=Wishes(wish))


def test_too_small_a_host_is_refused_with_what_it_takes() -> None:
    with pytest.raises(PlanError, match=r"8\.0 GiB of host memory are too few .* at least \d+\.\d GiB are needed"):
        plan("RTX 4060", 8)
    with pytest.raises(PlanError, match="or leave the precision to auto"):
        plan("RTX 4080", 16, wishes=Wishes("bf16", "bf16"))


@pytest.mark.parametrize("work", [Workload(2048, 2048), Workload(references=3), Workload(controls=2)], ids=str)
def test_too_large_a_request_is_refused(work: Workload) -> None:
    with pytest.raises(PlanError, match="of GPU memory are too few"):
        plan("RTX 4060", work=work)


def test_the_least_memory_that_is_told_is_enough() -> None:
    with pytest.raises(PlanError) as caught:
        plan(typical_card(4 * GIB))
    least = float(str(caught.value).split("at least ")[1].split(" ")[0])
    assert plan(typical_card(int((least + 0.1) * GIB)))


CARDS = st.builds(
    lambda card, gib: replace(card, memory=int(gib * GIB)),
    st.sampled_from(COMMON_CARDS),
    st.floats(2, 100),
)
HOSTS = st.integers(16, 128)
WORK = st.builds(
    Workload,
    width=st.integers(8, 128).map(lambda n: 16 * n),
    height=st.integers(8, 128).map(lambda n: 16 * n),
    references=st.integers(0, 3),
    controls=st.integers(0, 1),
    results=st.integers(1, 4),
    guided=st.booleans(),
)
SIZES = st.sampled_from([QWEN_IMAGE, packed_transformer(Q4), packed_transformer(FP8_FILE)])


def found(card: Card, host: int, work: Workload, sizes: ModelSizes) -> WeightsPlan | None:
    try:
        return plan(card, host, work, sizes=sizes)
    except PlanError:
        return None


def inexactness(made: WeightsPlan) -> tuple[int, int]:
    """Grows with what is rounded: bf16 and packed have the same values."""
    places = [
        0 if part.precision in EXACT else ORDER.index(part.precision) - 1
        for part in (made.transformer, made.text_encoder)
    ]
    return sum(places), places[0]


@given(CARDS, HOSTS, WORK, SIZES)
def test_a_plan_fits_the_card_and_the_host(card: Card, host: int, work: Workload, sizes: ModelSizes) -> None:
    made = found(card, host, work, sizes)
    if made is not None:
        assert made.peak_bytes <= card.memory
        assert made.host_bytes < host * GIB
        assert made.transformer.resident_bytes + made.text_encoder.resident_bytes < made.peak_bytes
        assert made.reasons


@given(CARDS, HOSTS, WORK, SIZES, st.floats(0, 40), st.integers(0, 40))
def test_more_memory_gives_a_less_exact_plan_only_where_it_is_faster_and_never_a_slower_one(
    card: Card, host: int, work: Workload, sizes: ModelSizes, more: float, more_host: int
) -> None:
    small = found(card, host, work, sizes)
    large = found(replace(card, memory=card.memory + int(more * GIB)), host + more_host, work, sizes)
    if small is not None:
        assert large is not None
        assert small.seconds_per_step is not None
        assert large.seconds_per_step is not None
        if inexactness(large) > inexactness(small):
            assert large.seconds_per_step < small.seconds_per_step
        elif inexactness(large) == inexactness(small):
            assert large.seconds_per_step <= small.seconds_per_step + 1e-9


@given(CARDS, HOSTS, WORK)
def test_no_plan_rounds_in_silence(card: Card, host: int, work: Workload) -> None:
    made = found(card, host, work, QWEN_IMAGE)
    if made is None or made.exact:
        return
    told = " ".join(made.reasons)
    assert ("rounds the weights" in told) == (made.transformer.precision not in EXACT)
    assert ("The text encoder is in" in told) == (made.text_encoder.precision not in EXACT)
