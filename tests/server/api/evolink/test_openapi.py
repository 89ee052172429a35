from starlette.testclient import TestClient

from tests.server.api.evolink.conftest import PICTURE

PATH = "/evolink/v1/images/generations"


def test_the_example_runs(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    content = document["paths"][PATH]["post"]["requestBody"]["content"]["application/json"]
    (example,) = content["examples"].values()
    body = example["value"] | {"image_urls": [PICTURE]}
    assert client.post(PATH, json=body).json()["status"] == "pending"
    assert {"CreateFields", "BatchFields", "EvoLinkTask"} <= document["components"]["schemas"].keys()
