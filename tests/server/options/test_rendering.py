import pytest
from pydantic import ValidationError
from pydantic_settings import CliApp

from pipelines.models.planning.cards import GIB
from pipelines.models.planning.entries import PlanOptions
from pipelines.models.planning.planner import Wishes
from server.options.rendering import expand_ranges
from server.settings import Settings


@pytest.mark.parametrize(
    "flag",
    [
        "--devices=,",
        "--attention=flash3",
        "--warm-words=0",
        "--warm-words=16-x",
        "--warm-words=16-1025",
    ],
)
def test_wrong_values(flag: str) -> None:
    with pytest.raises(ValidationError):
        CliApp.run(Settings, cli_args=[flag])


def test_lengths_are_numbers_and_ranges() -> None:
    assert Settings(warm_words="16-18, 6").warm_words == (6, 16, 17, 18)  # pyright: ignore[reportArgumentType]
    assert Settings(warm_words="").warm_words == ()  # pyright: ignore[reportArgumentType]
    assert Settings().warm_words == expand_ranges("6,16-64")


def test_the_options_of_the_plan() -> None:
    assert Settings().plan_options == PlanOptions(None, wishes=Wishes("auto", "auto", 1.3))
    options = Settings(vram=12.5, precision="fp8", encoder_precision="nf4", exact_factor=2).plan_options
    assert options == PlanOptions(int(12.5 * GIB), wishes=Wishes("fp8", "nf4", 2))
    larger = Settings(plan_size="2048x1024", plan_references=2).plan_options
    assert (larger.size, larger.references) == ((2048, 1024), 2)


@pytest.mark.parametrize("size", ["1024", "x", "1000x1024", "4096x64", "1024x1024x3"])
def test_a_size_that_no_image_can_have(size: str) -> None:
    with pytest.raises(ValidationError, match="must be a size such as 1328x800, with sides that are multiples of 16"):
        Settings(plan_size=size)
