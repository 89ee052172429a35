import pytest

from pipelines.models.planning.cards import COMMON_CARDS, CPU, GIB, find_card, make_card, typical_card


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4060 Ti", "RTX 4060 Ti"),
        ("NVIDIA GeForce RTX 4060", "RTX 4060"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA L4", "L4"),
        ("rtx4080", "RTX 4080"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
    ],
)
def test_a_card_is_found_by_the_name_that_its_driver_tells(name: str, expected: str) -> None:
    card = find_card(name)
    assert card is not None
    assert card.name == expected


def test_an_unknown_name_is_no_common_card() -> None:
    assert find_card("Voodoo 2") is None


@pytest.mark.parametrize(
    ("gib", "expected"),
    [
        (80, "H100"),
        (48, "L40S"),
        (32, "RTX 5090"),
        (24, "RTX 4090"),
        (16, "RTX 4080"),
        (12, "RTX 4070"),
        (8, "RTX 4060"),
    ],
)
def test_a_bare_amount_of_memory_stands_for_the_usual_card(gib: int, expected: str) -> None:
    assert typical_card(gib * GIB) == find_card(expected)


@pytest.mark.parametrize(("gib", "expected"), [(4, "RTX 4060"), (10, "RTX 4070"), (20, "RTX 4090"), (200, "H100")])
def test_an_amount_that_no_usual_card_has_keeps_its_size(gib: int, expected: str) -> None:
    card = typical_card(gib * GIB)
    assert card.name == expected
    assert card.memory == gib * GIB


@pytest.mark.parametrize(
    ("capability", "generation", "fp8", "bf16"),
    [
        ((7, 5), "older", False, False),
        ((8, 6), "ampere", False, True),
        ((8, 9), "ada", True, True),
        ((9, 0), "hopper", True, True),
        ((12, 0), "blackwell", True, True),
        (None, "older", False, False),
    ],
)
def test_an_unknown_card_counts_as_the_slowest_of_its_generation(
    capability: tuple[int, int] | None, generation: str, fp8: bool, bf16: bool
) -> None:
    card = make_card("NVIDIA Graphics Device", 20 * GIB, capability)
    assert (card.name, card.memory, card.generation) == ("NVIDIA Graphics Device", 20 * GIB, generation)
    assert (card.has_fp8, card.has_bf16) == (fp8, bf16)
    alike = [common.flops for common in COMMON_CARDS if common.generation == generation]
    assert card.flops == min(alike, default=card.flops)


def test_a_known_card_keeps_the_memory_that_its_driver_tells() -> None:
    card = make_card("NVIDIA L40S", 45 * GIB, (8, 9))
    common = find_card("L40S")
    assert common is not None
    assert (card.name, card.memory, card.flops) == ("NVIDIA L40S", 45 * GIB, common.flops)


def test_a_cpu_has_no_memory_of_its_own() -> None:
    assert (CPU.memory, CPU.flops, CPU.link) == (0, 0, 0)
