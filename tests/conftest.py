import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.cases import choose_cases

# Read when torch is loaded. The suite runs a process per core, whose threads would only wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"
# With symbolic sizes, which all graphs have, looking a result up takes longer than computing it: a fifth of the time to
# compile.
os.environ["TORCH_FAKE_TENSOR_DISPATCH_CACHE"] = "0"

# Nearly all that is imported stays: scanning it for garbage takes a quarter of the imports and a tenth of the tests.
gc.disable()

# An error in the log would be drawn with all its local variables, which takes seconds and which nobody reads.
structlog.configure(
    [
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cases", type=int, metavar="N", help="run N cases of each test that has more, evenly spread")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose the cases, and run the modules first that use the running server, then those with slow tests.

    What stands together runs in one process, so a second one starts no server. At the end, one process would work on a
    slow test while the others wait.
    """
    if (most := config.getoption("cases")) is not None:
        chosen = set(choose_cases([item.nodeid.partition("[")[0] for item in items], most))
        config.hook.pytest_deselected(items=[item for number, item in enumerate(items) if number not in chosen])
        items[:] = [item for number, item in enumerate(items) if number in chosen]
    live = {item.path for item in items if "live" in getattr(item, "fixturenames", ())}
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in live, item.path not in long))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(5_000)  # by default 700 objects: most of them are used still
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Scan once what a module leaves. The caches of the compiler alone would take a second of each later scan."""
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


# `make test-all` takes the thorough profile. Deadlines and slowness would tell how busy the machine is.
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
settings.register_profile("fast", relaxed, max_examples=10)
settings.register_profile("thorough", relaxed, max_examples=40)
settings.load_profile("fast")

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.models.checkpoint import Checkpoint
    from tests.live import LiveServer


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of random weights, in the diffusers folder layout."""
    from tests.stand_in import save_stand_in

    folder = tmp_path_factory.mktemp("weights")
    save_stand_in(folder)
    return folder


@pytest.fixture(scope="session")
def checkpoint(weights: Path) -> "Checkpoint":
    """The random weights, loaded in float32 on the CPU."""
    import torch

    from pipelines.models.loading.loader import load

    return load(str(weights), torch.device("cpu"), torch.float32, with_vision=True)


@pytest.fixture(scope="session")
def trained() -> "Checkpoint":
    """The embedded weights, loaded in float32 on the CPU. Their steps resemble each other, as real ones do."""
    import torch

    from pipelines.catalog.catalog import EMBEDDED_FOLDER
    from pipelines.models.loading.loader import load

    return load(str(EMBEDDED_FOLDER), torch.device("cpu"), torch.float32, with_vision=True)


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[LiveServer]":
    """One running server for all tests that need a real one."""
    from tests.live import API_KEY, live_server

    with live_server(tmp_path_factory.mktemp("live") / "data", "--api-keys", API_KEY) as server:
        yield server


@pytest.fixture
def plain_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that the code under test starts have the packages of a plain installation, as those of `live` have."""
    from tests.live import server_environment

    monkeypatch.setenv("PYTHONPATH", server_environment()["PYTHONPATH"])
