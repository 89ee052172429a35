import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownware.options import OptionError, default_side, parse_integers, parse_numbers, parse_size
from pipelines.catalog.models_file import load_catalog


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, unique=True))
def test_a_list_of_integers_is_read_as_it_is_written(numbers: list[int]) -> None:
    assert parse_integers("--seeds", ",".join(map(str, numbers)), 0, 2**63 - 1) == tuple(numbers)


def test_spaces_and_repetitions_do_not_count() -> None:
    assert parse_integers("--steps", "20, 28,20", 1, 50) == (20, 28)
    assert parse_numbers("--threshold", "0.2, 3,.2", 0, math.inf) == (0.2, 3.0)


@pytest.mark.parametrize(("text", "size"), [("1024", (1024, 1024)), ("1328x800", (1328, 800)), ("128X256", (128, 256))])
def test_sizes(text: str, size: tuple[int, int]) -> None:
    assert parse_size("--size", text) == size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--size: '' is no size in pixels, such as 1024 or 1328x800"),
        ("1x2x3", "--size: '1x2x3' is no size in pixels"),
        ("256,256", "--size: '256,256' is no size in pixels"),
        ("200", "--size: 200 is no multiple of 16"),
        ("256x4096", "--size: 4096 is not from 128 to 2048"),
    ],
)
def test_sizes_that_cannot_be_used(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        parse_size("--size", text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("20,x", "--steps: '20,x' is no list of whole numbers, such as 20,28"),
        ("20,", "--steps: '20,' is no list of whole numbers"),
        ("2.5", "--steps: '2.5' is no list of whole numbers"),
        ("20,51", "--steps: 51 is not from 1 to 50"),
    ],
)
def test_integers_that_cannot_be_used(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        parse_integers("--steps", text, 1, 50)


@pytest.mark.parametrize("text", ["high", "-1", "nan"])
def test_numbers_that_cannot_be_used(text: str) -> None:
    with pytest.raises(OptionError, match="--threshold: "):
        parse_numbers("--threshold", text, 0, math.inf)


def test_the_embedded_checkpoint_has_a_smaller_default() -> None:
    catalog = load_catalog()
    sides = [default_side(entry) for entry in (catalog.entries[0], catalog.with_embedded_weights().entries[0])]
    assert sides == [1024, 256]
