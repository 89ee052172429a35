"""What the loop asks of a writer, and that the real one and the fake one have it."""

import inspect

import pytest

from server.jobs.workers.images.image_writer import ImageWriter
from server.jobs.workers.writer import Writer
from tests.fakes import FakeWriter


@pytest.mark.parametrize("implementation", [ImageWriter, FakeWriter])
def test_an_implementation_has_each_method_with_the_same_parameters(implementation: type) -> None:
    methods = [name for name, _ in inspect.getmembers(Writer, inspect.isfunction) if not name.startswith("_")]
    assert {"loads", "tasks_together", "evaluate", "fits_beside"} <= set(methods)
    for name in methods:
        wanted, found = (list(inspect.signature(getattr(each, name)).parameters) for each in (Writer, implementation))
        assert found == wanted, name
