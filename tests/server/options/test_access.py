import pytest
from pydantic import ValidationError
from pydantic_settings import CliApp

from server.settings import Settings


@pytest.mark.parametrize(
    "flag",
    [
        "--port=x",
        "--port=70000",
        "--public-url=box",
        "--public-url=ftp://box",
        "--public-url=http://box:99999",
        "--public-url=http://box:port",
        "--public-url=http://:80",
        "--public-url=http://box/?a",
        "--cors-origins=app.example",
        "--cors-origins=https://app.example/page",
        "--allowed-hosts=http://box",
        "--allowed-hosts=box:8000",
        "--dialects=,",
        "--dialects=runwear",
    ],
)
def test_wrong_values(flag: str) -> None:
    with pytest.raises(ValidationError):
        CliApp.run(Settings, cli_args=[flag])


@pytest.mark.parametrize(("dialects", "served"), [("all", True), ("openai", False), ("openai,runware", True)])
def test_a_dialect_is_served_by_its_name_or_with_all(dialects: str, served: bool) -> None:
    assert CliApp.run(Settings, cli_args=[f"--dialects={dialects}"]).serves("runware") is served


def test_the_ports_are_named_by_their_flags() -> None:
    assert Settings(port=1).ports == {"--port": 1}
    assert Settings(port=1, metrics_port=2).ports == {"--port": 1, "--metrics-port": 2}
    with pytest.raises(ValidationError, match="must not be the port of the API"):
        Settings(port=1, metrics_port=1)
