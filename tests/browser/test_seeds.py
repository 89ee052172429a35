"""Seeds of 63 bits, which a number of JavaScript cannot hold."""

import json
import shutil
import subprocess

import pytest
from playwright.sync_api import Page, expect

from tests.browser.forms import fill_small, finish, run
from tests.live import LiveServer

pytestmark = pytest.mark.browser
SEED = str(2**63 - 2)  # the nearest double is 2^63


@pytest.mark.parametrize("from_address", [True, False])
def test_a_long_seed_is_sent_and_shown_with_all_its_digits(make: Page, server: LiveServer, from_address: bool) -> None:
    if from_address:
        make.goto(f"{server.url}/#/make?seed={SEED}")
    else:
        make.get_by_label("Seed", exact=True).fill(SEED)
    fill_small(make, steps=1)
    card = run(make)
    finish(card)
    kept = make.evaluate("JSON.parse(sessionStorage.getItem('ownware.tasks'))[0]")
    assert kept["results"][0]["seed"] == SEED
    answer = make.request.get(f"{server.api}/receipts/{kept['results'][0]['imageUUID']}").json()
    assert answer["receipt"]["request"]["seed"] == int(SEED)

    make.reload()
    expect(make.get_by_label("Seed", exact=True)).to_have_value(SEED)
    make.get_by_role("button", name="Copy as").click()
    for name in ("curl", "Python", "JSON"):
        make.get_by_role("dialog").get_by_role("button", name=name, exact=True).click()
        expect(make.locator("dialog pre")).to_contain_text(f'"seed": {SEED}')


def test_a_long_seed_is_copied_for_javascript_with_all_its_digits(make: Page, server: LiveServer) -> None:
    make.goto(f"{server.url}/#/make?seed={SEED}")
    fill_small(make, steps=1)
    make.get_by_label("Prompt", exact=True).fill(f'a circle, "seed":"{SEED}"')
    make.get_by_role("button", name="Copy as").click()
    make.get_by_role("dialog").get_by_role("button", name="JavaScript", exact=True).click()
    node = shutil.which("node")
    assert node is not None
    program = make.locator("dialog pre").inner_text()
    printed = subprocess.run(
        [node, "--input-type=module", "--eval", program], capture_output=True, text=True, check=True
    ).stdout
    uuid = printed.strip().rsplit("/", 1)[1].split(".")[0]
    request = make.request.get(f"{server.api}/receipts/{uuid}").text()
    assert json.loads(request)["receipt"]["request"]["seed"] == int(SEED)
    assert json.loads(request)["receipt"]["request"]["prompt"] == f'a circle, "seed":"{SEED}"'


def test_a_prompt_about_a_seed_stays_as_it_is(make: Page) -> None:
    fill_small(make, steps=1)
    prompt = f'a circle, "seed": "{SEED}", "seed":{SEED}}}'
    make.get_by_label("Prompt", exact=True).fill(prompt)
    card = run(make)
    finish(card)
    expect(card.locator(".prompt")).to_have_text(prompt)
    uuid = make.evaluate("JSON.parse(sessionStorage.getItem('ownware.tasks'))[0].results[0].imageUUID")
    answer = make.request.get(make.url.split("/#")[0] + f"/v1/receipts/{uuid}").json()
    assert answer["receipt"]["request"]["prompt"] == prompt
