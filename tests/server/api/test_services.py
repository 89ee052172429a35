from dataclasses import FrozenInstanceError, fields
from typing import Any, cast, get_type_hints

import pytest

from server.api.services import Services


def test_they_belong_to_no_dialect() -> None:
    homes = {kind.__module__ for kind in get_type_hints(Services).values() if isinstance(kind, type)}
    assert not [home for home in homes if home.startswith("server.api.runware")]


def test_they_are_put_together_once() -> None:
    parts: dict[str, Any] = dict.fromkeys((field.name for field in fields(Services)), None)
    services = Services(**parts)
    with pytest.raises(FrozenInstanceError):
        cast("Any", services).max_body = 1
