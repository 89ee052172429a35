import uuid
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.models_file import load_catalog
from tests.server.conftest import error_of, post

MODELS = len(load_catalog().entries)


class TestModelSearch:
    @pytest.mark.parametrize(
        ("wanted", "count"),
        [
            ({}, MODELS + 3),
            ({"tags": ["demonstration"]}, MODELS),
            ({"tags": ["demonstration", "anime"]}, 0),
            ({"type": "base"}, MODELS),
            ({"type": "inpainting"}, 0),
            ({"category": "checkpoint"}, MODELS),
            ({"category": "lora"}, 2),
            ({"source": "community"}, 3),
            ({"visibility": "private"}, 0),
        ],
    )
    def test_filters(self, shared_client: TestClient, wanted: dict[str, Any], count: int) -> None:
        (item,) = post(shared_client, _search(**wanted)).json()["data"]
        assert (len(item["results"]), item["totalResults"]) == (count, count)

    def test_order_and_pages(self, client: TestClient) -> None:
        names = []
        for order in ("name", "-name"):
            (item,) = post(client, _search(sort=order)).json()["data"]
            names.append([row["name"] for row in item["results"]])
        assert names[0] == sorted(names[0]) == names[1][::-1]
        (item,) = post(client, _search(sort="-name", limit=1, offset=1)).json()["data"]
        assert [row["name"] for row in item["results"]] == names[1][1:2]

    @pytest.mark.parametrize(
        ("wanted", "code"),
        [
            ({"sort": "beauty"}, "invalidSort"),
            ({"category": "beauty"}, "invalidCategory"),
            ({"source": "beauty"}, "invalidSource"),
            ({"conditioning": "canny"}, "unsupportedParameter"),
            ({"capabilities": ["edit"]}, "unsupportedParameter"),
        ],
    )
    def test_what_it_cannot_do(self, shared_client: TestClient, wanted: dict[str, Any], code: str) -> None:
        assert error_of(post(shared_client, _search(**wanted)))["code"] == code


def _search(**wanted: Any) -> dict[str, Any]:
    return {"taskType": "modelSearch", "taskUUID": str(uuid.uuid4()), **wanted}
