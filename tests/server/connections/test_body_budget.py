import pytest

from server.connections.body_budget import BodyBudget
from server.errors import ServiceUnavailable


def test_one_address_has_half_and_all_have_the_whole() -> None:
    budget = BodyBudget(100)
    one, same, other, third = (budget.hold(address) for address in ("a", "a", "b", "c"))
    one.add(30)
    same.add(20)
    with pytest.raises(ServiceUnavailable):
        same.add(1)
    other.set(50)
    with pytest.raises(ServiceUnavailable):
        third.add(1)
    assert budget.held == 100
    one.set(0)
    third.add(30)
    same.set(5)
    same.set(20)
    for hold in (one, same, other, third):
        hold.set(0)
    assert budget.held == 0


def test_less_is_always_allowed() -> None:
    budget = BodyBudget(100)
    hold = budget.hold("a")
    hold.set(50)
    hold.set(49)
    assert budget.held == 49
