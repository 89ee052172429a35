from typing import Any, get_args

import pytest

from accel.cache.plan import CacheName, CachePlan
from accel.cache.strategies.base import FixedSchedule, Predictor, Strategy
from accel.cache.strategies.table import STRATEGIES


def test_every_name_of_a_plan_has_a_strategy() -> None:
    assert set(STRATEGIES) == set(get_args(CacheName))


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_keeps_to_the_protocol(name: CacheName) -> None:
    made: Any = STRATEGIES[name](CachePlan(name, 0.5, 1, 50, 3, profile="embedded"), 20, 6)
    strategy: Strategy = made
    assert strategy.threshold == pytest.approx(0.5)
    assert strategy.compares_to in ("last", "last_computed")
    assert not (strategy.one_decision_for_cfg and strategy.front), "a shared decision is taken before any block"
    assert 0 <= strategy.front + strategy.back <= 6
    assert not isinstance(made, FixedSchedule) or isinstance(made, Predictor)
    if isinstance(made, Predictor):
        assert made.predicts in ("residual", "output")
        assert made.history_length > 0
