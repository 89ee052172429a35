import pickle
from pathlib import Path

from pipelines.models.options import DEFAULT_OPTIONS, ModelOptions, PromptFolder


def test_options_travel_to_a_process() -> None:
    options = ModelOptions(PromptFolder(Path("/prompts"), 10))
    assert pickle.loads(pickle.dumps(options)) == options


def test_by_default_no_prompt_is_kept() -> None:
    assert DEFAULT_OPTIONS.prompts is None
