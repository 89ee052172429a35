from pathlib import Path

from pipelines.catalog.catalog import EMBEDDED, EMBEDDED_FOLDER
from pipelines.catalog.fingerprint import folder_fingerprint
from pipelines.catalog.weights_fingerprint import component_fingerprint, fingerprint


def test_the_fingerprint_of_a_folder() -> None:
    assert fingerprint(EMBEDDED) == folder_fingerprint(EMBEDDED_FOLDER)
    assert fingerprint("owner/that-is-not-here") is None


def test_what_is_not_here_has_none(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere.gguf")
    assert component_fingerprint(missing) is None
    assert component_fingerprint("owner/repository/nowhere.gguf") is None


def test_a_folder_is_a_component_too() -> None:
    assert component_fingerprint(str(EMBEDDED_FOLDER / "vae")) == folder_fingerprint(EMBEDDED_FOLDER / "vae")
