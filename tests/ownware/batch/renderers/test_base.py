"""Both places that render offer what a command needs."""

import inspect

import pytest

from ownware.batch.renderers.base import Renderer
from ownware.batch.renderers.local import LocalRenderer
from ownware.batch.renderers.remote import RemoteRenderer
from tests.ownware.batch.fakes import FakeRenderer


@pytest.mark.parametrize("kind", [LocalRenderer, RemoteRenderer, FakeRenderer])
def test_a_renderer_has_all_that_a_command_calls(kind: type) -> None:
    for name, wanted in inspect.getmembers(Renderer, inspect.isfunction):
        if not name.startswith("_"):
            assert (
                inspect.signature(getattr(kind, name)).parameters.keys() == inspect.signature(wanted).parameters.keys()
            )
