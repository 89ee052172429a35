from collections.abc import Iterator

import diffusers.utils.logging
import pytest
import transformers.utils.logging

from pipelines.models.loading.progress_bars import hide_progress_bars


@pytest.fixture
def shown() -> Iterator[None]:
    """Bars before the test and after it."""
    for each in (diffusers, transformers):
        each.utils.logging.enable_progress_bar()
    yield
    for each in (diffusers, transformers):
        each.utils.logging.enable_progress_bar()


@pytest.mark.usefixtures("shown")
def test_no_library_shows_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    hide_progress_bars()
    for each in (diffusers, transformers):
        assert list(each.utils.logging.tqdm([1, 2])) == [1, 2]
    assert capsys.readouterr().err == ""
