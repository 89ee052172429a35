import hashlib
from pathlib import Path

import pytest
import torch

from pipelines.embedded import stand_in
from pipelines.embedded.stand_in import build_stand_in


def digests(folder: Path) -> dict[str, str]:
    """A hash of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_it_lies_in_the_diffusers_layout(weights: Path) -> None:
    parts = {path.name for path in weights.iterdir()}
    assert parts == {"transformer", "vae", "text_encoder", "tokenizer", "processor", "scheduler"}


def test_two_builds_are_equal_and_leave_torchs_generator_alone(weights: Path, tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    assert digests(build_stand_in(tmp_path)) == digests(weights)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert [path.name for path in tmp_path.iterdir()] == [weights.name]


def test_what_is_there_is_not_built_again(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand_in, "_save", lambda folder: pytest.fail("built again"))
    assert build_stand_in(weights.parent) == weights


def test_another_recipe_lies_beside(weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(stand_in, "RECIPE", stand_in.RECIPE + 1)
    monkeypatch.setattr(stand_in, "_save", Path.mkdir)
    assert build_stand_in(tmp_path).name != weights.name


def test_the_second_of_two_racing_builders_takes_the_firsts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / f"stand-in-{stand_in.RECIPE}"

    def save_while_another_finishes(draft: Path) -> None:
        for place, content in ((draft, "late"), (folder, "first")):
            place.mkdir()
            (place / "weights").write_text(content)

    monkeypatch.setattr(stand_in, "_save", save_while_another_finishes)
    assert (build_stand_in(tmp_path) / "weights").read_text() == "first"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_failed_build_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(draft: Path) -> None:
        draft.mkdir()
        raise OSError("disk full")

    monkeypatch.setattr(stand_in, "_save", fail)
    with pytest.raises(OSError, match="disk full"):
        build_stand_in(tmp_path)
    assert not list(tmp_path.iterdir())
