from pathlib import Path

import pytest
from huggingface_hub import constants

from ownware.models.pull import pull_source
from pipelines.catalog.catalog import EMBEDDED_FOLDER
from pipelines.catalog.hub.cache import local_folder
from pipelines.catalog.hub.errors import HubError
from pipelines.catalog.sources import Source
from tests.hub import FakeHub
from tests.pipelines.catalog.hub.conftest import hub
from tests.pipelines.catalog.hub.sample import FILES, FIRST, NAME, SECOND

__all__ = ["hub"]
MODEL = Source(NAME)


def test_a_model(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    folder = pull_source(MODEL)
    assert folder == local_folder(NAME)
    assert capsys.readouterr().err == f"ownware: {NAME}: 8 files, 6.0 MB, of which 6.0 MB are not here\n"


def test_what_is_here_is_brought_up_to_date(hub: FakeHub) -> None:
    former = pull_source(MODEL)
    hub.commit, hub.repositories[NAME] = "b" * 40, hub.repositories[NAME] | {SECOND: b"new"}
    folder = pull_source(MODEL)
    assert folder != former
    assert (folder / SECOND).read_bytes() == b"new"


def test_one_part(hub: FakeHub) -> None:
    folder = pull_source(MODEL, "transformer")
    assert (folder / FIRST).read_bytes() == FILES[FIRST]
    assert not (folder / "vae").exists()
    assert local_folder(NAME) is None
    with pytest.raises(HubError, match=f"^the repository {NAME} has no part 'processor'$"):
        pull_source(MODEL, "processor")


def test_one_file(hub: FakeHub) -> None:
    hub.repositories["owner/files"] = {"q4.gguf": b"1234", "q8.gguf": b"12345678"}
    assert pull_source(Source("owner/files/q4.gguf")).read_bytes() == b"1234"
    assert not any("q8" in request for request in hub.requests)
    with pytest.raises(HubError, match=r"has no file 'q5\.gguf'; the nearest is 'q"):
        pull_source(Source("owner/files/q5.gguf"))


def test_offline_a_whole_copy_is_enough(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pull_source(MODEL)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    capsys.readouterr()
    assert pull_source(MODEL) == folder
    assert "is here, and was not brought up to date" in capsys.readouterr().err
    with pytest.raises(HubError, match="HF_HUB_OFFLINE=1 forbids"):
        pull_source(MODEL, "vae")
    with pytest.raises(HubError, match="HF_HUB_OFFLINE=1 forbids"):
        pull_source(Source("owner/other"))


def test_what_is_not_on_the_hub(hub: FakeHub, tmp_path: Path) -> None:
    assert pull_source(Source("embedded")) == EMBEDDED_FOLDER
    assert pull_source(Source(str(tmp_path))) == tmp_path
    with pytest.raises(HubError, match=r"^there is no '/nowhere', and it is no name of a hub repository$"):
        pull_source(Source("/nowhere"))
    assert hub.requests == []
