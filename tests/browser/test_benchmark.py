"""The benchmark view: a plan, its tasks of low priority, what they have found, and what outlives a reload."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Request, expect

from benchmarks.step_caches.reports.summary import group_measurements
from benchmarks.step_caches.results import read_results
from benchmarks.step_caches.similarity import compare
from tests.browser.conftest import Console
from tests.browser.forms import PROMPT, render
from tests.live import LiveServer
from tests.ownware.commands.bench.common import run_bench

pytestmark = pytest.mark.browser


@pytest.fixture
def bench(page: Page, server: LiveServer) -> Page:
    """The view with one prompt and two settings: four measured pictures and one before them, each of little work."""
    page.goto(f"{server.url}/#/benchmark")
    expect(page.get_by_label("Model", exact=True)).not_to_have_value("")
    for box in page.get_by_role("checkbox").all():
        box.uncheck()
    for label, value in {
        "Own prompts": PROMPT,
        "Width": "128",
        "Height": "128",
        "Steps": "12",
        "First block: thresholds": "",
        "TeaCache: thresholds": "0.8",
        "Fewer steps": "4",
        "Rounds": "2",
    }.items():
        page.get_by_label(label, exact=True).fill(value)
    return page


def stored(page: Page) -> Any:
    return json.loads(page.evaluate("localStorage.getItem('ownware.benchmark')"))


def start(page: Page) -> None:
    page.get_by_role("button", name="Start", exact=True).click()


def finish(page: Page, tasks: int = 7) -> None:
    expect(page.get_by_role("heading", name=f"All {tasks} tasks are done")).to_be_visible(timeout=120_000)


def test_from_the_plan_to_the_front(bench: Page, server: LiveServer, tmp_path: Path) -> None:
    expect(
        bench.get_by_text("2 settings and the reference × 1 prompts × 2 rounds, and 1 to warm up: 7 tasks.")
    ).to_be_visible()
    start(bench)
    finish(bench)
    expect(bench.locator(".front .setting")).to_have_count(2)
    run = stored(bench)
    assert [task["kind"] for task in run["tasks"]] == ["warmUp"] + 6 * ["measured"]
    for task in run["tasks"]:
        answer = bench.request.post(
            f"{server.api}", data=[{"taskType": "getTaskDetails", "taskUUID": task["taskUUID"]}]
        )
        (details,) = answer.json()["data"]
        assert details["priority"] == "low"
        assert details["timings"]["busy"][0] == task["seconds"]

    tea = next(task for task in run["tasks"] if task.get("setting") == "teaCache 0.8" and task["round"] == 0)
    reference = next(task for task in run["tasks"] if task.get("setting") == "reference")
    pictures = [picture(bench, server, task["imageUUID"], tmp_path) for task in (tea, reference)]
    assert tea["likeness"]["ssim"] == pytest.approx(compare(*pictures).ssim, abs=1e-4)
    assert tea["reused"] > 0

    bench.get_by_role("button", name=re.compile("^TeaCache 0.8: .* times as fast")).press("Enter")
    expect(bench.locator(".pair img")).to_have_count(2)
    expect(bench.locator(".pair")).to_contain_text("SSIM")
    with bench.expect_download() as download:
        bench.get_by_role("button", name="Save as JSON lines").click()
    lines = [json.loads(line) for line in Path(download.value.path()).read_text().splitlines()]
    assert [line["case"]["kind"] for line in lines] == ["uncached", "cache", "fewer_steps"]
    assert [len(line[part]) for line in lines for part in ("runs", "twins")] == [1, 1, 2, 2, 2, 2]
    assert lines[0]["likeness"]["ssim"] == 1
    assert lines[1]["case"]["plan"]["strategy"] == "teacache"
    assert lines[1]["likeness"]["ssim"] == round(tea["likeness"]["ssim"], 5)
    assert {forward["step"] for forward in lines[1]["decisions"]} == set(range(12))

    # The commands read the file.
    path = tmp_path / "results.jsonl"
    download.value.save_as(path)
    (group,) = group_measurements(read_results(path))
    assert [row.name for row in group.complete] == ["uncached, once more", "teaCache 0.8", "4 steps"]
    assert (group.setup.model, group.steps, group.loop_timed) == ("runware:108@1", 12, False)
    assert run_bench("report", "--out", tmp_path).exit_code == 0
    assert "teaCache 0.8" in (tmp_path / "report.html").read_text(encoding="utf-8")
    recommended = run_bench("recommend", "--min-ssim", "0", "--results", path)
    assert "runware:108@1, 12 steps, 1 images: " in recommended.stderr


def picture(page: Page, server: LiveServer, uuid: str, folder: Path) -> Any:
    from PIL import Image

    path = folder / f"{uuid}.png"
    path.write_bytes(page.request.get(f"{server.url}/image/{uuid}.png").body())
    return Image.open(path)


def show_run(page: Page, server: LiveServer, name: str, family: str, change: dict[str, Any]) -> None:
    """Open the view with a benchmark that is done: the reference and one setting."""
    file = render(server, steps=1)
    done = {"kind": "measured", "round": 0, "prompt": 0, "state": "done", "steps": 8, "reused": 0}
    image = {"imageUUID": file.split(".")[0], "imageURL": f"{server.url}/image/{file}"}
    reference = {**done, **image, "setting": "reference", "change": {}, "seconds": 2}
    own = {**done, **image, "setting": name, "change": change, "seconds": 1, "likeness": {"ssim": 0.9, "psnr": 30}}
    run = {
        "common": {"model": "runware:108@1", "width": 128, "height": 128, "steps": 8, "CFGScale": 1, "seed": 1},
        "prompts": [PROMPT],
        "settings": [{"name": name, "family": family, "change": change}],
        "tasks": [reference, own],
    } | {"rounds": 1, "created": 1, "state": "done"}
    page.goto(f"{server.url}/#/benchmark")
    page.evaluate("run => localStorage.setItem('ownware.benchmark', JSON.stringify(run))", run)
    page.reload()


def test_a_setting_fills_the_form(page: Page, server: LiveServer) -> None:
    change = {"acceleratorOptions": {"teaCache": True, "teaCacheDistance": 0.8}}
    show_run(page, server, "teaCache 0.8", "teaCache", change)
    page.get_by_role("row", name="TeaCache 0.8").get_by_role("button", name="Take").click()
    expect(page).to_have_url(re.compile(r"#/make\?"))
    expect(page.get_by_label("Steps", exact=True)).to_have_value("8")
    expect(page.get_by_label("Cache", exact=True)).to_have_value("teaCache")
    expect(page.get_by_label("Width")).to_have_value("128")


def test_a_point_is_chosen_by_a_press_beside_it(page: Page, server: LiveServer) -> None:
    show_run(page, server, "steps 4", "steps", {"steps": 4})
    page.locator(".front .reach").click(position={"x": 3, "y": 14})
    expect(page.locator(".front .setting")).to_have_attribute("aria-pressed", "true")
    row = page.locator("tr.chosen")
    expect(row).to_contain_text("4 steps")
    expect(row).to_have_css("position", "static")  # the bar of the gallery has this class too


def test_it_is_stopped_and_goes_on(bench: Page) -> None:
    bench.get_by_label("Rounds").fill("1")
    bench.get_by_label("Steps", exact=True).fill("50")
    start(bench)
    expect(bench.get_by_text("Without a cache:")).to_be_visible()
    bench.get_by_role("button", name="Stop").click()
    expect(bench.get_by_role("heading", name="Stopped")).to_be_visible()
    expect(bench.get_by_role("button", name="Continue")).to_be_visible()
    expect(bench.locator("form").get_by_text("It takes the place of the benchmark")).to_be_visible()
    done = [task["taskUUID"] for task in stored(bench)["tasks"] if task["state"] == "done"]
    assert len(done) < 4
    bench.get_by_role("button", name="Continue").click()
    finish(bench, 4)
    assert [task["taskUUID"] for task in stored(bench)["tasks"]][: len(done)] == done


def test_it_goes_on_after_a_reload(bench: Page, console: Console) -> None:
    console.allow("400 (Bad Request)")  # the task under way may be sent again, whose UUID the server has
    sent: set[str] = set()

    def note(request: Request) -> None:
        if request.method == "POST":
            sent.update(
                task["taskUUID"] for task in request.post_data_json or () if task["taskType"] == "imageInference"
            )

    bench.on("request", note)
    bench.get_by_label("Rounds").fill("1")
    bench.get_by_label("Steps", exact=True).fill("30")
    start(bench)
    expect(bench.get_by_text("Without a cache:")).to_be_visible()
    bench.reload()
    finish(bench, 4)
    tasks = stored(bench)["tasks"]
    assert sent
    assert sent <= {task["taskUUID"] for task in tasks}
    assert all(one["ended"] <= other["ended"] for one, other in pairwise(tasks))
    expect(bench.locator(".front .setting")).to_have_count(2)


def test_a_tab_beside_sees_it_and_sends_nothing(bench: Page, server: LiveServer) -> None:
    bench.get_by_label("Steps", exact=True).fill("50")
    start(bench)
    expect(bench.get_by_text("Without a cache:")).to_be_visible()
    other = bench.context.new_page()
    other.goto(f"{server.url}/#/benchmark")
    expect(other.get_by_role("heading", name="Another tab runs it")).to_be_visible()
    expect(other.get_by_role("button", name="Stop")).to_be_hidden()
    bar = bench.get_by_role("progressbar", name="Progress")
    done = bar.evaluate("bar => bar.value")
    bench.get_by_role("button", name="Discard").click()
    expect(bar).not_to_have_js_property("value", done)  # a result has come
    bench.get_by_role("button", name="Discard all results?").click()
    expect(bench.get_by_role("heading", name="No benchmark yet")).to_be_visible()
    assert bench.evaluate("localStorage.getItem('ownware.benchmark')") is None


def test_a_plan_that_cannot_be_says_why(bench: Page) -> None:
    start = bench.get_by_role("button", name="Start", exact=True)
    for label, value, words in (
        ("TeaCache: thresholds", "0.5, much", "Thresholds are numbers from 0 to 1"),
        ("TeaCache: thresholds", "2", "Thresholds are numbers from 0 to 1"),
        ("Fewer steps", "12", "Fewer steps are whole numbers from 1 to 11."),
        ("Own prompts", "", "Choose a prompt, or write one."),
        ("Width", "7", "A number is out of its bounds."),
    ):
        field = bench.get_by_label(label, exact=True)
        good = field.input_value()
        field.fill(value)
        expect(bench.locator("form .bad")).to_contain_text(words)
        expect(start).to_be_disabled()
        field.fill(good)
        expect(start).to_be_enabled()
