from typer.testing import CliRunner

from ownware.cli import app


def test_the_help_lists_the_commands() -> None:
    help_text = CliRunner().invoke(app, ["models", "--help"]).output
    for command in ("list", "pull", "add", "check", "remove", "plan"):
        assert f" {command} " in help_text
