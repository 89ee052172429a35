"""`ownware keys`, as an operator runs it."""

import contextlib
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ownware.cli import app
from ownware.commands.keys import parse_expiry
from server.keys.api_key import KeyLimits
from server.keys.key_table import KeyTable


def keys(folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["keys", *arguments, "--data-dir", str(folder)])
    return done.exit_code, done.stdout, done.stderr


def test_the_life_of_a_key(tmp_path: Path) -> None:
    code, secret, told = keys(tmp_path, "add", "alice", "--weight", "2", "--rate", "60", "--concurrency", "4")
    assert (code, len(secret.split())) == (0, 1)
    assert "not shown again" in told
    with contextlib.closing(KeyTable(tmp_path)) as table:
        found = table.find(secret.strip().encode())
    assert found is not None
    assert found.limits == KeyLimits(2, 60, 4)

    code, listed, _ = keys(tmp_path, "list")
    head, line = listed.splitlines()
    assert head.split() == [
        "NAME",
        "KEY",
        "STATE",
        "WEIGHT",
        "RATE",
        "CONCURRENCY",
        "CREATED",
        "EXPIRES",
        "IMAGES",
        "7D",
        "IMAGES",
    ]
    today = datetime.now(UTC).date().isoformat()
    assert line.split() == ["alice", f"{secret[:9]}…", "active", "2", "60/min", "4", today, "-", "0", "0"]
    assert secret.strip() not in listed

    assert keys(tmp_path, "revoke", "alice")[0] == 0
    assert keys(tmp_path, "list")[1].splitlines()[1].split()[2] == "revoked"
    code, new, _ = keys(tmp_path, "rotate", "alice")
    assert code == 0
    assert new != secret
    assert keys(tmp_path, "list")[1].splitlines()[1].split()[1:3] == [f"{new[:9]}…", "active"]


def test_mistakes_end_with_a_plain_message(tmp_path: Path) -> None:
    keys(tmp_path, "add", "alice")
    (tmp_path / "file").touch()
    for arguments, message in (
        (("add", "alice"), "there is a key 'alice'"),
        (("add", "two words"), "'two words' is no name of a key"),
        (("add", "bob", "--expires", "soon"), "--expires: 'soon' is no time"),
        (("revoke", "bob"), "there is no key 'bob'"),
        (("rotate", "bob"), "there is no key 'bob'"),
        (("add", "bob", "--rate", "0"), "--rate"),
        (("add", "bob", "--weight", "nan"), "--weight"),
        (("list", "--no-such"), "no-such"),
    ):
        code, printed, told = keys(tmp_path, *arguments)
        assert (code, printed) == (2, ""), arguments
        assert message in told
    code, _, told = keys(tmp_path / "file", "list")
    assert code == 2
    assert "cannot be used" in told


def test_no_keys(tmp_path: Path) -> None:
    code, printed, told = keys(tmp_path, "list")
    assert (code, printed) == (0, "")
    assert "there are no keys" in told


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("12h", 1_000_000_000 + 43_200),
        ("30d", 1_000_000_000 + 30 * 86_400),
        ("2w", 1_000_000_000 + 14 * 86_400),
        ("2030-12-31", 1_924_905_600),
        ("2030-12-31T01:00+01:00", 1_924_905_600),
    ],
)
def test_when_a_key_ends(text: str, end: float) -> None:
    assert parse_expiry(text, 1_000_000_000) == end


@pytest.mark.parametrize("text", ["", "0d", "-1d", "999999w", "30", "2001-01-01", "2030-13-01", "30 d"])
def test_what_is_no_end_to_come(text: str) -> None:
    with pytest.raises(typer.Exit):
        parse_expiry(text, time.time())


def test_the_page_names_the_same_limits() -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "api-keys.md").read_text()
    for option in ("--weight", "--rate", "--concurrency", "--expires"):
        assert re.search(rf"`{option} [^`]+`", page), option
