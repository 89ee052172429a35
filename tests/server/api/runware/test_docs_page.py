import re

from starlette.testclient import TestClient

from server.api.runware.openapi import EXAMPLES


def test_the_page_sends_its_examples_with_fresh_ids(client: TestClient) -> None:
    response = client.get("/docs")
    assert response.headers["content-type"].startswith("text/html")
    assert re.search(r"SwaggerUIBundle\({\s*requestInterceptor: withFreshIds,", response.text)
    listed = re.search(r"const exampleIds = \[(.*?)\]", response.text)
    assert listed is not None
    ids = {task["taskUUID"] for tasks in EXAMPLES.values() for task in tasks}
    assert set(re.findall(r"[0-9a-f-]{36}", listed[1])) == ids
    assert response.text.index("function withFreshIds") < response.text.index("SwaggerUIBundle({")
