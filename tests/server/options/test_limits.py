import pytest
from pydantic import ValidationError

from server.options.limits import LimitSettings


@pytest.mark.parametrize("name", [*LimitSettings.model_fields])
def test_a_bound_is_not_negative(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        LimitSettings.model_validate({name: -1})
