import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.catalog.models_file import load_catalog
from pipelines.catalog.own_lora import OwnLora
from pipelines.catalog.weights_fingerprint import fingerprint
from pipelines.editing.drift.found_drift import FoundDrift
from pipelines.receipt import Receipt, ReceiptError, make_receipt, pictures_of, read_receipt, with_files
from pipelines.request import ControlUse, LoraUse, Outpaint, Reference, RenderRequest, Sampler

ENTRY = load_catalog().with_embedded_weights().entries[0]


def picture(name: str) -> Reference:
    return Reference(Path("/secret") / f"{name}.png", name * 64, 8, 8)


@pytest.fixture
def request_(tmp_path: Path) -> RenderRequest:
    lora = tmp_path / "style.safetensors"
    lora.write_bytes(b"lora")
    return RenderRequest(
        ENTRY.air, "红 a", None, 128, 64, 8, Sampler("dpmpp_2m", "karras"), 3.5, 7, 20,
        references=(picture("a"), picture("b")), seed_image=picture("c"), strength=0.5, mask=picture("d"),
        mask_margin=32, outpaint=Outpaint(top=16), loras=(LoraUse("me:1@1", lora, -0.5),),
        controls=(ControlUse("me:2@1", "/secret/net", picture("e"), 0.7, "prompt", 1, 6),),
    )  # fmt: skip


@pytest.fixture
def receipt(request_: RenderRequest) -> Receipt:
    return make_receipt(request_, 9, ("PNG", 95), ENTRY, "cpu", "float32")


def test_it_is_of_one_image(receipt: Receipt) -> None:
    assert (receipt.request.seed, receipt.request.count) == (9, 1)


def test_the_loras_of_the_model_are_listed_after_those_of_the_request(request_: RenderRequest, tmp_path: Path) -> None:
    (tmp_path / "own.safetensors").write_bytes(b"own")
    entry = replace(ENTRY, loras=(OwnLora(str(tmp_path / "own.safetensors"), 0.5),))
    receipt = make_receipt(request_, 9, ("PNG", 95), entry, "cpu", "float32")
    assert [(lora.name, lora.weight) for lora in receipt.request.loras] == [("me:1@1", -0.5), ("own", 0.5)]
    assert [lora.name for lora in receipt.loras] == ["me:1@1", "own"]
    assert receipt.loras[1].digest == hashlib.sha256(b"own").hexdigest()
    assert str(tmp_path) not in receipt.to_json()


def test_it_can_be_read_again(receipt: Receipt) -> None:
    text = receipt.to_json()
    assert text.isascii()
    assert read_receipt(text) == receipt
    assert read_receipt(text).to_json() == text


def test_the_sampler_keeps_the_names_of_the_first_receipts(receipt: Receipt) -> None:
    assert json.loads(receipt.to_json())["request"]["sampler"] == {"integrator": "dpmpp_2m", "spacing": "karras"}


def test_a_schedule_of_its_own_is_shown_and_read_again(request_: RenderRequest) -> None:
    sampler = Sampler(shift=3.0, terminal=0.0)
    receipt = make_receipt(replace(request_, sampler=sampler), 9, ("PNG", 95), ENTRY, "cpu", "float32")
    shown = json.loads(receipt.to_json())["request"]["sampler"]
    assert shown == {"integrator": "euler", "spacing": "shifted", "shift": 3.0, "terminal": 0.0}
    assert read_receipt(receipt.to_json()).request.sampler == sampler


def test_it_names_no_path(receipt: Receipt, tmp_path: Path) -> None:
    assert "secret" not in receipt.to_json()
    assert str(tmp_path) not in receipt.to_json()


def test_it_tells_what_took_part(receipt: Receipt) -> None:
    assert receipt.model.name == "embedded"
    assert receipt.model.digest
    assert [(used.name, len(used.digest or "")) for used in receipt.loras] == [("me:1@1", 64)]
    assert [(used.name, used.digest) for used in receipt.controlnets] == [("me:2@1", None)]
    assert {"torch", "diffusers", "ownware"} <= receipt.versions.keys()


def test_its_files_can_be_put_in_place_again(receipt: Receipt, request_: RenderRequest) -> None:
    pictures = {found.sha256: found.path for found in pictures_of(request_)}
    assert len(pictures) == 5
    loras = {lora.name: lora.path for lora in request_.loras}
    controlnets = {control.name: control.weights for control in request_.controls}
    again = with_files(receipt.request, pictures, loras, controlnets)
    assert again == replace(request_, seed=9, count=1)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": 1}', "no"])
def test_what_is_no_receipt(text: str) -> None:
    with pytest.raises(ReceiptError, match="no receipt"):
        read_receipt(text)


def test_another_format(receipt: Receipt) -> None:
    with pytest.raises(ReceiptError, match="format 2"):
        read_receipt(json.dumps(json.loads(receipt.to_json()) | {"format": 2}))


def test_a_single_file_has_a_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"net")
    assert fingerprint(str(path)) is not None
    assert fingerprint(str(tmp_path / "none.safetensors")) is None
    assert fingerprint("owner/none") is None


def test_the_drift_of_an_edit_is_in_its_receipt_and_in_no_other(receipt: Receipt) -> None:
    assert "drift" not in receipt.to_json()
    moved = replace(receipt, drift=FoundDrift(3.1, -0.82, 1.0131, moved_back=True))
    assert '"drift":{"dx":3.1,"dy":-0.82,"scale":1.0131,"moved_back":true}' in moved.to_json()
    assert read_receipt(moved.to_json()) == moved
