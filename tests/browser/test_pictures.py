"""Pictures of the form: dropped, reordered, extended, filled in from a receipt, and refused."""

import re
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Page, expect
from pydantic import TypeAdapter

from pipelines.request import DriftGuard, Reference, RenderRequest
from tests.browser.conftest import Console
from tests.browser.forms import PROMPT, drop, drop_picture, fill_small, finish, module, run
from tests.fakes import picture
from tests.live import LiveServer
from tests.server.jobs.common import REQUEST

pytestmark = pytest.mark.browser
REFERENCES = "[data-path='inputs.referenceImages']"


def test_a_picture_that_is_dropped_is_edited(make: Page, picture_file: Path) -> None:
    drop_picture(make, ".tasks", picture_file)
    expect(make.locator(f"{REFERENCES} .slot img")).to_have_count(1)
    expect(make.get_by_label("Model", exact=True)).to_have_value("runware:108@20")
    fill_small(make)
    card = run(make)
    finish(card)
    expect(card.locator("a img")).to_be_visible()


def test_references_are_reordered_by_keys_and_by_dragging(make: Page, tmp_path: Path) -> None:
    make.get_by_label("Model", exact=True).select_option("runware:108@22")
    for name, width in (("first.png", 64), ("second.png", 80)):
        path = tmp_path / name
        path.write_bytes(picture(width))
        make.locator(f"{REFERENCES} input[type=file]").set_input_files(path)
        expect(make.locator(f"{REFERENCES} img[alt='{name}']")).to_be_visible()
    names = make.locator(f"{REFERENCES} .slot img")
    make.get_by_role("button", name="Move to the left: second.png").press("Enter")
    assert names.evaluate_all("images => images.map(image => image.alt)") == ["second.png", "first.png"]
    make.locator(f"{REFERENCES} .slot").nth(0).drag_to(make.locator(f"{REFERENCES} .slot").nth(1))
    assert names.evaluate_all("images => images.map(image => image.alt)") == ["first.png", "second.png"]
    make.get_by_role("button", name="Remove: first.png").click()
    expect(names).to_have_count(1)


def test_the_sides_of_a_picture_are_extended_by_keys_and_by_dragging(make: Page, picture_file: Path) -> None:
    make.get_by_text("Start from a picture").click()
    make.locator("[data-path='inputs.seedImage'] input[type=file]").set_input_files(picture_file)
    make.get_by_text("Extend its sides").click()
    right = make.get_by_role("slider", name="Right")
    expect(right).to_have_attribute("aria-valuenow", "0")
    right.press("ArrowRight")
    expect(right).not_to_have_attribute("aria-valuenow", "0")
    by_key = int(right.get_attribute("aria-valuenow") or "")
    box = right.bounding_box()
    assert box is not None
    make.mouse.move(box["x"] + 4, box["y"] + 20)
    make.mouse.down()
    make.mouse.move(box["x"] + 60, box["y"] + 20)
    make.mouse.up()
    assert int(right.get_attribute("aria-valuenow") or "") > by_key
    assert make.locator("[data-path='outpaint'] input").nth(1).input_value() == right.get_attribute("aria-valuenow")


def test_the_sides_are_those_that_the_server_takes(make: Page, tmp_path: Path) -> None:
    path = tmp_path / "odd.png"
    path.write_bytes(picture(250, 100))
    make.get_by_text("Start from a picture").click()
    make.locator("[data-path='inputs.seedImage'] input[type=file]").set_input_files(path)
    make.get_by_text("Extend its sides").click()
    sides = [make.locator("[data-path='outpaint'] input").nth(place) for place in range(4)]
    right = make.get_by_role("slider", name="Right")
    expect(right).to_have_attribute("aria-valuenow", "0")
    right.press("ArrowRight")
    # 250 + 22 and 100 + 12 are multiples of 16.
    expect(right).to_have_attribute("aria-valuenow", "22")
    expect(sides[2]).to_have_value("12")
    sides[1].fill("40")
    sides[1].blur()
    expect(sides[1]).to_have_value("38")
    sides[1].press("ArrowUp")
    expect(sides[1]).to_have_value("54")
    sides[0].fill("8")
    sides[0].blur()
    expect(sides[0]).to_have_value("16")
    make.get_by_role("button", name="Add nothing").click()
    expect(right).to_have_attribute("aria-valuenow", "0")
    expect(make).not_to_have_url(re.compile("outpaint"))


