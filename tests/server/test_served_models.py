from pathlib import Path
from typing import Any

import pytest

from pipelines.catalog.catalog import BUILT_IN
from server.served_models import choose_catalog
from server.settings import Settings


@pytest.mark.parametrize(
    ("options", "devices", "embedded"),
    [
        ({}, ("cpu",), True),
        ({}, ("cuda:0",), False),
        ({}, ("cpu", "cuda:0"), False),
        ({"models": BUILT_IN}, ("cpu",), False),
        ({"weights": "embedded"}, ("cuda:0",), True),
        ({"weights": "embedded", "models": BUILT_IN}, ("cpu",), True),
        ({"weights": "catalog"}, ("cpu",), False),
    ],
)
def test_the_embedded_checkpoint_is_for_machines_without_a_gpu_unless_the_settings_say_so(
    options: dict[str, Any], devices: tuple[str, ...], embedded: bool, tmp_path: Path
) -> None:
    catalog = choose_catalog(Settings(data_dir=tmp_path, **options), devices)
    assert {entry.embedded for entry in catalog.entries} == {embedded}
