from dataclasses import FrozenInstanceError
from typing import get_args

import pytest

from pipelines.catalog.catalog import Catalog
from pipelines.catalog.profiles import Profiles
from server.settings import Settings
from server.tasks.options import TaskOptions, ThresholdDirection


def test_defaults_are_those_of_the_settings() -> None:
    options, settings = TaskOptions(Profiles(Catalog(()))), Settings()
    assert (options.result_ttl, options.face_refinement) == (settings.result_ttl, settings.face_refinement)
    assert options.ignore_unknown == (settings.unknown_parameters == "ignore")
    assert options.threshold_direction == settings.threshold_direction
    assert get_args(ThresholdDirection) == get_args(Settings.model_fields["threshold_direction"].annotation)


def test_they_do_not_change_while_the_server_runs() -> None:
    with pytest.raises(FrozenInstanceError):
        TaskOptions(Profiles(Catalog(()))).result_ttl = 1  # type: ignore[misc]
