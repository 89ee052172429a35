import base64
from typing import Any

from starlette.testclient import TestClient

from tests.server.api.wavespeed.common import DRAW, EDIT, ROOT, TWO, data_of


def test_every_path_is_listed_with_its_fields(client: TestClient) -> None:
    models: list[dict[str, Any]] = client.get(f"{ROOT}/models").json()["data"]
    by_id = {model["model_id"]: model for model in models}
    assert len(by_id) == len(models)
    assert by_id[EDIT]["type"] == "image-to-image"
    (schema,) = by_id[DRAW]["api_schema"]["api_schemas"]
    assert schema["api_path"] == f"{ROOT}/{DRAW}"
    fields = schema["request_schema"]
    assert fields["required"] == ["prompt"]
    assert "image" not in fields["properties"]
    assert all("type" in field for field in fields["properties"].values())
    assert fields["properties"]["num_inference_steps"]["maximum"] == 50
    assert set(fields["x-order-properties"]) <= fields["properties"].keys()
    assert "runware:108@1" not in by_id
    assert "ownware:qwen-image-lightning@4" in by_id


def test_nothing_costs_anything(client: TestClient) -> None:
    assert data_of(client.get(f"{ROOT}/balance")) == {"balance": 0.0}
    for path in ("price", "pricing"):
        price = data_of(client.post(f"{ROOT}/model/{path}", json={"model_id": EDIT, "inputs": {"prompt": "a"}}))
        assert (price["model_id"], price["unit_price"], price["currency"]) == (EDIT, 0.0, "USD")
    assert client.post(f"{ROOT}/model/price", json={"model_id": "no/model"}).status_code == 404


def test_a_keys_secret_stays_the_same(client: TestClient) -> None:
    secret = data_of(client.get(f"{ROOT}/webhook/secret"))["secret"]
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert data_of(client.get(f"{ROOT}/webhook/secret"))["secret"] == secret
    assert data_of(client.get(f"{ROOT}/webhook/secret", headers=TWO))["secret"] != secret
