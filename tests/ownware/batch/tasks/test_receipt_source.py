"""Finds the input pictures of a receipt where a command has left them."""

from dataclasses import replace
from pathlib import Path

import pytest

from ownware.batch.item import BatchError
from ownware.batch.manifest import Entry, Manifest
from ownware.batch.tasks.receipt_source import read_receipt_task
from pipelines.catalog.fingerprint import file_digest
from pipelines.request import Reference
from server.settings import Settings
from tests.ownware.batch.fakes import write_pictures
from tests.ownware.batch.tasks.test_receipt_task import receipt_of


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_pictures(tmp_path, "in/a.png")[0]


@pytest.fixture
def receipt(tmp_path: Path, source: Path) -> Path:
    """A receipt that names the source, in a folder of results."""
    path = tmp_path / "out" / "receipt.json"
    path.parent.mkdir()
    reference = Reference(Path(), file_digest(source), 40, 30)
    made = receipt_of(references=(reference,))
    path.write_text(replace(made, request=replace(made.request, model="runware:108@20")).to_json())
    return path


def test_a_picture_that_is_named(tmp_path: Path, source: Path, receipt: Path) -> None:
    task, notes = read_receipt_task(receipt, [source], Settings(data_dir=tmp_path))
    assert (task["inputs"], notes) == ({"referenceImages": [str(source)]}, ())


def test_the_source_in_the_manifest_beside_it(tmp_path: Path, source: Path, receipt: Path) -> None:
    Manifest(receipt.parent).write(Entry("k", "done", "a", ("a.png",), 7, str(source)))
    task, _ = read_receipt_task(receipt, [], Settings(data_dir=tmp_path))
    assert task["inputs"]["referenceImages"] == [str(source)]


def test_a_picture_that_is_nowhere(tmp_path: Path, receipt: Path) -> None:
    with pytest.raises(BatchError, match=r"--from: no file has the SHA-256 .* --picture"):
        read_receipt_task(receipt, [], Settings(data_dir=tmp_path / "data"))


def test_a_file_without_a_receipt(tmp_path: Path, source: Path) -> None:
    with pytest.raises(BatchError, match=r"--from: .*a\.png carries no receipt"):
        read_receipt_task(source, [], Settings(data_dir=tmp_path))
    with pytest.raises(BatchError, match=r"--from: .*No such file"):
        read_receipt_task(tmp_path / "missing.png", [], Settings(data_dir=tmp_path))
