from html.parser import HTMLParser
from pathlib import Path

from ownware.batch.results.compare_page import Pair, compare_page
from tests.ownware.batch.fakes import write_pictures


class Tags(HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_a_slider_for_each_pair_and_nothing_from_outside(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path, "a.png", "b.jpg", "c.heif")
    page = compare_page("out", [Pair("a", paths[0], paths[1]), Pair("b", paths[2], paths[0])])
    tags = Tags(page)
    assert len(tags.all("input")) == 2
    sources = [image["src"] or "" for image in tags.all("img")]
    assert len(sources) == 4
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    assert "http" not in page.replace("http-equiv", "")
    (policy,) = (meta["content"] or "" for meta in tags.all("meta") if meta.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_nothing_of_a_name_is_markup(tmp_path: Path) -> None:
    (path,) = write_pictures(tmp_path, "a.png")
    evil = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    tags = Tags(compare_page(evil, [Pair(evil, path, path)]))
    assert len(tags.all("script")) == 1
    assert [image["alt"] for image in tags.all("img")] == [f"before: {evil}", f"after: {evil}"]


def test_a_pair_whose_file_is_gone_is_left_out(tmp_path: Path) -> None:
    (path,) = write_pictures(tmp_path, "a.png")
    page = compare_page("out", [Pair("gone", path, tmp_path / "gone.png"), Pair("there", path, path)])
    assert "gone" not in page
    assert "there" in page
