from typer.testing import CliRunner

from ownware.cli import app


def test_the_help_lists_the_commands_and_hides_the_former_name() -> None:
    help_text = CliRunner().invoke(app, ["bench", "--help"]).output
    assert all(f" {name} " in help_text for name in ("caches", "batching", "report", "recommend"))
    assert "replay" not in help_text
