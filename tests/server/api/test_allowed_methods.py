"""Every path of every dialect answers a method that it has not with 405, and names those that it has."""

from collections import defaultdict

from fastapi import FastAPI
from starlette.routing import Route
from starlette.testclient import TestClient

NEVER_SERVED = "PATCH"


def test_each_path_names_its_methods(client: TestClient) -> None:
    app = client.app
    assert isinstance(app, FastAPI)
    methods = defaultdict[str, set[str]](set)
    for route in app.routes:
        if isinstance(route, Route):
            methods[route.path] |= route.methods or set()
    for path, served in methods.items():
        if "{model:path}" in path or "/static" in path:
            continue  # any path fits, and so the methods of others too
        address = path.replace("{", "").replace("}", "").replace(":path", "")
        response = client.request(NEVER_SERVED, address)
        assert response.status_code == 405, path
        told = set(response.headers["Allow"].split(", "))
        assert served <= told | {"HEAD"}, path
