import pickle
import re

import pytest

from pipelines import errors
from pipelines.errors import LoraError, PictureError, RenderError, first_line, part_at_fault


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"[├└]── (\w+) +(\w+)", errors.__doc__ or "")
    assert drawn == [(error.__name__, error.fault) for error in RenderError.__subclasses__()]


class TestPath:
    def test_it_is_none_where_no_part_is_at_fault(self) -> None:
        assert LoraError("why").path is None

    def test_it_is_that_of_the_block(self) -> None:
        with pytest.raises(PictureError, match="gone") as caught, part_at_fault("seed_image"):
            raise PictureError("gone")
        assert caught.value.path == "seed_image"

    def test_the_innermost_one_stays(self) -> None:
        with pytest.raises(LoraError) as caught, part_at_fault("outer"):
            raise LoraError("why", "loras[1]")
        assert caught.value.path == "loras[1]"

    def test_other_errors_pass(self) -> None:
        with pytest.raises(KeyError), part_at_fault("prompt"):
            raise KeyError

    def test_it_survives_the_way_between_processes(self) -> None:
        error = pickle.loads(pickle.dumps(LoraError("why", "loras[1]")))
        assert (type(error), str(error), error.path) == (LoraError, "why", "loras[1]")


@pytest.mark.parametrize(
    ("error", "line"),
    [(ValueError("a\nb"), "a"), (OSError(" a "), "a"), (KeyError(), "KeyError"), (ValueError(" "), "ValueError")],
)
def test_a_message_is_cut_to_its_first_line(error: Exception, line: str) -> None:
    assert first_line(error) == line
