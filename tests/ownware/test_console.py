import pytest
import typer

from ownware.console import IMPOSSIBLE, fail, print_message


def test_messages_leave_standard_output_alone(capsys: pytest.CaptureFixture[str]) -> None:
    print_message("done")
    assert capsys.readouterr() == ("", "ownware: done\n")


def test_a_failure_prints_every_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught:
        fail("one", "two")
    assert caught.value.exit_code == IMPOSSIBLE
    assert capsys.readouterr().err == "ownware: one\nownware: two\n"
