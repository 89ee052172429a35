import re
from dataclasses import replace

import pytest

from ownware.local_models import LocalModels, model_cache
from ownware.options import OptionError
from server.settings import Settings


def test_a_cpu_renders_with_the_embedded_checkpoint() -> None:
    models = LocalModels.find(Settings(devices=("cpu",)))
    assert models.device == "cpu"
    assert models.entry("--model", "RUNWARE:108@1").embedded


def test_a_model_that_is_not_served_is_named_with_the_served_ones() -> None:
    models = LocalModels.find(Settings(devices=("cpu",)))
    message = "--model: 'x' is not in the catalogue; there are runware:108@1, runware:108@20, runware:108@22, "
    with pytest.raises(OptionError, match=re.escape(message)):
        models.entry("--model", "x")


def test_a_device_that_is_not_there_is_an_error_of_its_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(OptionError, match="--devices: 'cuda:99' "):
        LocalModels.find(Settings(devices=("cuda:99",)))


def test_a_model_is_loaded_as_the_settings_say() -> None:
    # Flags reach the settings only: no variable is set here.
    settings = Settings(devices=("cpu",), precision="fp8", streamed_blocks=1)
    models = LocalModels.find(settings)
    model = models.load(models.catalog.entries[0])
    assert model.precision == "float32, transformer fp8"
    assert model.checkpoint.placed is not None
    assert model.checkpoint.placed.report.streamed_blocks == 1
    assert model.prompts is None


def test_loaded_models_stay_between_pictures() -> None:
    options = Settings(devices=("cpu",)).model_options
    assert model_cache("cpu", options) is model_cache("cpu", replace(options))
    assert model_cache("cpu", options) is not model_cache("cpu", replace(options, relaxed=True))
