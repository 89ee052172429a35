"""The course of a command, with a renderer that needs no model."""

from pathlib import Path

import pytest

from ownware.batch import command
from ownware.batch.command import COMPARE_PAGE, RunOptions, open_renderer, run_batch
from ownware.batch.item import BatchError, ItemError
from ownware.batch.manifest import NAME
from ownware.batch.plan import OutputOptions
from ownware.batch.render_place import RenderPlace
from tests.ownware.batch.fakes import FakeRenderer, write_pictures
from tests.ownware.batch.test_plan import items_of


def test_a_second_run_makes_what_has_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    items = [
        item
        for path in write_pictures(tmp_path / "in", "a.png", "b.jpg")
        for item in items_of([path], positivePrompt=path.stem)
    ]
    options = RunOptions(OutputOptions(out), compare=True)
    renderer = FakeRenderer({"b": ItemError("no")})
    assert run_batch(items, ("a note",), renderer, options) == 1
    assert renderer.closed
    assert "ownware: a note" in capsys.readouterr().err
    page = (out / COMPARE_PAGE).read_text()
    assert page.count("<figure>") == 1
    again = FakeRenderer()
    assert run_batch(items, (), again, options) == 0
    assert [task["positivePrompt"] for task in again.rendered] == ["b"]
    assert (out / COMPARE_PAGE).read_text().count("<figure>") == 2
    assert "2 of 2 pictures are in" in capsys.readouterr().err
    last = FakeRenderer()
    assert run_batch(items, (), last, options) == 0
    assert last.rendered == []
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == {
        "a.png",
        "b.jpg",
        COMPARE_PAGE,
        NAME,
    }


def test_a_page_that_cannot_be_written_is_said_beside_the_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out" / COMPARE_PAGE).mkdir(parents=True)
    items = items_of(write_pictures(tmp_path / "in", "a.png"))
    assert run_batch(items, (), FakeRenderer(), RunOptions(OutputOptions(tmp_path / "out"), compare=True)) == 1
    said = capsys.readouterr().err
    assert f"{COMPARE_PAGE} cannot be written: Is a directory" in said
    assert "1 of 1 pictures are in" in said


def test_only_what_has_failed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    paths = write_pictures(tmp_path / "in", "a.png", "b.png")
    items = [item for path in paths for item in items_of([path], positivePrompt=path.stem)]
    run_batch(items[:1], (), FakeRenderer({"a": ItemError("no")}), RunOptions(OutputOptions(out)))
    renderer = FakeRenderer()
    assert run_batch(items, (), renderer, RunOptions(OutputOptions(out), failed_only=True)) == 1  # b is not made
    assert [task["positivePrompt"] for task in renderer.rendered] == ["a"]


def test_a_dry_run_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    renderer = FakeRenderer()
    items = items_of(write_pictures(tmp_path / "in", "a.png"))
    assert run_batch(items, (), renderer, RunOptions(OutputOptions(out), dry_run=True)) == 0
    assert (renderer.rendered, renderer.closed, out.exists()) == ([], True, False)
    assert "a.png → a.png" in capsys.readouterr().out


def test_without_a_manifest(tmp_path: Path) -> None:
    items = items_of(write_pictures(tmp_path / "in", "a.png"))
    options = RunOptions(OutputOptions(tmp_path / "out"), resume=False)
    assert run_batch(items, (), FakeRenderer(), options) == 0
    assert run_batch(items, (), FakeRenderer(), options) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.png", "a-2.png"}


def test_where_it_renders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ownware.batch.renderers.local import LocalRenderer
    from ownware.batch.renderers.remote import RemoteRenderer

    connected = []
    monkeypatch.setattr(RemoteRenderer, "connect", lambda self: connected.append(self._http.headers["Authorization"]))
    local = open_renderer(RenderPlace(data_dir=str(tmp_path), devices="cpu", weights="embedded"))
    assert isinstance(local, LocalRenderer)
    local.close()
    monkeypatch.setenv(command.CLIENT_KEY, "from the environment")
    for key in ("given", None):
        renderer = open_renderer(RenderPlace(server="http://127.0.0.1:8000", key=key))
        assert isinstance(renderer, RemoteRenderer)
        renderer.close()
    assert connected == ["Bearer given", "Bearer from the environment"]
    with pytest.raises(BatchError, match="--key needs --server"):
        open_renderer(RenderPlace(key="key"))
