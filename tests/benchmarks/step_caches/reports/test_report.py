import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.step_caches.reports.report import save_front, write_report
from benchmarks.step_caches.reports.summary import group_measurements
from benchmarks.step_caches.runner import image_path, save_image
from tests.rows import measurement

RESULTS = [
    measurement("again", kind="uncached", speedup=1.0, prompt="a <b>star</b>"),
    *(
        measurement(f"fb {v}", options={"fbCache": True, "fbCacheThreshold": v}, prompt="a <b>star</b>")
        for v in (0.1, 0.2, 0.3)
    ),
    measurement("idle", speedup=1.0, prompt="a <b>star</b>"),
    measurement("10 steps", kind="fewer_steps", executed=10, prompt="a <b>star</b>"),
]
LATER = measurement("late", prompt="a blue ring")


class Links(HTMLParser):
    """Whatever a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "data", "srcset", "action")]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tmp_path = tmp_path_factory.mktemp("page")
    for each in RESULTS[:2]:
        (tmp_path / "pictures").mkdir(exist_ok=True)
        save_image(Image.new("RGB", (512, 256), "red"), image_path(tmp_path / "pictures", each.case))
    path = write_report(group_measurements(RESULTS), tmp_path / "pictures", tmp_path / "out")
    assert {file.name for file in path.parent.iterdir()} == {
        "report.html",
        "front.png",
        "timelines.png",
        "options.png",
    }
    return path


@pytest.fixture(scope="module")
def page(report: Path) -> str:
    return report.read_text(encoding="utf-8")


def test_the_page_needs_nothing_else(page: str) -> None:
    links = Links()
    links.feed(page)
    assert len(links.found) == 5  # three plots, two pictures
    assert all(re.match(r"data:image/(png|webp);base64,", link) for link in links.found)
    assert not {"script", "link", "iframe"} & set(links.tags)
    assert "http" not in re.sub(r"base64,[\w+/=]+", "", page)
    assert "@import" not in page


def test_pictures_are_shown_small_with_the_uncached_one_first(page: str) -> None:
    figures = re.findall(r"<figure>(.*?)</figure>", page, re.DOTALL)
    assert len(figures) == len(RESULTS)
    assert "uncached" in figures[0]
    assert sum("not kept" in figure for figure in figures) == len(RESULTS) - 2
    data = re.search(r"data:image/webp;base64,([\w+/=]+)", figures[0])
    assert data is not None
    with Image.open(io.BytesIO(base64.b64decode(data[1]))) as picture:
        assert picture.size == (256, 128)


def test_prompts_are_text_and_flags_are_said(page: str) -> None:
    assert "a &lt;b&gt;star&lt;/b&gt;" in page
    assert "<b>" not in page
    assert "idle: reuses steps and is not faster." in page


def test_a_setting_that_missed_a_prompt_is_named_and_not_compared(tmp_path: Path) -> None:
    more = [replace(each, case=replace(each.case, prompt="a blue ring")) for each in RESULTS[1:]]
    path = write_report(group_measurements([*RESULTS, *more, LATER]), tmp_path, tmp_path)
    text = path.read_text(encoding="utf-8")
    assert "late: only 1 of 2 images so far." in text
    assert "<td>late<" not in text
    assert text.count("late<br>") == 1  # its picture


def test_every_setting_has_its_row(page: str) -> None:
    table = page[page.index("<table>") : page.index("</table>")]
    assert table.count("<tr") == len(RESULTS) + 1
    for each in RESULTS:
        assert f"<td>{each.name}<" in table


def test_every_plot_carries_the_fingerprint_of_its_weights(report: Path, tmp_path: Path) -> None:
    groups = group_measurements(RESULTS)
    save_front(groups[0], tmp_path / "alone.png")
    plots = [*report.parent.glob("*.png"), tmp_path / "alone.png"]
    assert len(plots) == 4
    for plot in plots:
        with Image.open(plot) as picture:
            assert picture.info["weights"] == groups[0].setup.weights
