import pytest

from server.api.runpod.queries import ttl_seconds, wait_seconds
from server.errors import InvalidParameter


def test_milliseconds_become_seconds() -> None:
    assert wait_seconds({"wait": "1000"}) == 1
    assert wait_seconds({}) == 90
    assert wait_seconds({}, 5000) == 5
    assert ttl_seconds({"ttl": "10000"}) == 10
    assert ttl_seconds({}) is None


@pytest.mark.parametrize("text", ["", "999", "300001", "1e4", "-5", "²000", "9" * 5000])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter):
        wait_seconds({"wait": text})
