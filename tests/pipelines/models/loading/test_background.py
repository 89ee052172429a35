import contextvars
import threading

import pytest

from pipelines.models.checkpoint import Checkpoint
from pipelines.models.loading.background import BackgroundCompilation


def test_it_ends_with_the_checkpoint_and_the_caller_goes_on_meanwhile(checkpoint: Checkpoint) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def compile_it() -> Checkpoint:
        begun.set()
        assert go_on.wait(10)
        return checkpoint

    compilation = BackgroundCompilation(compile_it)
    assert begun.wait(10)
    assert not compilation.ended
    go_on.set()
    assert compilation.result() is checkpoint
    assert compilation.ended


def test_the_thread_has_the_settings_of_its_caller(checkpoint: Checkpoint) -> None:
    setting = contextvars.ContextVar("setting", default=8)
    setting.set(32)
    seen: list[int] = []

    def compile_it() -> Checkpoint:
        seen.append(setting.get())
        return checkpoint

    BackgroundCompilation(compile_it).result()
    assert seen == [32]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_unforeseen_error_leaves_no_checkpoint() -> None:
    def compile_it() -> Checkpoint:
        raise ZeroDivisionError

    assert BackgroundCompilation(compile_it).result() is None
