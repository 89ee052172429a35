from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.api.runware.check.unsupported import let_pass
from server.app import create_app
from server.errors import InvalidParameter, UnsupportedParameter
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.conftest import error_of, new_task, post

FOREIGN = [
    {"promptWeighting": "compel"},
    {"vae": "a:1@1"},
    {"refiner": {"model": "a:1@1"}},
    {"advancedFeatures": {"layerDiffuse": True}},
]


@pytest.fixture
def lenient(settings: Settings, catalog: Catalog, worker: FakeWorker) -> Iterator[TestClient]:
    app = create_app(settings.model_copy(update={"unsupported_parameters": "warn"}), catalog, [worker])
    with TestClient(app, base_url="http://box:8000") as client:
        yield client


@pytest.mark.parametrize("parameter", FOREIGN)
def test_they_are_refused_by_the_name_that_was_sent(shared_client: TestClient, parameter: dict[str, Any]) -> None:
    error = error_of(post(shared_client, new_task(**parameter)))
    assert error["code"] == "unsupportedParameter"
    assert error["parameter"].split(".")[0] == next(iter(parameter))


def test_or_let_pass_with_a_warning(lenient: TestClient) -> None:
    for parameter in FOREIGN:
        response = post(lenient, new_task(**parameter))
        assert "imageURL" in response.json()["data"][0], parameter
        assert f"'{next(iter(parameter))}" in response.headers["Ownware-Warnings"]
        assert "is ignored: it has no effect here." in response.headers["Ownware-Warnings"]


def test_only_what_has_no_effect_passes(lenient: TestClient) -> None:
    assert error_of(post(lenient, new_task(vae="a:1@1", width=1)))["code"] == "invalidWidth"
    assert "Ownware-Warnings" not in post(lenient, new_task(safety={"mode": "none"}, vae="")).headers


def test_other_errors_are_left() -> None:
    invalid, foreign = InvalidParameter("seed", "why"), UnsupportedParameter("why", parameter="vae")
    task = {"seed": "a", "safety": 1}
    assert let_pass(task, task, [invalid, foreign], ("safety",)) == (
        {"seed": "a"},
        [invalid],
        ["'vae' is ignored: it has no effect here."],
    )
