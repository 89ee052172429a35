import pytest
from pydantic import ValidationError
from pydantic_settings import CliApp

from server.settings import Settings


@pytest.mark.parametrize(
    "flag",
    [
        "--result-ttl=59",
        "--webhook-secret=whsec_short",
        "--webhook-delays=1,-1",
        "--webhook-delays=soon",
        "--webhook-delays=nan",
        "--webhook-timeout=0",
        "--upload-timeout=0",
    ],
)
def test_wrong_values(flag: str) -> None:
    with pytest.raises(ValidationError):
        CliApp.run(Settings, cli_args=[flag])
