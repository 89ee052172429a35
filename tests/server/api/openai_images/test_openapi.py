from starlette.testclient import TestClient

from server.api.openai_images.openapi import EXAMPLES


def test_the_examples_run(client: TestClient, reference: str) -> None:
    document = client.get("/openapi.json").json()
    for path in EXAMPLES:
        content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        for example in content["examples"].values():
            body = example["value"]
            if "images" in body:
                body["images"] = [{"image_url": reference}]
            assert client.post(path, json=body).status_code == 200