@pytest.mark.parametrize("kind", ["PNG", "JPG", "WEBP"])
def test_one_of_our_images_fills_the_form_from_its_receipt(make: Page, server: LiveServer, kind: str) -> None:
    options = {
        "positivePrompt": f"{PROMPT} & <b>",
        "width": 128,
        "height": 144,
        "steps": 10,
        "seed": 11,
        "CFGScale": 2.5,
    }
    cache = {"acceleratorOptions": {"fbCache": True, "fbCacheThreshold": 0.1}}
    task = {
        "taskType": "imageInference",
        "taskUUID": make.evaluate("crypto.randomUUID()"),
        "model": "runware:108@1",
        "outputFormat": kind,
        "scheduler": "DPM++ Karras",
    }
    (item,) = httpx2.post(server.api, json=[task | options | cache], timeout=60).json()["data"]
    drop(make, ".tasks", ("ours", f"image/{kind.lower()}", httpx2.get(item["imageURL"]).content))
    expect(make.get_by_label("Prompt", exact=True)).to_have_value(f"{PROMPT} & <b>")
    expect(make.get_by_label("Height")).to_have_value("144")
    expect(make.get_by_label("Seed", exact=True)).to_have_value("11")
    expect(make.get_by_label("Guidance")).to_have_value("2.5")
    make.get_by_text("Scheduler and file").click()
    expect(make.get_by_label("Scheduler", exact=True)).to_have_value("DPM++ Karras")
    expect(make).to_have_url(re.compile("fbCache%22%3Atrue.*fbCacheThreshold%22%3A0.1%2C"))


def test_every_scheduler_of_a_receipt_has_the_name_of_the_api(make: Page) -> None:
    from server.api.runware.schema.schedulers import SAMPLERS

    samplers = list(set(SAMPLERS.values()))
    names = make.evaluate(
        "async ([path, all]) => { const { schedulerName } = await import(path);"
        " return all.map(([integrator, spacing]) => schedulerName({ integrator, spacing }) ?? 'Default') }",
        [module(make, "receipts.js"), [[sampler.solver, sampler.schedule] for sampler in samplers]],
    )
    assert [SAMPLERS[name] for name in names] == samplers


@pytest.mark.parametrize(
    ("guard", "options"),
    [
        (DriftGuard(None, align=True), {"alignTo": "seedImage"}),
        (DriftGuard(1, align=True, keep="auto"), {"alignTo": 1, "keepUnchanged": "auto"}),
        (DriftGuard(0, keep="auto"), {"keepUnchanged": "auto"}),
        (DriftGuard(0, keep=Reference(Path("m"), "0", 8, 8)), None),
        (None, None),
    ],
)
def test_the_drift_guard_of_a_receipt_is_filled_in(
    make: Page, guard: DriftGuard | None, options: dict[str, str] | None
) -> None:
    request = TypeAdapter(RenderRequest).dump_python(replace(REQUEST, guard=guard), mode="json", by_alias=True)
    found = make.evaluate(
        "async ([path, request]) => (await import(path)).draftOf({ request, encoding: ['JPG', 95] })",
        [module(make, "receipts.js"), request],
    )
    assert found["draft"].get("ownware") == options
    mask = guard is not None and isinstance(guard.keep, Reference)
    assert found["missing"] == len(REQUEST.references) + mask


def test_a_text_file_is_refused_in_words(make: Page) -> None:
    drop(make, ".tasks", ("notes.txt", "text/plain", b"no picture"))
    expect(make.locator(".toast.bad")).to_contain_text("notes.txt is no picture")


def test_a_file_that_only_claims_to_be_a_picture_is_refused_by_the_server(make: Page, console: Console) -> None:
    console.allow("status of 400")
    drop(make, ".tasks", ("photo.png", "image/png", b"no picture"))
    expect(make.locator(".toast.bad")).to_contain_text("invalidImage")


def test_a_picture_that_is_too_large_is_refused_before_it_is_read(make: Page) -> None:
    make.get_by_label("Model", exact=True).select_option("runware:108@20")
    make.evaluate(
        """() => {
            const transfer = new DataTransfer();
            const chunk = new Uint8Array(10_000_000);
            transfer.items.add(new File(Array(20).fill(chunk), "huge.png", { type: "image/png" }));
            const event = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
            document.querySelector("[data-path='inputs.referenceImages']").dispatchEvent(event);
        }"""
    )
    expect(make.locator(".toast.bad")).to_contain_text("huge.png has 200 MB. The server takes up to 74.9 MB.")


def test_a_control_image_is_made_on_the_spot(make: Page, picture_file: Path) -> None:
    make.get_by_text("ControlNets").click()
    make.locator("[data-path=controlNet]").get_by_role("button", name="Add").click()
    make.locator("[data-path=controlNet] input[type=file]").set_input_files(picture_file)
    make.get_by_label("Kind of control image").select_option("canny")
    make.get_by_role("button", name="Make a control image of it").click()
    expect(make.locator("[data-path=controlNet] img[alt=canny]")).to_be_visible()
