from pathlib import Path

import pytest

from ownware.batch.manifest import Manifest
from ownware.batch.plan import OutputOptions, plan_batch
from ownware.batch.runner import Outcome
from ownware.batch.summary import print_plan, report
from tests.ownware.batch.fakes import FakeRenderer, write_pictures
from tests.ownware.batch.test_manifest import entry
from tests.ownware.batch.test_plan import finish, items_of

FOLDER = Path("out")


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome(3), 0),
        (Outcome(2, (("a.png", "no"),)), 1),
        (Outcome(1, (), 2, "the disk is full"), 1),
        (Outcome(1, (), 2, None, interrupted=True), 130),
    ],
)
def test_the_exit_status_is_0_only_if_all_are_done(outcome: Outcome, status: int) -> None:
    assert report(outcome, 3, 0, FOLDER) == status


def test_failures_with_their_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    report(Outcome(2, (("in/[b].png", "the file [is] empty"),), 1, "the disk is full"), 9, 5, FOLDER)
    out, err = capsys.readouterr()
    assert out == ""
    assert "in/[b].png" in err
    assert "the file [is] empty" in err
    lines = err.splitlines()
    assert lines[-3:] == [
        "ownware: 7 of 9 pictures are in out, 5 of them in earlier runs",
        "ownware: stopped: the disk is full",
        "ownware: the same command goes on with what is missing or has failed",
    ]


def test_many_failures_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    report(Outcome(0, tuple((f"{number}.png", "no") for number in range(60))), 60, 0, FOLDER)
    err = capsys.readouterr().err
    assert "and 10 more, in the manifest" in err
    assert "60 failed" in err


class TestThePlan:
    def print(self, tmp_path: Path, capsys: pytest.CaptureFixture[str], *states: str) -> list[str]:
        paths = write_pictures(tmp_path, "a.png", "b.png", "c.png")
        out = tmp_path / "out"
        items = [*items_of(paths[:2]), *items_of(paths[2:], steps=0)]

        def planned() -> list:  # type: ignore[type-arg]
            return plan_batch(items, FakeRenderer(), Manifest(out), OutputOptions(out))

        for each, state in zip(planned(), states, strict=False):
            finish(each, out, state)
        plan = planned()
        print_plan(plan, [each for each in plan if not each.done], Manifest(out), FakeRenderer())
        return capsys.readouterr().out.splitlines()

    def test_what_becomes_what_and_how_long_it_takes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.print(tmp_path, capsys) == [
            "a.png → a.png",
            "b.png → b.png",
            "c.png: cannot be made: steps must not be 0",
            "3 pictures, 2 to make, 1 cannot be made; about 4 s, and the time to load the model",
        ]

    def test_what_is_done_is_said(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        lines = self.print(tmp_path, capsys, "done")
        assert lines[0] == "a.png → a.png (done)"
        assert lines[-1].endswith("about 0 s, as earlier pictures took")

    def test_the_time_of_earlier_pictures_counts(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "out"
        out.mkdir()
        Manifest(out).write(entry("earlier", seconds=60.0))
        assert self.print(tmp_path, capsys)[-1].endswith("about 2 min, as earlier pictures took")

    def test_an_unknown_time(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        class Unknown(FakeRenderer):
            def seconds(self, task: dict[str, object]) -> float | None:
                return None

        plan = plan_batch(items_of(write_pictures(tmp_path, "a.png")), Unknown(), Manifest(None), OutputOptions(FOLDER))
        print_plan(plan, plan, Manifest(None), Unknown())
        print_plan(plan, [], Manifest(None), Unknown())
        out = capsys.readouterr().out
        assert "the time is known when the first picture is done" in out
        assert "1 pictures, 0 to make; nothing to wait for" in out
