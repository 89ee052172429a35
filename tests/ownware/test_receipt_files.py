"""The files of a receipt are found by their content, wherever they are."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from ownware.receipt_files import ReplayError, locate_files, read_source
from pipelines.catalog.fingerprint import file_digest
from pipelines.catalog.models_file import load_catalog
from pipelines.receipt import Receipt, ReceiptError, WeightsRef, make_receipt
from pipelines.request import ControlUse, LoraUse, Reference, RenderRequest, Sampler
from server.media.encode import Encoding, encode
from server.settings import Settings

CATALOG = load_catalog().with_embedded_weights()
ENTRY = CATALOG.entries[0]
REQUEST = RenderRequest(ENTRY.air, "a", None, 128, 128, 2, Sampler(), 1.0, 7)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", lora_dir=tmp_path / "folder", devices=("cpu",))


def receipt_of(request: RenderRequest = REQUEST) -> Receipt:
    return make_receipt(request, 7, ("PNG", 95), ENTRY, "cpu", "float32")


@pytest.fixture
def image(tmp_path: Path) -> Reference:
    path = tmp_path / "image.png"
    Image.new("RGB", (8, 8), "red").save(path)
    return Reference(path, file_digest(path), 8, 8)


@pytest.fixture
def lora(tmp_path: Path) -> LoraUse:
    path = tmp_path / "style.safetensors"
    path.write_bytes(b"weights")
    return LoraUse("style", path)


class TestReadSource:
    def test_an_image_that_carries_one(self, tmp_path: Path) -> None:
        receipt = receipt_of()
        path = tmp_path / "image.webp"
        path.write_bytes(encode(Image.new("RGB", (8, 8)), Encoding("WEBP", 95), receipt.to_json()))
        source = read_source(str(path))
        assert (source.receipt, source.sha256) == (receipt, file_digest(path))

    def test_the_servers_json(self, tmp_path: Path) -> None:
        path = tmp_path / "receipt.json"
        path.write_text(json.dumps({"receipt": json.loads(receipt_of().to_json()), "sha256": "f" * 64}))
        source = read_source(str(path))
        assert (source.receipt, source.sha256) == (receipt_of(), "f" * 64)

    def test_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(receipt_of().to_json()))
        source = read_source("-")
        assert (source.receipt, source.sha256) == (receipt_of(), None)

    @pytest.mark.parametrize("content", [b"{", b"{}"])
    def test_what_is_no_receipt(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(content)
        with pytest.raises(ReceiptError, match="this is no receipt"):
            read_source(str(path))

    def test_an_image_without_one(self, image: Reference) -> None:
        with pytest.raises(ReceiptError, match="carries no receipt"):
            read_source(str(image.path))


class TestModels:
    def test_one_that_is_not_served(self, settings: Settings) -> None:
        with pytest.raises(ReplayError, match="x:1@1 is not in the catalogue"):
            locate_files(receipt_of(replace(REQUEST, model="x:1@1")), CATALOG, [], settings)

    def test_other_weights(self, settings: Settings) -> None:
        other = replace(receipt_of(), model=WeightsRef("embedded", "0" * 64))
        with pytest.raises(ReplayError, match="embedded is not what the image was rendered with"):
            locate_files(other, CATALOG, [], settings)

    def test_a_controlnet_by_its_name(self, image: Reference, settings: Settings) -> None:
        edges = CATALOG.find_controlnet("edges")
        assert edges is not None
        request = replace(REQUEST, controls=(ControlUse("edges", edges.weights, image),))
        assert locate_files(receipt_of(request), CATALOG, [image.path], settings)[0] == request
        unknown = replace(receipt_of(request), controlnets=(WeightsRef("mine", None),))
        with pytest.raises(ReplayError, match="the ControlNet mine is not in the catalogue"):
            locate_files(unknown, CATALOG, [image.path], settings)


class TestImages:
    @pytest.mark.parametrize("given", [True, False], ids=["given", "in the data folder"])
    def test_one_is_found_by_its_content(self, given: bool, image: Reference, settings: Settings) -> None:
        kept = settings.data_dir / "media" / "ab" / "any.png"
        kept.parent.mkdir(parents=True)
        image.path.rename(kept)
        request = replace(REQUEST, seed_image=replace(image, path=kept))
        found, _ = locate_files(receipt_of(request), CATALOG, [kept] if given else [], settings)
        assert found == request

    def test_one_that_is_missing(self, image: Reference, settings: Settings) -> None:
        receipt = receipt_of(replace(REQUEST, seed_image=image))
        with pytest.raises(ReplayError, match=f"no file has the SHA-256 {image.sha256}: .* --picture"):
            locate_files(receipt, CATALOG, [], settings)


class TestLoras:
    @pytest.mark.parametrize("folder", ["data/loras", "folder"])
    def test_one_is_found_by_its_content(self, folder: str, lora: LoraUse, settings: Settings, tmp_path: Path) -> None:
        receipt = receipt_of(replace(REQUEST, loras=(lora,)))
        (tmp_path / folder).mkdir(parents=True)
        moved = lora.path.rename(tmp_path / folder / "called something else")
        request, _ = locate_files(receipt, CATALOG, [], settings)
        assert request.loras == (LoraUse("style", moved),)

    def test_one_that_is_missing(self, lora: LoraUse, settings: Settings) -> None:
        with pytest.raises(ReplayError, match=r"no LoRA file here has the SHA-256 .* of style"):
            locate_files(receipt_of(replace(REQUEST, loras=(lora,))), CATALOG, [], settings)
