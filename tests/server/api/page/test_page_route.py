import gzip

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.api.page.page_route import CONTENT_SECURITY_POLICY
from server.api.page.static_files import load_static_files
from server.app import create_app
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.conftest import error_of

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
RELEASE = load_static_files().release


def test_a_browser_gets_the_page(client: TestClient) -> None:
    response = client.get("/", headers=BROWSER)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-cache"
    assert f"page/{RELEASE}/main.js" in response.text


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
def test_a_program_is_sent_to_the_documentation(shared_client: TestClient, accept: str) -> None:
    response = shared_client.get("/", headers={"Accept": accept}, follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (307, "/docs")
    assert response.headers["vary"] == "Accept"


def test_a_file_is_kept_for_ever_and_asked_for_by_its_tag(client: TestClient) -> None:
    path = f"/page/{RELEASE}/views/make.js"
    response = client.get(path, headers={"Accept-Encoding": "identity"})
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "immutable" in response.headers["cache-control"]
    assert "content-encoding" not in response.headers
    again = client.get(path, headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_file_is_sent_in_gzip_to_those_who_read_it(client: TestClient) -> None:
    with client.stream("GET", f"/page/{RELEASE}/style.css", headers={"Accept-Encoding": "gzip"}) as response:
        raw = b"".join(response.iter_raw())
    assert response.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw) == load_static_files().files["style.css"].content


@pytest.mark.parametrize(
    "path", [f"{RELEASE}/no.js", "0123456789ab/main.js", f"{RELEASE}/../page_route.py", f"{RELEASE}/index.html"]
)
def test_other_files_and_other_releases_are_not_there(shared_client: TestClient, path: str) -> None:
    response = shared_client.get(f"/page/{path.replace('..', '%2e%2e')}")
    assert response.status_code == 404
    assert error_of(response)["code"] == "routeNotFound"


def test_a_server_without_the_page(settings: Settings, catalog: Catalog) -> None:
    off = settings.model_copy(update={"page": False})
    with TestClient(create_app(off, catalog, [FakeWorker()])) as client:
        response = client.get("/", headers=BROWSER, follow_redirects=False)
        assert response.headers["location"] == "/docs"
        assert client.get(f"/page/{RELEASE}/main.js").status_code == 404
